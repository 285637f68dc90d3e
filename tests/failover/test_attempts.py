"""What one ask of the model does about vendors that are slow, broken or wrong, on a clock made of numbers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from callwright.failover.attempts import (
    BEARABLE_MS,
    GO_ONS,
    Adopt,
    Attempts,
    BreakOff,
    Cancel,
    Do,
    GiveUp,
    Limits,
    Start,
    Trouble,
)
from callwright.failover.breaker import Breaker
from callwright.failover.candidates import MOST_TRIES, PAUSE_MS
from callwright.failover.token_watch import SPARE_MS

LIMITS = Limits(first_token_ms=1500, token_gap_ms=1500, budget_ms=6000)


def asked(vendors: int = 2, limits: Limits = LIMITS, breakers: list[Breaker] | None = None) -> Attempts:
    attempts = Attempts(limits, breakers or [Breaker() for _ in range(vendors)], 0)
    attempts.begin()
    return attempts


def told(done: list[Do]) -> list[Do]:
    return [one for one in done if not isinstance(one, Trouble)]


def actions(done: list[Do]) -> list[tuple[str, str]]:
    return [(one.what, one.action) for one in done if isinstance(one, Trouble)]


def test_the_first_vendor_is_asked_first_and_its_first_token_is_adopted() -> None:
    attempts = Attempts(LIMITS, [Breaker(), Breaker()], 0)
    assert attempts.begin() == [Start(0, 0, go_on=False)]
    assert attempts.token(0, 600, words=True) == [Adopt(0)]
    assert attempts.token(0, 700, words=True) == []
    attempts.ended(0)
    assert attempts.over


def test_a_vendor_that_rests_is_not_asked_first() -> None:
    tired = Breaker()
    tired.failed(0, "server")
    assert Attempts(LIMITS, [tired, Breaker()], 10).begin() == [Start(0, 1, go_on=False)]


def test_a_passing_failure_is_retried_once_on_the_same_vendor_and_then_elsewhere() -> None:
    attempts = asked()
    assert actions(done := attempts.failed(0, 100, "server")) == [("refused", "retry")]
    assert told(done) == []
    assert attempts.wakes_at == 100 + PAUSE_MS
    assert attempts.tick(100 + PAUSE_MS) == [Start(1, 0, go_on=False)]
    done = attempts.failed(1, 400, "server")
    assert actions(done) == [("refused", "next")]
    assert told(done) == [Start(2, 1, go_on=False)]


def test_permanent_failures_and_refused_requests_move_on_at_once() -> None:
    for category in ("authentication", "authorization", "quota", "invalid_request"):
        attempts = asked()
        assert told(attempts.failed(0, 100, category)) == [Start(1, 1, go_on=False)], category


def test_a_refused_request_does_not_cost_the_vendor_the_next_one() -> None:
    breakers = [Breaker(), Breaker()]
    attempts = asked(breakers=breakers)
    attempts.failed(0, 100, "invalid_request")
    attempts.token(1, 300, words=True)
    attempts.ended(1)
    assert Attempts(LIMITS, breakers, 400).begin() == [Start(0, 0, go_on=False)]


def test_retry_after_is_honoured_where_it_is_short_and_not_waited_for_while_another_can_answer() -> None:
    attempts = asked()
    attempts.failed(0, 100, "rate_limit", 250)
    assert attempts.tick(349) == []
    assert attempts.tick(350) == [Start(1, 0, go_on=False)]
    attempts = asked()
    assert told(attempts.failed(0, 100, "rate_limit", 5000)) == [Start(1, 1, go_on=False)]


def test_a_single_vendors_retry_after_is_honoured_within_the_budget_and_never_past_it() -> None:
    attempts = asked(vendors=1)
    attempts.failed(0, 100, "rate_limit", 5000)
    assert attempts.tick(5099) == []
    assert attempts.tick(5100) == [Start(1, 0, go_on=False)]
    attempts = asked(vendors=1)
    assert told(attempts.failed(0, 100, "rate_limit", 600_000)) == [GiveUp("rate_limit", permanent=False)]


def test_a_late_first_token_has_the_next_vendor_asked_beside_it_and_the_first_answer_wins() -> None:
    attempts = asked()
    assert attempts.wakes_at == 1500
    done = attempts.tick(1500)
    assert actions(done) == [("no_first_token", "next")]
    assert told(done) == [Start(1, 1, go_on=False)]
    assert attempts.token(0, 1700, words=True) == [Cancel(1), Adopt(0)]
    assert attempts.token(1, 1710, words=True) == []


def test_a_single_vendor_that_is_late_is_asked_once_more_beside_itself() -> None:
    attempts = asked(vendors=1)
    assert told(attempts.tick(1500)) == [Start(1, 0, go_on=False)]
    assert told(attempts.tick(3000)) == []
    assert attempts.token(1, 3100, words=True) == [Cancel(0), Adopt(1)]


def test_a_hedge_asks_the_same_vendor_and_is_nobodys_fault() -> None:
    breakers = [Breaker(), Breaker()]
    attempts = asked(limits=Limits(1500, 1500, 6000, hedge_ms=500), breakers=breakers)
    assert attempts.wakes_at == 500
    done = attempts.tick(500)
    assert actions(done) == [("no_first_token", "hedge")]
    assert told(done) == [Start(1, 0, go_on=False)]
    assert attempts.token(1, 900, words=True) == [Cancel(0), Adopt(1)]
    assert breakers[0].usable(900)


def test_a_hedge_asks_the_next_vendor_once_and_who_is_first_is_heard() -> None:
    attempts = asked(limits=Limits(1500, 1500, 6000, hedge_ms=500, hedge_vendor=1))
    done = attempts.tick(500)
    assert actions(done) == [("no_first_token", "hedge")]
    assert told(done) == [Start(1, 1, go_on=False)]
    assert attempts.token(0, 900, words=True) == [Cancel(1), Adopt(0)]


def test_a_vendor_that_rests_is_no_hedge_and_nothing_wakes_for_it() -> None:
    breakers = [Breaker(), Breaker()]
    breakers[1].failed(0, "server")
    attempts = asked(limits=Limits(1500, 1500, 6000, hedge_ms=500, hedge_vendor=1), breakers=breakers)
    assert attempts.wakes_at == 1500
    assert attempts.tick(500) == []


def test_where_the_next_vendor_is_the_first_asked_it_is_not_hedged() -> None:
    breakers = [Breaker(), Breaker()]
    breakers[0].failed(0, "server")
    attempts = asked(limits=Limits(1500, 1500, 6000, hedge_ms=500, hedge_vendor=1), breakers=breakers)
    assert attempts.wakes_at == 1500


def test_a_failure_is_not_retried_while_the_hedge_still_may_answer() -> None:
    attempts = asked(limits=Limits(1500, 1500, 6000, hedge_ms=500))
    attempts.tick(500)
    assert told(attempts.failed(0, 600, "server")) == []
    assert attempts.token(1, 900, words=True) == [Adopt(1)]


def test_tokens_that_stop_are_ended_and_the_next_vendor_goes_on_from_there() -> None:
    attempts = asked()
    attempts.token(0, 600, words=True, letters=20)
    assert attempts.wakes_at == 2100
    done = attempts.tick(2100)
    assert actions(done) == [("tokens_stopped", "go_on")]
    assert told(done) == [Cancel(0), BreakOff(), Start(1, 1, go_on=True)]
    assert attempts.token(1, 2400, words=True) == [Adopt(1)]


def test_a_model_that_writes_slower_than_it_is_spoken_is_replaced_as_if_it_had_stopped() -> None:
    attempts = asked()
    for now in (600, 1000, 1500, 2000):
        attempts.token(0, now, words=True, letters=5)
        assert attempts.tick(now) == []
    assert attempts.wakes_at == 2500, "15 letters must not take longer than 1500 ms"
    done = attempts.tick(2500)
    assert actions(done) == [("tokens_stopped", "go_on")]
    assert told(done) == [Cancel(0), BreakOff(), Start(1, 1, go_on=True)]


def test_while_enough_is_left_to_be_heard_a_model_may_pause() -> None:
    attempts = asked()
    attempts.token(0, 600, words=True, letters=20)
    assert attempts.tick(2100, SPARE_MS + 700) == []
    assert attempts.wakes_at == 2800
    assert told(attempts.tick(2800, SPARE_MS))[0] == Cancel(0)


def test_thinking_is_not_silence() -> None:
    attempts = asked()
    attempts.token(0, 600, words=True, letters=20)
    attempts.alive(0, 2000)
    assert attempts.tick(2100) == []


def test_a_late_vendor_with_another_behind_it_is_not_waited_for_until_it_has_surely_failed() -> None:
    attempts = asked(limits=Limits(1500, 1500, 6000, late_ms=(900, 1000)))
    assert attempts.wakes_at == 900
    assert told(attempts.tick(900)) == [Start(1, 1, go_on=False)]
    assert attempts.wakes_at == 1900, "the second has a limit of its own"


def test_who_is_late_and_answers_first_all_the_same_remains_the_first_choice() -> None:
    breakers = [Breaker(), Breaker()]
    attempts = asked(limits=Limits(1500, 1500, 6000, late_ms=(900, 1000)), breakers=breakers)
    attempts.tick(900)
    attempts.token(0, 1200, words=True)
    assert breakers[0].usable(1200)


def test_who_is_late_and_overtaken_rests() -> None:
    breakers = [Breaker(), Breaker()]
    attempts = asked(limits=Limits(1500, 1500, 6000, late_ms=(900, 1000)), breakers=breakers)
    attempts.tick(900)
    attempts.token(1, 1200, words=True)
    assert not breakers[0].usable(1200)
    assert breakers[1].usable(1200)


def test_when_everybody_is_silent_everybody_rests() -> None:
    breakers = [Breaker(), Breaker()]
    attempts = asked(breakers=breakers)
    for now in (1500, 3000, 6000):
        attempts.tick(now)
    assert attempts.over
    assert not any(breaker.usable(6000) for breaker in breakers)


def test_a_hedge_is_given_its_time_before_a_third_is_asked() -> None:
    attempts = asked(limits=Limits(1500, 1500, 6000, hedge_ms=500, late_ms=(900, 1000)))
    assert told(attempts.tick(500)) == [Start(1, 0, go_on=False)]
    assert told(attempts.tick(900)) == []
    assert told(attempts.tick(1400)) == [Start(2, 1, go_on=False)]


def test_what_is_asked_beside_a_slow_vendor_is_a_hedge_and_beside_a_silent_one_is_not() -> None:
    early = asked(limits=Limits(1500, 1500, 6000, late_ms=(900, 1000)))
    early.tick(900)
    assert early.hedged
    late = asked()
    late.tick(1500)
    assert not late.hedged


def test_a_wait_that_no_caller_bears_in_mid_sentence_is_disregarded_once_and_then_given_up() -> None:
    attempts = asked(vendors=1)
    attempts.token(0, 600, words=True)
    done = attempts.failed(0, 700, "rate_limit", 5000, store_ms=2000)
    assert actions(done) == [("refused", "go_on")]
    assert told(done) == [BreakOff(), Start(1, 0, go_on=True)]
    assert told(attempts.failed(1, 720, "rate_limit", 5000, store_ms=2000)) == [GiveUp("rate_limit", permanent=False)]


def test_a_wait_past_the_budget_is_no_reason_to_leave_a_sentence_unfinished_unasked() -> None:
    attempts = asked(vendors=1)
    attempts.token(0, 600, words=True)
    assert told(attempts.failed(0, 700, "rate_limit", 600_000)) == [BreakOff(), Start(1, 0, go_on=True)]


def test_a_wait_that_the_caller_hardly_hears_is_honoured_in_mid_sentence() -> None:
    attempts = asked(vendors=1)
    attempts.token(0, 600, words=True)
    attempts.failed(0, 700, "rate_limit", 2000 + BEARABLE_MS, store_ms=2000)
    assert attempts.wakes_at == 3700
    assert attempts.tick(3700) == [Start(1, 0, go_on=True)]


def test_in_mid_sentence_too_nobody_is_pressed_while_another_can_answer() -> None:
    attempts = asked()
    attempts.token(0, 600, words=True)
    assert told(attempts.failed(0, 700, "rate_limit", 5000)) == [BreakOff(), Start(1, 1, go_on=True)]


def test_a_key_that_is_refused_in_mid_sentence_is_not_tried_again() -> None:
    attempts = asked(vendors=1)
    attempts.token(0, 600, words=True)
    assert told(attempts.failed(0, 700, "authentication")) == [BreakOff(), GiveUp("authentication", permanent=True)]


def test_a_tool_call_that_breaks_off_before_a_word_is_asked_for_again_from_the_start() -> None:
    attempts = asked()
    attempts.token(0, 600, words=False)
    done = attempts.failed(0, 700, "truncated")
    assert actions(done) == [("truncated", "retry")]
    assert attempts.tick(700 + PAUSE_MS) == [Start(1, 0, go_on=False)]


def test_an_answer_is_continued_so_often_and_no_more() -> None:
    attempts = asked()
    now, number = 0.0, 0
    for _ in range(GO_ONS):
        now += 500
        attempts.token(number, now, words=True)
        started = [one for one in attempts.failed(number, now + 100, "truncated") if isinstance(one, Start)]
        assert started
        assert started[0].go_on
        number = started[0].attempt
    attempts.token(number, now + 500, words=True)
    assert told(attempts.failed(number, now + 600, "truncated"))[-1] == GiveUp("truncated", permanent=False)


def test_where_all_keys_are_refused_the_end_is_permanent_and_at_once() -> None:
    attempts = asked()
    attempts.failed(0, 100, "authentication")
    assert told(attempts.failed(1, 200, "authentication")) == [GiveUp("authentication", permanent=True)]


def test_when_the_budget_is_spent_everything_is_given_up() -> None:
    attempts = asked()
    attempts.tick(1500)
    attempts.tick(3000)
    done = attempts.tick(6000)
    assert [type(one) for one in told(done)] == [Cancel, Cancel, Cancel, GiveUp]
    assert attempts.wakes_at is None


CATEGORIES = st.sampled_from(
    ["server", "rate_limit", "timeout", "connectivity", "truncated", "empty", "invalid_request", "authentication"]
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["token", "words", "failed", "ended", "wait"]),
        st.integers(0, 30),
        st.floats(0, 3000),
        CATEGORIES,
        st.sampled_from([0.0, 0.0, 200.0, 4000.0, 600_000.0]),
        st.sampled_from([0, 1, 40]),
        st.floats(0, 4000),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 3), st.sampled_from([None, 100.0, 700.0]), st.booleans(), EVENTS)
def test_whatever_happens_one_answer_is_spoken_at_a_time_and_there_is_an_end(
    vendors: int, hedge_ms: float | None, another: bool, schedule: list[tuple[str, int, float, str, float, int, float]]
) -> None:
    limits = Limits(1500, 1500, 6000, hedge_ms, int(another and vendors > 1), (900.0, 2000.0)[:vendors])
    attempts = Attempts(limits, [Breaker() for _ in range(vendors)], 0)
    running: dict[int, int] = {}
    adopted: int | None = None
    since, now, requests = 0.0, 0.0, 0
    heard_until = 0.0

    def do(done: list[Do]) -> None:
        nonlocal adopted, since, requests
        for one in done:
            match one:
                case Start(attempt, vendor, _):
                    assert attempt not in running
                    running[attempt] = vendor
                    requests += 1
                    places = 2 if vendor == 0 else 1
                    assert sum(other == vendor for other in running.values()) <= places
                case Cancel(attempt):
                    del running[attempt]
                    adopted = None if adopted == attempt else adopted
                case Adopt(attempt):
                    assert adopted is None, "two at once"
                    assert attempt in running
                    adopted = attempt
                case BreakOff():
                    assert adopted is None
                    since = now
                case GiveUp():
                    assert not running
                    assert attempts.over

    def wait(until: float) -> None:
        nonlocal now
        while (wakes := attempts.wakes_at) is not None and wakes <= until:
            now = max(now, wakes)
            before = attempts.wakes_at
            do(attempts.tick(now, max(0.0, heard_until - now)))
            assert attempts.over or attempts.wakes_at != before, "a clock that does not move on"
            if adopted is None and not attempts.over:
                assert now - since <= limits.budget_ms
        now = until

    do(attempts.begin())
    for what, pick, gap, category, retry_after, letters, left_ms in schedule:
        wait(now + gap)
        if attempts.over:
            break
        if not running:
            continue
        number = list(running)[pick % len(running)]
        if what in ("token", "words"):
            do(attempts.token(number, now, words=what == "words", letters=letters))
            heard_until = now + left_ms
        elif what == "failed":
            del running[number]
            adopted = None if adopted == number else adopted
            do(attempts.failed(number, now, category, retry_after, store_ms=left_ms))
        elif what == "ended" and number == adopted:
            do(attempts.ended(number))
    wait(now + (GO_ONS + 1) * (limits.budget_ms + 2 * limits.token_gap_ms + 4000) + limits.budget_ms)
    assert attempts.over, "nobody is ever told anything"
    assert requests <= (GO_ONS + 1) * MOST_TRIES * vendors
