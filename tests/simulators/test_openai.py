"""The OpenAI stand-in, spoken to by the vendor's own SDK and by Pipecat's service."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import httpx
import llm_world
import openai as sdk
import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    MetricsFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.workers.runner import WorkerRunner

from callwright.simulators.account import AccountSettings, Delay

MODEL = "gpt-4.1"


def function(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


WEATHER = function("weather", city={"type": "string"})
CLOCK = function("clock")


class Desk(llm_world.Desk):
    def client(self, key: str = "sk-test", *, retries: int = 0, **more: Any) -> sdk.AsyncOpenAI:
        return sdk.AsyncOpenAI(api_key=key, base_url=f"{self.url}/v1", max_retries=retries, **more)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Desk.running(tmp_path) as started:
        yield started


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


async def raw(desk: Desk, body: dict[str, Any]) -> list[str]:
    """The records of a stream, as they came."""
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{desk.url}/v1/chat/completions",
            json={**body, "stream": True},
            headers={"Authorization": "Bearer sk-test"},
        )
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [record.removeprefix("data: ") for record in answer.text.split("\n\n") if record]


async def streamed(client: sdk.AsyncOpenAI, body: dict[str, Any]) -> list[Any]:
    async with await client.chat.completions.create(**body, stream=True) as stream:
        return [chunk async for chunk in stream]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# ---------------------------------------------------------------------------------------------------- answers


async def test_a_streamed_answer_is_the_text_the_rules_say(desk: Desk) -> None:
    async with desk.client() as client:
        chunks = await streamed(client, ask("tell me a story", stream_options={"include_usage": True}))
    assert text_of(chunks).startswith("Once upon a time there was")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-2:] == [None, "stop"]
    usage = chunks[-1].usage
    assert usage.completion_tokens == len(
        [chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    )
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert {chunk.model for chunk in chunks} == {"gpt-4.1-2025-04-14"}
    assert len({chunk.id for chunk in chunks}) == 1


async def test_records_come_in_the_vendors_order_and_form(desk: Desk) -> None:
    records = await raw(desk, ask("compare", tools=[WEATHER], stream_options={"include_usage": True}))
    assert records[-1] == "[DONE]"
    chunks = [json.loads(record) for record in records[:-1]]
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["prompt_tokens_details"]["cached_tokens"]) == ([], 0)
    assert (chunks[-2]["choices"][0]["delta"], chunks[-2]["choices"][0]["finish_reason"]) == ({}, "tool_calls")
    calls = [delta["tool_calls"][0] for chunk in chunks[:-1] if "tool_calls" in (delta := chunk["choices"][0]["delta"])]
    assert [call["index"] for call in calls] == sorted(call["index"] for call in calls)
    opened = [call for call in calls if "id" in call]
    assert [(call["index"], call["type"], call["function"]) for call in opened] == [
        (0, "function", {"name": "weather", "arguments": ""}),
        (1, "function", {"name": "weather", "arguments": ""}),
    ]
    second = "".join(call["function"]["arguments"] for call in calls if call["index"] == 1)
    assert json.loads(second) == {"city": "Reykjavík"}
    assert "usage" not in json.loads((await raw(desk, ask("hello")))[0])


async def test_the_sdks_own_accumulation_finds_every_call(desk: Desk) -> None:
    async with desk.client() as client, client.chat.completions.stream(**ask("compare", tools=[WEATHER])) as stream:
        completion = await stream.get_final_completion()
    message = completion.choices[0].message
    assert message.content == "Let me compare."
    assert [json.loads(call.function.arguments)["city"] for call in message.tool_calls or []] == ["Paris", "Reykjavík"]
    assert all(call.id.startswith("call_") for call in message.tool_calls or [])


async def test_an_answer_that_is_not_streamed_is_the_same(desk: Desk) -> None:
    async with desk.client() as client:
        completion = await client.chat.completions.create(**ask("what is the weather", tools=[WEATHER]))
    (choice,) = completion.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls or []
    assert json.loads(cast("Any", call).function.arguments) == {"city": "Paris"}
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 1


async def test_a_tool_result_is_spoken_about(desk: Desk) -> None:
    call = {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "what is the weather"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_a", "content": '{"sky": "grey"}'},
    ]
    async with desk.client() as client:
        completion = await client.chat.completions.create(**ask("", messages=messages, tools=[WEATHER]))
    assert completion.choices[0].message.content == "It is grey."


@pytest.mark.parametrize(
    ("change", "calls", "finish"),
    [
        ({"parallel_tool_calls": False}, 1, "tool_calls"),
        ({"tool_choice": "none"}, 0, "stop"),
        ({"tool_choice": "required"}, 2, "tool_calls"),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, 2, "stop"),
    ],
)
async def test_the_choice_of_tools_is_obeyed(desk: Desk, change: dict[str, Any], calls: int, finish: str) -> None:
    async with desk.client() as client:
        completion = await client.chat.completions.create(**ask("compare", tools=[WEATHER, CLOCK], **change))
    assert len(completion.choices[0].message.tool_calls or []) == calls
    assert completion.choices[0].finish_reason == finish


async def test_the_limit_and_stop_sequences_cut_the_answer(desk: Desk) -> None:
    async with desk.client() as client:
        short = await client.chat.completions.create(**ask("story", max_completion_tokens=4))
        stopped = await client.chat.completions.create(**ask("story", stop=" there"))
    assert short.choices[0].message.content == stopped.choices[0].message.content == "Once upon a time"
    assert (short.choices[0].finish_reason, stopped.choices[0].finish_reason) == ("length", "stop")


async def test_a_repeated_prefix_is_read_from_the_cache_and_the_log_speaks_one_language(desk: Desk) -> None:
    system = {"role": "system", "content": "Speak kindly. " * 400}
    async with desk.client() as client:
        usages = []
        for text in ("hello", "hello again"):
            messages = [system, {"role": "user", "content": text}]
            completion = await client.chat.completions.create(**ask("", messages=messages))
            usages.append(completion.usage)
    read = [cast("Any", usage).prompt_tokens_details.cached_tokens for usage in usages]
    assert read[0] == 0
    assert read[1] >= 1024
    assert read[1] % 128 == 0
    logged = cast("Any", desk.account().served[-1].detail["usage"])
    assert logged["cache_read_input_tokens"] == read[1]
    assert logged["input_tokens"] + read[1] == cast("Any", usages[1]).prompt_tokens


# ---------------------------------------------------------------------------------------------------- time, log


async def test_the_first_token_comes_after_the_drawn_delay_and_the_rest_at_the_pace(tmp_path: Path) -> None:
    settings = AccountSettings(llm_first_token=Delay(200, 200), llm_tokens_per_s=100)
    async with Desk.running(tmp_path, settings) as desk, desk.client() as client:
        began = time.monotonic()
        arrivals: list[float] = []
        async with await client.chat.completions.create(**ask("story"), stream=True) as stream:
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    arrivals.append(time.monotonic() - began)
        served = desk.account().served
    assert len(arrivals) > 20
    assert all(at >= 0.2 + number / 100 for number, at in enumerate(arrivals))
    first, reply = served
    assert (first.what, reply.what) == ("first_token", "reply")
    assert first.delay_ms >= 200
    assert (reply.detail["stop_reason"], reply.detail["model"]) == ("stop", "gpt-4.1-2025-04-14")


async def test_a_barge_in_stops_the_stream_and_is_noted(tmp_path: Path) -> None:
    settings = AccountSettings(llm_first_token=Delay(0, 0), llm_tokens_per_s=20)
    async with Desk.running(tmp_path, settings) as desk, desk.client() as client:
        async with await client.chat.completions.create(**ask("story"), stream=True) as stream:
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
        await desk.until_cancelled()
    assert cast("int", desk.account().served[-1].detail["output_tokens"]) >= 1


async def test_requests_are_kept_as_received(desk: Desk) -> None:
    async with desk.client() as client:
        await client.chat.completions.create(**ask("hello", temperature=0.3))
    (body,) = desk.account().requests
    assert (body["temperature"], body["messages"]) == (0.3, [{"role": "user", "content": "hello"}])


# ---------------------------------------------------------------------------------------------------- refusals


async def test_a_refused_key_is_401_and_is_not_repeated(desk: Desk) -> None:
    async with desk.client("refused-very-secret") as client:
        with pytest.raises(sdk.AuthenticationError, match="Incorrect API key provided") as caught:
            await client.chat.completions.create(**ask("hello"))
    assert caught.value.code == "invalid_api_key"
    assert "secret" not in caught.value.response.text
    assert caught.value.request_id is not None
    assert caught.value.request_id.startswith("req_")


async def test_a_missing_key_and_a_body_that_is_not_json_are_refused(desk: Desk) -> None:
    url = f"{desk.url}/v1/chat/completions"
    async with httpx.AsyncClient() as http:
        keyless = await http.post(url, json=ask("hello"))
        garbled = await http.post(url, content=b'{"model": ', headers={"Authorization": "Bearer sk-test"})
        too_much = await http.post(url, json=ask("x" * 2**21), headers={"Authorization": "Bearer sk-test"})
    assert (keyless.status_code, garbled.status_code, too_much.status_code) == (401, 400, 413)
    assert "You didn't provide an API key" in keyless.json()["error"]["message"]
    assert garbled.json()["error"]["message"].startswith("We could not parse the JSON body of your request.")


async def test_a_refusal_names_its_parameter_and_its_code(desk: Desk) -> None:
    async with desk.client() as client:
        with pytest.raises(sdk.BadRequestError) as caught:
            await client.chat.completions.create(**ask("hello", model="gpt-5.1", max_tokens=5))
        with pytest.raises(sdk.NotFoundError, match="The model `gpt-x` does not exist") as unknown:
            await client.chat.completions.create(**ask("hello", model="gpt-x"))
    error = caught.value
    assert (error.type, error.param, error.code) == ("invalid_request_error", "max_tokens", "unsupported_parameter")
    assert unknown.value.code == "model_not_found"
    assert [line.what for line in desk.account().served] == ["refused", "refused"]


async def test_models_are_listed_for_each_vendors_client(desk: Desk) -> None:
    import anthropic as anthropic_sdk

    async with (
        desk.client() as client,
        anthropic_sdk.AsyncAnthropic(api_key="sk-test", base_url=desk.url, max_retries=0) as other,
    ):
        names = [model.id async for model in client.models.list()]
        others = [model.id async for model in other.models.list()]
        one = await client.models.retrieve(MODEL)
        with pytest.raises(sdk.NotFoundError):
            await client.models.retrieve("claude-haiku-5-5")
    assert one.id == MODEL
    assert one.created > 0
    assert MODEL in names
    assert "claude-haiku-5-5" in others
    assert not set(names) & set(others)


async def test_headers_carry_the_request_id_and_limits(desk: Desk) -> None:
    async with desk.client() as client:
        answer = await client.chat.completions.with_raw_response.create(**ask("hello"))
    assert answer.headers["x-request-id"] == desk.account().served[-1].request_id
    for name in ("requests", "tokens"):
        assert int(answer.headers[f"x-ratelimit-remaining-{name}"]) > 0


# ---------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, sdk.BadRequestError),
        (401, sdk.AuthenticationError),
        (402, sdk.APIStatusError),
        (429, sdk.RateLimitError),
        (500, sdk.InternalServerError),
        (503, sdk.InternalServerError),
        (529, sdk.InternalServerError),
    ],
)
async def test_an_ordered_status_comes_in_the_vendors_form(desk: Desk, status: int, kind: type[Exception]) -> None:
    desk.order(kind="status", status=status, retry_after=600)
    async with desk.client() as client:
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(**ask("hello"))
        await client.chat.completions.create(**ask("hello"))  # it struck once
    error = cast("sdk.APIStatusError", caught.value)
    assert error.status_code == status
    assert error.response.headers["retry-after"] == "600"
    assert error.type


async def test_a_rate_limit_is_waited_out_as_told(desk: Desk) -> None:
    desk.order(kind="status", status=429, retry_after=0.2)
    async with desk.client(retries=1) as client:
        began = time.monotonic()
        await client.chat.completions.create(**ask("hello"))
    assert time.monotonic() - began >= 0.2


async def test_an_error_within_the_stream_comes_after_the_text(desk: Desk) -> None:
    desk.order(kind="status", moment="within", after=3)
    got: list[str] = []

    async def listen(client: sdk.AsyncOpenAI) -> None:
        async with await client.chat.completions.create(**ask("story"), stream=True) as stream:
            async for chunk in stream:
                got.append(chunk.choices[0].delta.content or "")

    async with desk.client() as client:
        with pytest.raises(sdk.APIError, match="overloaded"):
            await listen(client)
    assert "".join(got) == "Once upon a"


async def test_a_truncated_stream_ends_without_its_end_marker(desk: Desk) -> None:
    desk.order(kind="truncate", moment="within", after=2)
    records = await raw(desk, ask("story"))
    assert "[DONE]" not in records
    assert all(json.loads(record)["choices"][0]["finish_reason"] is None for record in records)
    assert len(records) == 3  # the role, and two words


async def test_a_trickle_slows_the_rest(desk: Desk) -> None:
    desk.order(kind="trickle", moment="within", after=1, pace=5)
    arrivals: list[float] = []
    async with (
        desk.client() as client,
        await client.chat.completions.create(**ask("story", max_completion_tokens=4), stream=True) as stream,
    ):
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                arrivals.append(time.monotonic())
    assert arrivals[-1] - arrivals[1] >= 0.39


async def test_a_stall_within_the_stream_is_a_gap(desk: Desk) -> None:
    desk.order(kind="stall", moment="within", after=3, stall_s=0.3)
    arrivals: list[float] = []
    async with desk.client() as client, await client.chat.completions.create(**ask("story"), stream=True) as stream:
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                arrivals.append(time.monotonic())
    gaps = [b - a for a, b in pairwise(arrivals)]
    assert gaps.index(max(gaps)) == 2
    assert max(gaps) >= 0.29


# ---------------------------------------------------------------------------------------------------- Pipecat


class _Listener(FrameProcessor):
    """Notes what Pipecat's service sends on."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.news = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        self.news.set()
        await self.push_frame(frame, direction)

    async def hears(self, kind: type[Frame]) -> None:
        async with asyncio.timeout(20):
            while not any(isinstance(frame, kind) for frame in self.frames):
                self.news.clear()
                await self.news.wait()


