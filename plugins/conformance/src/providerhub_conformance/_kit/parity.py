"""Checks that compare the synchronous side of a provider with its asynchronous one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import attrs

from providerhub import Completion, ProviderError, ProviderHubError, StreamInterruptedError, Timeout
from providerhub.testing import Hold
from providerhub_conformance._faults.scripts import http_response, response_head
from providerhub_conformance._faults.server import Scripted
from providerhub_conformance._faults.steps import Close, Reset, Script, Send
from providerhub_conformance._kit.bench import HELLO, Bench, root_cause
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.outcome import NotApplicable, expect

GROUP = "failures"
_SOON = 0.2
"""Seconds, for timeouts that must end."""


class Fault(NamedTuple):
    """A fault of the service, and the timeouts of the call; `None` for timeouts that no good call reaches."""

    name: str
    script: Scripted
    timeout: Timeout | None = None


def _faults(bench: Bench) -> Iterator[Fault]:
    for status in (400, 401, 403, 404, 408, 413, 429, 500, 503):
        headers = {"Retry-After": "7"} if status in {429, 503} else None
        yield Fault(f"HTTP {status}", bench.refusing(status, headers))
    yield Fault("a redirect", http_response(302, b"", {"Location": "http://127.0.0.1:9/"}))
    yield Fault("a reset before the answer", Reset())
    yield Fault("a connection that closes before the answer", Close())
    yield Fault("an HTML page", http_response(200, "<html>no</html>", {"Content-Type": "text/html"}))
    yield Fault("an empty body", http_response(200, b"", {"Content-Type": bench.wire.answer_type}))
    yield Fault("silence", Hold(), attrs.evolve(bench.patient, first_token=_SOON, total=_SOON))
    body = bench.wire.answer(HELLO)
    head = response_head(200, {"Content-Type": bench.wire.answer_type, "Content-Length": str(len(body))})
    whole = bench.whole(HELLO)
    if not bench.may_stream:
        yield Fault("an answer shorter than its length", [Send(head + body[:-4]), Close()])
        return
    frames = bench.frames()
    begun, rest = (*frames.head, frames.pieces[0]), (*frames.pieces[1:], *frames.tail)
    garbage, error = bench.wire.garbage(), bench.wire.error_event("the service is overloaded")
    after: dict[str, Script] = {
        "a good answer": bench.streamed(*begun, *rest),
        "a good answer in one chunk": bench.streamed(b"".join((*begun, *rest))),
        "a cut between two chunks": [bench.streamed(*begun, end=False), Close()],
        "a cut in a chunk": [bench.streamed(*begun, end=False), Send(b"20\r\nabc"), Close()],
        "a broken chunk": [bench.streamed(*begun, end=False), Send(b"zz\r\n"), Close()],
        "a broken chunk in one read": [bench.streamed(end=False), Send(_chunk(b"".join(begun)) + b"zz\r\n"), Close()],
        "no end mark": bench.streamed(*begun),
        "a garbled frame": bench.streamed(*begun, garbage, *rest),
        "a garbled frame in one read with a good one": bench.streamed(b"".join((*begun, garbage, *rest))),
        "an error event": bench.streamed(*begun, error, *rest),
        "an error event in one read with a good one": bench.streamed(b"".join((*begun, error, *rest))),
        "an error event at once": bench.streamed(error),
        "bytes after the end mark": bench.streamed(*begun, *rest, frames.pieces[0]),
    }
    cut: Script = [Send(head + body[:-4]), Close()]
    for name, script in after.items():
        yield Fault(name, bench.by_kind(script, whole if "good" in name else cut))
    silent = bench.by_kind([bench.streamed(*begun, end=False), Hold()], [Hold()])
    yield Fault(
        "silence after the first piece", silent, attrs.evolve(bench.patient, byte_idle=_SOON, token_idle=_SOON, total=1.0)
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _outcome(way: Callable[[], Completion]) -> tuple[Any, ...]:
    """The answer of a call, or the class of the provider's error with the text before it."""
    try:
        answer = way()
    except ProviderHubError as error:
        cause = root_cause(error)
        partial = error.partial if isinstance(error, StreamInterruptedError) else ""
        said = (cause.status, cause.retry_after) if isinstance(cause, ProviderError) else ()
        return type(error).__name__, type(cause).__name__, partial, *said
    return answer.text, answer.reasoning, answer.tool_calls, answer.finish_reason, answer.usage


@check(
    GROUP,
    requires=(
        "async-call", "reset", "truncated-is-error", "malformed-chunk", "error-event", "foreign-answer", "stall-timeout",
        "redirect-not-followed", "no-own-retries", "rate-limit-mapped", "key-refusal-mapped", "bad-request-mapped",
    ),
    both=False,
    fix="Let one translation serve both sides, as a WireProvider does. Yield what came before a failure on both.",
    promise="A fallback goes on in the same way under asyncio.",
)  # fmt: skip
def sides_agree(bench: Bench) -> None:
    """After each fault, `astream` has the same text, error class, status and `retry_after` as `stream`."""
    if not callable(getattr(bench.provider(bench.hub("http://127.0.0.1:9" + bench.wire.base)), "astream", None)):
        raise NotApplicable("it has no astream of its own")
    for fault in _faults(bench):
        found = []
        for native in (False, True):
            bench.native = native
            client = bench.client(bench.serve(fault.script), timeout=fault.timeout)
            found.append([_outcome(way) for way in bench.ways(client)])
        bench.native = False
        for way, sync, native_one in zip(("plain", "streaming"), *found, strict=False):
            expect(sync == native_one, f"{way}, after {fault.name}: stream gives {sync}, astream {native_one}")
