"""Tools: plain typed async functions that the model may call.

The schema the model sees comes from the signature and the docstring; arguments are validated
against it before the function runs, so a tool's body never meets a value of the wrong type.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias, overload

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_jsonable_python

from callwright.errors import AgentError

JSON: TypeAlias = JsonValue
"""What crosses to the model and to the journal."""


class Call(Protocol):
    """What a tool may do with the call it runs in; annotate a parameter with it to receive it.

    The parameter is filled in by the engine and is not part of the schema the model sees.
    """

    @property
    def id(self) -> str:
        """The call's identifier, as in the records."""
        ...

    @property
    def caller(self) -> str:
        """The identity of the linked caller in the room."""
        ...

    @property
    def ending(self) -> bool:
        """Whether the call is ending already, because `end` was called or for any other reason."""
        ...

    async def say(self, text: str, *, remember: bool = True) -> None:
        """Speak `text` to the caller as the agent, now, without asking the model.

        The model is shown what was heard of it, unless `remember` is false ("one moment, please").
        """
        ...

    async def end(self, farewell: str | None = None) -> None:
        """End the call after what is being said and `farewell` have been played (in bounded time)."""
        ...


class ToolError(Exception):
    """Raise it in a tool to tell the model, in words, why the tool could not do what was asked."""


class ArgumentError(Exception):
    """The model's arguments do not fit the schema; the text tells the model what to mend."""


class ResultError(Exception):
    """A tool returned something that cannot be written as JSON."""


@dataclass(frozen=True)
class ToolPolicy:
    """How a tool is run. `fillers`: what may be said while it runs."""

    fillers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    """A function the model may call, with everything that is derived from its signature."""

    function: Callable[..., Awaitable[object]]
    name: str
    description: str
    arguments: type[BaseModel]
    call_parameter: str | None
    policy: ToolPolicy = ToolPolicy()

    async def __call__(self, *args: Any, **kwargs: Any) -> object:
        """Run the function as if it were not a tool; tests call tools this way."""
        return await self.function(*args, **kwargs)

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

    async def run(self, arguments: Mapping[str, JSON], call: Call) -> JSON:
        """Validate, run, and give the result as JSON.

        Raises ArgumentError or ResultError, or whatever the function raises.
        """
        values = self.validate(arguments)
        if self.call_parameter:
            values[self.call_parameter] = call
        result = await self.function(**values)
        try:
            return typing.cast("JSON", to_jsonable_python(result))
        except PydanticSerializationError as error:
            raise ResultError(f"{self.name} returned a {type(result).__name__}, which is not JSON") from error


@overload
def tool(function: Callable[..., Awaitable[object]], /) -> Tool: ...
@overload
def tool(
    *, name: str | None = None, fillers: tuple[str, ...] = ()
) -> Callable[[Callable[..., Awaitable[object]]], Tool]: ...


def tool(
    function: Callable[..., Awaitable[object]] | None = None,
    /,
    *,
    name: str | None = None,
    fillers: tuple[str, ...] = (),
) -> Tool | Callable[[Callable[..., Awaitable[object]]], Tool]:
    """Make a tool of a plain typed async function.

    The first paragraph of the docstring tells the model what the tool does and when to use it; its
    `Args:` section describes the parameters. Raises AgentError, naming the file and line, when the
    function is not async, a parameter has no type, or there is no docstring.
    """
    if function is None:
        return lambda wrapped: _build(wrapped, name, ToolPolicy(fillers))
    return _build(function, name, ToolPolicy(fillers))


def _build(function: Callable[..., Awaitable[object]], name: str | None, policy: ToolPolicy) -> Tool:
    where = _where(function)
    if not inspect.iscoroutinefunction(function):
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
