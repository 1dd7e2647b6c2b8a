"""The settings file: where it is, what it says, and every mistake in it with its line and the nearest known key.

It is never looked for in the working directory: a checkout must not be able to redirect prompts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from providerhub._settings.secrets import COMMAND_SECONDS, CommandKey, EnvironmentKey, KeyringKey
from providerhub._settings.table import ANY_NAME, KEYS, Key, below
from providerhub._settings.toml_lines import Path, locate
from providerhub._values import BreakerRules, BudgetRules, Model, ProviderConfig, RetryPolicy, Secret, Timeout
from providerhub._values.capabilities import ModelInfo
from providerhub._values.checks import (
    COUNT,
    FLAG,
    NAMES,
    NOT_NEGATIVE,
    NUMBER,
    PROVIDER_NAME,
    SECONDS,
    SHARE,
    TEXT,
    Check,
    instance_of,
    one_of,
)
from providerhub._values.errors import ConfigurationError

VARIABLE = "PROVIDERHUB_CONFIG"
"""The environment variable that names the settings file."""

SIZE_LIMIT = 1024 * 1024
"""Bytes; whatever is longer was not written as settings."""

_SOURCES = ("env", "command", "keyring")
"""The keys of a table that stands for a key, of which it has exactly one."""


class Problem(NamedTuple):
    """One mistake.

    Args:
        line: Where, counted from 1; `None` when it concerns the file as a whole.
        text: What is wrong, and what to do.
    """

    line: int | None
    text: str


class SettingsFile(NamedTuple):
    """What a settings file says.

    Args:
        path: Where it is.
        values: Arguments for `Settings`; of a file with mistakes, those that are right.
        lines: Dotted key → the line on which it stands.
        problems: Its mistakes, in the order of their lines.
    """

    path: str
    values: Mapping[str, Any] = MappingProxyType({})
    lines: Mapping[str, int] = MappingProxyType({})
    problems: tuple[Problem, ...] = ()

    def where(self, problem: Problem) -> str:
        """A mistake as one line: file, line, and what is wrong.

        Args:
            problem: One of this file's.
        """
        return f"{self.path}:{problem.line or 1}: {problem.text}"

    @property
    def error(self) -> ConfigurationError | None:
        """The error for its mistakes: the first, and how many more there are."""
        if not self.problems:
            return None
        more = len(self.problems) - 1
        rest = f" (and {more} more; `providerhub settings check` lists them)" if more else ""
        return ConfigurationError(self.where(self.problems[0]) + rest)


def settings_path(environ: Mapping[str, str]) -> str | None:
    """Where the settings file is: `PROVIDERHUB_CONFIG`, else in the user's configuration folder, whether it exists or not.

    Args:
        environ: The environment's variables.

    Returns:
        An absolute path; `None` when the user has no configuration folder.

    Raises:
        ConfigurationError: The variable's path depends on the working directory.
    """
    named = environ.get(VARIABLE)
    del environ  # it may hold keys, and a traceback may show locals
    if named:
        path = os.path.expanduser(named)  # noqa: PTH111 -- pathlib is not worth its import here
        if not os.path.isabs(path):  # noqa: PTH117 -- the same
            msg = f"{VARIABLE} must be an absolute path, so that no working directory can redirect prompts, not {named!r}"
            raise ConfigurationError(msg)
        return path
    from platformdirs import user_config_dir  # noqa: PLC0415 -- wanted only where the variable does not say it

    path = os.path.join(user_config_dir("providerhub", appauthor=False), "settings.toml")  # noqa: PTH118 -- as above
    return path if os.path.isabs(path) else None  # noqa: PTH117 -- without a home it would begin with a bare `~`


def read(path: str, *, optional: bool = False) -> SettingsFile:
    """Read a settings file. Nothing is raised: what is wrong with it stands in `problems`.

    Args:
        path: Where it is.
        optional: Whether it need not exist.
    """
    text, mode, problem = _text(path, optional=optional)
    if problem is not None:
        return SettingsFile(path=path, problems=(problem,))
    if not text.strip():
        return SettingsFile(path=path)
    data, lines, problem = _parsed(text)
    if problem is not None:
        return SettingsFile(path=path, problems=(problem,))
    return _Reading(path, mode, lines).settings(data)


def _text(path: str, *, optional: bool) -> tuple[str, int, Problem | None]:
    """The file's text and mode, or what keeps it from being read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 -- pathlib is not worth its import here
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        if optional and isinstance(error, FileNotFoundError | NotADirectoryError):
            return "", 0, None
        return "", 0, Problem(None, f"the settings file cannot be read: {error.strerror or type(error).__name__}")
    if len(raw) > SIZE_LIMIT:
        return "", 0, Problem(None, f"the settings file is larger than {SIZE_LIMIT} bytes; is it the right file?")
    try:
        return raw.decode("utf-8-sig"), mode, None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return "", 0, Problem(line, "the settings file is not UTF-8 text; save it as UTF-8")


