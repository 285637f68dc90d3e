"""A candid service tells who asks it how its reply went: real services of Pipecat, real SDKs, scripted vendors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    FunctionCallFromLLM,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    MetricsFrame,
    StartFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams
from pydantic import SecretStr

from callwright import vendors
from callwright.failover.branch import Branch
from callwright.simulators import anthropic
from callwright.simulators.account import Accounts, AccountSettings, World
from callwright.simulators.faults import Fault
from callwright.stage import StageConfig
from callwright.tools import ArgumentError, tool
from callwright.upstream.mind import MALFORMED, Ask, Candid, Failure, Stop, candid, failure

RULES = """
fallback: ["Sorry?"]
rules:
  - name: both
    when: {heard: ["compare"]}
    say: "Let me compare."
    call: [{tool: weather, with: {city: "Paris"}}, {tool: weather, with: {city: "Rome"}}]
  - name: long
    when: {heard: ["story"]}
    say: "Once upon a time there was a small house by the sea."
"""


@tool
async def weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Its name.
    """
    return f"sun in {city}"


@dataclass
class Heard:
    """An asker that writes down what it is told."""

    text: str = ""
    stops: list[Stop] = field(default_factory=list)
    calls: list[FunctionCallFromLLM] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    stirs: list[bool] = field(default_factory=list)
    first: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    order: list[str] = field(default_factory=list)

    async def stirred(self, *, answering: bool) -> None:
        self.stirs.append(answering)
        self.first.set()

    async def ended(self, stop: Stop, calls: Sequence[FunctionCallFromLLM]) -> None:
        self.stops.append(stop)
        self.calls.extend(calls)
        self.order.append("ended")

    async def failed(self, failure: Failure) -> None:
        self.failures.append(failure)
        self.order.append("failed")

    async def left(self) -> None:
        self.gone.set()


class Bench:
    """One candid service in a branch."""

    def __init__(self, vendor: str, url: str, **settings: Any) -> None:
        row = vendors.find("llm", vendor)
        config = StageConfig(
            vendor=vendor, model=row.default_model, base_url=url, api_key=SecretStr("sk-test"), settings=settings
        )
        self.service: Candid = vendors.build("llm", config, system_prompt="Be brief.", specialise=candid)
        self.branch = Branch(self.service, self._pushed)
        self.frames: list[Frame] = []
        self.heard = Heard()

    async def _pushed(self, _: Branch, frame: Frame, direction: FrameDirection) -> None:
        self.frames.append(frame)
        if isinstance(frame, LLMTextFrame):
            self.heard.text += frame.text
            self.heard.first.set()
        if isinstance(frame, LLMFullResponseEndFrame):
            self.heard.order.append("end")

    async def open(self) -> None:
        tasks = TaskManager()
        tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
        worker = cast("Any", SimpleNamespace(app_resources=None, worker_runner=None))
        await self.branch.setup(
            FrameProcessorSetup(
                clock=SystemClock(),
                task_manager=tasks,
                pipeline_worker=worker,
                enable_metrics=True,
                enable_usage_metrics=True,
            )
        )
        await self.branch.send(StartFrame())

    async def close(self) -> None:
        await self.branch.cleanup()
        await vendors.release(self.service)

    async def send(self, text: str) -> Heard:
        self.heard = Heard()
        schema = FunctionSchema("weather", "The weather.", {"city": {"type": "string"}}, ["city"])
        context = LLMContext([{"role": "user", "content": text}], tools=ToolsSchema(standard_tools=[schema]))
        await self.branch.send(Ask(context, asker=self.heard))
        return self.heard

    async def ask(self, text: str) -> Heard:
        heard = await self.send(text)
        async with asyncio.timeout(5):
            await heard.gone.wait()
        return heard


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def benched(vendor: str, url: str, **settings: Any) -> AsyncIterator[Bench]:
    bench = Bench(vendor, url, **settings)
    await bench.open()
    try:
        yield bench
    finally:
        await bench.close()


@dataclass
class Stage:
    bench: Bench
    accounts: Accounts

    def fault(self, **fault: Any) -> None:
        self.accounts.get("sk-test").faults.add(Fault(stage="llm", **fault))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Anthropic's service before its stand-in."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    accounts = Accounts(AccountSettings(speed=0))
    app = web.Application()
    app.add_routes(anthropic.routes(World(accounts, voice=cast("Any", None), default_rules=rules)))
    async with served(app) as url, benched("anthropic", url) as bench:
        yield Stage(bench, accounts)


