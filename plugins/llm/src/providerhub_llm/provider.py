"""Asks models of `llm`. Nothing is written to its log, and nothing is read but what `llm` itself reads: its keys and aliases."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import llm

from providerhub import (
    CallContext,
    Finish,
    ProviderConfig,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from providerhub_llm.failures import mapped
from providerhub_llm.prompt import prompt_arguments

Piece = str | TextDelta | ReasoningDelta | ToolCallDelta | UsageDelta | Finish


def create(config: ProviderConfig) -> Llm:
    """Make the provider of one instance.

    Args:
        config: Its settings.
    """
    return Llm(config)


class Llm:
    """All models of `llm`.

    A model that is asked may take as long as it likes between two pieces: `llm` has no way to tell its plugins of a deadline, so
    time and cancellation are looked at between pieces only.

    Args:
        config: The instance's settings.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self._key = config.api_key

    def stream(self, request: Request, call: CallContext) -> Iterator[Piece]:
        """Answer a request; see `providerhub.Provider.stream`."""
        try:
            response = self._asked(llm.get_model(request.model), request, call)
            for event in response.stream_events():
                if call.cancelled:
                    return
                yield from _pieces(event)
            yield from _ends(response.tool_calls(), response.usage())
        except Exception as error:
            found = mapped(error)
            if found is error:
                raise
            raise found from error

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Piece]:
        """As `stream`: natively where the model has an asynchronous side, else a thread for each piece."""
        try:
            model = llm.get_async_model(request.model)
        except llm.UnknownModelError:
            async for piece in self._threaded(request, call):
                yield piece
            return
        try:
            response = self._asked(model, request, call)
            async with contextlib.aclosing(response.astream_events()) as events:
                async for event in events:
                    for piece in _pieces(event):
                        yield piece
            for piece in _ends(await response.tool_calls(), await response.usage()):
                yield piece
        except Exception as error:
            found = mapped(error)
            if found is error:
                raise
            raise found from error

    async def _threaded(self, request: Request, call: CallContext) -> AsyncIterator[Piece]:
        pieces = self.stream(request, call)
        try:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            with contextlib.suppress(ValueError):  # the thread is still in it, and ends at its next piece
                pieces.close()  # type: ignore[attr-defined]

    def _asked(self, model: Any, request: Request, call: CallContext) -> Any:
        key = {"key": self._key.reveal()} if self._key else {}
        return model.prompt(**prompt_arguments(request, model, call), **key)


def _pieces(event: Any) -> Iterator[Piece]:
    if event.type == "text":
        yield event.chunk
    elif event.type == "reasoning":
        yield ReasoningDelta(event.chunk)


def _ends(calls: list[Any], counted: Any) -> Iterator[Piece]:
    for index, call in enumerate(calls):
        yield ToolCallDelta(index, call.tool_call_id or f"call_{index}", call.name, json.dumps(call.arguments))
    if counted.input is not None or counted.output is not None:
        yield UsageDelta(Usage(counted.input, counted.output))
    yield Finish("tool_calls" if calls else "stop")