def _parsed(text: str) -> tuple[dict[str, Any], dict[Path, int], Problem | None]:
    """The text as data, and where everything stands; or why it is not TOML."""
    import re  # noqa: PLC0415 -- these are wanted only where there is a settings file
    import tomllib  # noqa: PLC0415 -- the same

    try:
        return tomllib.loads(text), locate(text), None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(found.group(1) or text.count("\n") + 1) if found else None
        said = str(error)[: found.start()] if found else type(error).__name__
        return {}, {}, Problem(line, f"this is not TOML: {said}")


KINDS: dict[str, Check] = {
    "text": TEXT,
    "number": NUMBER,
    "number from 0": NOT_NEGATIVE,
    "number from 0 to 1": SHARE,
    "seconds": SECONDS,
    "whole number from 1": COUNT,
    "flag": FLAG,
    "names": Check('a list of names, such as ["acme"]', NAMES.test),
    "command": Check(
        'a program and its arguments, such as ["pass", "show", "acme"]', lambda value: NAMES.test(value) and bool(value)
    ),
    "table": instance_of(dict, "a table"),
    "seconds or table": Check(f"{SECONDS.wanted}, or a table", lambda value: SECONDS.test(value) or isinstance(value, dict)),
    "models": instance_of((str, list, dict), "a model or a list of models"),
    "models of a provider": instance_of(list, "a list of names and tables"),
    "key": instance_of((str, dict), 'a table such as { env = "VARIABLE" }'),
    "option": instance_of(object, "any value"),
}
"""The name of a kind of value, as the reference shows it → its check."""

_WORDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))


