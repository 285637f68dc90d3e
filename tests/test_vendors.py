"""The vendor table and what is built from it, held against the installed Pipecat and SDKs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any

import pytest
from aiohttp import web
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.processors.aggregators.llm_context import LLMContext
from pydantic import JsonValue, SecretStr, TypeAdapter

from callwright import vendors
from callwright.errors import ConfigError
from callwright.stage import StageConfig
from callwright.vendors import ROWS, Vendor, find
from callwright.vendors.construct import constructor_names

LOOPBACK = "http://127.0.0.1:9"
EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.stage}-{row.name}")


def stage(row: Vendor, **changes: Any) -> StageConfig:
    given = {
        "vendor": row.name,
        "model": row.default_model,
        "base_url": LOOPBACK,
        "api_key": SecretStr("key-1"),
    }
    return StageConfig(**{**given, **changes})


def built(row: Vendor, config: StageConfig | None = None, **options: Any) -> Any:
    return vendors.build(row.stage, config or stage(row), sample_rate=16000, **options)


def service_of(row: Vendor) -> Any:
    module, _, name = row.service.partition(":")
    return getattr(__import__(module, fromlist=[name]), name)


# The table


def test_importing_the_table_and_the_configuration_does_not_import_pipecat() -> None:
    """`callwright config show` must not wait for Pipecat, which takes a second to import."""
    code = "import sys, callwright.vendors, callwright.config; sys.exit('pipecat' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_there_is_one_row_per_vendor_and_stage_and_a_default_for_each_stage() -> None:
    assert len({(row.stage, row.name) for row in ROWS}) == len(ROWS)
    for name in ("stt", "llm", "tts"):
        assert find(name, vendors.DEFAULTS[name]).stand_in, "demo needs a stand-in for every default"


@EVERY_ROW
def test_a_row_agrees_with_itself(row: Vendor) -> None:
    assert row.knows(row.default_model)
    assert bool(row.rates) == (row.stage != "llm")
    for setting in row.settings.values():
        if setting.default is not None:
            TypeAdapter(setting.type).validate_python(setting.default, strict=True)


@EVERY_ROW
def test_every_setting_of_a_row_is_one_the_installed_pipecat_has(row: Vendor) -> None:
    service = service_of(row)
    known = {
        "setting": {field.name for field in fields(service.Settings)},
        "constructor": constructor_names(service),
    }
    for name, setting in row.settings.items():
        if setting.where != "row":
            assert name in known[setting.where], f"{row.name}: {name}"


# Building


@EVERY_ROW
def test_a_service_talks_to_the_base_url_it_was_given(row: Vendor) -> None:
    assert "127.0.0.1:9" in row.effective(built(row))


@EVERY_ROW
def test_without_a_base_url_a_service_talks_to_the_vendor_whatever_the_environment_says(
    row: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://elsewhere.example")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.example")
    used = vendors.parse_root(row.effective(built(row, stage(row, base_url=None))))
    assert used.secure
    assert used.host == row.default_root().host


@EVERY_ROW
@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_a_full_path_does_as_well_as_a_root(row: Vendor, scheme: str) -> None:
    root = row.effective(built(row))
    for ending in row.endings:
        assert row.effective(built(row, stage(row, base_url=f"{scheme}://127.0.0.1:9{ending}"))) == root


def test_deepgram_gone_to_production_in_secret_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipecat answers an environment it cannot make with a log line and the real API."""
    import deepgram

    production = deepgram.DeepgramClientEnvironment.PRODUCTION

    def fails(**_: object) -> None:
        raise TypeError("a changed SDK")

    monkeypatch.setattr(deepgram, "DeepgramClientEnvironment", fails)
    with pytest.raises(ConfigError, match=r"connect to api\.deepgram\.com although 127\.0\.0\.1:9 was"):
        built(find("stt", "deepgram"))
    assert production.production == "wss://api.deepgram.com"


def test_settings_reach_the_service() -> None:
    ears = built(find("stt", "deepgram"))
    assert ears.settings.smart_format is False
    assert ears.settings.interim_results is True
    voice = built(find("tts", "cartesia"), stage(find("tts", "cartesia"), settings={"voice": "v", "speed": 1.2}))
    assert voice.settings.voice == "v"
    assert voice.settings.generation_config.speed == 1.2
    flash = built(find("tts", "elevenlabs"), stage(find("tts", "elevenlabs"), settings={"speed": 1.1}))
    assert flash.settings.speed == 1.1


def test_a_model_service_gives_up_soon_and_retries_nothing_behind_our_back() -> None:
    for name in ("anthropic", "openai"):
        client = built(find("llm", name))._client
        assert client.max_retries == 0
        timeout = client.timeout
        assert (timeout if isinstance(timeout, float) else timeout.read) == 15.0


