"""One `Completion` from the pieces that a provider yields."""

from __future__ import annotations

import attrs

from providerhub._values import (
    Completion,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Route,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from providerhub._values.errors import PluginError
from providerhub._values.provider import Piece

_EVENTS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, UsageDelta, Finish)


class Assembly:
    """Gathers the pieces of one attempt. A driver may append a piece that is a non-empty `str` to `text` directly."""

    __slots__ = ("_reasoning", "_refusal", "_tools", "content", "finish", "text", "usage")

    def __init__(self) -> None:
        self.text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._tools: dict[int, tuple[list[str], list[str]]] = {}
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.content = False

    def add(self, piece: Piece) -> bool:
        """Add one piece.

        Args:
            piece: A text, or an event of `providerhub`.

        Returns:
            Whether the piece is content: a non-empty delta of text, reasoning, refusal or a tool call.

        Raises:
            PluginError: The piece is neither a text nor an event, or it is an event whose field has the wrong type.
        """
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

    @property
    def empty(self) -> bool:
        """Whether neither content nor a `Finish` has come."""
        return not self.content and not self.text and self.finish is None

    def completion(self, provider: str, model: str, route: Route) -> Completion:
        """The answer so far."""
        tools = self._tools and tuple(
            ToolCall(i, name, "".join(pieces)) for _, ((i, name), pieces) in sorted(self._tools.items())
        )
        return Completion(
            "".join(self.text), "".join(self._reasoning) or None, tools or (), "".join(self._refusal) or None,
            self.finish.reason if self.finish else None, self.usage, provider, model, route,
        )  # fmt: skip

    def _add_other(self, piece: object) -> bool:
        if isinstance(piece, ToolCallDelta):
            if not isinstance(piece.index, int):
                raise _wrong(piece, "index", "an int")
            head, parts = self._tools.setdefault(piece.index, (["", ""], []))
            head[0] = piece.id or head[0]
            head[1] = piece.name or head[1]
            parts.append(_text(piece, "arguments"))
            return bool(piece.id or piece.name or piece.arguments)
        if isinstance(piece, UsageDelta):
            known = {k: v for k, v in attrs.asdict(piece.usage).items() if v is not None}
            self.usage = attrs.evolve(self.usage or Usage(), **known)
        elif isinstance(piece, Finish):
            self.finish = piece
        else:
            names = ", ".join(kind.__name__ for kind in _EVENTS)
            msg = f"the plugin yielded {type(piece).__name__}; it may yield str or one of {names}"
            raise PluginError(msg)
        return False


def _text(piece: object, field: str) -> str:
    value = getattr(piece, field)
    if isinstance(value, str):
        return value
    raise _wrong(piece, field, "a str")


def _wrong(piece: object, field: str, wanted: str) -> PluginError:
    return PluginError(
        f"the plugin yielded {type(piece).__name__} whose {field} is {type(getattr(piece, field)).__name__}, not {wanted}"
    )