class _Reading:
    """One pass over what a file says.

    Args:
        path: The file.
        mode: Its mode bits.
        lines: Where everything stands.
    """

    def __init__(self, path: str, mode: int, lines: dict[Path, int]) -> None:
        self._path = path
        self._mode = mode if os.name == "posix" else 0
        self._lines = lines
        self._problems: list[Problem] = []

    def settings(self, data: dict[str, Any]) -> SettingsFile:
        """Everything.

        Args:
            data: What `tomllib` made of the text.
        """
        readers: dict[str, Callable[[Any], Any]] = {
            "timeout": self._timeout,
            "retry": lambda value: RetryPolicy(**self._checked(("retry",), "retry", value)),
            "breaker": lambda value: BreakerRules(**self._checked(("breaker",), "breaker", value)),
            "budget": lambda value: BudgetRules(**self._checked(("budget",), "budget", value)),
            "aliases": self._aliases,
            "prefer": lambda value: self._checked(("prefer",), "prefer", value),
            "providers": self._providers,
        }
        values = {name: readers.get(name, _as_is)(value) for name, value in self._checked((), "", data).items()}
        return SettingsFile(
            path=self._path,
            values=values,
            lines={_dotted(path): line for path, line in self._lines.items()},
            problems=tuple(sorted(self._problems, key=lambda problem: problem.line or 0)),
        )

    def _problem(self, path: Path, text: str) -> None:
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        self._problems.append(Problem(line, text))

    def _checked(self, path: Path, pattern: str, table: dict[str, Any]) -> dict[str, Any]:
        """The entries of a table that are known and of the right kind; the others become problems."""
        known = below(pattern)
        sound = {}
        for name, value in table.items():
            here = (*path, name)
            key = known.get(name) or known.get(ANY_NAME)
            if key is None:
                self._problem(here, f"unknown key {_dotted(here)!r}{_nearest(name, known)}")
            elif self._fits(here, key, value):
                sound[name] = value
        return sound

    def _fits(self, path: Path, key: Key, value: object) -> bool:
        check = KINDS[key.kind]
        choices = one_of(key.choices)
        if not check.test(value):
            # Only where a number belongs, a number is shown. Any other value may be a key in the wrong place.
            shown = (
                str(value).lower()
                if check.test(1) and isinstance(value, int | float)
                else _WORDS.get(type(value), "a date or time")
            )
            self._problem(path, f"{_dotted(path)} must be {check.wanted}, not {shown}")
        elif key.choices and not choices.test(value):
            near = _nearest(str(value), key.choices)
            self._problem(path, f"{_dotted(path)} must be {choices.wanted}, not {value!r}{near}")
        else:
            return True
        return False

    def _timeout(self, value: float | dict[str, Any]) -> Timeout:
        return Timeout(**(self._checked(("timeout",), "timeout", value) if isinstance(value, dict) else {"total": value}))

    def _aliases(self, table: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
        aliases: dict[str, tuple[Any, ...]] = {}
        for name, value in self._checked(("aliases",), "aliases", table).items():
            path: Path = ("aliases", name)
            items = value if isinstance(value, list) else [value]
            found = [self._target((*path, number), item) for number, item in enumerate(items)]
            aliases[name] = tuple(item for item in found if item is not None)
            if not items:
                self._problem(path, f"{_dotted(path)} must name a model")
        circle = circle_of(aliases)
        if circle:
            self._problem(("aliases", circle[0]), f"aliases go in a circle: {' → '.join(circle)}")
            return {}
        return aliases

    def _target(self, path: Path, item: object) -> str | Model | None:
        """One model that an alias stands for."""
        if isinstance(item, dict) and {"name"} <= set(item) <= {"name", "provider"} and all(map(TEXT.test, item.values())):
            return Model(**item)
        if TEXT.test(item):
            return item
        self._problem(
            path, f'{_dotted(path[:2])} must hold models: "name", "provider/name" or {{ name = "...", provider = "..." }}'
        )
        return None

    def _providers(self, table: dict[str, Any]) -> dict[str, ProviderConfig]:
        providers = {}
        for name, entries in self._checked(("providers",), "providers", table).items():
            path: Path = ("providers", name)
            if not PROVIDER_NAME.test(name):
                self._problem(path, f"a provider's name must be {PROVIDER_NAME.wanted}, not {name!r}")
            else:
                providers[name] = self._provider(path, entries)
        return providers

    def _provider(self, path: Path, entries: dict[str, Any]) -> ProviderConfig:
        readers: dict[str, Callable[[Path, Any], Any]] = {
            "api_key": self._key,
            "models": self._models,
            "ca_bundle": lambda _path, value: self._beside(value),
            "proxies": lambda path, value: self._checked(path, "providers.*.proxies", value),
            "options": self._options,
        }
        sound = self._checked(path, "providers.*", entries)
        values = {name: readers[name]((*path, name), value) if name in readers else value for name, value in sound.items()}
        return ProviderConfig(name=str(path[1]), origin=self._path, **values)

    def _beside(self, path: str) -> str:
        """A path in the file is meant from the file's folder, never from the working directory."""
        folder = os.path.dirname(os.path.abspath(self._path))  # noqa: PTH100, PTH120 -- pathlib is not worth its import here
        return os.path.join(folder, os.path.expanduser(path))  # noqa: PTH111, PTH118 -- the same

    def _models(self, path: Path, items: list[Any]) -> tuple[ModelInfo, ...]:
        found = [self._model((*path, number), item) for number, item in enumerate(items)]
        return tuple(model for model in found if model is not None)

    def _model(self, path: Path, item: object) -> ModelInfo | None:
        if TEXT.test(item):
            return ModelInfo(item)
        if not isinstance(item, dict) or not TEXT.test(item.get("name")):
            self._problem(path, f'{_dotted(path[:3])} must hold names, or tables such as {{ name = "acme-1" }}')
            return None
        rest = {key: value for key, value in item.items() if key != "name"}
        return ModelInfo(item["name"], **self._checked(path, "providers.*.models.*", rest))

    def _options(self, path: Path, table: dict[str, Any]) -> dict[str, Any]:
        options = {}
        for name, value in table.items():
            is_source = isinstance(value, dict) and any(key in value for key in _SOURCES)
            options[name] = self._source((*path, name), value) if is_source else value
        return options

    def _key(self, path: Path, value: str | dict[str, Any]) -> Secret | None:
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

    def _source(self, path: Path, table: dict[str, Any]) -> Secret | None:
        """A key that is read from elsewhere when it is first wanted."""
        before = len(self._problems)
        sound = self._checked(path, "providers.*.api_key", table)
        named = [name for name in _SOURCES if name in table]
        if len(named) != 1:
            self._problem(path, f"{_dotted(path)} must have exactly one of {', '.join(_SOURCES)}")
        for name, owner in (("timeout", "command"), ("username", "keyring")):
            if name in table and owner not in table:
                self._problem((*path, name), f"{_dotted((*path, name))} belongs to {owner}")
        if "command" in sound and self._mode & stat.S_IWOTH:
            self._problem(path, f"{_dotted(path)} names a command in a file that anybody may change: `chmod o-w {self._path}`")
        if len(self._problems) > before:
            return None
        if "env" in sound:
            return Secret.later(EnvironmentKey(sound["env"]))
        if "command" in sound:
            return Secret.later(CommandKey(tuple(sound["command"]), sound.get("timeout", COMMAND_SECONDS)))
        return Secret.later(KeyringKey(sound["keyring"], sound.get("username")))


def _as_is(value: Any) -> Any:
    return value


def _nearest(name: str, known: Iterable[str]) -> str:
    """What may be meant, and else what there is."""
    import difflib  # noqa: PLC0415 -- only ever needed on this error path

    names = [candidate for candidate in known if candidate != ANY_NAME]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    elsewhere = sorted({key.path for key in KEYS if key.path.rpartition(".")[2] == name})
    if elsewhere:
        return f"; it belongs at {' or '.join(map(_example, elsewhere))}"
    return f"; the known ones here are {', '.join(names)}"


def _example(path: str) -> str:
    return repr(path.replace(ANY_NAME, "NAME"))


def circle_of(aliases: Mapping[str, tuple[Any, ...]]) -> tuple[str, ...]:
    """The names along which aliases go in a circle; empty when they do not.

    Args:
        aliases: Name → what it stands for.
    """
    done: set[str] = set()
    for start in aliases:
        way = [(start, _names_in(aliases, start))]
        while way:
            target = next(way[-1][1], None)
            if target is None:
                done.add(way.pop()[0])
                continue
            walked = [name for name, _ in way]
            if target in walked:
                return (*walked[walked.index(target) :], target)
            if target not in done:
                way.append((target, _names_in(aliases, target)))
    return ()


def _names_in(aliases: Mapping[str, tuple[Any, ...]], name: str) -> Iterator[str]:
    return (target for target in aliases.get(name, ()) if isinstance(target, str) and target in aliases)
