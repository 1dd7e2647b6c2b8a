"""Deliberately bad providers, one for each check: each breaks one promise, and keeps all others."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import requests

from providerhub import (
    AuthenticationError,
    BadRequestError,
    CallContext,
    Detail,
    Finish,
    ModelUnavailableError,
    ProtocolError,
    ProviderConfig,
    ProviderConnectionError,
    ProviderError,
    RateLimitError,
    ReasoningDelta,
    Request,
    ServerError,
    Timeout,
    ToolCallDelta,
    Turn,
    UsageDelta,
)
from providerhub.openai_provider import ChatReading, OpenAIChatProvider
from providerhub.wire import sse

BAD: dict[str, type[OpenAIChatProvider]] = {}
"""Check → the provider that it must catch."""


def bad(check: str):
    """Enter a provider as the one that a check must catch."""

    def enter(kind: type[OpenAIChatProvider]) -> type[OpenAIChatProvider]:
        BAD[check] = kind
        return kind

    return enter


def __getattr__(name: str) -> Any:
    """`create_bad_for_CHECK`, with underscores for hyphens."""
    if not name.startswith("create_bad_for_"):
        raise AttributeError(name)
    return BAD[name.removeprefix("create_bad_for_").replace("_", "-")]


def discover(config: ProviderConfig) -> list[str]:
    """Ask the service, as a good provider does."""
    answer = requests.get(f"{config.url}/v1/models", timeout=5, allow_redirects=False)
    return [model["id"] for model in answer.json()["data"]]


def discover_nothing(_config: ProviderConfig) -> list[str]:
    """Give what was true when the plugin was written."""
    return ["large"]


class Altered(OpenAIChatProvider):
    """Changes the pieces or the errors of a good provider's stream."""

    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        try:
            for piece in super().stream(request, call):
                yield from self.changed(piece)
        except ProviderError as error:
            yield from self.told(error)

    def changed(self, piece: Any) -> Iterator[Any]:
        yield piece

    def told(self, error: ProviderError) -> Iterator[Any]:
        raise error
        yield


class Misread(OpenAIChatProvider):
    """Reads the answers of a good provider by a reader of its own."""

    reader: type[ChatReading]

    def reading(self, request: Request, call: CallContext, headers: Mapping[str, str]) -> ChatReading:
        return self.reader(self, call, headers)


def inner(call: CallContext, timeout: Timeout | None = None, deadline: float | None = None) -> CallContext:
    """A context of the provider's own; what it is not told of the caller's is lost."""
    return CallContext(timeout or call.timeout, deadline or call.deadline, clock=call.clock)


# --- declaration ------------------------------------------------------------------------------------------------------

# The declaration of these providers, or the cost of their import, is bad; see `conformance_light`.
for _check in ("entry-point-valid", "metadata-valid", "declared-light", "import-cheap", "no-unknown-hooks", "models-listed"):
    BAD[_check] = OpenAIChatProvider


@bad("created-without-io")
class ConnectsWhenMade(OpenAIChatProvider):
    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        parts = urlsplit(config.url or "")
        with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=1):
            pass


@bad("missing-key-named")
class NeedsWhatItDoesNotDeclare(OpenAIChatProvider):
    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        if config.api_key is None:
            raise KeyError("api_key")


# --- calls ------------------------------------------------------------------------------------------------------------


@bad("basic-call")
class AddsWords(Altered):
    def changed(self, piece):
        yield piece
        if isinstance(piece, Finish):
            yield " As a language model, I hope this helps."


@bad("async-call")
class BlocksAsynchronously(OpenAIChatProvider):
    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield


@bad("unicode-intact")
class Ascii(Altered):
    def changed(self, piece):
        yield piece.encode("ascii", "replace").decode() if isinstance(piece, str) else piece


@bad("usage-reported")
class Forgetful(Altered):
    def changed(self, piece):
        if not isinstance(piece, UsageDelta):
            yield piece


