"""Tools: plain typed async functions that the model may call.

The schema the model sees comes from the signature and the docstring; arguments are validated
against it before the function runs, so a tool's body never meets a value of the wrong type.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, overload

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, create_model

from callwright.errors import AgentError
from callwright.tool_call import Call, CallNotes
from callwright.tool_policy import KeyOf, PolicyError, ToolPolicy
from callwright.tool_result import ResultError, as_json

__all__ = ["JSON", "ArgumentError", "Call", "CallNotes", "ResultError", "Tool", "ToolError", "ToolPolicy", "tool"]

JSON: TypeAlias = JsonValue
"""What crosses to the model and to the journal."""


class ToolError(Exception):
    """Raise it in a tool to tell the model, in words, why the tool could not do what was asked.

    `passing`: the same might work in a moment; the tool is tried again if its policy allows it.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class ArgumentError(Exception):
    """The model's arguments do not fit the schema; the text tells the model what to mend."""


Function = Callable[..., Awaitable[object]] | Callable[..., AsyncIterator[object]]
"""An async function, or an async generator function whose last value is the result and those before it parts."""


@dataclass(frozen=True)
class Tool:
    """A function the model may call, with everything that is derived from its signature."""

    function: Function
    name: str
    description: str
    arguments: type[BaseModel]
    call_parameter: str | None
    policy: ToolPolicy = field(default_factory=ToolPolicy)

    async def __call__(self, *args: Any, **kwargs: Any) -> object:
        """Run the function as if it were not a tool; tests call tools this way."""
        given = self.function(*args, **kwargs)
        if isinstance(given, AsyncIterator):
            return await _last(given)
        return await given

    @property
    def streams(self) -> bool:
        """Whether it gives its result in parts."""
        return inspect.isasyncgenfunction(self.function)

    @cached_property
    def schema(self) -> dict[str, JSON]:
        """JSON schema of the arguments: an object, references resolved, no pydantic titles."""
        raw = self.arguments.model_json_schema()
        return typing.cast("dict[str, JSON]", _resolve(raw, raw.get("$defs", {})))

    def validate(self, arguments: Mapping[str, JSON]) -> dict[str, object]:
        """The arguments as typed values; ArgumentError lists every misfit."""
        try:
            model = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ArgumentError(_misfits(self.name, error)) from None
        return {name: getattr(model, name) for name in type(model).model_fields}

    def identity(self, values: Mapping[str, object]) -> str:
        """What makes two calls of this tool the same deed: its policy's key, else its validated arguments.

        Raises ResultError if that is not JSON, or whatever the key raises.
        """
        said = as_json(self.policy.key(values) if self.policy.key else dict(values))
        return json.dumps([self.name, said], sort_keys=True)

    async def parts(self, values: Mapping[str, object], call: Call) -> AsyncGenerator[JSON, None]:
        """Run with validated arguments: each part of the result as JSON, the last one being the result.

        A tool that does not stream has one part. Raises ResultError, or whatever the function raises.
        """
        given = self.function(**values, **({self.call_parameter: call} if self.call_parameter else {}))
        if not isinstance(given, AsyncIterator):
            yield as_json(await given)
            return
        async with _closing(given):
            async for part in given:
                yield as_json(part)

    async def run(self, arguments: Mapping[str, JSON], call: Call) -> JSON:
        """Validate, run to the end, and give the result as JSON; None for a stream without parts.

        Raises ArgumentError or ResultError, or whatever the function raises.
        """
        result: JSON = await _last(self.parts(self.validate(arguments), call))
        return result


async def _last(stream: AsyncIterator[Any]) -> Any:
    last = None
    async with _closing(stream):
        async for part in stream:
            last = part
    return last


@asynccontextmanager
async def _closing(stream: AsyncIterator[object]) -> AsyncIterator[None]:
    """Whatever happens, the generator's own clean-up has run when this ends."""
    try:
        yield
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


