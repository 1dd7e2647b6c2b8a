"""The line of each key of a TOML text. `tomllib` does not return it.

`tomllib` has read the text before, so it is valid TOML 1.0, and this scanner does not check it again.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
"""The path of a value: keys, and the numbers of items of arrays."""

# Texts, not compiled patterns: `re` compiles them at their first use, and few programs have a settings file.
_BLANK = r"[ \t]*"
_BETWEEN = r"(?:[ \t\r\n]+|#[^\n]*)*"
_BARE = r"[A-Za-z0-9_-]+"
_SCALAR = r"[^,\]}#\r\n]*"
# The longer quotes first. A multi-line text may end with up to two quotes of its own before the closing three.
_TEXTS = (
    r'"""(?:\\.|[^\\])*?""""{0,2}',
    r"'''.*?''''{0,2}",
    r'"(?:\\.|[^"\\])*"',
    r"'[^']*'",
)


def locate(text: str) -> dict[Path, int]:
    """Find the line of each key and array item.

    Args:
        text: A TOML text that `tomllib` has read without an error.

    Returns:
        The path of each table, value and array item → its line, counted from 1. A table without a header of its own, such as
        `a` in `[a.b]`, has the line of its first use.
    """
    return _Scanner(text).scan()


class _Scanner:
    """One pass over a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._found: dict[Path, int] = {}
        self._items: dict[Path, int] = {}
        """Array of tables → the number of the item to which later headers belong."""

    def scan(self) -> dict[Path, int]:
        """Return the line of each path."""
        table: Path = ()
        self._skip(_BETWEEN)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BETWEEN)
        return self._found

    def _header(self) -> Path:
        is_item = self._text.startswith("[[", self._at)
        self._at += 2 if is_item else 1
        path: Path = ()
        keys = self._key()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            self._note(path)
            if is_item and number == len(keys):
                self._items[path] = self._items.get(path, -1) + 1
            if path in self._items:
                path = (*path, self._items[path])
                self._note(path)
        self._at += 2 if is_item else 1
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for key in self._key():
            path = (*path, key)
            self._note(path)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> list[str]:
        """Read a dotted key, and return its parts."""
        parts = []
        while True:
            self._skip(_BLANK)
            bare = self._match(_BARE)
            if bare:
                parts.append(bare.group())
                self._at = bare.end()
            else:
                parts.append(_unquoted(self._quoted()))
            self._skip(_BLANK)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        char = self._text[self._at]
        if char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        elif char in "\"'":
            self._quoted()
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._next() != "]":
            self._note((*path, number))
            self._value((*path, number))
            number += 1
            self._comma()
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._next() != "}":
            self._pair(path)
            self._comma()
        self._at += 1

    def _next(self) -> str:
        self._skip(_BETWEEN)
        return self._text[self._at]

    def _comma(self) -> None:
        if self._next() == ",":
            self._at += 1

    def _quoted(self) -> str:
        for pattern in _TEXTS:
            match = self._match(pattern)
            if match:
                self._at = match.end()
                return match.group()
        msg = f"not TOML at character {self._at}"
        raise ValueError(msg)

    def _match(self, pattern: str) -> re.Match[str] | None:
        return re.compile(pattern, re.DOTALL).match(self._text, self._at)

    def _skip(self, pattern: str) -> None:
        match = self._match(pattern)
        self._at = match.end() if match else self._at

    def _note(self, path: Path) -> None:
        """Store the line of the first use of a path."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self._found.setdefault(path, self._line)


def _unquoted(quoted: str) -> str:
    if "\\" not in quoted:
        return quoted[1:-1]
    import tomllib  # the reader of the text has imported it already

    return str(tomllib.loads(f"key = {quoted}")["key"])
