"""What a client asks of Cartesia, read and checked, and the vendor's form of saying no.

Field names and limits: docs.cartesia.ai, websocket and contexts pages, 2026-03-01 and later.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

RATES = (8000, 16000, 22050, 24000, 44100, 48000)
_MODEL = re.compile(r"sonic(-\d+(\.\d+)?)?(-latest|-preview|-turbo|-english|-multilingual|-\d{4}-\d{2}-\d{2})*")
_STRUCTURED_SINCE = "2026-03-01"
_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    402: "Payment required",
    403: "Forbidden",
    404: "Not found",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}


class CartesiaError(Exception):
    """A request refused; `status`, `code` and `message` as the vendor would send them."""

    def __init__(self, status: int, message: str, code: str | None = None, title: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.title = title or _TITLES.get(status, "Error")

    def body(self) -> dict[str, Any]:
        """The JSON body of an HTTP refusal."""
        return {
            "error_code": self.code,
            "title": self.title,
            "message": self.message,
            "request_id": str(uuid.uuid4()),
        }

    def frame(self, context_id: str | None, version: str) -> dict[str, Any]:
        """The message inside a websocket; before 2026-03-01 it was one sentence."""
        body = self.body()
        frame: dict[str, Any] = {"type": "error", "done": True, "status_code": self.status}
        if version >= _STRUCTURED_SINCE:
            frame |= body
        else:
            frame |= {"error": f"{self.title}: {self.message}", "request_id": body["request_id"]}
        if context_id is not None:
            frame["context_id"] = context_id
        return frame


def ordered_error(status: int | None, message: str | None) -> CartesiaError:
    """The error of an ordered fault."""
    status = status or 500
    code = "concurrency_limited" if status == 429 else None
    usual = "Too many concurrent requests" if status == 429 else _TITLES.get(status, "Error")
    return CartesiaError(status, message or usual, code)


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class VoiceChoice(_Part):
    """A voice by id; an embedding gets the default voice."""

    mode: str = "id"
    id: str = ""


class OutputFormat(_Part):
    container: Literal["raw", "wav", "mp3"] = "raw"
    encoding: Literal["pcm_s16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw"] = "pcm_s16le"
    sample_rate: int


class GenerationConfig(_Part):
    speed: float = Field(default=1.0, ge=0.6, le=1.5)
    volume: float = Field(default=1.0, ge=0.5, le=2.0)


class Generation(_Part):
    """One generation request; over HTTP without context_id, continue and flush."""

    model_id: str
    transcript: str
    voice: VoiceChoice
    output_format: OutputFormat
    context_id: str = ""
    more: bool = Field(default=False, alias="continue")
    flush: bool = False
    add_timestamps: bool = False
    max_buffer_delay_ms: int = Field(default=3000, ge=0, le=5000)
    generation_config: GenerationConfig = GenerationConfig()

    @classmethod
    def read(cls, body: Any) -> Generation:
        """Raises CartesiaError 400 for a field that is missing or wrong, 404 for an unknown model."""
        if isinstance(body, dict):
            body = {name: value for name, value in body.items() if value is not None}
        try:
            generation = cls.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or "body"
            raise CartesiaError(400, f"{where}: {first['msg']}") from error
        if not _MODEL.fullmatch(generation.model_id):
            raise CartesiaError(404, f"{generation.model_id} is not a model", "model_not_found", "Invalid model")
        if generation.output_format.sample_rate not in RATES:
            raise CartesiaError(400, f"output_format.sample_rate: one of {', '.join(map(str, RATES))} is needed")
        return generation

    def same_settings(self, other: Generation) -> bool:
        """Whether both may belong to one context: all but transcript, continue and flush are equal."""
        changing = {"transcript", "more", "flush"}
        return self.model_dump(exclude=changing) == other.model_dump(exclude=changing)
