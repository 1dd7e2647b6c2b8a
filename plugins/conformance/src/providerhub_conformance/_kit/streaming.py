"""Checks of streams from a service without faults."""

from __future__ import annotations

from collections.abc import Iterator

from providerhub import Event, TextDelta
from providerhub.testing import Gate, Hold
from providerhub_conformance._kit.bench import HELLO, Bench, read_whole
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.clients import Reading, settle_quietly
from providerhub_conformance._kit.outcome import CheckFailed, NotApplicable, expect
from providerhub_conformance._kit.wire import Reply

GROUP = "streaming"
_STREAM = ("basic-call", "claimed-stream")


@check(
    GROUP,
    wire=False,
    fix="Ask the service for a stream when request.stream is true, and yield each piece as it arrives; or "
    "declare supports_stream=False.",
    promise="supports_stream=True means that the answer can be read while it is written.",
)
def claimed_stream(bench: Bench) -> None:
    """Unless streaming is declared as False, the request asks for a stream, and the caller gets several pieces."""
    bench.needs_stream()
    server = bench.service(bench.answering())
    events = bench.client(server).read().rest()
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    if server is None:
        expect("".join(texts), "the stream has no text")
        return
    expect(bench.asked(server).stream, "the service was not asked for a stream")
    expect(len(texts) > 1, f"the service sent {len(HELLO.text)} pieces; the caller got {texts}")


@check(
    GROUP,
    requires=_STREAM,
    fix="Yield inside the loop that reads the connection. Do not collect pieces. Do not use iter_lines() or read(), which wait.",
    promise="The first word is on the screen as soon as the service has sent it.",
)
def first_token_early(bench: Bench) -> None:
    """The caller gets the first piece before the service sends the second one."""
    bench.needs_stream()
    frames = bench.frames()
    server = bench.serve(bench.streamed(*frames.head, frames.pieces[0], Gate("rest"), *frames.pieces[1:], *frames.tail))
    client = bench.client(server)
    try:
        reading = client.read()
        first = _first_text(reading)
    except CheckFailed:
        bench.fail("the service has sent the first piece, and the caller has not got it")
    finally:
        server.open("rest")
    expect(first == HELLO.text[0], f"the first piece is {first!r}, not {HELLO.text[0]!r}")
    reading.rest()


def _first_text(reading: Reading) -> str:
    while (event := reading.next()) is not None:
        if isinstance(event, TextDelta) and event.text:
            return event.text
    return ""


def _text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@check(
    GROUP,
    requires=("basic-call", "claimed-stream"),
    wire=False,
    fix="Yield each piece exactly as it arrived. Do not strip, repeat or add text.",
    promise="A streamed answer has the same text as a whole one.",
)
def pieces_join(bench: Bench) -> None:
    """The joined pieces of a stream are the answer, with the blanks and line ends at their edges."""
    bench.needs_stream()
    pieces = (" Lead", "ing", " ", "\n\n", "twice", "twice", "  trail ", "data: [DONE]", "\n", "end\n")
    server = bench.service(bench.answering(Reply(text=pieces)))
    reading = bench.client(server).read()
    joined = _text(reading.rest())
    expect(
        joined == reading.completion.text, f"the pieces join to {joined!r}; the completion's text is {reading.completion.text!r}"
    )
    if server is not None:
        expect(joined == "".join(pieces), f"the service said {''.join(pieces)!r}; the pieces join to {joined!r}")


@check(
    GROUP,
    requires=(*_STREAM, "unicode-intact", "first-token-early"),
    fix="Decode UTF-8 incrementally, and look for the end of an event across reads; providerhub.wire.sse does both.",
    promise="The answer does not depend on the way in which the network cuts the stream.",
)
def every_byte_split(bench: Bench) -> None:
    """A stream has the same text when it arrives byte by byte, or in two parts cut at any byte of an event."""
    bench.needs_stream()
    reply = Reply(text=("first", "é🧑‍🚀", "ok"))
    frames = bench.frames(reply)
    body = b"".join(frames.all)
    try:
        answer = read_whole(bench.client(bench.serve(bench.streamed(*(body[at : at + 1] for at in range(len(body)))))))
    except CheckFailed:
        raise
    except Exception as error:  # the finding names the place
        bench.fail(f"sent byte by byte, the stream failed: {type(error).__name__}: {error}")
    expect(answer.text == "".join(reply.text), f"sent byte by byte, the text is {answer.text!r}")
    before = b"".join((*frames.head, frames.pieces[0]))
    event = frames.pieces[1]
    after = b"".join((*frames.pieces[2:], *frames.tail))
    cuts = [(before + event[:at], event[at:] + after) for at in range(1, len(event))]
    for at, text in enumerate(_cut_texts(bench, cuts), 1):
        expect(text == "".join(reply.text), f"cut behind byte {at} of an event, the stream gives {text!r}")


def _cut_texts(bench: Bench, cuts: list[tuple[bytes, bytes]]) -> Iterator[str]:
    """Send each stream in two parts, the second after the caller has the first, so that they cannot arrive as one.

    Args:
        bench: The bench of the check.
        cuts: The two parts of each stream.

    Yields:
        The text of each stream, or the error that ended it.
    """
    scripts = [bench.streamed(first, Gate(f"cut {number}"), second) for number, (first, second) in enumerate(cuts)]
    server = bench.serve(*scripts)
    client = bench.client(server)
    for number in range(len(cuts)):
        try:
            reading = client.read()
            text = _first_text(reading)
            server.open(f"cut {number}")
            yield text + _text(reading.rest())
        except CheckFailed:
            raise
        except Exception as error:  # the finding names the cut
            yield f"{type(error).__name__}: {error}"


