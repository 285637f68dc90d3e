"""The control calls: what the world is told about an account, and what it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from callwright.simulators.account import Account, Accounts, AccountSettings, Delay, Utterance
from callwright.simulators.announce import Announcer
from callwright.simulators.errors import SimulatorError
from callwright.simulators.server import VendorServer


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer(default=AccountSettings(ears="oracle", speed=0)) as server:
        yield server


async def call(server: VendorServer, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{server.url}/_sim/{path}", json=body) as response,
    ):
        return response.status, (await response.json() if response.ok else await response.text())


async def test_health_names_the_engines(server: VendorServer) -> None:
    status, body = await call(server, "GET", "health")
    assert (status, body["ok"], body["ears"]) == (200, True, ["pocketsphinx", "oracle"])
    assert body["voice"] in ("flite", "espeak-ng")


async def test_settings_are_kept_by_account_and_shown(server: VendorServer) -> None:
    await call(server, "PUT", "accounts/one", {"seed": 7, "stt_final": {"p50_ms": 5, "p95_ms": 9}})
    _, one = await call(server, "GET", "accounts/one")
    _, two = await call(server, "GET", "accounts/two")
    assert (one["settings"]["seed"], one["settings"]["stt_final"]) == (7, {"p50_ms": 5, "p95_ms": 9})
    assert two == {"settings": AccountSettings(ears="oracle", speed=0).model_dump(mode="json")} | {
        "served": [],
        "requests": [],
    }


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("accounts/k", {"sead": 1}, "sead"),
        ("accounts/k", {"tts_first_audio": {"p50_ms": 9, "p95_ms": 1}}, "p50_ms <= p95_ms"),
        ("accounts/k", {"ears": "wax"}, "ears"),
    ],
)
async def test_wrong_settings_are_refused_by_name(
    server: VendorServer, path: str, body: dict[str, Any], complaint: str
) -> None:
    status, text = await call(server, "PUT", path, body)
    assert status == 400
    assert complaint in text


async def test_faults_are_ordered_and_taken_back(server: VendorServer) -> None:
    fault = {"stage": "tts", "kind": "drop", "moment": "within", "count": 2}
    assert (await call(server, "POST", "accounts/k/faults", fault))[0] == 200
    assert len(server.accounts.get("k").faults.pending) == 1
    assert (await call(server, "DELETE", "accounts/k/faults"))[0] == 200
    assert server.accounts.get("k").faults.pending == ()
    assert (await call(server, "POST", "accounts/k/faults", fault | {"kind": "earthquake"}))[0] == 400


async def test_an_utterance_is_announced_to_its_account_alone(server: VendorServer) -> None:
    utterance = {"text": "Hi.", "words": [{"word": "hi", "start": 0, "end": 0.3}], "duration": 0.4}
    assert (await call(server, "POST", "accounts/k/utterances", utterance))[0] == 200
    assert server.accounts.get("other").next_utterance() is None
    heard = server.accounts.get("k").next_utterance()
    assert heard is not None
    assert (heard[0], heard[1].text) == (0, "Hi.")


async def test_an_announcer_tells_all_its_accounts(server: VendorServer) -> None:
    async with Announcer(server.url, "k", "k-fallback-1") as announce:
        await announce(Utterance(text="Hi.", duration=0.4))
    assert [len(server.accounts.get(key).utterances) for key in ("k", "k-fallback-1", "other")] == [1, 1, 0]


async def test_a_taken_port_is_one_line_that_says_which(server: VendorServer) -> None:
    with pytest.raises(SimulatorError, match=str(server.port)):
        async with VendorServer(port=server.port):
            pass


async def test_the_server_listens_on_loopback_only_and_is_gone_when_closed() -> None:
    async with VendorServer(default=AccountSettings(ears="oracle")) as server:
        url = server.url
        assert url.startswith("http://127.0.0.1:")
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(f"{url}/_sim/health")


async def test_closing_the_server_ends_open_sockets_with_1001() -> None:
    async with aiohttp.ClientSession() as http:
        async with VendorServer(default=AccountSettings(ears="oracle")) as server:
            socket = await http.ws_connect(f"{server.ws_url}/tts/websocket?api_key=k")
        message = await socket.receive(timeout=3)
        assert message.data == 1001
        await socket.close()


async def test_unknown_keys_may_be_refused() -> None:
    async with VendorServer(default=AccountSettings(ears="oracle"), accept_unknown_keys=False) as server:
        server.accounts.configure("known", AccountSettings(ears="oracle"))
        async with aiohttp.ClientSession() as http:
            for key, status in (("known", 200), ("unknown", 401)):
                async with http.get(f"{server.url}/voices", headers={"X-API-Key": key}) as response:
                    assert response.status == status


def test_a_delay_has_its_median_and_its_tail() -> None:
    account = Account("k")
    drawn = sorted(account.draw("tts_first_audio") for _ in range(4000))
    assert drawn[2000] == pytest.approx(0.188, rel=0.05)
    assert drawn[3800] == pytest.approx(0.357, rel=0.05)


def test_equal_percentiles_are_a_constant_and_zero_is_none() -> None:
    account = Account("k", AccountSettings(stt_final=Delay(50, 50), tts_first_audio=Delay(0, 0)))
    assert {account.draw("stt_final") for _ in range(5)} == {0.05}
    assert account.draw("tts_first_audio") == 0


def test_draws_follow_from_the_seed_whatever_else_is_drawn_in_between() -> None:
    def draws(interleaved: bool) -> list[float]:
        account = Account("k", AccountSettings(seed=3))
        drawn = []
        for _ in range(5):
            if interleaved:
                account.draw("llm_first_token")
            drawn.append(account.draw("stt_final"))
        return drawn

    assert draws(True) == draws(False)
    assert draws(True) != [Account("k", AccountSettings(seed=4)).draw("stt_final")] * 5


def test_speed_scales_every_delay() -> None:
    half, none = (Account("k", AccountSettings(seed=3, speed=speed)) for speed in (0.5, 0))
    assert half.draw("stt_final") == pytest.approx(Account("k", AccountSettings(seed=3)).draw("stt_final") / 2)
    assert none.draw("stt_final") == 0


def test_keys_that_begin_with_refused_are_refused_always() -> None:
    accounts = Accounts()
    assert accounts.find("refused-1") is None
    assert accounts.find("") is None
    assert accounts.find("anything") is accounts.get("anything")