async def test_all_tool_calls_of_a_reply_are_told_in_the_models_order_before_its_end(stage: Stage) -> None:
    heard = await stage.bench.ask("compare")
    assert heard.text == "Let me compare."
    assert [(call.function_name, call.arguments) for call in heard.calls] == [
        ("weather", {"city": "Paris"}),
        ("weather", {"city": "Rome"}),
    ]
    assert len({call.tool_call_id for call in heard.calls}) == 2
    assert heard.order == ["ended", "end"]
    assert True in heard.stirs


async def test_a_whole_reply_is_complete_and_its_usage_comes_before_the_service_is_free(stage: Stage) -> None:
    heard = await stage.bench.ask("a story")
    assert heard.stops == ["complete"]
    assert not heard.failures
    assert any(isinstance(frame, MetricsFrame) for frame in stage.bench.frames)


async def test_a_reply_without_its_end_marker_is_no_reply(stage: Stage) -> None:
    stage.fault(kind="truncate", moment="within", after=6)
    heard = await stage.bench.ask("a story")
    assert heard.text
    assert heard.failures == [Failure("truncated")]
    assert not heard.stops


async def test_a_connection_that_breaks_in_the_middle_is_told(stage: Stage) -> None:
    stage.fault(kind="drop", moment="within", after=6)
    heard = await stage.bench.ask("a story")
    assert [one.category for one in heard.failures] in (["connectivity"], ["truncated"])


async def test_an_error_in_the_middle_of_the_stream_has_the_category_it_has_elsewhere(stage: Stage) -> None:
    stage.fault(kind="status", moment="within", status=529, after=6)
    heard = await stage.bench.ask("a story")
    assert heard.text
    assert [one.category for one in heard.failures] == ["server"]


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (400, "invalid_request"),
        (401, "authentication"),
        (403, "authorization"),
        (429, "rate_limit"),
        (500, "server"),
        (529, "server"),
    ],
)
async def test_a_refusal_is_told_and_the_service_stays_usable(stage: Stage, status: int, category: str) -> None:
    stage.fault(kind="status", moment="before", status=status)
    heard = await stage.bench.ask("a story")
    assert [one.category for one in heard.failures] == [category]
    assert stage.bench.service.is_usable
    assert not [frame for frame in stage.bench.frames if isinstance(frame, ErrorFrame)]
    assert (await stage.bench.ask("a story")).stops == ["complete"]


async def test_the_wait_that_a_vendor_asks_for_is_told(stage: Stage) -> None:
    stage.fault(kind="status", moment="before", status=429, retry_after=5)
    heard = await stage.bench.ask("a story")
    assert heard.failures == [Failure("rate_limit", 5000)]


async def test_a_cancelled_reply_tells_nothing_more_and_its_connection_is_closed(stage: Stage) -> None:
    stage.fault(kind="stall", moment="within", after=6)
    heard = await stage.bench.send("a story")
    async with asyncio.timeout(5):
        await heard.first.wait()
        reading = stage.bench.service._reading
        await stage.bench.branch.send(InterruptionFrame())
        await heard.gone.wait()
    assert not heard.stops
    assert not heard.failures
    assert reading is not None
    assert reading.ag_frame is None, "the stream is still open"


async def test_an_ask_that_was_dropped_on_its_way_is_never_sent(stage: Stage) -> None:
    heard = Heard()
    await stage.bench.branch.send(Ask(LLMContext([{"role": "user", "content": "hi"}]), asker=heard, dropped=True))
    async with asyncio.timeout(5):
        await heard.gone.wait()
    assert not heard.order


# -- replies that no stand-in gives


def sse(*events: dict[str, Any], named: bool = True) -> bytes:
    lines = [(f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join(lines).encode()


def messages(*blocks: dict[str, Any], stop: str = "end_turn") -> bytes:
    """A reply of the Messages API: `{"text": …}`, or `{"name": …, "json": …}` for a tool call."""
    usage = {"input_tokens": 9, "output_tokens": 1}
    start = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {**start, "stop_reason": None}}]
    for index, block in enumerate(blocks):
        begun: dict[str, Any] = {"type": "text", "text": ""}
        delta: dict[str, Any] = {"type": "text_delta", "text": block.get("text")}
        if "name" in block:
            begun = {"type": "tool_use", "id": f"toolu_{index}", "name": block["name"], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": block["json"]}
        events += [
            {"type": "content_block_start", "index": index, "content_block": begun},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    events.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage})
    return sse(*events, {"type": "message_stop"})


