"""Server addresses as users paste them."""

import pytest

from callwright.vendors.endpoint import parse_root, parse_vendor_root


def test_one_root_serves_http_and_websockets_alike() -> None:
    plain, secure = parse_root("ws://127.0.0.1:9000/"), parse_root("https://eu.example.com")
    assert (plain.http, plain.ws) == ("http://127.0.0.1:9000", "ws://127.0.0.1:9000")
    assert (secure.http, secure.ws) == ("https://eu.example.com", "wss://eu.example.com")
    assert (plain.effective_port, secure.effective_port) == (9000, 443)


def test_a_full_path_is_cut_back_to_the_root_and_a_proxy_prefix_stays() -> None:
    assert parse_root("http://h:1/v1/listen", endings=("/v1/listen", "/v1")).http == "http://h:1"
    assert parse_root("http://h:1/v1/", endings=("/v1/listen", "/v1")).http == "http://h:1"
    assert parse_root("https://h/deepgram/v1/listen", endings=("/v1/listen",)).ws == "wss://h/deepgram"


def test_an_ipv6_address_keeps_its_brackets() -> None:
    root = parse_root("http://[::1]:8080")
    assert root.http == "http://[::1]:8080"
    assert root.loopback


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("127.0.0.1:9000", "must begin with"),
        ("htp://127.0.0.1", "must begin with"),
        ("", "must begin with"),
        ("http://", "no valid host"),
        ("http://ho st", "no valid host"),
        ("http://h:port", "not a URL"),
        ("http://h:99999", "not a URL"),
        ("http://me:secret@h", "user name or password"),
        ("http://h?key=1", "without '?'"),
    ],
)
def test_a_malformed_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("?", r"\?")):
        parse_root(text)


@pytest.mark.parametrize("url", ["http://93.184.216.34:80", "ws://api.example.com", "http://8.8.8.8"])
def test_keys_do_not_travel_in_clear_over_a_public_network(url: str) -> None:
    with pytest.raises(ValueError, match="in clear"):
        parse_vendor_root(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "http://localhost:1",
        "ws://[::1]:1",
        "http://10.0.0.3",
        "ws://simulator:8080",
        "http://box.local",
    ],
)
def test_plain_text_is_fine_on_this_machine_and_private_networks(url: str) -> None:
    assert not parse_vendor_root(url).secure


@pytest.mark.parametrize(
    ("url", "loopback"),
    [("http://127.9.9.9", True), ("http://a.localhost", True), ("http://10.0.0.3", False)],
)
def test_only_this_machine_is_loopback(url: str, loopback: bool) -> None:
    assert parse_root(url).loopback is loopback
