"""Checks of a provider's `Reading` without sockets: thousands of split, cut and garbled answers in a second."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import attrs

from providerhub import (
    CallContext,
    CallerError,
    EmptyAnswerError,
    Finish,
    ProtocolError,
    ProviderError,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from providerhub._rules.mapping import UNREADABLE
from providerhub.wire_provider import WireProvider
from providerhub_conformance._kit.bench import Bench
from providerhub_conformance._kit.capabilities import CALLS, TOOL
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.outcome import NotApplicable, expect
from providerhub_conformance._kit.wire import Reply

GROUP = "translation"
_CUT = (ProtocolError, EmptyAnswerError)
_NOWHERE = "http://127.0.0.1:9"


class Outcome(NamedTuple):
    """The pieces of an answer, with adjacent texts joined, and the class of the error that ended it; `None` without one."""

    pieces: tuple[Any, ...]
    error: type[Exception] | None = None
    said: str = ""

    @property
    def content(self) -> tuple[Any, ...]:
        """The pieces without the data that a service may send after the end of the answer."""
        return tuple(p for p in self.pieces if isinstance(p, TextDelta | ReasoningDelta | ToolCallDelta | Finish))

    def __str__(self) -> str:
        return f"{list(self.pieces)}"[:300] + (f" and {self.error.__name__} ({self.said[:200]})" if self.error else "")


class Reader:
    """Reads answers as the toolkit does, from reads of the caller's choice.

    Args:
        bench: The bench of the check.

    Raises:
        NotApplicable: The provider has no `Reading`.
    """

    def __init__(self, bench: Bench) -> None:
        provider = bench.provider(bench.hub(_NOWHERE + bench.wire.base))
        if not isinstance(provider, WireProvider) or type(provider).reading is WireProvider.reading:
            raise NotApplicable("the provider has no `reading` of a WireProvider")
        self._provider = provider
        self._bench = bench
        self._timeout = bench.patient
        plain = Request(bench.subject.sent_name, ({"role": "user", "content": "Hello"},))
        self._requests = {
            (stream, tools): attrs.evolve(plain, stream=stream, tools=(TOOL,) if tools else None)
            for stream in (True, False)
            for tools in (True, False)
        }

    def read(self, reads: Iterable[bytes], *, stream: bool = True, tools: bool = False, ends: bool = True) -> Outcome:
        """Read one answer.

        Args:
            reads: The bytes of each read.
            stream: Whether the request asked for a stream.
            tools: Whether the request has a tool.
            ends: Whether the input ends after the last read.
        """
        wire = self._bench.wire
        headers = {"content-type": wire.stream_type if stream else wire.answer_type}
        pieces: list[Any] = []
        try:
            reading = self._provider.reading(self._requests[stream, tools], CallContext(self._timeout), headers)
            for data in filter(None, reads):
                for piece in reading.feed(data):
                    _join(pieces, piece)
                if reading.done:
                    break
            for piece in reading.end() if ends else ():
                _join(pieces, piece)
        except Exception as error:  # the check judges its class
            return Outcome(tuple(pieces), type(error), str(error))
        return Outcome(tuple(pieces))


class Played(NamedTuple):
    """One answer of the service."""

    frames: tuple[bytes, ...]
    begun: int
    """The number of frames before the tail."""
    stream: bool
    tools: bool

    @property
    def body(self) -> bytes:
        """The bytes of the answer."""
        return b"".join(self.frames)

    @property
    def how(self) -> dict[str, bool]:
        """The request, as `Reader.read` takes it."""
        return {"stream": self.stream, "tools": self.tools}

    def __str__(self) -> str:
        return ("a stream" if self.stream else "a whole answer") + (" with tool calls" if self.tools else "")


def _join(pieces: list[Any], piece: Any) -> None:
    """Append a piece. A text, or the arguments of a call, continues the piece before it."""
    last: Any = pieces[-1] if pieces else None
    piece = TextDelta(piece) if isinstance(piece, str) else piece
    if type(last) is type(piece) and isinstance(piece, TextDelta | ReasoningDelta):
        pieces[-1] = type(piece)(last.text + piece.text)
    elif isinstance(last, ToolCallDelta) and isinstance(piece, ToolCallDelta) and last.index == piece.index:
        pieces[-1] = attrs.evolve(
            last, id=piece.id or last.id, name=piece.name or last.name, arguments=last.arguments + piece.arguments
        )
    elif not (isinstance(piece, TextDelta) and not piece.text):
        pieces.append(piece)


def _begins(part: tuple[Any, ...], whole: tuple[Any, ...]) -> bool:
    """Whether joined pieces are the beginning of other pieces. The last piece may be a part of a text or of arguments."""
    if not part or len(part) > len(whole):
        return not part
    last, same = part[-1], whole[len(part) - 1]
    if part[:-1] != whole[: len(part) - 1] or type(last) is not type(same):
        return False
    if isinstance(last, TextDelta | ReasoningDelta):
        return bool(same.text.startswith(last.text))
    if isinstance(last, ToolCallDelta):
        return bool(last.index == same.index and same.arguments.startswith(last.arguments))
    return bool(last == same)


def _replies(bench: Bench) -> Iterator[tuple[Reply, bool]]:
    carries = bench.wire.carries
    usage = Usage(11, 7) if "usage" in carries else None
    reasoning = ("Let me", " think ü.") if "reasoning" in carries else ()
    yield Reply(text=("first ", "é🧑‍🚀", "\n{ok}"), reasoning=reasoning, usage=usage), False
    if "tools" in carries and bench.subject.model.supports_tools:
        yield Reply(tool_calls=CALLS, finish_reason="tool_calls", usage=usage), True


def _answers(bench: Bench, *, whole: bool = True) -> Iterator[Played]:
    for reply, tools in _replies(bench):
        if bench.may_stream:
            frames = bench.frames(reply)
            yield Played(frames.all, len(frames.head) + len(frames.pieces), stream=True, tools=tools)
        if whole:
            yield Played((bench.wire.answer(reply),), 0, stream=False, tools=tools)


def _good(reader: Reader, played: Played) -> Outcome:
    """Read an answer in one read. The result must be right, since the others are compared with it."""
    found = reader.read([played.body], **played.how)
    expect(found.error is None and found.content, f"{played} in one read gives {found}")
    return found


def _splits(bench: Bench, played: Played, newline: bytes) -> Iterator[tuple[str, Sequence[bytes]]]:
    """Split an answer: everywhere with the usual line end, and around the line ends with another line end."""
    body = played.body.replace(b"\n", newline)
    for at in range(1, len(body)):
        if newline == b"\n" or set(body[at - 1 : at + 1]) & set(b"\r\n"):
            yield f"byte {at}", (body[:at], body[at:])
    yield "each byte", [body[at : at + 1] for at in range(len(body))]
    frames = [frame.replace(b"\n", newline) for frame in played.frames]
    yield "each frame", frames
    beat = bench.wire.keep_alive().replace(b"\n", newline) if played.stream else b""
    yield "each frame, with keep-alives", [part for frame in frames for part in (beat, frame)]


@check(
    GROUP,
    requires=("every-byte-split", "newline-variants", "keep-alive-ignored"),
    both=False,
    fix="Keep bytes that do not complete a frame until the next feed(). JsonReading does; do not look at the edges of a read.",
    promise="The answer does not depend on the way in which the network cuts the stream.",
)
def every_split(bench: Bench) -> None:
    """Without sockets: each answer has the same pieces when it is split at any byte, or into bytes or frames."""
    reader = Reader(bench)
    for played in _answers(bench):
        good = _good(reader, played)
        for newline in (bench.wire.newlines if played.stream else ()) or (b"\n",):
            for at, reads in _splits(bench, played, newline):
                found = reader.read(reads, **played.how)
                if found != good:
                    bench.fail(f"{played} with {newline!r}, split at {at}, gives {found}; in one read it gives {good}")


@check(
    GROUP,
    requires=("truncated-is-error", "every-split"),
    both=False,
    fix="Yield Finish when the service gives the reason, and let end() raise ProtocolError if none has come. Yield the pieces of "
    "the frames before the cut.",
    promise="Half an answer is never returned as a whole one, and the half that came is not lost.",
)
def every_cut(bench: Bench) -> None:
    """Without sockets: an answer that is cut at any byte is an error after the pieces of its whole frames, or is complete."""
    reader = Reader(bench)
    for played in _answers(bench):
        good = _good(reader, played)
        reads = [[b"".join(played.frames[:n])] for n in range(len(played.frames) + 1)]
        before = [reader.read(one, ends=False, **played.how).pieces for one in reads]
        body, ends, n = played.body, 0, 0
        for at in range(1, len(body.rstrip())):
            while at >= ends + len(played.frames[n]):
                ends, n = ends + len(played.frames[n]), n + 1
            found = reader.read([body[:at]], **played.how)
            twice = reader.read([body[: at // 2], body[at // 2 : at]], **played.how)
            if wrong := _wrongly_cut(found, twice, good, before[n : n + 2]):
                bench.fail(f"{played}, cut behind byte {at} ({body[max(0, at - 40) : at]!r}), {wrong}")


def _wrongly_cut(found: Outcome, twice: Outcome, good: Outcome, frames: Sequence[tuple[Any, ...]]) -> str:
    """Return the mistake of a cut answer. `frames`: the pieces before the cut frame, and the pieces including it."""
    if (found.pieces, found.error) != (twice.pieces, twice.error):
        return f"gives {found}; in two reads {twice}"
    if found.error is None:
        return "" if found.content == good.content else f"succeeds with {found}; the whole answer is {good}"
    if not issubclass(found.error, _CUT):
        return f"gives {found}, not ProtocolError"
    is_kept = _begins(frames[0], found.pieces) and _begins(found.pieces, frames[1])
    return "" if is_kept else f"gives {found}; the frames before hold {list(frames[0])}"


def _put_everywhere(bench: Bench, frame: bytes, what: str) -> Iterator[tuple[str, Outcome]]:
    """Put a frame before each frame of a stream, in one read with its neighbours, alone, and split at each byte.

    Yields:
        The place and the outcome, which has the pieces of the frames before. All ways must give the same class.
    """
    bench.needs_stream()
    reader = Reader(bench)
    for played in _answers(bench, whole=False):
        _good(reader, played)
        for n in range(played.begun + 1):
            before, after = b"".join(played.frames[:n]), b"".join(played.frames[n:])
            kept = reader.read([before], ends=False, **played.how).pieces
            ways: list[Sequence[bytes]] = [(before + frame + after,), (before, frame, after)]
            ways += [(before + frame[:at], frame[at:] + after) for at in range(1, len(frame))]
            found = [reader.read(reads, **played.how) for reads in ways]
            where = f"{what} before frame {n} of {played}"
            for way, one in zip(ways, found, strict=True):
                if one.error is found[0].error and one.pieces == kept:
                    continue
                other = f"the frames before hold {list(kept)}" if one.error is found[0].error else f"in one read {found[0]}"
                bench.fail(f"{where}, in reads of {[len(read) for read in way]} bytes, gives {one}; {other}")
            yield where, found[0]


@check(
    GROUP,
    requires=("error-event", "every-split"),
    both=False,
    fix="Yield the pieces of the frames before the error, also if they came in the same read: do not collect them first.",
    promise="The text before a failure is not lost, and the failure has its class wherever it comes.",
)
def every_error(bench: Bench) -> None:
    """Without sockets: an error before any frame of a stream is raised after the earlier pieces, for each split."""
    kinds = set()
    for where, found in _put_everywhere(bench, bench.wire.error_event("the service is overloaded"), "an error"):
        is_right = found.error is not None and issubclass(found.error, ProviderError) and not issubclass(found.error, _CUT)
        expect(is_right, f"{where}, gives {found}; it must be a ProviderError with the message of the service")
        kinds.add(found.error)
    expect(len(kinds) == 1, f"the class of an error depends on its place: {sorted(map(str, kinds))}")


@check(
    GROUP,
    requires=("malformed-chunk", "every-split"),
    both=False,
    fix="Raise ProtocolError for a frame that cannot be parsed, after the pieces before it, also if they came in the same read.",
    promise="An answer with a gap is an error, and the text before the gap is not lost.",
)
def every_garbage(bench: Bench) -> None:
    """Without sockets: a garbled frame before any frame of a stream is a `ProtocolError` after the earlier pieces."""
    for where, found in _put_everywhere(bench, bench.wire.garbage(), "a garbled frame"):
        expect(found.error is not None and issubclass(found.error, ProtocolError), f"{where}, gives {found}, not ProtocolError")


_ODD: tuple[Any, ...] = (None, True, 5, -1, "x", [], [None], {}, {"a": 1})
"""The values that replace values of an answer: one or two of each type of JSON."""


def _altered(found: Any, place: str = "the object") -> Iterator[tuple[str, Any]]:
    """Yield copies of a JSON value, each with one inner value replaced by an odd value, and the place of this value."""
    for odd in _ODD:
        if type(odd) is not type(found):
            yield f"{odd!r} in the place of {place}", odd
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in tuple(inner):
        for where, other in _altered(value, f"{place}[{key!r}]"):
            changed = found.copy()
            changed[key] = other
            yield where, changed


def _kind(frame: bytes) -> bytes:
    """Return the part of a frame that all frames of its kind share: all except its texts and numbers."""
    return re.sub(rb'(?<=":)\s*(?:"(?:[^"\\]|\\.)*"|[-+.\w]+)', b"", frame)


def _with_odd_values(frame: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a text frame with its JSON object altered; nothing for a frame without an object, or with a checksum."""
    begin, end = frame.find(b"{"), frame.rfind(b"}") + 1
    try:
        found = json.loads(frame[begin:end])
    except ValueError:
        return
    for where, altered in _altered(found) if b"\0" not in frame else ():
        yield where, frame[:begin] + json.dumps(altered).encode() + frame[end:]


@check(
    GROUP,
    requires=("malformed-chunk",),
    both=False,
    fix="Read each value as the type in the protocol. For another type, raise ProtocolError, or let Python raise TypeError. Do "
    "not raise an error of the caller.",
    promise="The service is at fault for an answer that breaks its protocol, so that the call goes on to another one.",
)
def every_type(bench: Bench) -> None:
    """Without sockets: an answer with a value of another type is read, or raises an error of the service."""
    reader = Reader(bench)
    for played in _answers(bench):
        _good(reader, played)
        kinds = {_kind(frame): n for n, frame in enumerate(played.frames)}  # one frame of each kind is enough
        for n in kinds.values():
            for where, altered in _with_odd_values(played.frames[n]):
                found = reader.read([b"".join((*played.frames[:n], altered, *played.frames[n + 1 :]))], **played.how)
                kind = found.error or ProviderError
                is_told = issubclass(kind, ProviderError) or (issubclass(kind, UNREADABLE) and not issubclass(kind, CallerError))
                expect(is_told, f"{played} with {where} in frame {n} gives {found}, not ProtocolError")
