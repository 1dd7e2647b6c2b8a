"""Checks of streams while nothing is wrong with the service."""

from __future__ import annotations

from collections.abc import Iterator

from providerhub import Event, TextDelta
from providerhub.testing import Gate, Hold
from providerhub_conformance._kit.bench import HELLO, Bench, read_whole
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.clients import Reading, settle_quietly
from providerhub_conformance._kit.outcome import CheckFailed, expect
from providerhub_conformance._kit.wire import Reply

GROUP = "streaming"
_STREAM = ("basic-call", "claimed-stream")


@check(
    GROUP,
    wire=False,
    fix="Ask the service for a stream when request.stream is true, and yield each piece as it comes; or "
    "declare supports_stream=False.",
    promise="supports_stream=True means that the answer can be read while it is written.",
)
def claimed_stream(bench: Bench) -> None:
    """Where streaming is not ruled out: the service is asked for a stream, and its pieces come as pieces."""
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
    fix="Yield inside the loop that reads the connection. Do not gather, and read what is there: not iter_lines(), not read().",
    promise="The first word is on the screen when the service has sent it.",
)
def first_token_early(bench: Bench) -> None:
    """The first piece is in the caller's hands while the service still holds the second one back."""
    bench.needs_stream()
    frames = bench.frames()
    server = bench.serve(bench.streamed(*frames.head, frames.pieces[0], Gate("rest"), *frames.pieces[1:], *frames.tail))
    client = bench.client(server)
    try:
        reading = client.read()
        first = _first_text(reading)
    except CheckFailed:
        bench.fail("the service has sent the first piece and waits; the caller has got nothing yet")
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
    fix="Yield each piece exactly as it came: nothing stripped, nothing repeated, nothing added between.",
    promise="A streamed answer is the same answer.",
)
def pieces_join(bench: Bench) -> None:
    """The pieces of a stream, joined, are the answer, blanks and line ends at their edges included."""
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
    promise="How the network cuts a stream changes nothing.",
)
def every_byte_split(bench: Bench) -> None:
    """A stream that comes byte by byte, and one that is cut once, at every place of an event, gives the same text."""
    bench.needs_stream()
    reply = Reply(text=("first", "é🧑‍🚀", "ok"))
    frames = bench.frames(reply)
    body = b"".join(frames.all)
    try:
        answer = read_whole(bench.client(bench.serve(bench.streamed(*(body[at : at + 1] for at in range(len(body)))))))
    except CheckFailed:
        raise
    except Exception as error:  # said with where it happened
        bench.fail(f"sent byte by byte, the stream failed: {type(error).__name__}: {error}")
    expect(answer.text == "".join(reply.text), f"sent byte by byte, the text is {answer.text!r}")
    before = b"".join((*frames.head, frames.pieces[0]))
    event = frames.pieces[1]
    after = b"".join((*frames.pieces[2:], *frames.tail))
    cuts = [(before + event[:at], event[at:] + after) for at in range(1, len(event))]
    for at, text in enumerate(_cut_texts(bench, cuts), 1):
        expect(text == "".join(reply.text), f"cut behind byte {at} of an event, the stream gives {text!r}")


def _cut_texts(bench: Bench, cuts: list[tuple[bytes, bytes]]) -> Iterator[str]:
    """Send streams in two parts each, the second when the caller has the first's piece: so they cannot come as one.

    Args:
        bench: The check's.
        cuts: The two parts of each stream.

    Yields:
        The text of each, or the error that it ended in.
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
        except Exception as error:  # told with the cut
            yield f"{type(error).__name__}: {error}"


@check(
    GROUP,
    requires=(*_STREAM, "first-token-early"),
    fix="Take CR, LF and CRLF as line ends, a CRLF in two reads included; providerhub.wire.sse does. Where a wire of your own "
    "allows fewer, its newlines says which.",
    promise="A proxy or another server of the same protocol does not break the plugin.",
)
def newline_variants(bench: Bench) -> None:
    """Every line end that the protocol allows gives the same text, as the wire has it."""
    bench.needs_stream()
    frames = bench.frames()
    # Cut before the last byte of an event, so that a CRLF comes in two reads.
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
    fix="Pass over comments and pings: they are neither text nor errors. A wire of your own says by keep_alive() what its are.",
    promise="A model that thinks for long is waited for.",
)
def keep_alive_ignored(bench: Bench) -> None:
    """What the service sends only to keep the stream open changes nothing."""
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
    except Exception as error:  # said with what was special
        bench.fail(f"with {beat!r} between the events the stream failed: {type(error).__name__}: {error}")
    expect(answer.text == "".join(HELLO.text), f"with {beat!r} between the events the text is {answer.text!r}")


@check(
    GROUP,
    requires=_STREAM,
    fix="Stop at the protocol's own end mark; do not wait for the connection's end.",
    promise="An answer that is whole is handed over, also where a server or a proxy keeps the connection open.",
)
def ends_at_end_mark(bench: Bench) -> None:
    """The stream ends with the protocol's end mark, though the service keeps the connection open."""
    bench.needs_stream()
    server = bench.serve(bench.streamed(*bench.frames().all, Hold(), end=False))
    answer = read_whole(bench.client(server))
    expect(answer.text == "".join(HELLO.text), f"the text is {answer.text!r}")


@check(
    GROUP,
    requires=(*_STREAM, "first-token-early"),
    fix="Hold the connection in a `with` block inside stream(), and let GeneratorExit through.",
    promise="Closing a stream ends the work at the service, and what it costs.",
)
def early_close_frees_socket(bench: Bench) -> None:
    """When the caller closes a stream between two pieces, the service sees the connection go."""
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
    fix="Register call.on_cancel(shut the socket down) while reading, or read in slices that look at call.cancelled; "
    "providerhub.http does it. In astream, let CancelledError through.",
    promise="A call that nobody waits for ends at once, wherever it is.",
)
def cancel_reaches_socket(bench: Bench) -> None:
    """A stream that is cancelled while it waits (from another thread; an asynchronous task) frees its connection."""
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
        bench.fail("the task was cancelled, and goes on as if the stream had ended: astream keeps CancelledError to itself")
    settle_quietly(pending, bench.subject.patience)