@bad("counts-include-all")
class WithoutCache(Altered):
    def changed(self, piece):
        if isinstance(piece, UsageDelta) and piece.usage.cached_tokens:
            usage = piece.usage
            piece = UsageDelta(attrs.evolve(usage, input_tokens=usage.input_tokens - usage.cached_tokens))
        yield piece


@bad("details-named")
class Numbered(Altered):
    def changed(self, piece):
        yield Detail("stop_sequence", 7) if isinstance(piece, Detail) and piece.name == "id" else piece


@bad("message-goes-back")
class NoJson(Altered):
    def changed(self, piece):
        if isinstance(piece, Finish):
            yield Turn({1, 2})
        yield piece


@bad("finish-reason-mapped")
class AlwaysContent(Altered):
    def changed(self, piece):
        yield Finish("stop") if isinstance(piece, Finish) and piece.reason != "tool_calls" else piece


@bad("calls-isolated")
class Crossed(OpenAIChatProvider):
    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.lock = threading.Lock()
        self.under_way = 0

    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        with self.lock:
            self.under_way += 1
        try:
            pieces = list(super().stream(request, call)) if not request.stream else super().stream(request, call)
            # Other calls are running, and the shared buffer holds their text.
            yield from ["somebody else's"] if self.under_way > 1 else pieces
        finally:
            with self.lock:
                self.under_way -= 1


@bad("request-carried")
class DropsTemperature(OpenAIChatProvider):
    def body(self, request: Request) -> dict[str, Any]:
        return super().body(attrs.evolve(request, temperature=None))


@bad("options-reach-it")
class IgnoresOptions(OpenAIChatProvider):
    def body(self, request: Request) -> dict[str, Any]:
        return super().body(attrs.evolve(request, options={}))


@bad("options-not-kept")
class KeepsOptions(OpenAIChatProvider):
    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.extra: dict[str, Any] = {}

    def body(self, request: Request) -> dict[str, Any]:
        self.extra.update(request.options)
        return {**super().body(request), **self.extra}


@bad("messages-untouched")
class Flattens(OpenAIChatProvider):
    def body(self, request: Request) -> dict[str, Any]:
        for message in request.messages:
            parts = message.get("content")
            if isinstance(parts, list) and all(part["type"] == "text" for part in parts):
                message["content"] = "".join(part["text"] for part in parts)
        return super().body(request)


@bad("result-pickles")
class OwnWords(Altered):
    def changed(self, piece):
        class Word(str):
            __slots__ = ()

        yield Finish(Word(piece.reason)) if isinstance(piece, Finish) else piece


# --- capabilities -----------------------------------------------------------------------------------------------------


@bad("unsupported-refused")
class SilentlyWithoutTools(OpenAIChatProvider):
    def body(self, request: Request) -> dict[str, Any]:
        return super().body(attrs.evolve(request, tools=None))


@bad("claimed-tools")
class OneCallOnly(Altered):
    def changed(self, piece):
        if not isinstance(piece, ToolCallDelta) or piece.index == 0:
            yield piece


@bad("tool-results-carried")
class ForgetsResults(OpenAIChatProvider):
    def body(self, request: Request) -> dict[str, Any]:
        body = super().body(request)
        return {**body, "messages": [message for message in body["messages"] if message["role"] != "tool"]}


@bad("claimed-images")
class Blind(OpenAIChatProvider):
    def body(self, request: Request) -> dict[str, Any]:
        body = super().body(request)
        parts = [m["content"] if isinstance(m["content"], list) else [] for m in body["messages"]]
        seen = [[part for part in one if part["type"] != "image_url"] for one in parts]
        messages = [{**m, "content": left or m["content"]} for m, left in zip(body["messages"], seen, strict=True)]
        return {**body, "messages": messages}


@bad("claimed-json-schema")
class Shapeless(OpenAIChatProvider):
    def body(self, request: Request) -> dict[str, Any]:
        body = super().body(request)
        if body.get("response_format", {}).get("type") == "json_schema":
            del body["response_format"]
        return body


@bad("reasoning-apart")
class ThinksAloud(Altered):
    def changed(self, piece):
        yield piece.text if isinstance(piece, ReasoningDelta) else piece


