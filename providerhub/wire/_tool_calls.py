"""The tool calls of one answer in the chat shape: finds the call of each entry, and corrects mistakes of servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from providerhub._values import ToolCallDelta
from providerhub.wire._halves import Halves
from providerhub.wire._shape import joined, says, shape_error

_KNOWN = frozenset({"index", "id", "type", "function", "custom"})
_KNOWN_SAID = frozenset({"name", "arguments", "input"})
_NO_ID = (None, "", "null")
"""Values that mean no identifier. Mistral writes `"null"`."""


class ToolCalls:
    """The tool calls of one answer.

    In a whole answer, each entry is a call. In a stream, an entry with another `index` is another call, even if both have the
    same identifier. An entry with a name begins a new call if it has no index, or if the identifier differs from the earlier one
    of its index. It continues the call if it names the same function and the arguments are not complete. If the arguments of a
    call are a complete object and more arguments come, a new call begins. An entry without a name, an index and a known
    identifier continues the last call. Empty entries and exact repeats are ignored. `halves` joins the texts of the arguments.
    """

    __slots__ = ("_calls", "_halves", "_last", "_places", "_whole")

    def __init__(self, halves: Halves, *, whole: bool) -> None:
        self._halves, self._whole = halves, whole
        self._calls: list[_Call] = []
        self._places: dict[object, _Call] = {}  # by the server's index
        self._last: _Call | None = None

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def extras(self) -> list[dict[str, Any]]:
        """The further fields of each call, other than identifier, name and arguments; empty if no call has any."""
        return [call.extra for call in self._calls] if any(call.extra for call in self._calls) else []

    def pieces(self, entry: Any) -> Iterator[ToolCallDelta]:
        """Read one entry of `tool_calls`. Yield at most one piece of a call."""
        found = _Entry(entry)
        if not (found.id or found.name or found.arguments or found.extra):  # an entry with empty fields only
            return
        call = _Call(len(self._calls)) if self._whole else self._call(found)
        if call.number == len(self._calls):
            self._calls.append(call)
            call.type = found.type
        if not self._whole and found.index is not None:
            self._places[found.index] = call
        self._last = call
        for name, value in found.extra.items():
            call.extra[name] = joined(call.extra.get(name), value)
        yield from self._told(call, found)

    def flush(self) -> Iterator[ToolCallDelta]:
        """Yield the held-back arguments. Call this at the end of the answer."""
        for call in self._calls:
            if call.held:
                call.held = False
                yield ToolCallDelta(call.number, arguments="{}", type=call.type)

    def _told(self, call: _Call, found: _Entry) -> Iterator[ToolCallDelta]:
        identifier = None if call.id else found.id
        name = None if found.name == call.name else found.name
        if name and call.name:  # the next piece of the name, or a longer name; the arguments come after the whole name
            name = None if call.arguments else name if name.startswith(call.name) else call.name + name
        call.id, call.name = call.id or found.id, name or call.name
        arguments = found.arguments
        if call.held:
            # Some gateways first send the empty object, and then stream the arguments.
            call.held, call.arguments = False, []
        elif arguments == "{}" and not call.arguments and not self._whole and call.type == "function":
            call.held, call.arguments = True, ["{}"]
            arguments = ""
        if arguments:
            call.arguments.append(arguments)
            arguments = self._halves.text(call.number, arguments)
        if identifier or name or arguments:
            yield ToolCallDelta(call.number, identifier, name, arguments, call.type)

    def _call(self, found: _Entry) -> _Call:
        """Return the call that an entry of a stream belongs to; a new one if the entry begins one."""
        fresh = _Call(len(self._calls))
        call = self._known(found)
        if call is None:
            return fresh
        if not found.arguments.strip():
            other = found.name and call.name and found.name != call.name and call.complete
            found.arguments = "" if call.complete else found.arguments
            return fresh if other else call
        if found.type == "function" and call.complete:
            if found.arguments == "".join(call.arguments) and (found.id in {None, call.id}) and (found.name in {None, call.name}):
                found.arguments = ""  # a repeated call
            elif found.arguments.lstrip().startswith("{") and (found.name or found.id or not call.held):
                found.name = found.name or call.name
                found.id = None if found.id == call.id else found.id
                return fresh
        return call

    def _known(self, found: _Entry) -> _Call | None:
        same = next((call for call in reversed(self._calls) if found.id and call.id == found.id), None)
        if found.index is None:
            return same or (None if found.name else self._last)
        call = self._places.get(found.index)
        if call is None:
            if found.name:
                return None
            return same if found.id else self._last
        if found.id and call.id not in {None, found.id}:
            is_next = found.name and (found.name != call.name or not call.arguments or call.complete)
            return same or (None if is_next else call)
        return call


class _Call:
    __slots__ = ("arguments", "extra", "held", "id", "name", "number", "type")

    def __init__(self, number: int) -> None:
        self.number = number
        self.id: str | None = None
        self.name: str | None = None
        self.type = "function"
        self.arguments: list[str] = []
        self.extra: dict[str, Any] = {}
        self.held = False  # whether the arguments `{}` wait, since others may follow

    @property
    def complete(self) -> bool:
        """Whether the arguments are a whole JSON object."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(json.loads("".join(self.arguments)), dict)
        except (ValueError, RecursionError):
            return False


class _Entry:
    __slots__ = ("arguments", "extra", "id", "index", "name", "type")

    def __init__(self, entry: Any) -> None:
        if not isinstance(entry, dict):
            raise shape_error("tool_calls", entry)
        kind = self.type = "custom" if entry.get("custom") and not entry.get("function") else "function"
        said = entry.get(kind) or {}
        if not isinstance(said, dict):
            raise shape_error(f"tool_calls[].{kind}", said)
        index, identifier, name = entry.get("index"), entry.get("id"), said.get("name")
        arguments = said.get("input" if kind == "custom" else "arguments")
        self.index = index if isinstance(index, int | str) else None
        self.id = None if identifier in _NO_ID else str(identifier)
        self.name = None if name in {None, ""} else str(name)
        self.arguments = arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)
        self.extra = {name: value for name, value in entry.items() if name not in _KNOWN and says(value)}
        if more := {name: value for name, value in said.items() if name not in _KNOWN_SAID and says(value)}:
            self.extra[kind] = more
