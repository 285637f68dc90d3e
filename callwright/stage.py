"""What one stage of a call (stt, llm or tts) is to be: a vendor, a model, and the vendor's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, SecretStr

Stage = Literal["stt", "llm", "tts"]
STAGES: tuple[Stage, ...] = ("stt", "llm", "tts")


class StageConfig(BaseModel):
    """One stage, complete: the vendor's defaults are already filled in.

    `base_url` is a server's root (`http://127.0.0.1:9000`); None means the vendor's own address. `settings`
    holds only names that the vendor's row knows, already checked. `stand_in` is true when a simulator sits
    behind `base_url`; it is set by `with_stand_ins` and cannot be configured. `fallback` are those who take over,
    in this order, when it fails; they have none of their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendor: str
    model: str
    base_url: str | None = None
    api_key: SecretStr | None = None
    settings: Mapping[str, JsonValue] = {}
    stand_in: bool = False
    fallback: tuple[StageConfig, ...] = ()

    @property
    def line(self) -> tuple[StageConfig, ...]:
        """All who can do this stage's work, the first choice first."""
        return (self, *self.fallback)
