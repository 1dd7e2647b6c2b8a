"""The line of each key of a TOML text. `tomllib` does not return it.

`tomllib` has read the text before, so it is valid TOML 1.0, and this scanner does not check it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]  # the path of a value: keys, and the numbers of items of arrays
# Texts first, the longer quotes before the shorter. A multi-line text may end with up to two quotes of its own before the closing
# three. `re` compiles this at its first use: few programs have a settings file.
_LEXEME = r"""
    (?P<skip> \#[^\n]* | [ \t\r]+ )
    | \"{3} (?:\\.|[^\\])*? \"{3,5} | '{3} .*? '{3,5} | "(?:\\.|[^"\\])*" | '[^']*'
    | [\n\[\]{}=,.] | [^\s\[\]{}=,."'\#]+
"""
_ENDS = frozenset({",", "]", "}", "\n", ""})  # the lexemes behind a value that is neither a text nor in brackets


def locate(text: str) -> dict[Path, int]:
    """The line, counted from 1, of each table, value and array item of a TOML text that `tomllib` has read without an error.

    A table without a header of its own, such as `a` in `[a.b]`, has the line of its first use.
    """
    return _Scanner(text).scan()


def _lexemes(text: str) -> Iterator[tuple[str, int]]:
    """Yield each lexeme but blanks and comments, and its line."""
    line = 1
    for match in re.finditer(_LEXEME, text, re.DOTALL | re.VERBOSE):
        if match.lastgroup != "skip":
            yield match.group(), line
            line += match.group().count("\n")


class _Scanner:
    """One pass over the lexemes of a text."""

    def __init__(self, text: str) -> None:
        self._lexemes = _lexemes(text)
        self._now, self._line = "\n", 1
        self._found: dict[Path, int] = {}
        self._items: dict[Path, int] = {}  # array of tables → the number of the item to which later headers belong

    def scan(self) -> dict[Path, int]:
        """Return the line of each path."""
        table: Path = ()
        while self._next():
            if self._now == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _take(self) -> str:
        """Return the lexeme, and go on to the next one, which is empty at the end of the text."""
        token = self._now
        self._now, self._line = next(self._lexemes, ("", self._line))
        return token

    def _next(self) -> str:
        """Skip line breaks, and return the lexeme."""
        while self._now == "\n":
            self._take()
        return self._now

    def _header(self) -> Path:
        self._take()
        is_item = self._now == "["
        if is_item:
            self._take()
        path: Path = ()
        while self._now != "]":
            path = self._key(path)
            if is_item and self._now == "]":
                self._items[path] = self._items.get(path, -1) + 1
            if path in self._items:
                path = self._note((*path, self._items[path]))
        for _ in range(1 + is_item):
            self._take()
        return path

    def _pair(self, table: Path) -> None:
        while self._now != "=":
            table = self._key(table)
        self._take()
        self._value(table)

    def _key(self, path: Path) -> Path:
        """Read one part of a dotted key, with the dot behind it."""
        path = self._note((*path, _unquoted(self._take())))
        if self._now == ".":
            self._take()
        return path

    def _value(self, path: Path) -> None:
        first = self._take()
        if first in {"[", "{"}:
            number = 0
            while self._next() not in {"]", "}"}:
                if first == "[":
                    self._value(self._note((*path, number)))
                else:
                    self._pair(path)
                number += 1
                if self._next() == ",":
                    self._take()
            self._take()
        elif first[0] not in "\"'":
            while self._now not in _ENDS:
                self._take()

    def _note(self, path: Path) -> Path:
        """Store the line of the first use of a path."""
        self._found.setdefault(path, self._line)
        return path


def _unquoted(key: str) -> str:
    if key[0] not in "\"'" or "\\" not in key:
        return key[1:-1] if key[0] in "\"'" else key
    import tomllib  # the reader of the text has imported it already

    return str(tomllib.loads(f"key = {key}")["key"])
