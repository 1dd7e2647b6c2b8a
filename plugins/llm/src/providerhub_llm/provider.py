"""The provider object. It answers with llm's models, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import llm

from providerhub import (
    CallContext,
    Event,
    ModelUnavailableError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderTimeoutError,
    Request,
)
from providerhub_llm._asking import response_of
from providerhub_llm._failures import mapped
from providerhub_llm._pieces import ended, piece_of


class Llm:
    """A provider for all models of `llm`.

    Args:
        config: The instance's configuration. Its `api_key` replaces the keys stored by llm.
    """

    def __init__(self, config: ProviderConfig) -> None:
        self._key = config.api_key.reveal().strip() if config.api_key else None
        self._lock = threading.Lock()
        self._models: dict[str, Any] | None = None

    def stream(self, request: Request, call: CallContext) -> Iterator[str | Event]:
        """Answer a request; see `providerhub.Provider.stream`. A model of llm can be interrupted only between two pieces.

        Args:
            request: The request.
            call: The call. Options that the model does not have become notes on it.

        Yields:
            The pieces of the answer, as they come.

        Raises:
            ProviderError: The model failed.
            InvalidRequestError: llm or the model cannot express a part of the request.
        """
        model = self._found(request.model).model
        response = self._prepared(model, request, call)
        events = response.stream_events()
        failure: Exception | None = None
        try:
            for event in events:
                piece = piece_of(event)
                if piece is not None:
                    yield piece
        except Exception as error:  # a plugin of llm may raise any exception
            failure = self._failure(model, error)
        finally:
            events.close()
        if failure is not None:
            # Raised outside the `except` block, so that the SDK's exception, which may show the request, is not its context.
            raise failure
        yield from ended(response, response.tool_calls(), response.messages())

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[str | Event]:
        """Answer a request under asyncio; see `stream`. A model without an asynchronous side runs in a thread.

        Args:
            request: The request.
            call: The call: its timeouts and whether it is cancelled.

        Yields:
            The pieces of the answer, as they come.
        """
        found = await asyncio.to_thread(self._found, request.model)
        timeouts = _Timeouts(call, stream=request.stream)
        pieces = self._awaited(found.async_model, request, call) if found.async_model else _in_threads(self.stream(request, call))
        try:
            while (piece := await timeouts.next(pieces)) is not None:
                yield piece
                timeouts.token()
        finally:
            timeouts.close()
            await pieces.aclose()

    async def _awaited(self, model: Any, request: Request, call: CallContext) -> AsyncGenerator[str | Event, None]:
        response = self._prepared(model, request, call)
        events = response.astream_events()
        failure: Exception | None = None
        try:
            async for event in events:
                piece = piece_of(event)
                if piece is not None:
                    yield piece
        except Exception as error:  # a plugin of llm may raise any exception
            failure = self._failure(model, error)
        finally:
            await events.aclose()
        if failure is not None:
            raise failure
        for piece in ended(response, await response.tool_calls(), await response.messages()):
            yield piece

    def _found(self, name: str) -> Any:
        with self._lock:
            if self._models is None:
                # Some plugins ask a service for their models each time, so the list is kept.
                found = [one for one in llm.get_models_with_aliases() if one.model is not None]
                self._models = {alias: one for one in found for alias in one.aliases}
                self._models |= {one.model.model_id: one for one in found}
        if name not in self._models:
            msg = f"llm has no model {name!r}; `llm models` lists its models, and `llm install` adds plugins"
            raise ModelUnavailableError(msg)
        return self._models[name]

    def _prepared(self, model: Any, request: Request, call: CallContext) -> Any:
        return response_of(model, request, call, self._key)

    def _failure(self, model: Any, error: Exception) -> Exception:
        keys = {self._key}
        with contextlib.suppress(Exception):  # the model may have no key
            keys.add(model.get_key(self._key))
        shown = sorted(filter(None, keys), key=len, reverse=True)

        def redact(text: str) -> str:
            for key in shown:
                text = text.replace(key, "***")
            return text

        return mapped(error, redact)


async def _in_threads(pieces: Iterator[str | Event]) -> AsyncGenerator[str | Event, None]:
    """Iterate with each step in a thread. An iterator that is abandoned ends by itself at its next piece."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


class _Timeouts:
    """The timeouts of one asynchronous answer, which llm's models do not have."""

    def __init__(self, call: CallContext, *, stream: bool) -> None:
        self._call = call
        self._stream = stream
        self._phase, self._due = "first token", call.started + (call.timeout.first_token or call.timeout.total)
        self._scope: asyncio.Timeout | None = None
        self._loop = asyncio.get_running_loop()
        self._forget = call.on_cancel(self._cancel)

    def token(self) -> None:
        """Restart the token-idle timeout. Call this after each yielded piece."""
        self._phase, self._due = "token idle", self._call.clock() + self._call.timeout.token_idle

    async def next(self, events: AsyncIterator[Any]) -> Any:
        """Return the next event; `None` at the end.

        Args:
            events: The iterator of events.

        Raises:
            ProviderTimeoutError: The event did not come in time.
            ProviderConnectionError: The call was cancelled.
        """
        left = self._call.remaining()
        if self._stream:
            left = min(left, max(0.0, self._due - self._call.clock()))
        scope = self._scope = asyncio.timeout(left)
        try:
            async with scope:
                return await anext(events, None)
        except TimeoutError as error:
            if self._call.cancelled:
                msg = "the call was cancelled"
                raise ProviderConnectionError(msg, retryable=False) from None
            if not scope.expired():
                raise
            over = self._call.remaining() == 0
            msg = "the call's total timeout expired" if over else f"no content came in time ({self._phase} timeout)"
            raise ProviderTimeoutError(msg) from error
        finally:
            self._scope = None

    def close(self) -> None:
        """Stop listening for a cancellation."""
        self._forget()

    def _cancel(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, with all its tasks
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(self._loop.time())
