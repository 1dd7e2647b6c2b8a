"""The function of the original Lockchat module, kept for programs that call it."""

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
    """Answer a conversation at Lockchat, with providerhub's retries.

    Args:
        model: The model's name, such as `"gpt-4"`.
        messages: The conversation in the OpenAI chat shape.
        stream: Whether to yield tokens as they come; default `False`, for the whole answer as one piece.
        temperature: Sampling temperature, usually 0 to 2; default 0.7.
        **kwargs: Further fields of the request, sent to the service unchanged.

    Yields:
        The answer's tokens.

    Raises:
        ValueError: The service does not have the model.
        providerhub.ProviderHubError: The service did not answer.
    """
    pinned = providerhub.Model(model, provider="lockchat")
    options = {"lockchat": kwargs} if kwargs else None
    if not stream:
        yield providerhub.complete(pinned, messages, temperature=temperature, options=options).text
        return
    with providerhub.complete(pinned, messages, stream=True, temperature=temperature, options=options) as tokens:
        yield from tokens
