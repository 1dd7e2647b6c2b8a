"""Providers that keep every promise, each in a different way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import attrs
from bad_providers import discover
from good_anthropic import Messages

from providerhub import (
    CallContext,
    Finish,
    ProtocolError,
    ProviderConfig,
    ProviderError,
    ProviderTimeoutError,
    Request,
    error_from_status,
)
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.wire_provider import Fetched, HttpRequest


class WithOptions(OpenAIChatProvider):
    """Takes its options as the core gives them: a secret is a `Secret`, and a default is converted."""

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        config.options["token"].reveal()
        self.skew = config.options["skew"] + 1


def discover_with_options(config: ProviderConfig) -> list[str]:
    WithOptions(config).close()
    return discover(config)


class WithToken(OpenAIChatProvider):
    """Fetches a token by its key first."""

    key_header = ""

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.token = Fetched(self.fetch)

    def fetch(self) -> Any:
        key = self.config.api_key.reveal() if self.config.api_key else ""
        answer = yield HttpRequest("/token", {"key": key})
        return answer.json()["access_token"], None

    def build(self, request: Request, call: CallContext) -> Any:
        built = super().build(request, call)
        token = yield from self.token.get(call)
        return attrs.evolve(built, headers={**built.headers, "Authorization": f"Bearer {token}"})


create_good_openai = WithOptions
create_good_token = WithToken
create_good_silent = OpenAIChatProvider
create_good_anthropic = Messages


class Inside:
    """Answers in this process."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config

    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        for word in str(request.messages[-1]["content"]).split(" "):
            yield f"{word} "
        yield Finish("stop")


create_good_inside = Inside


class Asynchronous(OpenAIChatProvider):
    """Has an asynchronous side of its own, on bare sockets."""

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        exchange = Exchange(call, stream=request.stream)
        try:
            await exchange.send(self.config, self.path, self.body(request))
            if exchange.status >= 300:
                raise await self._refusal(exchange)
            reading = self.reading(request, call, exchange.headers)
            async for data in exchange.body():
                for piece in reading.feed(data):
                    yield piece
                    exchange.token()
                if reading.done:
                    break
            for piece in reading.end():
                yield piece
        except ProviderError as error:
            raise self.http.redacted(error) from None
        finally:
            exchange.close()

    async def _refusal(self, exchange: Exchange) -> Exception:
        if exchange.status < 400:
            return ProtocolError("a redirect, which is not followed", status=exchange.status)
        body = b"".join([data async for data in exchange.body()])
        return error_from_status(exchange.status, exchange.headers, self.http.redact(body.decode("utf-8", "replace")))


create_good_async = Asynchronous


class Exchange:
    """One request and its answer, within the call's phases."""

    def __init__(self, call: CallContext, *, stream: bool) -> None:
        self.call = call
        self.stream = stream
        self.due = call.started + call.timeout.first_token
        self.status = 0
        self.headers: dict[str, str] = {}
        self.writer: asyncio.StreamWriter | None = None

    async def within(self, awaitable: Any, seconds: float) -> Any:
        if self.stream:
            seconds = min(seconds, max(0.0, self.due - self.call.clock()))
        try:
            async with asyncio.timeout(self.call.remaining(seconds)):
                return await awaitable
        except TimeoutError as error:
            raise ProviderTimeoutError("nothing came in time") from error

    async def send(self, config: ProviderConfig, path: str, payload: dict[str, Any]) -> None:
        parts, body = urlsplit(config.url or ""), json.dumps(payload).encode()
        opened = asyncio.open_connection(parts.hostname, parts.port)
        self.reader, self.writer = await self.within(opened, self.call.timeout.connect)
        key = f"Authorization: Bearer {config.api_key.reveal()}\r\n" if config.api_key else ""
        head = f"POST {parts.path}{path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{key}Content-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        await self.within(self.writer.drain(), self.call.timeout.total)
        try:
            received = await self.within(self.reader.readuntil(b"\r\n\r\n"), self.call.timeout.total)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("closed before an answer") from error
        first, *rest = received.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}

    async def body(self) -> AsyncIterator[bytes]:
        try:
            if self.headers.get("transfer-encoding") == "chunked":
                while size := int(await self.read(self.reader.readline()), 16):
                    async for data in self.exactly(size):
                        yield data
                    await self.read(self.reader.readexactly(2))
            elif "content-length" in self.headers:
                async for data in self.exactly(int(self.headers["content-length"])):
                    yield data
            else:
                while data := await self.read(self.reader.read(65536)):
                    yield data
        except (asyncio.IncompleteReadError, ValueError) as error:
            raise ProtocolError("the connection ended before the answer did") from error

    async def exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            data = await self.read(self.reader.read(min(size, 65536)))
            if not data:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(data)
            yield data

    async def read(self, awaitable: Any) -> bytes:
        return await self.within(awaitable, self.call.timeout.byte_idle)

    def token(self) -> None:
        self.due = self.call.clock() + self.call.timeout.token_idle

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
