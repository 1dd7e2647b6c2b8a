"""The settings file: its path, its values, and each mistake in it with the line and the nearest known key.

It is never read from the working directory: a checkout must not be able to redirect prompts.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs

from providerhub._settings.address import circle_of, flaws, proxy_flaws
from providerhub._settings.secrets import COMMAND_SECONDS, CommandKey, EnvironmentKey, FileKey, KeyringKey
from providerhub._settings.table import ANY_NAME, KEYS, KINDS, Key, below
from providerhub._values import BreakerRules, BudgetRules, Model, ProviderConfig, RetryPolicy, Secret, Timeout, errors
from providerhub._values.capabilities import ModelInfo
from providerhub._values.checks import ELSEWHERE, PROVIDER_NAME, TEXT, nearest, one_of
from providerhub._values.errors import ConfigurationError
from providerhub._values.shared import Shared

Path = tuple[str | int, ...]  # the path of a value: keys, and the numbers of items of arrays
# Texts come first, and long quotes before short quotes. A multi-line text may end with one or two quotes before the three closing
# quotes. `re` compiles the pattern at its first use, since few programs have a settings file.
_LEXEME = r"""
    (?P<skip> \#[^\n]* | [ \t\r]+ )
    | \"{3} (?:\\.|[^\\])*? \"{3,5} | '{3} .*? '{3,5} | "(?:\\.|[^"\\])*" | '[^']*'
    | [\n\[\]{}=,.] | [^\s\[\]{}=,."'\#]+
"""
_ENDS = frozenset({",", "]", "}", "\n", ""})  # the lexemes after a value that is neither a text nor in brackets


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
        """Return the lexeme, and go on to the next lexeme, which is empty at the end of the text."""
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
        """Read one part of a dotted key, with the dot after it."""
        path = self._note((*path, _bare(self._take())))
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


def _bare(key: str) -> str:
    if key[0] not in "\"'" or "\\" not in key:
        return key[1:-1] if key[0] in "\"'" else key
    import tomllib  # the reader of the text has imported it already

    return str(tomllib.loads(f"key = {key}")["key"])


SIZE_LIMIT = 1024 * 1024  # bytes; a longer file is not read
# The keys of a table that stands for an API key. Such a table has exactly one of these keys.
_SOURCES = ("env", "file", "command", "keyring")


class Problem(NamedTuple):
    """One mistake in a settings file, with the fix. The line counts from 1; `None` means the whole file."""

    line: int | None
    text: str


class SettingsFile(NamedTuple):
    """The content of a settings file."""

    path: str  # the path of the file
    # Arguments for `Settings`. From a file with mistakes, the entries without one.
    values: Mapping[str, Any] = MappingProxyType({})
    lines: Mapping[str, int] = MappingProxyType({})  # dotted key → the line on which it stands
    problems: tuple[Problem, ...] = ()  # the mistakes, in the order of their lines

    def where(self, problem: Problem) -> str:
        """Describe a mistake in one line, with file and line."""
        return f"{self.path}:{problem.line or 1}: {problem.text}"

    @property
    def error(self) -> ConfigurationError | None:
        """The error for the first mistake, with the number of the others; `None` without mistakes."""
        if not self.problems:
            return None
        more = len(self.problems) - 1
        rest = f" (and {more} more; `providerhub settings check` lists them)" if more else ""
        return ConfigurationError(self.where(self.problems[0]) + rest)


def read(path: str, *, optional: bool = False) -> SettingsFile:
    """Read a settings file. Mistakes do not raise errors; they are in `problems`."""
    try:
        text, mode = _text(path, optional=optional)
        return _parsed(path, text, mode) if text.strip() else SettingsFile(path=path)
    except _UnreadableError as error:
        return SettingsFile(path=path, problems=(Problem(*error.args),))


class _UnreadableError(Exception):
    """The file cannot be read. The arguments are as for `Problem`."""


def _text(path: str, *, optional: bool) -> tuple[str, int]:
    """Return the file's text and mode."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        if optional and isinstance(error, FileNotFoundError | NotADirectoryError):
            return "", 0
        said = f"the settings file cannot be read: {error.strerror or type(error).__name__}"
        raise _UnreadableError(None, said) from error
    if len(raw) > SIZE_LIMIT:
        raise _UnreadableError(None, f"the settings file is larger than {SIZE_LIMIT} bytes; is it the right file?")
    try:
        return raw.decode("utf-8-sig"), mode
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _UnreadableError(line, "the settings file is not UTF-8 text; save it as UTF-8") from error


def _parsed(path: str, text: str, mode: int) -> SettingsFile:
    import tomllib  # a program without a settings file does not need it

    try:
        data, lines = tomllib.loads(text), locate(text)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, tomllib.TOMLDecodeError | RecursionError):  # `int` refuses thousands of digits
            raise _UnreadableError(*_too_long(text)) from None
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(found.group(1) or text.count("\n") + 1) if found else None
        said = str(error)[: found.start()] if found else "it is nested too deeply"
        raise _UnreadableError(line, f"this is not TOML: {said}") from error
    return _Reading(path, mode, lines).settings(data)


def _too_long(text: str) -> tuple[int | None, str]:
    """The line of a number with too many digits, and the message."""
    found = re.search(rf"[0-9_]{{{sys.get_int_max_str_digits() + 1},}}", text)
    line = text.count("\n", 0, found.start()) + 1 if found else None
    return line, "a number has too many digits; no setting needs more than some 20"


_WORDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "this list", dict: "a table"}


def _shown(value: object) -> str:
    """The kind of a wrong value, in words."""
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        return "a text with a null character" if "\0" in value else "an empty text"
    return "an empty list" if value == [] else _WORDS.get(type(value), "a date or time")


_WRONG = object()  # stands for a value that became a problem and is left out


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))


