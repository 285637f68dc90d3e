"""Which vendor is asked: those that work first, those that rest last."""

from callwright.failover.breaker import REST_MS, Breaker, order


def test_a_vendor_that_failed_rests_longer_each_time() -> None:
    breaker = Breaker()
    now = 0.0
    for rest in (*REST_MS, REST_MS[-1]):
        breaker.failed(now, "server")
        assert not breaker.usable(now + rest - 1)
        assert breaker.usable(now + rest)
        now += rest
    breaker.worked()
    assert breaker.usable(now)
    breaker.failed(now, "timeout")
    assert breaker.usable(now + REST_MS[0])


def test_what_the_vendor_asks_for_is_honoured() -> None:
    breaker = Breaker()
    breaker.failed(0, "rate_limit", retry_after_ms=20_000)
    assert not breaker.usable(19_999)
    assert breaker.usable(20_000)


def test_a_refused_key_is_for_good_and_a_refused_request_is_not() -> None:
    for_good, once = Breaker(), Breaker()
    for_good.failed(0, "authentication")
    once.failed(0, "invalid_request")
    assert not for_good.usable(1e9)
    assert once.usable(REST_MS[0])


def test_somebody_is_always_asked() -> None:
    breakers = [Breaker(), Breaker(), Breaker(), Breaker()]
    breakers[0].failed(0, "authentication")
    breakers[1].failed(100, "server")
    breakers[2].failed(0, "server")
    assert order(breakers, 200) == [3, 2, 1, 0]
    assert order(breakers, REST_MS[0]) == [2, 3, 1, 0]
    assert order(breakers, REST_MS[0] + 100) == [1, 2, 3, 0]
