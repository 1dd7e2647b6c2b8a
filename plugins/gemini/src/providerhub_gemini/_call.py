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
_VALUES = ("stringValue", "numberValue", "boolValue")


class Call:
    """One call.

    Args:
        index: Its number in the answer.
        name: The identifier of the call; `None` if it has none.

    Attributes:
        open: More of it may come.
    """

    def __init__(self, index: int, name: str | None) -> None:
        self.index, self.name, self.open = index, name, True
        self._part: dict[str, Any] = {}
        self._call: dict[str, Any] = {}
        self._arguments: Any = {}

    def add(self, part: Mapping[str, Any]) -> None:
        """Take a part of the call.

        Args:
            part: The part of the answer.

        Raises:
            ProtocolError: A path of a partial argument fits none of the values before.
        """
        self._part |= part
        self._call |= {name: value for name, value in part["functionCall"].items() if name not in {"partialArgs", "willContinue"}}
        self._arguments |= part["functionCall"].get("args") or {}
        try:
            for piece in part["functionCall"].get("partialArgs") or ():
                self._put(piece)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            msg = "a partial argument of a function call has an unexpected shape in the answer"
            raise ProtocolError(msg, excerpt=repr(part)) from error

    def _put(self, piece: Mapping[str, Any]) -> None:
        """Set a value at its path. Pieces of one text are appended."""
        keys = [int(number) if number else plain or quoted for plain, number, _, quoted in _KEY.findall(piece["jsonPath"])]
        place = self._arguments
        for key, following in pairwise(keys):
            place = _at(place, key, [] if isinstance(following, int) else {})
        value: Any = next((piece[name] for name in _VALUES if name in piece), None)  # `nullValue` otherwise
        known = _at(place, keys[-1], value)
        place[keys[-1]] = known + value if isinstance(known, str) and known is not value else value

    @property
    def function(self) -> dict[str, Any]:
        """The call in the OpenAI chat shape."""
        return {"name": self._call.get("name"), "arguments": json.dumps(self._arguments, ensure_ascii=False)}

    @property
    def whole(self) -> dict[str, Any]:
        """The part as the API would have sent it whole."""
        return {**self._part, "functionCall": {**self._call, "args": self._arguments}}


def _at(place: Any, key: str | int, default: Any) -> Any:
    """Return the value at a key, which is created if it is missing."""
    if isinstance(key, str):
        return place.setdefault(key, default)
    if key == len(place):
        place.append(default)
    return place[key]
