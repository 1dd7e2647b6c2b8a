"""Providers with a good synchronous and a bad asynchronous side, for checks that each side may fail separately."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import requests
from good_providers import Asynchronous

from providerhub import CallContext, Finish, ProtocolError, ProviderConfig, ProviderConnectionError, Request, Timeout

BAD: dict[str, type[Asynchronous]] = {}
"""Check → the provider that it must catch."""


def bad(check: str):
    """Enter a provider as one that a check must catch."""

    def enter(kind: type[Asynchronous]) -> type[Asynchronous]:
        BAD[check] = kind
        return kind

    return enter


def __getattr__(name: str) -> Any:
    """`create_async_bad_for_CHECK`, with underscores for hyphens."""
    if not name.startswith("create_async_bad_for_"):
        raise AttributeError(name)
    return BAD[name.removeprefix("create_async_bad_for_").replace("_", "-")]


@bad("first-token-early")
class FakesStreaming(Asynchronous):
    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        gathered: list[Any] = []
        failure: Exception | None = None
        try:
            async for piece in super().astream(request, call):
                gathered.append(piece)  # noqa: PERF401 - what came before a failure is kept
        except Exception as error:
            failure = error
        for piece in gathered:
            yield piece
        if failure is not None:
            raise failure


@bad("cancel-reaches-socket")
class Shielded(Asynchronous):
    """Reads in tasks of its own, which nobody cancels while they wait."""

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        pieces = super().astream(request, call)
        try:
            while True:
                reading = asyncio.ensure_future(anext(pieces, None))
                try:
                    piece = await asyncio.shield(reading)
                except asyncio.CancelledError:
                    await asyncio.wait([reading])
                    raise
                if piece is None:
                    return
                yield piece
        finally:
            await pieces.aclose()


class KeepsItToItself(Asynchronous):
    """Frees the connection of a cancelled task, and lets the task go on."""

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        try:
            async for piece in super().astream(request, call):
                yield piece
        except asyncio.CancelledError:
            return


@bad("truncated-is-error")
class TakesTheEndForGranted(Asynchronous):
    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        begun = False
        try:
            async for piece in super().astream(request, call):
                begun = True
                yield piece
        except ProtocolError as error:
            if not begun or "ended" not in str(error):
                raise
            yield Finish()


@bad("stall-timeout")
class Patient(Asynchronous):
    def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        endless = Timeout(first_token=1e3, byte_idle=1e3, token_idle=1e3, total=1e3)
        return super().astream(request, CallContext(endless, call.deadline, clock=call.clock))


@bad("no-own-retries")
class TriesAgain(Asynchronous):
    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        for attempt in (1, 2):
            try:
                async for piece in super().astream(request, call):
                    yield piece
            except Exception as error:
                if attempt == 2 or getattr(error, "status", None) != 503:
                    raise
            else:
                return


@bad("redirect-not-followed")
class FollowsRedirects(Asynchronous):
    """Goes on as browsers do after a 301: with a GET, which has no body."""

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        try:
            async for piece in super().astream(request, call):
                yield piece
        except ProtocolError as error:
            if error.status is not None and 300 <= error.status < 400:
                _get(self.config.url or "")
            raise


def _get(url: str) -> None:
    with contextlib.suppress(OSError):
        requests.get(url + "/v1/chat/completions", timeout=2)


@bad("key-not-in-errors")
class ShowsItsHeaders(Asynchronous):
    """Says with what it asked when the connection broke."""

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        try:
            async for piece in super().astream(request, call):
                yield piece
        except ConnectionResetError as error:
            key = self.config.api_key.reveal() if self.config.api_key else ""
            raise ProviderConnectionError(f"POST with Authorization: Bearer {key}: {error}") from error


@bad("nothing-left")
class KeepsTalking(Asynchronous):
    """Opens a connection of its own, and keeps it where nothing collects it."""

    kept: list[Any] = []  # noqa: RUF012 - that it is kept is the fault

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.opened = False

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        if not self.opened:
            self.opened = True
            host, _, port = (self.config.url or "").removeprefix("http://").partition(":")
            with contextlib.suppress(OSError):
                self.kept.append(socket.create_connection((host, int(port)), timeout=1))
        async for piece in super().astream(request, call):
            yield piece

    async def aclose(self) -> None:
        """Forget that there was one."""


def tidy() -> None:
    """Close what was kept on purpose."""
    while KeepsTalking.kept:
        KeepsTalking.kept.pop().close()
