"""The original module's function, kept for those who called it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import providerhub


def _create_completion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    stream: bool = False,  # noqa: FBT001, FBT002 -- the original signature
    temperature: float = 0.7,
    **kwargs: Any,
) -> Generator[str, None, None]:
    """Answer a conversation at Lockchat, with the retry chain behind it.

    Args:
        model: The model's name, such as `"gpt-4"`.
        messages: The conversation in the OpenAI chat shape.
        stream: Whether to hand tokens on as they come; otherwise the answer is one piece.
        temperature: Randomness.
        **kwargs: Sent to the service as they are.

    Yields:
        The answer's tokens.

    Raises:
        ValueError: The model is not found.
        providerhub.ProviderHubError: The service could not answer.
    """
    pinned = providerhub.Model(model, provider="lockchat")
    options = {"lockchat": kwargs} if kwargs else None
    if not stream:
        yield providerhub.complete(pinned, messages, temperature=temperature, options=options).text
        return
    with providerhub.complete(pinned, messages, stream=True, temperature=temperature, options=options) as tokens:
        yield from tokens