def test_a_socket_that_stalls_is_given_up_soon() -> None:
    for name in ("cartesia", "elevenlabs"):
        voice = built(find("tts", name))
        assert voice._ws_send_timeout == 0.5
        assert voice._reconnect_backoff_min_wait == 0.25


def test_without_a_key_nothing_is_built_and_the_variable_is_named() -> None:
    row = find("tts", "cartesia")
    with pytest.raises(ConfigError, match=r"tts: no key for cartesia; set CARTESIA_API_KEY"):
        built(row, stage(row, api_key=None))


def test_a_sample_rate_the_vendor_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="cartesia has no sample rate of 11025 Hz; it has 8000, 16000"):
        vendors.build("tts", stage(find("tts", "cartesia")), sample_rate=11025)


def test_a_constructor_argument_pipecat_would_swallow_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"no constructor argument 'ws_send_timeot'; did you mean 'ws_send_timeout'\?"
    ):
        built(find("tts", "cartesia"), arguments={"ws_send_timeot": 1})


def test_a_setting_pipecat_does_not_have_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    row = find("tts", "cartesia")
    wrong = replace(row, settings={"voise": replace(row.settings["voice"], default="v")})
    monkeypatch.setattr("callwright.vendors.construct.find", lambda *_: wrong)
    with pytest.raises(ConfigError, match=r"no setting 'voise'; did you mean 'voice'\?"):
        built(wrong)


def test_a_setting_not_in_the_row_is_refused() -> None:
    row = find("tts", "cartesia")
    with pytest.raises(ConfigError, match=r"'sped' for cartesia \(tts\); did you mean 'speed'\?"):
        built(row, stage(row, settings={"sped": 1.0}))


def test_a_pipeline_may_build_its_own_subclass() -> None:
    class Ours:
        """Mixed in by the test."""

    voice = built(find("tts", "cartesia"), specialise=lambda cls: type("OurVoice", (Ours, cls), {}))
    assert isinstance(voice, Ours)
    assert type(voice).__name__ == "OurVoice"


# What Anthropic is really sent


class Messages:
    """A loopback Messages endpoint that keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("x-api-key"))
        message: dict[str, JsonValue] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "Hello."}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        return web.json_response(message)


@pytest.fixture
async def anthropic() -> AsyncIterator[Messages]:
    messages = Messages()
    app = web.Application()
    app.router.add_post("/v1/messages", messages.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    messages.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield messages
    await runner.cleanup()


async def ask(messages: Messages, *, tools: bool, **changes: Any) -> dict[str, Any]:
    mind = built(
        find("llm", "anthropic"),
        stage(find("llm", "anthropic"), base_url=messages.url, **changes),
        system_prompt="You are a front desk.",
        has_tools=tools,
    )
    look = FunctionSchema(name="look", description="Look.", properties={}, required=[])
    context = LLMContext([{"role": "user", "content": "Hi."}], *([ToolsSchema(standard_tools=[look])] if tools else []))
    try:
        assert await mind.run_inference(context) == "Hello."
    finally:
        await vendors.release(mind)
    assert mind._client.is_closed(), "Pipecat would leave its sockets open"
    return messages.bodies[-1]


async def test_the_default_model_is_sent_a_cached_prompt_and_nothing_it_would_refuse(
    anthropic: Messages,
) -> None:
    body = await ask(anthropic, tools=True)
    assert anthropic.keys == ["key-1"]
    assert body["model"] == "claude-haiku-5-5"
    assert body["max_tokens"] == 400
    assert body["thinking"] == {"type": "disabled"}, "Pipecat's default for a model it lists"
    assert body["system"] == [{"type": "text", "text": "You are a front desk.", "cache_control": {"type": "ephemeral"}}]
    assert "tool_choice" not in body, "several tools at once are welcome"
    assert not {"temperature", "top_p", "top_k", "output_config"} & body.keys(), "a 400 on models since 4.7"


async def test_without_tools_no_tool_choice_is_sent(anthropic: Messages) -> None:
    """The API answers a tool_choice without tools with a 400."""
    assert "tool_choice" not in await ask(anthropic, tools=False, settings={"parallel_tools": False})


async def test_parallel_tools_may_be_forbidden(anthropic: Messages) -> None:
    body = await ask(anthropic, tools=True, settings={"parallel_tools": False})
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


async def test_an_effort_is_sent_in_place_of_the_thinking_default(anthropic: Messages) -> None:
    body = await ask(anthropic, tools=True, settings={"effort": "low"})
    assert body["output_config"] == {"effort": "low"}
    assert "thinking" not in body