@overload
def tool(function: Function, /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    side_effect: bool = True,
    limit_s: float = 8.0,
    cancel_after_s: float = 60.0,
    retries: int | None = None,
    cancellable: bool = False,
    key: KeyOf | None = None,
    fillers: Sequence[str] = (),
) -> Callable[[Function], Tool]: ...


def tool(
    function: Function | None = None, /, *, name: str | None = None, **policy: Any
) -> Tool | Callable[[Function], Tool]:
    """Make a tool of a plain typed async function, or of an async generator function (see `Function`).

    The first paragraph of the docstring tells the model what the tool does and when to use it; its
    `Args:` section describes the parameters. The other arguments are those of `ToolPolicy`. Raises AgentError,
    naming the file and line, when the function is not async, a parameter has no type, there is no docstring, or
    the policy contradicts itself.
    """
    if function is None:
        return lambda wrapped: _build(wrapped, name, policy)
    return _build(function, name, policy)


def _build(function: Function, name: str | None, given: Mapping[str, Any]) -> Tool:
    where = _where(function)
    if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        raise AgentError(f"{where}: a tool must be an async function; write 'async def {function.__name__}'")
    doc = docstring_parser.parse(inspect.getdoc(function) or "")
    description = "\n\n".join(part for part in (doc.short_description, doc.long_description) if part)
    if not description:
        raise AgentError(
            f"{where}: tool '{function.__name__}' needs a docstring: the model reads it to know when to call"
        )
    said_of = {parameter.arg_name: parameter.description or "" for parameter in doc.params}
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise AgentError(f"{where}: tool '{function.__name__}' has a type that is not defined: {error}") from None
    fields: dict[str, Any] = {}
    call_parameter: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise AgentError(
                f"{where}: tool '{function.__name__}' has the parameter '{parameter}', which the model cannot fill; "
                "name every parameter"
            )
        if parameter.name not in hints:
            raise AgentError(
                f"{where}: parameter '{parameter.name}' of tool '{function.__name__}' has no type; "
                f"write e.g. '{parameter.name}: str'"
            )
        if hints[parameter.name] is Call:
            call_parameter = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (
            hints[parameter.name],
            Field(default, description=said_of.get(parameter.name) or None),
        )
    try:
        arguments = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
        TypeAdapter(arguments)
    except Exception as error:
        raise AgentError(f"{where}: tool '{function.__name__}' has a type the model cannot fill: {error}") from None
    try:
        policy = ToolPolicy(**given)
    except PolicyError as error:
        raise AgentError(f"{where}: tool '{function.__name__}': {error}") from None
    except TypeError:
        unknown = ", ".join(sorted(set(given) - {field.name for field in dataclasses.fields(ToolPolicy)}))
        raise AgentError(f"{where}: tool '{function.__name__}': a tool's policy knows no {unknown}") from None
    return Tool(function, name or function.__name__, description, arguments, call_parameter, policy)


def _where(function: Callable[..., object]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _resolve(node: Any, definitions: Mapping[str, Any], depth: int = 0) -> Any:
    """Inline `$ref`s and drop titles: vendors differ in what they accept of `$defs`."""
    if depth > 20:
        raise AgentError("a tool's argument type refers to itself; the model cannot fill a recursive type")
    if isinstance(node, list):
        return [_resolve(item, definitions, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[str(node["$ref"]).rsplit("/", 1)[-1]]
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _resolve({**target, **rest}, definitions, depth + 1)
    return {
        key: (
            {name: _resolve(schema, definitions, depth + 1) for name, schema in value.items()}
            if key == "properties"
            else _resolve(value, definitions, depth + 1)
        )
        for key, value in node.items()
        if key not in ("title", "$defs")
    }


def _misfits(tool_name: str, error: ValidationError) -> str:
    parts = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(step) for step in problem["loc"]) or "arguments"
        parts.append(f"{place}: {problem['msg']}")
    return f"{tool_name} was not run; mend its arguments: " + "; ".join(parts)
