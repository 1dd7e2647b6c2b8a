"""One `Completion` from the pieces that a provider yields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Self

import attrs

from providerhub._calling.pieces import event_of
from providerhub._log import log as _log
from providerhub._values import Citation, Completion, Media, Route, ToolCall, Turn, Usage
from providerhub._values.checks import ANY_TEXT, MAPPING, NUMBER, TEXT, WHOLE, Check, instance_of
from providerhub._values.errors import PluginError
from providerhub._values.events import Detail, Event, Finish, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, UsageDelta
from providerhub._values.provider import Piece

_EVENTS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, Citation, Media, UsageDelta, Detail, Turn, Finish)


class Assembly:
    """Gathers the pieces of one attempt. A driver may append a piece that is a non-empty `str` to `text` directly."""

    __slots__ = (
        "_media", "_offset", "_reasoning", "_refusal", "_tools", "as_event", "beside", "content", "finish", "text", "usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self.text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._tools: dict[int, _Call] = {}
        self._media: list[Media] = []
        self.beside: dict[str, Any] | None = None
        """The rare fields of the completion; `None` until the first of them comes."""
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.content = False
        self.as_event: Callable[[Piece], Event] = event_of  # makes the caller's event from a piece

    def carried_on(self) -> Self:
        """Go on with the pieces of another attempt that continues the text. Return the assembly itself."""
        self._offset = len("".join(self.text))
        self.as_event = self._moved
        self.usage = None
        if self.beside:
            self.beside.pop("turn", None)
            for name in ("request_id", "model"):
                self.beside["details"].pop(name, None)
        return self

    def add(self, piece: Piece) -> bool:
        """Add one piece; true if it is content, a non-empty delta of text, reasoning, refusal or a tool call."""
        kind = type(piece)
        if kind is str or kind is TextDelta:
            text: str = piece if kind is str else _text(piece, "text")  # type: ignore[assignment]
            if text:
                self.text.append(text)
            found = bool(text)
        elif kind is ReasoningDelta or kind is RefusalDelta:
            text = _text(piece, "text")
            (self._reasoning if kind is ReasoningDelta else self._refusal).append(text)
            found = bool(text)
        elif isinstance(piece, str):
            return self.add(str(piece))
        else:
            found = self._add_other(piece)
        self.content = self.content or found
        return found

    def fields(self) -> dict[str, Any]:
        beside = self.beside = self.beside or {"citations": (), "details": {}}
        return beside

    def detail(self, name: str) -> Any:
        return self.beside["details"].get(name) if self.beside else None

    @property
    def size(self) -> int:
        """The bytes of the model's output so far, as UTF-8: an upper bound of its tokens."""
        calls = [text for call in self._tools.values() for text in (call.name, *call.arguments)]
        return sum(len(t.encode("utf-8", "surrogatepass")) for t in (*self.text, *self._reasoning, *self._refusal, *calls))

    @property
    def empty(self) -> bool:
        """Whether neither content nor a `Finish` has come."""
        return not self.content and not self.text and self.finish is None

    def completion(self, provider: str, model: str, route: Route, request_id: str = "") -> Completion:
        """The answer so far. `request_id` comes from the headers, and is used if the answer has none."""
        tools = self._called() if self._tools else ()
        reason = said = None
        if self.finish:
            reason, said = self.finish.reason, self.finish.said
            if tools and reason == "stop":  # services use both words, and the loops of callers branch on this one
                reason, said = "tool_calls", said or reason
        common = (
            _joined(self.text), _joined(self._reasoning) or None if self._reasoning else None, tools,
            _joined(self._refusal) or None if self._refusal else None, reason, self.usage, provider, model, route, said,
        )  # fmt: skip
        beside = self.beside
        if beside is None and not self._media and not request_id:
            return Completion(*common)
        details = {"request_id": request_id} if request_id else {}
        if beside is None:
            return Completion(*common, (), tuple(self._media), details=details)
        return Completion(
            *common, beside["citations"], tuple(self._media), beside.get("turn"), beside.get("parsed"),
            {**details, **beside["details"]},
        )  # fmt: skip

    def _called(self) -> tuple[ToolCall, ...]:
        """The tool calls, each with a unique identifier and with arguments: `{}` if the model wrote none."""
        taken: set[str] = set()
        for _, call in sorted(self._tools.items()):
            if not call.id or call.id in taken:
                import secrets  # few services need it

                call.id = f"call_{secrets.token_hex(12)}"
            taken.add(call.id)
        texts = [(call, _joined(call.arguments)) for _, call in sorted(self._tools.items())]
        return tuple(ToolCall(c.id, c.name, text if text.strip() or c.type != "function" else "{}", c.type) for c, text in texts)

    def _add_other(self, piece: object) -> bool:
        kind = type(piece)
        if kind is ToolCallDelta:
            return self._add_call(piece)  # type: ignore[arg-type]
        _check(piece)
        if kind is Detail:
            self._add_detail(piece)  # type: ignore[arg-type]
        elif kind is UsageDelta:
            self._add_usage(piece)  # type: ignore[arg-type]
        elif kind is Finish:
            self.finish = piece  # type: ignore[assignment]
        elif kind is Media:
            return self._add_media(piece)  # type: ignore[arg-type]
        elif kind is Citation:
            self.fields()["citations"] += (self._moved(piece),)  # type: ignore[arg-type]
        elif kind is Turn:
            if self.as_event is event_of:
                self.fields()["turn"] = piece
        else:
            names = ", ".join(kind.__name__ for kind in _EVENTS)
            shown = f"the class {piece.__name__}" if isinstance(piece, type) else type(piece).__name__
            raise _strange(f"{shown}; it may yield str or one of {names}")
        return False

    def _add_call(self, piece: ToolCallDelta) -> bool:
        call = self._tools.get(piece.index)
        if call is None or piece.id or piece.name:  # otherwise, the piece has the next characters of the arguments
            _check(piece)
            call = self._tools.setdefault(piece.index, _Call())
            call.id = piece.id or call.id
            call.name = piece.name or call.name
        call.type = piece.type
        call.arguments.append(_text(piece, "arguments"))
        return bool(piece.id or piece.name or piece.arguments)

    def _add_usage(self, piece: UsageDelta) -> None:
        usage, counts = piece.usage, _counts(piece.usage)
        if not _USUAL.issuperset(map(type, counts)):
            _check(usage)
        known = [count for count in counts if count is not None]
        if known and not (min(known) >= 0 and max(known) <= MOST_COUNT):
            usage = _believed(usage)
        self.usage = usage if self.usage is None else self.usage.updated(usage)

    def _add_media(self, piece: Media) -> bool:
        last = self._media[-1] if self._media else None
        if last is not None and piece.id is not None and (last.id, last.kind) == (piece.id, piece.kind):
            self._media[-1] = last.joined(piece)
        else:
            self._media.append(piece)
        return bool(piece.base64 or piece.url)

    def _add_detail(self, piece: Detail) -> None:
        details, value = self.fields()["details"], piece.value
        if piece.name in _NAMES and value is not None and type(value) is not str:
            value = str(value)
        known = details.get(piece.name)
        details[piece.name] = [*known, *value] if isinstance(known, list) and isinstance(value, list) else value

    def _moved(self, piece: Piece) -> Event:
        """The event of a piece. The places of a citation become places in the whole text."""
        if not isinstance(piece, Citation) or self.as_event is event_of:
            return event_of(piece)
        start, end = (None if place is None else place + self._offset for place in (piece.start, piece.end))
        return attrs.evolve(piece, start=start, end=end)


