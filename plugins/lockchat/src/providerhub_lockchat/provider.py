"""The provider object: the OpenAI chat shape, a default temperature, and one quirk."""

from __future__ import annotations

import re
from typing import Any

from providerhub import ModelUnavailableError, ProviderConfig, ProviderError, Request
from providerhub.openai_provider import OpenAIChatProvider

TEMPERATURE = 0.7
"""What the service is told when the caller says nothing."""

_MISSING = re.compile(rb"^(data:\s*)?The model:? `?[^`\n]{1,200}`? does not exist")


class Lockchat(OpenAIChatProvider):
    """A Lockchat service."""

    def body(self, request: Request) -> dict[str, Any]:
        """As the base class, with the temperature and `stream` always said."""
        return {"temperature": TEMPERATURE, "stream": request.stream, **super().body(request)}

    def oddity(self, data: bytes) -> ProviderError | None:
        """The service may answer 200 and then say, in a bare line, that it lacks the model; it often has it a moment later."""
        if _MISSING.match(data):
            return ModelUnavailableError(data.decode("utf-8", "replace")[:300], retryable=True)
        return None

    def stream(self, request: Request, call: Any) -> Any:
        """As the base class; a missing model is worth a second try here, in whatever form it is reported."""
        try:
            yield from super().stream(request, call)
        except ModelUnavailableError as error:
            error.retryable = True
            raise


def create(config: ProviderConfig) -> Lockchat:
    """Make the provider object of an instance."""
    return Lockchat(config)
