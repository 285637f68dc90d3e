"""OpenAI's chat service with the patience of a telephone call instead of the SDK's."""

from __future__ import annotations

from typing import Any

from pipecat.services.openai.llm import OpenAILLMService


class PromptOpenAILLMService(OpenAILLMService):
    """Waits `timeout_s` and retries `max_retries` times; the SDK's own 600 s and 2 retries are silence."""

    def __init__(self, *, timeout_s: float, max_retries: int, **kwargs: Any) -> None:
        # Before the parent's constructor, because that is what calls create_client.
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        super().__init__(**kwargs)

    def create_client(self, *args: Any, **kwargs: Any) -> Any:
        """The parent's client, with our limits."""
        client = super().create_client(*args, **kwargs)  # type: ignore[no-untyped-call]
        return client.with_options(timeout=self._timeout_s, max_retries=self._max_retries)
