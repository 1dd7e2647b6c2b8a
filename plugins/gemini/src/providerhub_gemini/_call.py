"""One function call of an answer, whose arguments may come in parts, each with the path of its value.

Reference: "FunctionCall" and "PartialArg" in the reference of Vertex AI; RFC 9535 for the paths.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from providerhub import ProtocolError

_KEY = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[(['\"])(.*?)\3\]")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


class Call:
    """One call.

    Args:
        index: Its number in the answer.
        part: The first part of the answer that belongs to it.
    """

    def __init__(self, index: int, part: Mapping[str, Any]) -> None:
        self.index = index
        self._part = dict(part)
        self._arguments: Any = {}

    def add(self, part: Mapping[str, Any]) -> None:
        """Take a part of the call, the first one included.

        Args:
            part: The part.

        Raises:
            ProtocolError: A path of a partial argument fits none of the values before.
        """
        self._part |= {name: value for name, value in part.items() if name != "functionCall"}
        call = part["functionCall"]
        if isinstance(call.get("args"), Mapping):
            self._arguments |= call["args"]
        for piece in call.get("partialArgs") or ():
            try:
                self._put(piece)
            except (AttributeError, IndexError, KeyError, TypeError) as error:
                msg = "a partial argument of a function call has an unexpected shape in the answer"
                raise ProtocolError(msg, excerpt=repr(piece)) from error

    def _put(self, piece: Mapping[str, Any]) -> None:
        """Set a value at its path. Pieces of one text are appended."""
        found = _KEY.findall(piece["jsonPath"])
        keys = [int(number) if number else plain or quoted for plain, number, _, quoted in found]
        place = self._arguments
        for key, following in pairwise(keys):
            place = _at(place, key, [] if isinstance(following, int) else {})
        name = next(name for name in _VALUES if name in piece)
        value: Any = None if name == "nullValue" else piece[name]
        known = _at(place, keys[-1], value)
        place[keys[-1]] = known + value if isinstance(known, str) and known is not value else value

    @property
    def arguments(self) -> str:
        """The arguments as JSON text."""
        return json.dumps(self._arguments, ensure_ascii=False)

    @property
    def whole(self) -> dict[str, Any]:
        """The part as the API would have sent it whole."""
        call = {name: value for name, value in self._part["functionCall"].items() if name not in {"partialArgs", "willContinue"}}
        return {**self._part, "functionCall": {**call, "args": self._arguments}}


def _at(place: Any, key: str | int, default: Any) -> Any:
    """Return the value at a key, which is created if it is missing."""
    if isinstance(key, int) and key == len(place):
        place.append(default)
    elif isinstance(key, str):
        place.setdefault(key, default)
    return place[key]