async def test_pipecats_own_service_speaks_and_runs_both_of_two_calls(desk: Desk) -> None:
    model = OpenAILLMService(
        api_key="sk-test", base_url=f"{desk.url}/v1", settings=OpenAILLMService.Settings(model=MODEL)
    )
    asked: list[Any] = []

    async def weather(params: FunctionCallParams) -> None:
        asked.append(params.arguments["city"])
        await params.result_callback({"sky": "grey"})

    model.register_function("weather", weather)
    listener = _Listener()
    worker = PipelineWorker(
        Pipeline([model, listener]),
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(worker)
    going = asyncio.create_task(runner.run())
    schema = FunctionSchema("weather", "The weather in a city.", {"city": {"type": "string"}}, ["city"])
    context = LLMContext(
        messages=[{"role": "user", "content": "compare the weather"}], tools=ToolsSchema(standard_tools=[schema])
    )
    try:
        await worker.queue_frame(LLMContextFrame(context))
        await listener.hears(LLMFullResponseEndFrame)
        async with asyncio.timeout(20):
            while len(asked) < 2:  # noqa: ASYNC110 a plain list
                await asyncio.sleep(0.01)
    finally:
        await worker.cancel()
        await going
        await model._client.close()
    said = "".join(frame.text for frame in listener.frames if isinstance(frame, LLMTextFrame))
    usage = [
        data.value
        for frame in listener.frames
        if isinstance(frame, MetricsFrame)
        for data in frame.data
        if isinstance(data, LLMUsageMetricsData)
    ]
    assert said == "Let me compare."
    assert sorted(asked) == ["Paris", "Reykjavík"]
    assert usage[0].completion_tokens > 5