class _Reading:
    """Converts the data of one file, and collects the mistakes in it."""

    def __init__(self, path: str, mode: int, lines: dict[Path, int]) -> None:
        self._path = path
        self._mode = mode if sys.platform != "win32" else 0
        self._lines = lines
        self._problems: list[Problem] = []

    def settings(self, data: dict[str, Any]) -> SettingsFile:
        """Convert the whole file."""
        values = self.table((), "", data)
        problems = tuple(sorted(self._problems, key=lambda problem: problem.line or 0))
        return SettingsFile(self._path, values, {_dotted(path): line for path, line in self._lines.items()}, problems)

    def table(self, path: Path, pattern: str, table: dict[str, Any]) -> dict[str, Any]:
        """Convert the correct entries of a table; a wrong entry becomes a problem. `pattern` is the table's `Key.path`."""
        known = below(pattern)
        sound = {}
        for name, value in table.items():
            here = (*path, name)
            key = known.get(name) or known.get(ANY_NAME)
            if key is None:
                self._problem(here, f"unknown key {_dotted(here)!r}{_nearest(name, known, path)}")
            elif self._fits(here, key, value) and (read := self._read(here, key, value)) is not _WRONG:
                sound[name] = read
        return sound

    def _problem(self, path: Path, text: str) -> object:
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        self._problems.append(Problem(line, text))
        return _WRONG

    def _fits(self, path: Path, key: Key, value: object) -> bool:
        check = KINDS[key.kind]
        choices = one_of(key.choices)
        if not check.test(value):
            # A number is shown only for a key that takes numbers: any other value may be an API key in the wrong place.
            is_shown = isinstance(value, int | float) and check.test(1)
            shown = str(value).lower() if is_shown else _shown(value)
            self._problem(path, f"{_dotted(path)} must be {check.wanted}, not {shown}{_other_key(path, value)}")
        elif key.choices and not choices.test(value):
            near = nearest(str(value), key.choices)
            self._problem(path, f"{_dotted(path)} must be {choices.wanted}, not {value!r}{near and f'; {near}'}")
        else:
            return True
        return False

    def _read(self, path: Path, key: Key, value: Any) -> Any:
        reader = _READERS.get(key.path) or _READERS.get(key.kind)
        if reader is not None:
            return reader(self, path, value)
        return self.table(path, key.path, value) if key.kind == "table" else value

    def timeout(self, path: Path, value: float | dict[str, Any]) -> Timeout:
        return Timeout(**(self.table(path, "timeout", value) if isinstance(value, dict) else {"total": value}))

    def aliases(self, path: Path, table: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
        aliases = self.table(path, "aliases", table)
        if not (circle := circle_of(aliases)):
            return aliases
        self._problem((*path, circle[0]), f"aliases go in a circle: {' → '.join(circle)}")
        return {}

    def targets(self, path: Path, value: Any) -> tuple[Any, ...]:
        items = value if isinstance(value, list) else [value]
        if not items:
            self._problem(path, f"{_dotted(path)} must name a model")
        found = (self._target((*path, number), item) for number, item in enumerate(items))
        return tuple(item for item in found if item is not _WRONG)

    def _target(self, path: Path, item: Any) -> object:
        """Convert one model of an alias."""
        if isinstance(item, dict) and {"name"} <= set(item) <= {"name", "provider"} and all(map(TEXT.test, item.values())):
            return Model(**item)
        if isinstance(item, str) and TEXT.test(item):
            return item
        wanted = 'must hold models: "name", "provider/name" or { name = "...", provider = "..." }'
        return self._problem(path, f"{_dotted(path[:2])} {wanted}")

    def provider(self, path: Path, entries: dict[str, Any]) -> object:
        name = str(path[1])
        if not PROVIDER_NAME.test(name):
            return self._problem(path, f"a provider's name must be {PROVIDER_NAME.wanted}, not {name!r}")
        config = ProviderConfig(name=name, origin=self._path, **self.table(path, "providers.*", entries))
        for field, flaw in tuple(flaws(config, endpoints=True)):
            self._problem((*path, field), f"{_dotted((*path, field))} {flaw}")
            config = attrs.evolve(config, **{field: None})  # type: ignore[arg-type]  # each such field may be None
        return config

    def proxies(self, path: Path, table: dict[str, Any]) -> dict[str, Any]:
        proxies = self.table(path, "proxies", table)
        for name, flaw in tuple(proxy_flaws(proxies)):
            self._problem((*path, name), f"{_dotted((*path, name))} {flaw}")
            del proxies[name]
        return proxies

    def beside(self, _path: Path, value: str) -> str:
        """Make a path absolute. A relative path starts in the file's folder, never in the working directory."""
        if value == "-":  # a standard stream
            return value
        return os.path.join(os.path.dirname(os.path.abspath(self._path)), os.path.expanduser(value))

    def models(self, path: Path, items: list[Any]) -> tuple[Any, ...]:
        found = (self._model((*path, number), item) for number, item in enumerate(items))
        return tuple(model for model in found if model is not _WRONG)

    def _model(self, path: Path, item: Any) -> object:
        if TEXT.test(item):
            return ModelInfo(item)
        if isinstance(item, dict) and TEXT.test(item.get("name")):
            return ModelInfo(**self.table(path, "providers.*.models.*", item))
        return self._problem(path, f'{_dotted(path[:3])} must hold names, or tables such as {{ name = "acme-1" }}')

    def model(self, path: Path, entries: dict[str, Any]) -> object:
        if not TEXT.test(path[-1]):
            return self._problem(path, f"{_dotted(path[:3])} must have names of models as keys, not {path[-1]!r}")
        if rest := _unquoted(entries):
            name = ".".join((str(path[-1]), *rest))
            return self._problem(path, f'a model\'s name with a dot needs quotation marks: [{_dotted(path[:3])}."{name}"]')
        return ModelInfo(str(path[-1]), **self.table(path, "providers.*.model.*", entries))

    def option(self, path: Path, value: Any) -> Any:
        # A table with `file` and other keys may be the value of a plugin's option.
        named = {source for source in _SOURCES if isinstance(value, dict) and source in value}
        return self._source(path, value) if named and (named != {"file"} or len(value) == 1) else value

    def key(self, path: Path, value: str | dict[str, Any]) -> Secret | None:
        if isinstance(value, dict):
            return self._source(path, value)
        if not value.strip():
            self._problem(path, f"{_dotted(path)} must not be empty")
        elif self._mode & (stat.S_IRWXG | stat.S_IRWXO):
            self._problem(
                path, f"{_dotted(path)} is written out in a file that others may read: `chmod 600 {self._path}`, or name an "
                'environment variable or command instead, as in { env = "VARIABLE" }',
            )  # fmt: skip
        else:
            return Secret(value)
        return None

    def shared(self, path: Path, table: dict[str, Any]) -> Shared:
        try:
            return Shared(**self.table(path, "shared", table))
        except ValueError as error:
            self._problem((*path, "url"), f"shared.{error}")
            return Shared()

    def address(self, path: Path, value: str | dict[str, Any]) -> Secret | None:
        """Read an address like a key if it is a source or holds a password."""
        is_secret = isinstance(value, dict) or "@" in value
        return self.key(path, value) if is_secret else Secret(str(value))

    def _source(self, path: Path, table: dict[str, Any]) -> Secret | None:
        """Make the secret for a table with the place of a key."""
        before = len(self._problems)
        sound = self.table(path, "providers.*.api_key", table)
        if len([name for name in _SOURCES if name in table]) != 1:
            self._problem(path, f"{_dotted(path)} must have exactly one of {', '.join(_SOURCES)}")
        for name, owner in (("timeout", "command"), ("username", "keyring")):
            if name in table and owner not in table:
                self._problem((*path, name), f"{_dotted((*path, name))} belongs to {owner}")
        if "command" in sound and self._mode & stat.S_IWOTH:
            self._problem(path, f"{_dotted(path)} names a command in a file that every user may change: `chmod o-w {self._path}`")
        if len(self._problems) > before:
            return None
        if "env" in sound:
            return Secret.later(EnvironmentKey(sound["env"]))
        if "file" in sound:
            return Secret.later(FileKey(sound["file"], f"{self._path}:{self._lines.get((*path, 'file'), 1)}"))
        if "command" in sound:
            return Secret.later(CommandKey(tuple(sound["command"]), sound.get("timeout", COMMAND_SECONDS)))
        return Secret.later(KeyringKey(sound["keyring"], sound.get("username")))


def _none(_reading: _Reading, _path: Path, value: Any) -> Any:
    return None if value == "none" else value


# `Key.path`, or a kind of value → the method that converts the value. Other values stay unchanged.
_READERS: dict[str, Callable[[_Reading, Path, Any], Any]] = {
    "seconds or none": _none,
    "number from 0 or none": _none,
    "error classes": lambda _reading, _path, names: tuple(getattr(errors, name) for name in names),
    "seconds or table": _Reading.timeout,
    "models": _Reading.targets,
    "key": _Reading.key,
    "option": _Reading.option,
    "retry": lambda reading, path, table: RetryPolicy(**reading.table(path, "retry", table)),
    "breaker": lambda reading, path, table: BreakerRules(**reading.table(path, "breaker", table)),
    "budget": lambda reading, path, table: BudgetRules(**reading.table(path, "budget", table)),
    "aliases": _Reading.aliases,
    "shared": _Reading.shared,
    "shared.url": _Reading.address,
    **dict.fromkeys(("proxies", "providers.*.proxies"), _Reading.proxies),
    **dict.fromkeys(("ca_bundle", "wire_log", "providers.*.ca_bundle", "providers.*.wire_log"), _Reading.beside),
    "providers.*.api_key.file": _Reading.beside,
    **dict.fromkeys(("providers.*.client_cert", "providers.*.client_key"), _Reading.beside),
    "providers.*": _Reading.provider,
    "providers.*.models": _Reading.models,
    "providers.*.model.*": _Reading.model,
}


def _unquoted(entries: dict[str, Any]) -> list[str]:
    """The rest of a model's name that TOML has split at its dots; empty if the table belongs to a model."""
    for name, value in entries.items():
        if isinstance(value, dict) and name not in below("providers.*.model.*"):
            return [name, *_unquoted(value)]
    return []


def _other_key(path: Path, value: object) -> str:
    """A hint at a key that is easily confused with this key."""
    if path[0] == "providers" and path[2:] == ("models",) and isinstance(value, dict):
        return f'; the values of one model belong in [providers.{path[1]}.model."NAME"]'
    if path[0] == "providers" and path[2:] == ("model",) and isinstance(value, str | list):
        return '; a list of models is written models = ["NAME"]'
    return ""


def _nearest(name: str, known: Iterable[str], path: Path = ()) -> str:
    """Return a hint: the most similar name, or another place of this name, or the known names."""
    names = [candidate for candidate in known if candidate != ANY_NAME]
    elsewhere = sorted({repr(key.path.replace(ANY_NAME, "NAME")) for key in KEYS if key.path.rpartition(".")[2] == name})
    otherwise = f"it belongs at {' or '.join(elsewhere)}" if elsewhere else f"the known ones here are {', '.join(names)}"
    hint = nearest(ELSEWHERE.get(name, name), names, otherwise)
    if len(path) == 2 and path[0] == "providers" and not elsewhere:
        hint += f"{' An' if hint.endswith('?') else '; an'} option of the plugin belongs under [{_dotted(path)}.options]"
    return f"; {hint}"
