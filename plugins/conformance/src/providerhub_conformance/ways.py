"""A synchronous and an asynchronous way to make a call, for the tests of a plugin.

A fixture with `params=WAYS.values(), ids=WAYS` runs each test both ways.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from providerhub import AsyncStream, Completion, Hub, Stream


def ask_sync(hub: Hub, messages: Any = "Hello", *, model: str, stream: bool = False, **knobs: Any) -> Completion:
    """Make a call with `Hub.complete`.

    Args:
        hub: The hub.
        messages: The text or the messages.
        model: The model, such as `"acme/acme-large"`.
        stream: Whether the answer is streamed; its events are read to their end.
        **knobs: Further keywords of `complete`.

    Returns:
        The answer.

    Raises:
        ProviderHubError: The call failed.
    """
    if not stream:
        whole: Completion = hub.complete(model, messages, **knobs)
        return whole
    streamed: Stream = hub.complete(model, messages, stream=True, **knobs)
    with streamed:
        list(streamed.events())
        return streamed.completion


def ask_async(hub: Hub, messages: Any = "Hello", *, model: str, stream: bool = False, **knobs: Any) -> Completion:
    """Make a call with `Hub.acomplete`, in a new event loop.

    Args:
        hub: The hub.
        messages: The text or the messages.
        model: The model, such as `"acme/acme-large"`.
        stream: Whether the answer is streamed; its events are read to their end.
        **knobs: Further keywords of `acomplete`.

    Returns:
        The answer.

    Raises:
        ProviderHubError: The call failed.
    """

    async def ask() -> Completion:
        if not stream:
            whole: Completion = await hub.acomplete(model, messages, **knobs)
            return whole
        streamed: AsyncStream = await hub.acomplete(model, messages, stream=True, **knobs)
        async with streamed:
            [_ async for _ in streamed.events()]
            return streamed.completion

    return asyncio.run(ask())


WAYS: Mapping[str, Callable[..., Completion]] = {"sync": ask_sync, "async": ask_async}
"""The name of a way → its function."""