# --- streaming --------------------------------------------------------------------------------------------------------


@bad("claimed-stream")
class Whole(OpenAIChatProvider):
    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        return super().stream(attrs.evolve(request, stream=False), call)


@bad("first-token-early")
class FakesStreaming(OpenAIChatProvider):
    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        gathered: list[Any] = []
        try:
            gathered += super().stream(request, call)
        except ProviderError:
            yield from gathered
            raise
        yield from gathered


@bad("pieces-join")
class Strips(Altered):
    def changed(self, piece):
        # A word keeps the blank before it, so that plain sentences stay correct.
        yield piece.rstrip() or piece if isinstance(piece, str) else piece


@bad("every-byte-split")
class DecodesEachRead(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def feed(self, data: bytes) -> Iterator[Any]:
            return super().feed(data.decode("utf-8", "replace").encode())


@bad("newline-variants")
class KnowsOneLineEnd(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def feed(self, data: bytes) -> Iterator[Any]:
            return super().feed(data.replace(b"\r", b""))


@bad("keep-alive-ignored")
class TakesCommentsForErrors(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def feed(self, data: bytes) -> Iterator[Any]:
            if b": keep-alive" in data:
                raise ProtocolError("a line that begins with a colon")
            return super().feed(data)


@bad("ends-at-end-mark")
class WaitsForTheEnd(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        done = property(lambda _: False, lambda _, __: None)


@bad("early-close-frees-socket")
class KeepsGenerators(OpenAIChatProvider):
    """Obeys a cancellation that comes while it reads; between two pieces it does not look."""

    kept: list[Any] = []  # noqa: RUF012 - that it is kept is the fault

    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        own, reading = inner(call), threading.Event()
        call.on_cancel(lambda: own.cancel() if reading.is_set() else None)
        pieces = super().stream(request, own)
        self.kept.append((pieces, own))
        while True:
            reading.set()
            try:
                piece = next(pieces, None)
            finally:
                reading.clear()
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        for pieces, own in self.kept:
            own.cancel()
            with contextlib.suppress(Exception):
                pieces.close()
        self.kept.clear()
        super().close()


@bad("cancel-reaches-socket")
class DeafToCancellation(OpenAIChatProvider):
    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        return super().stream(request, inner(call))


# --- failures ---------------------------------------------------------------------------------------------------------


@bad("refused")
class Apologises(Altered):
    def told(self, error):
        if isinstance(error, ProviderConnectionError) and "connect to" in str(error):
            yield "I am sorry, I cannot answer now."
            yield Finish()
            return
        raise error


@bad("reset")
class TakesResetForTheEnd(OpenAIChatProvider):
    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        try:
            yield from super().stream(request, call)
        except ProviderConnectionError as error:
            if "reset" not in repr((error, error.__cause__)).lower():
                raise
            yield "..."
            yield Finish()


@bad("truncated-is-error")
class TakesTheEndForGranted(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def _check_end(self, cut: ProtocolError | None) -> None:
            if not self._any_event:
                super()._check_end(cut)


@bad("malformed-chunk")
class SkipsWhatItCannotRead(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def parsed(self, data: bytes) -> dict[str, Any]:
            try:
                return super().parsed(data)
            except ProtocolError:
                if not data.startswith(b'{"truncated"'):
                    raise
                return {}


@bad("error-event")
class SkipsErrors(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def parsed(self, data: bytes) -> dict[str, Any]:
            found = super().parsed(data)
            return {} if "error" in found else found

        def refuse(self, data: dict[str, Any], name: str) -> None:
            """Refuse nothing, not even the data of an event of the name `error`."""


@bad("sides-agree")
class HasAnotherClassUnderAsyncio(OpenAIChatProvider):
    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        try:
            async for piece in super().astream(request, call):
                yield piece
        except ProviderConnectionError as error:
            if "refused" in repr((error, error.__cause__)).lower():
                raise
            raise ProtocolError(str(error)) from error


class LeavesOut(OpenAIChatProvider):
    """Drops a part of a request."""

    part = ""

    def body(self, request: Request) -> dict[str, Any]:
        return super().body(attrs.evolve(request, **{self.part: None}))


@bad("tool-choice-sent")
class LeavesTheChoiceOut(LeavesOut):
    part = "tool_choice"


@bad("json-object-sent")
class LeavesTheFormOut(LeavesOut):
    part = "response_format"

    def body(self, request: Request) -> dict[str, Any]:
        form = request.response_format or {}
        return super().body(request) if form.get("type") == "json_object" else OpenAIChatProvider.body(self, request)


@bad("reasoning-sent")
class LeavesTheReasoningOut(LeavesOut):
    part = "reasoning"


class Deaf(OpenAIChatProvider):
    """Drops the parts of one type."""

    kind = ""

    def body(self, request: Request) -> dict[str, Any]:
        found = super().body(request)
        for message in found["messages"]:
            if isinstance(message["content"], list):
                message["content"] = [part for part in message["content"] if part["type"] != self.kind]
        return found


@bad("claimed-audio")
class DropsSounds(Deaf):
    kind = "input_audio"


@bad("claimed-files")
class DropsFiles(Deaf):
    kind = "file"


@bad("other-reason-kept")
class TakesEveryReasonForTheEnd(Altered):
    def changed(self, piece):
        yield Finish("stop") if isinstance(piece, Finish) and piece.reason == "conformance_reason" else piece


@bad("ended-loop-clean")
class LeavesASession(OpenAIChatProvider):
    """Complains as aiohttp does when a session is collected that was not closed."""

    used = False

    async def astream(self, request: Request, call: CallContext) -> AsyncIterator[Any]:
        self.used = True
        async for piece in super().astream(request, call):
            yield piece

    def close(self) -> None:
        super().close()
        if self.used:
            logging.getLogger("asyncio").error("Unclosed client session")


# --- translation: faults that no socket shows, since reads and cuts must fall on one byte --------------------------------


@bad("every-split")
class LooksAtTheEdges(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def feed(self, data: bytes) -> Iterator[Any]:
            lost = len(data) > 400 and data.startswith(b"data:") and data.endswith(b'"finish_reason":"st')
            return super().feed(b"" if lost else data)


@bad("every-cut")
class TakesHalfAReason(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def _check_end(self, cut: ProtocolError | None) -> None:
            try:
                super()._check_end(cut)
            except ProtocolError as error:
                if '"finish_reason":"t' not in error.excerpt:
                    raise


class Gathers(ChatReading):
    lost: type[Exception] = ServerError

    def feed(self, data: bytes) -> Iterator[Any]:
        pieces = []
        try:
            for piece in super().feed(data):
                pieces.append(piece)  # noqa: PERF402 -- what came before a failure counts
        except self.lost:
            if sum(isinstance(piece, str) for piece in pieces) > 1:
                raise
            yield from pieces
            raise
        except ProviderError:
            yield from pieces
            raise
        yield from pieces


@bad("every-error")
class LosesWhatCameWithAnError(Misread):
    reader = Gathers


@bad("every-garbage")
class LosesWhatCameWithGarbage(Misread):
    class reader(Gathers):  # noqa: N801 -- the name of the attribute
        lost = ProtocolError


@bad("every-type")
class AssertsWhatTheServiceSends(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def parsed(self, data: bytes) -> dict[str, Any]:
            found = super().parsed(data)
            assert "usage" not in found or isinstance(found["usage"], dict | None)
            return found


@bad("foreign-answer")
class TakesAnythingForText(Altered):
    def told(self, error):
        if error.excerpt.startswith("<html"):
            yield error.excerpt
            yield Finish()
            return
        raise error


@bad("endless-line-capped")
class NoLimits(Misread):
    class reader(ChatReading):  # noqa: N801 -- the name of the attribute
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._framing = sse.SSEDecoder(max_line=None, max_event=None, max_stream=None)

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.http.body_limit = 1 << 40


@bad("stall-timeout")
class Patient(OpenAIChatProvider):
    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        own = inner(call, Timeout(first_token=1e3, byte_idle=1e3, token_idle=1e3, total=1e3))
        forget = call.on_cancel(own.cancel)
        try:
            yield from super().stream(request, own)
        finally:
            forget()


@bad("deadline-obeyed")
class TimelessCalls(OpenAIChatProvider):
    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        own = inner(call, attrs.evolve(call.timeout, total=1e3), deadline=call.deadline + 1e3)
        forget = call.on_cancel(own.cancel)
        try:
            yield from super().stream(request, own)
        finally:
            forget()


@bad("redirect-not-followed")
class FollowsRedirects(Altered):
    def told(self, error):
        if error.status in {301, 307}:
            with contextlib.suppress(requests.RequestException):
                requests.get(f"{self.config.url}{self.path}", timeout=2)
        raise error
        yield


@bad("no-own-retries")
class TriesAgain(OpenAIChatProvider):
    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        try:
            yield from super().stream(request, call)
        except ServerError:
            yield from super().stream(request, call)


# --- refusals ---------------------------------------------------------------------------------------------------------


@bad("rate-limit-mapped")
class Impatient(Altered):
    def told(self, error):
        if isinstance(error, RateLimitError):
            error.retry_after = None
        raise error
        yield


class Reclassed(Altered):
    """Raises one class in place of another."""

    wrong: type[ProviderError]
    right: type[ProviderError]

    def told(self, error):
        # An error inside a stream is recognised in another way.
        if type(error) is self.right and error.status != 200:
            raise self.wrong(str(error), status=error.status)
        raise error
        yield


@bad("server-error-mapped")
class BlamesTheCaller(Reclassed):
    right, wrong = ServerError, BadRequestError


@bad("key-refusal-mapped")
class BlamesTheServer(Reclassed):
    right, wrong = AuthenticationError, ServerError


@bad("bad-request-mapped")
class HopesForMore(Reclassed):
    right, wrong = BadRequestError, ServerError


@bad("missing-model-mapped")
class BlamesTheRequest(Reclassed):
    right, wrong = ModelUnavailableError, BadRequestError


class DetailedError(ServerError):
    """Cannot be made from its message alone, which is how it is read back."""

    def __init__(self, message: str, *, detail: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.detail = detail


@bad("errors-pickle")
class Detailed(Altered):
    def told(self, error):
        if isinstance(error, ServerError):
            raise DetailedError(str(error), detail="no", status=error.status)
        raise error
        yield


# --- secrets ----------------------------------------------------------------------------------------------------------


@bad("key-used")
class Anonymous(OpenAIChatProvider):
    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.headers = {"Authorization": "Bearer of-the-developer"}


@bad("key-not-in-repr")
class ShowsItself(OpenAIChatProvider):
    def __repr__(self) -> str:
        return f"ShowsItself(key={self.config.api_key.reveal()})"


@bad("key-not-in-logs")
class Chatty(OpenAIChatProvider):
    def body(self, request: Request) -> dict[str, Any]:
        logging.getLogger("conformance.chatty").debug("asking with %s", self.config.api_key.reveal())
        return super().body(request)


@bad("key-not-in-errors")
class Helpful(Altered):
    def told(self, error):
        if isinstance(error, AuthenticationError):
            raise AuthenticationError(f"the key {self.config.api_key.reveal()} was refused", status=error.status)
        raise error
        yield


class PassesItOn(Altered):
    """Keeps the key out of refusals, and not out of an error inside a stream."""

    def told(self, error):
        if error.status == 200:
            raise ServerError(str(error).replace("***", self.config.api_key.reveal()), status=200)
        raise error
        yield


# --- resources --------------------------------------------------------------------------------------------------------


@bad("close-idempotent")
class ClosesOnce(OpenAIChatProvider):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        super().close()


@bad("nothing-left")
class NeverCloses(OpenAIChatProvider):
    open: list[Any] = []  # noqa: RUF012 - that it is kept is the fault

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.open.append(self.http)

    def close(self) -> None:
        """Leave it to the garbage collector, which never comes."""


def tidy() -> None:
    """Close what was kept on purpose."""
    while NeverCloses.open:
        NeverCloses.open.pop().close()