@check(
    GROUP,
    requires=(*_STREAM, "first-token-early"),
    fix="Accept CR, LF and CRLF as line ends, also a CRLF that arrives in two reads; providerhub.wire.sse does. A wire of "
    "your own that allows fewer sets `newlines`.",
    promise="The plugin works behind proxies and with other servers of the same protocol.",
)
def newline_variants(bench: Bench) -> None:
    """A stream has the same text with each line end that the protocol allows."""
    bench.needs_stream()
    if not bench.wire.newlines:
        raise NotApplicable("the framing has no lines")
    frames = bench.frames()
    # Cut before the last byte of an event, so that a CRLF arrives in two reads.
    first = b"".join((*frames.head, *frames.pieces[:2]))
    second = b"".join((*frames.pieces[2:], *frames.tail))
    for newline in bench.wire.newlines:
        whole, rest = first.replace(b"\n", newline), second.replace(b"\n", newline)
        try:
            (text,) = _cut_texts(bench, [(whole[:-1], whole[-1:] + rest)])
        except CheckFailed as failure:
            raise CheckFailed(f"with {newline!r} as line end {failure}") from failure
        expect(text == "".join(HELLO.text), f"with {newline!r} as line end the stream gives {text!r}")


@check(
    GROUP,
    requires=_STREAM,
    fix="Skip comments and pings. They are neither text nor errors. A wire of your own writes them in keep_alive().",
    promise="The caller gets the answer of a model that thinks for a long time.",
)
def keep_alive_ignored(bench: Bench) -> None:
    """Comments and pings that keep the stream open do not change the answer."""
    bench.needs_stream()
    beat = bench.wire.keep_alive()
    if not beat:
        bench.needs_place("keep-alive")
    frames = bench.frames()
    beats = [part for frame in (*frames.head, *frames.pieces) for part in (beat, frame)]
    try:
        answer = read_whole(bench.client(bench.serve(bench.streamed(*beats, beat, *frames.tail))))
    except CheckFailed:
        raise
    except Exception as error:  # the finding names the keep-alive
        bench.fail(f"with {beat!r} between the events the stream failed: {type(error).__name__}: {error}")
    expect(answer.text == "".join(HELLO.text), f"with {beat!r} between the events the text is {answer.text!r}")


@check(
    GROUP,
    requires=_STREAM,
    fix="Stop at the end mark of the protocol. Do not wait for the end of the connection.",
    promise="The caller gets a whole answer even when a server or a proxy keeps the connection open.",
)
def ends_at_end_mark(bench: Bench) -> None:
    """The stream ends at the end mark of the protocol while the service keeps the connection open."""
    bench.needs_stream()
    server = bench.serve(bench.streamed(*bench.frames().all, Hold(), end=False))
    answer = read_whole(bench.client(server))
    expect(answer.text == "".join(HELLO.text), f"the text is {answer.text!r}")


@check(
    GROUP,
    requires=(*_STREAM, "first-token-early"),
    fix="Hold the connection in a `with` block inside stream(), and do not catch GeneratorExit.",
    promise="Closing a stream ends the work at the service and its cost.",
)
def early_close_frees_socket(bench: Bench) -> None:
    """When the caller closes a stream between two pieces, the connection to the service ends."""
    bench.needs_stream()
    frames = bench.frames()
    server = bench.serve(bench.streamed(*frames.head, frames.pieces[0], Hold(), end=False))
    reading = bench.client(server).read()
    _first_text(reading)
    reading.close()
    try:
        server.client_gone(server.requests[-1].connection, timeout=bench.subject.patience)
    except TimeoutError:
        bench.fail("the caller has closed the stream, and the connection is still open")


@check(
    GROUP,
    requires=(*_STREAM, "first-token-early", "early-close-frees-socket"),
    fix="Register a function that shuts the socket down with call.on_cancel while reading, or read in short steps that check "
    "call.cancelled; providerhub.http does. In astream, do not catch CancelledError.",
    promise="A cancelled call ends at once, in every phase.",
)
def cancel_reaches_socket(bench: Bench) -> None:
    """A stream that is cancelled while it waits, by another thread or as a task, closes its connection."""
    bench.needs_stream()
    frames = bench.frames()
    server = bench.serve(bench.streamed(*frames.head, frames.pieces[0], Gate("silent"), Hold(), end=False))
    reading = bench.client(server).read()
    _first_text(reading)
    server.reached("silent", timeout=bench.subject.patience)
    pending = reading.begin_next()
    reading.cancel(pending)
    try:
        server.client_gone(server.requests[-1].connection, timeout=bench.subject.patience)
    except TimeoutError:
        bench.fail("the call was cancelled while it waited for the service, and the connection is still open")
    if not reading.called_off(bench.subject.patience):
        bench.fail("the task was cancelled, and the stream ended without an error: astream keeps CancelledError to itself")
    settle_quietly(pending, bench.subject.patience)