_NAMES = {"id", "model", "request_id"}
"""The details that must be texts, since the journal and telemetry keep them; a service may send a number."""


class _Call:
    __slots__ = ("arguments", "id", "name", "type")

    def __init__(self) -> None:
        self.id = self.name = ""
        self.type = "function"
        self.arguments: list[str] = []


def _joined(pieces: list[str]) -> str:
    """Join the pieces of a text, and the halves of a character that a plugin has split."""
    text = "".join(pieces)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


def _text(piece: object, field: str) -> str:
    value: object = getattr(piece, field)
    if isinstance(value, str):
        return value
    raise _wrong(piece, field, ANY_TEXT)


_TEXT, _WHOLE = ANY_TEXT.or_none, WHOLE.or_none
_COUNTS = tuple(field.name for field in attrs.fields(Usage) if field.name not in {"cost", "others"})
_counts = attrgetter(*_COUNTS, "cost")
_USUAL = {int, type(None)}

MOST_COUNT = 10**12
"""The maximum tokens and cost of an answer. Budgets, limits and journals could not add up more."""


def _believed(usage: Usage) -> Usage:
    """The counts without impossible values, which would refill or empty a budget. `others` keeps those values."""
    wrong = [name for name in (*_COUNTS, "cost") if not 0 <= (getattr(usage, name) or 0) <= MOST_COUNT]
    _log.warning("counts that no answer can have are left out: %s", ", ".join(wrong))
    nothing: dict[str, Any] = dict.fromkeys(wrong)
    return attrs.evolve(usage, **nothing)


_FIELDS: Mapping[type, Mapping[str, Check]] = {
    ToolCallDelta: {"index": WHOLE, "id": _TEXT, "name": _TEXT, "type": TEXT},
    Citation: {"url": _TEXT, "title": _TEXT, "text": _TEXT, "start": _WHOLE, "end": _WHOLE, "source": MAPPING},
    Media: {"kind": TEXT, "type": _TEXT, "base64": ANY_TEXT, "url": _TEXT, "id": _TEXT},
    UsageDelta: {"usage": instance_of(Usage, "a Usage, such as Usage(input_tokens=5)")},
    Usage: {**dict.fromkeys(_COUNTS, _WHOLE), "cost": NUMBER.or_none, "others": MAPPING},
    Detail: {"name": TEXT},
    Finish: {"reason": _TEXT, "said": _TEXT},
}
"""Event → field → check. The event classes check nothing, since the toolkit makes thousands of correct events."""


def _check(piece: object) -> None:
    for field, check in _FIELDS.get(type(piece), {}).items():
        if not check.test(getattr(piece, field)):
            raise _wrong(piece, field, check)


def _wrong(piece: object, field: str, check: Check) -> PluginError:
    found = check.shown(getattr(piece, field))
    return _strange(f"{type(piece).__name__} whose {field} is {found}; it must be {check.wanted}")


def _strange(piece: str) -> PluginError:
    error = PluginError(f"the plugin yielded {piece}")
    error.piece = piece
    return error
