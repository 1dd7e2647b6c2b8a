"""Checks of broken connections and broken answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import attrs

from providerhub import (
    DeadlineExceededError,
    EmptyAnswerError,
    ProtocolError,
    ProviderConnectionError,
    ProviderError,
    ProviderHubError,
    ProviderTimeoutError,
    StreamInterruptedError,
)
from providerhub.testing import Hold, Mark
from providerhub_conformance._faults.connection import RecordedRequest
from providerhub_conformance._faults.scripts import close_delimited, http_response, response_head
from providerhub_conformance._faults.server import refusing_url
from providerhub_conformance._faults.steps import Close, Repeat, Reset, Script, Send
from providerhub_conformance._kit.bench import HELLO, Bench, read_whole, root_cause
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.clients import settle_quietly
from providerhub_conformance._kit.outcome import expect

GROUP = "failures"
_BROKEN = (ProtocolError, ProviderConnectionError, EmptyAnswerError)
_SOON = 0.15
"""Seconds, for timeouts that must end."""
_FLOOD = 96 * 1024 * 1024
"""Bytes: more than the limit of a line and the buffers of the system together."""


def _is(found: ProviderHubError, expected: tuple[type[BaseException], ...], what: str) -> None:
    names = " or ".join(kind.__name__ for kind in expected)
    expect(isinstance(found, expected), f"{what}: raised {type(found).__name__} ({str(found)[:200]}), not {names}")


def _interrupted(bench: Bench, script: Script, what: str, expected: tuple[type[BaseException], ...]) -> None:
    """Play a fault after the first piece: the caller must get a `StreamInterruptedError`."""
    found = bench.fails_outright(lambda: read_whole(bench.client(bench.serve(script))), what)
    _is(found, (StreamInterruptedError,), what)
    _is(root_cause(found), expected, what)


@check(
    GROUP,
    wire=True,
    fix="Do not catch the connection error of the library, or raise ProviderConnectionError.",
    promise="A call moves on when a service is down, and the breaker counts the failure.",
)
def refused(bench: Bench) -> None:
    """A refused connection is a connection error."""
    with refusing_url() as url:
        client = bench.client(url + bench.wire.base)
        for way in bench.ways(client):
            what = "connection refused"
            _is(bench.fails(way, what), (ProviderConnectionError,), what)


@check(
    GROUP,
    fix="Do not catch the error of the library, or raise ProviderConnectionError. Do not change the text before it.",
    promise="A broken connection is never the end of an answer.",
)
def reset(bench: Bench) -> None:
    """A reset before the headers or in the middle of a stream is an error."""
    client = bench.client(bench.serve(Reset()))
    for way in bench.ways(client):
        what = "connection reset before an answer"
        _is(bench.fails(way, what), _BROKEN, what)
    if bench.may_stream:
        frames = bench.frames()
        script = bench.streamed(*frames.head, frames.pieces[0], Reset(), end=False)
        # A reset may overtake the bytes sent before it. Both cases are errors.
        what = "connection reset in the middle of a stream"
        _is(bench.fails(lambda: read_whole(bench.client(bench.serve(script))), what), _BROKEN, what)


@check(
    GROUP,
    requires=("basic-call", "claimed-stream"),
    fix="Raise ProtocolError when the connection ends before the end mark of the protocol.",
    promise="Half an answer is never returned as a whole one.",
)
def truncated_is_error(bench: Bench) -> None:
    """An answer that ends before its end mark is an error: cut in a chunk, closed early, or shorter than its length."""
    short = bench.wire.answer(HELLO)
    whole: Script = [
        Send(response_head(200, {"Content-Type": bench.wire.answer_type, "Content-Length": str(len(short))}) + short[:-4]),
        Close(),
    ]
    frames = bench.frames()
    begun = (*frames.head, *frames.pieces)
    head = {"Content-Type": bench.wire.stream_type}
    cut: Script = [bench.streamed(*begun, end=False), Close()]
    what = "the answer is shorter than its Content-Length"
    _is(bench.fails(lambda: bench.client(bench.serve(bench.by_kind(cut, whole))).complete(), what), _BROKEN, what)
    if not bench.may_stream:
        return
    _interrupted(bench, cut, "the chunked stream was cut", _BROKEN)
    _interrupted(bench, close_delimited(begun, headers=head), "the stream was closed before its end mark", _BROKEN)
    _interrupted(bench, bench.streamed(*begun), "the body ended properly, without the stream's end mark", _BROKEN)
    what = "the stream was closed before its first piece"
    closed = close_delimited(frames.head, headers=head)
    _is(bench.fails(lambda: read_whole(bench.client(bench.serve(closed))), what), _BROKEN, what)


@check(
    GROUP,
    requires=("basic-call", "claimed-stream"),
    fix="Raise ProtocolError for an event that cannot be parsed. Do not skip it.",
    promise="An answer with a gap is an error.",
)
def malformed_chunk(bench: Bench) -> None:
    """An event in the middle of a stream that cannot be parsed is an error."""
    bench.needs_stream()
    frames = bench.frames()
    script = bench.streamed(*frames.head, frames.pieces[0], bench.wire.garbage(), *frames.pieces[1:], *frames.tail)
    _interrupted(bench, script, "an event that cannot be parsed", (ProtocolError,))
    joined = b"".join((*frames.head, frames.pieces[0], bench.wire.garbage(), *frames.pieces[1:], *frames.tail))
    _interrupted(bench, bench.streamed(joined), "an event that cannot be parsed in one read with a good one", (ProtocolError,))


@check(
    GROUP,
    requires=("basic-call", "claimed-stream"),
    fix="Look for an error in each event, and raise the result of error_from_status(200, {}, body).",
    promise="A call moves on when a service fails in its answer, as when it fails before.",
)
def error_event(bench: Bench) -> None:
    """An error event inside a stream with status 200 is raised, before the first piece and after it."""
    bench.needs_stream()
    frames = bench.frames()
    event = bench.wire.error_event("the service is overloaded")
    # The end mark follows, so that a provider that ignores the error gets a whole answer.
    after = bench.streamed(*frames.head, frames.pieces[0], event, *frames.tail)
    before = (bench.streamed(event), bench.streamed(*frames.head, event, *frames.tail))
    scripts = [
        (after, "an error event after the first piece"),
        *((script, "an error event before the first piece") for script in before),
    ]
    for script, what in scripts:
        client = bench.client(bench.serve(script))
        found = bench.fails(lambda client=client: read_whole(client), what)  # type: ignore[misc]
        lost = isinstance(found, EmptyAnswerError | ProtocolError) or not isinstance(found, ProviderError)
        expect(not lost, f"{what}: raised {type(found).__name__} ({found}); the message of the service is lost")


@check(
    GROUP,
    fix="Raise ProtocolError for a 200 that does not follow the protocol, such as an HTML page or an empty body.",
    promise="A proxy's login page is not an answer.",
)
def foreign_answer(bench: Bench) -> None:
    """A 200 with an HTML page or an empty body is an error, plain and streaming."""
    page = http_response(200, "<html><body>Please log in</body></html>", {"Content-Type": "text/html"})
    nothing = http_response(200, b"", {"Content-Type": bench.wire.answer_type})
    for script, what in ((page, "a 200 with an HTML page"), (nothing, "a 200 with an empty body")):
        client = bench.client(bench.serve(script))
        for way in bench.ways(client):
            _is(bench.fails(way, what), _BROKEN, what)


@check(
    GROUP,
    requires=("basic-call", "claimed-stream"),
    fix="Limit each line and event (64 MiB in providerhub.wire.sse), and raise ProtocolError beyond the limit.",
    promise="A broken or hostile server cannot fill the memory.",
)
def endless_line_capped(bench: Bench) -> None:
    """An event without end is an error before 96 MiB have arrived."""
    bench.needs_stream()
    begin, more = bench.wire.endless()
    framed = _chunk_of(more * (1 << 20))
    script = [bench.streamed(begin, end=False), Repeat(framed, times=_FLOOD >> 20), Mark("swallowed"), Close()]
    server = bench.serve(script)
    client = bench.client(server)
    pending = client.start(stream=True)
    settle_quietly(pending, 6 * bench.subject.patience)  # so many bytes may take a loaded machine a while
    with contextlib.suppress(TimeoutError):
        server.reached("swallowed", timeout=0)
        bench.fail(f"the provider has read {_FLOOD >> 20} MiB of one line, and asked for more")
    expect(pending.done(), "the provider still reads a line without end")
    what = "a line without end"
    _is(bench.fails(pending.result, what), (ProtocolError,), what)


def _chunk_of(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@check(
    GROUP,
    requires=("basic-call", "claimed-stream"),
    fix="Use call.timeout: first_token until the first content, byte_idle and token_idle between pieces; providerhub.http does.",
    promise="The wait for a silent service ends within the caller's timeouts.",
)
def stall_timeout(bench: Bench) -> None:
    """Silence before the first piece or after it ends with the timeout of that phase."""
    if not bench.may_stream:
        bench.needs_stream()
    frames = bench.frames()
    before = attrs.evolve(bench.patient, first_token=_SOON)
    what = "silence before the first piece"
    found = bench.fails(lambda: read_whole(bench.client(bench.serve(Hold()), timeout=before)), what)
    _is(found, (ProviderTimeoutError,), what)
    after = attrs.evolve(bench.patient, byte_idle=_SOON, token_idle=_SOON)
    script = bench.streamed(*frames.head, frames.pieces[0], Hold(), end=False)
    what = "silence in the middle of a stream"
    _is(bench.fails(lambda: read_whole(bench.client(bench.serve(script), timeout=after)), what), (ProviderTimeoutError,), what)


@check(
    GROUP,
    requires=("basic-call",),
    fix="Limit each wait by call.remaining(), the time that is left of the whole call over all attempts.",
    promise="timeout=30 means 30 seconds.",
)
def deadline_obeyed(bench: Bench) -> None:
    """A call ends with its total timeout, even when the timeouts of its phases are longer."""
    short = attrs.evolve(bench.patient, total=_SOON)
    what = "the call's total time is over"
    for way in bench.ways(bench.client(bench.serve(Hold()), timeout=short)):
        _is(bench.fails_outright(way, what), (DeadlineExceededError, ProviderTimeoutError), what)


@check(
    GROUP,
    fix="Switch redirects off (allow_redirects=False, follow_redirects=False), and raise ProtocolError.",
    promise="The conversation and the key go to the configured address only.",
)
def redirect_not_followed(bench: Bench) -> None:
    """A redirect is an error, and its target gets no request."""
    for status in (301, 307):
        # Not `answering`: a followed redirect may arrive as a GET without a body, which the wire cannot read.
        target = bench.serve(bench.whole(HELLO))
        server = bench.serve(http_response(status, b"", {"Location": f"{target.url}/elsewhere"}))
        client = bench.client(server)
        for way in bench.ways(client):
            error: list[Exception] = []
            with contextlib.suppress(ProviderHubError):
                way()
                error.append(AssertionError())
            expect(not target.connected, f"a redirect ({status}) was followed: its target got {target.served} request(s)")
            expect(not error, f"a redirect ({status}) was returned as an answer")


def once(bench: Bench, script: Script | Callable[[RecordedRequest], Script], what: str) -> None:
    """Make calls fail, and compare the requests at the service with the attempts of the route.

    Args:
        bench: The bench of the check.
        script: The script of the service, for all requests.
        what: The name of the fault, for the message.
    """
    server = bench.serve(script)
    for number, way in enumerate(bench.ways(bench.client(server)), 1):
        error = bench.fails_outright(way, what)
        attempts = max(1, len(error.route.attempts))
        seen = server.served - (number - 1)
        expect(seen == attempts, f"{what}: the route has {attempts} attempt(s); the service got {seen} request(s)")


@check(
    GROUP,
    requires=("basic-call", "reset"),
    fix="Switch the retries of SDKs and transports off (max_retries=0). The core makes the next attempt.",
    promise="The route shows every request that a call has cost.",
)
def no_own_retries(bench: Bench) -> None:
    """After a 503, a 429 and a reset, the service has received as many requests as the route has attempts."""
    once(bench, bench.refusing(503), "503")
    once(bench, bench.refusing(429, {"Retry-After": "0"}), "429")
    once(bench, Reset(), "a reset")
