"""The provider object. It speaks the OpenAI chat shape, with a default temperature and one peculiarity of the service."""

from __future__ import annotations

import re
from typing import Any

from providerhub import ModelUnavailableError, ProviderError, Request
from providerhub.openai_provider import OpenAIChatProvider

TEMPERATURE = 0.7
"""The temperature of a request that does not set one."""

_MISSING = re.compile(rb"^(data:\s*)?The model:? `?[^`\n]{1,200}`? does not exist")


class Lockchat(OpenAIChatProvider):
    """A provider for a Lockchat service.

    Args:
        config: The instance's configuration.
    """

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object to send. It always contains `temperature` and `stream`.

        Args:
            request: The request.
        """
        return {"temperature": TEMPERATURE, "stream": request.stream, **super().body(request)}

    def oddity(self, data: bytes) -> ProviderError | None:
        """Recognise the service's message that it lacks a model. It comes as a bare line in an answer with status 200.

        Args:
            data: The line.

        Returns:
            A retryable error, since the service often has the model a moment later; `None` for any other line.
        """
        if _MISSING.match(data):
            return ModelUnavailableError(data.decode("utf-8", "replace")[:300], retryable=True)
        return None

    def failed(self, error: ProviderError) -> ProviderError:
        """Make an error about a missing model retryable, in every form of it.

        Args:
            error: The failure.
        """
        if isinstance(error, ModelUnavailableError):
            error.retryable = True
        return error
