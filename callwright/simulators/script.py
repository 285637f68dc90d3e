"""What a simulated caller does, as a short YAML file, read strictly.

    voice: rms
    seed: 1
    noise_dbfs: -55               # optional background noise
    steps:
      - wait: agent_done          # the agent spoke and was then silent for quiet_ms
      - say: "I would like to book an appointment."
      - wait: {agent_words: 3}    # until the agent has spoken about three words of this answer
      - talk_over: "No, wait."    # like say, named for what it does
      - start_saying: "And then"  # begins to say it and goes on with the next step
      - cough
      - silence: 2.0              # seconds
      - dtmf: "1234#"
      - hang_up

A mistake is one line that says where it is and what was probably meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from callwright.simulators.errors import SimulatorError

M = TypeVar("M", bound=BaseModel)
Seconds = Annotated[float, Field(ge=0, le=3600)]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Wait(_Step):
    """Wait for the agent to finish, or with `agent_words` to have spoken about so many words of its
    answer."""

    kind: Literal["wait"] = "wait"
    agent_words: Annotated[int, Field(ge=1)] | None = None
    quiet_ms: Annotated[int, Field(ge=50)] = 700
    timeout_s: Seconds = 15.0


class Say(_Step):
    """Say a text; `talk_over` does not differ but in name, `start_saying` does not wait for its end."""

    kind: Literal["say", "talk_over", "start_saying"]
    text: Annotated[str, Field(min_length=1)]


class Cough(_Step):
    """A burst of noise."""

    kind: Literal["cough"] = "cough"
    duration_s: Annotated[float, Field(gt=0, le=5)] = 0.35
    dbfs: Annotated[float, Field(le=0, ge=-60)] = -20.0


class Silence(_Step):
    """Say nothing for so many seconds."""

    kind: Literal["silence"] = "silence"
    seconds: Seconds


class Dtmf(_Step):
    """Press keys."""

    kind: Literal["dtmf"] = "dtmf"
    digits: Annotated[str, Field(pattern=r"^[0-9*#]+$")]


class HangUp(_Step):
    """Leave, in mid-word if need be; what follows is not done."""

    kind: Literal["hang_up"] = "hang_up"


Step = Wait | Say | Cough | Silence | Dtmf | HangUp


class Script(BaseModel):
    """A whole call from the caller's side. `speed` is the voice's (1.2: faster)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    voice: str = "rms"
    seed: int = 0
    speed: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    noise_dbfs: Annotated[float, Field(le=-10, ge=-90)] | None = None
    steps: tuple[Step, ...]

    @model_validator(mode="after")
    def _does_something(self) -> Script:
        if not self.steps:
            raise ValueError("a script without steps")
        return self

    @property
    def texts(self) -> list[str]:
        """Everything that will be said, in order."""
        return [step.text for step in self.steps if isinstance(step, Say)]


_KINDS = ("wait", "say", "talk_over", "start_saying", "cough", "silence", "dtmf", "hang_up")
_MODELS: dict[str, type[_Step]] = {
    "wait": Wait,
    "say": Say,
    "talk_over": Say,
    "start_saying": Say,
    "cough": Cough,
    "silence": Silence,
    "dtmf": Dtmf,
    "hang_up": HangUp,
}
_PLAIN = {"say": "text", "talk_over": "text", "start_saying": "text", "silence": "seconds", "dtmf": "digits"}
"""Which field a plain value (`say: "text"`) stands for."""


def load(path: Path) -> Script:
    """Read a script file. Raises SimulatorError: file, line, what is wrong, what was probably meant."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise SimulatorError(f"caller script {path} cannot be read: {reason}") from error
    return parse(text, str(path))


def parse(text: str, name: str = "script") -> Script:
    """Read a script; `name` stands in errors where the file would."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SimulatorError(f"{name}:{line}: not YAML: {error.problem}") from error
    if not isinstance(root, yaml.MappingNode):
        raise SimulatorError(f"{name}:1: a caller script is a mapping with the key 'steps'")
    return _Reader(name).script(root)


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name

    def script(self, root: yaml.MappingNode) -> Script:
        nodes = self._keys(root, Script.model_fields, "key")
        steps = nodes.pop("steps", None)
        if not isinstance(steps, yaml.SequenceNode) or not steps.value:
            message = "'steps' must be a list of at least one step, such as '- say: Hello.'"
            raise self._error(steps or root, message)
        values = {key: _value(node) for key, node in nodes.items()}
        values["steps"] = tuple(self._step(node) for node in steps.value)
        return self._model(Script, values, nodes, root)

    def _step(self, node: yaml.Node) -> _Step:
        if isinstance(node, yaml.ScalarNode):
            kind, body = str(node.value), None
        elif isinstance(node, yaml.MappingNode) and len(node.value) == 1:
            kind, body = node.value[0][0].value, node.value[0][1]
        else:
            raise self._error(node, f"a step is one of {', '.join(_KINDS)} with its value")
        self._known(kind, _KINDS, "step", node)
        model = _MODELS[kind]
        nodes: dict[str, yaml.Node] = {}
        if isinstance(body, yaml.MappingNode):
            fields = [field for field in model.model_fields if field != "kind"]
            nodes = self._keys(body, fields, f"key of '{kind}'")
        elif kind == "wait" and isinstance(body, yaml.ScalarNode):
            self._known(body.value, ("agent_done",), "thing to wait for", body)
        elif body is not None and kind in _PLAIN:
            nodes = {_PLAIN[kind]: body}
        elif body is not None and _value(body) is not None:
            raise self._error(body, f"'{kind}' takes no plain value")
        values = {key: _value(value) for key, value in nodes.items()}
        return self._model(model, {"kind": kind, **values}, nodes, node)

    def _model(self, model: type[M], values: dict[str, object], nodes: dict[str, yaml.Node], at: yaml.Node) -> M:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else ""
            said = f"'{key}': " if key else ""
            message = f"{said}{first['msg'][:1].lower()}{first['msg'][1:]}"
            raise self._error(nodes.get(key, at), message) from error

    def _keys(self, node: yaml.MappingNode, known: Iterable[str], what: str) -> dict[str, yaml.Node]:
        for key, _ in node.value:
            self._known(key.value, tuple(known), what, key)
        return {key.value: value for key, value in node.value}

    def _known(self, word: str, known: tuple[str, ...], what: str, node: yaml.Node) -> None:
        if word in known:
            return
        near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
        raise self._error(node, f"unknown {what} '{word}'; {hint}")

    def _error(self, node: yaml.Node, message: str) -> SimulatorError:
        return SimulatorError(f"{self._name}:{node.start_mark.line + 1}: {message}")


def _value(node: yaml.Node) -> object:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()