def completion(*deltas: dict[str, Any], finish: str | None) -> bytes:
    """A reply of the chat completions API; without `finish` it breaks off."""
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if finish is None:
        return sse(*chunks, named=False)
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    return sse(*chunks, {**base, "choices": [], "usage": usage}, named=False) + b"data: [DONE]\n\n"


def called(index: int, name: str, *parts: str) -> list[dict[str, Any]]:
    function: dict[str, Any] = {"name": name, "arguments": ""}
    head = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
    more = [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in parts]
    return [{"tool_calls": [head]}, *more]


async def replied(vendor: str, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> Heard:
    async def answer(_: web.Request) -> web.Response:
        kind = {"Content-Type": "text/event-stream" if status == 200 else "application/json"}
        return web.Response(body=body, status=status, headers={**kind, **(headers or {})})

    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    app.router.add_post("/v1/chat/completions", answer)
    async with served(app) as url, benched(vendor, url) as bench:
        return await bench.ask("hello")


CUT = '{"city": "Par'
BENT = r'{"city": "\x41"}'
TWO_CALLS = {
    "anthropic": lambda first, second: messages(
        {"text": "Well."},
        {"name": "weather", "json": first},
        {"name": "weather", "json": second},
        stop="tool_use",
    ),
    "openai": lambda first, second: completion(
        {"content": "Well."}, *called(0, "weather", first), *called(1, "weather", second), finish="tool_calls"
    ),
}


@pytest.mark.parametrize("vendor", ["anthropic", "openai"])
@pytest.mark.parametrize("broken", [CUT, BENT, "[1]", "[" * 100_000], ids=["cut", "bent", "list", "deep"])
async def test_malformed_arguments_become_a_call_that_is_refused_with_words_the_model_can_act_on(
    vendor: str, broken: str
) -> None:
    heard = await replied(vendor, TWO_CALLS[vendor](broken, '{"city": "Rome"}'))
    assert not heard.failures
    first, second = heard.calls
    assert second.arguments == {"city": "Rome"}
    with pytest.raises(ArgumentError, match="no valid JSON object; write the call again"):
        weather.validate(first.arguments)
    assert len(str(first.arguments[MALFORMED])) <= 200


@pytest.mark.parametrize("vendor", ["anthropic", "openai"])
async def test_vendors_behave_alike_with_several_calls(vendor: str) -> None:
    heard = await replied(vendor, TWO_CALLS[vendor]('{"city": "Paris"}', ""))
    assert heard.text == "Well."
    assert [call.arguments for call in heard.calls] == [{"city": "Paris"}, {}]
    assert heard.stops == ["complete"]
    assert heard.order == ["ended", "end"]


@pytest.mark.parametrize(
    ("vendor", "body", "stop"),
    [
        ("anthropic", messages({"text": "It is"}, stop="max_tokens"), "max_tokens"),
        ("anthropic", messages(stop="refusal"), "refusal"),
        ("openai", completion({"content": "It is"}, finish="length"), "max_tokens"),
        ("openai", completion(finish="content_filter"), "refusal"),
        ("openai", completion({"content": "Yes."}, finish="stop"), "complete"),
    ],
)
async def test_why_a_model_stopped_is_told_in_one_vocabulary(vendor: str, body: bytes, stop: Stop) -> None:
    heard = await replied(vendor, body)
    assert heard.stops == [stop]
    assert not heard.failures


async def test_an_openai_reply_without_its_finish_reason_is_no_reply() -> None:
    heard = await replied("openai", completion({"content": "It is"}, finish=None))
    assert heard.text == "It is"
    assert heard.failures == [Failure("truncated")]


@pytest.mark.parametrize(
    ("said", "ms"),
    [("1.5", 1500), ("600", 600_000), ("-3", 0), ("nan", 0), ("inf", 0), ("soon", 0), ("9" * 400, 0)],
)
async def test_nonsense_in_retry_after_is_no_wait(said: str, ms: float) -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"x"}}'
    heard = await replied("anthropic", body, {"retry-after": said}, status=429)
    assert heard.failures == [Failure("rate_limit", ms)]


def test_a_timeout_is_a_timeout_whoever_raises_it() -> None:
    assert failure(TimeoutError()) == Failure("timeout")
    assert failure(ConnectionResetError()).category == "connectivity"
    assert failure(ValueError("secret words")) == Failure("unknown")


async def test_nobody_answering_at_the_address_is_told() -> None:
    async with benched("anthropic", "http://127.0.0.1:9") as bench:
        heard = await bench.ask("hello")
    assert [one.category for one in heard.failures] == ["connectivity"]
