"""The settings file: its path, its values, and each mistake in it with the line and the nearest known key.

It is never read from the working directory: a checkout must not be able to redirect prompts.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs

from providerhub._settings.address import flaws, proxy_flaws
from providerhub._settings.secrets import COMMAND_SECONDS, CommandKey, EnvironmentKey, FileKey, KeyringKey
from providerhub._settings.table import ANY_NAME, KEYS, KINDS, Key, below
from providerhub._settings.toml_lines import Path, locate
from providerhub._values import BreakerRules, BudgetRules, Model, ProviderConfig, RetryPolicy, Secret, Timeout, errors
from providerhub._values.capabilities import ModelInfo
from providerhub._values.checks import PROVIDER_NAME, TEXT, one_of
from providerhub._values.errors import ConfigurationError

VARIABLE = "PROVIDERHUB_CONFIG"
"""The environment variable that names the settings file."""

SIZE_LIMIT = 1024 * 1024
"""Bytes; a longer file is not read."""

_SOURCES = ("env", "file", "command", "keyring")
"""The keys of a table that stands for an API key. Such a table has exactly one of them."""


class Problem(NamedTuple):
    """One mistake in a settings file.

    Args:
        line: The line, counted from 1; `None` when the mistake concerns the file as a whole.
        text: The mistake, and the way to mend it.
    """

    line: int | None
    text: str


class SettingsFile(NamedTuple):
    """The content of a settings file.

    Args:
        path: The path of the file.
        values: Arguments for `Settings`. From a file with mistakes, the entries without one.
        lines: Dotted key → the line on which it stands.
        problems: The mistakes, in the order of their lines.
    """

    path: str
    values: Mapping[str, Any] = MappingProxyType({})
    lines: Mapping[str, int] = MappingProxyType({})
    problems: tuple[Problem, ...] = ()

    def where(self, problem: Problem) -> str:
        """Describe a mistake in one line, with file and line.

        Args:
            problem: One of the mistakes of this file.
        """
        return f"{self.path}:{problem.line or 1}: {problem.text}"

    @property
    def error(self) -> ConfigurationError | None:
        """The error for the first mistake, with the number of the others; `None` without mistakes."""
        if not self.problems:
            return None
        more = len(self.problems) - 1
        rest = f" (and {more} more; `providerhub settings check` lists them)" if more else ""
        return ConfigurationError(self.where(self.problems[0]) + rest)


def settings_path(environ: Mapping[str, str]) -> str | None:
    """Find the settings file: `PROVIDERHUB_CONFIG`, else `settings.toml` in the user's configuration folder.

    Args:
        environ: Environment variables by name, such as `os.environ`.

    Returns:
        An absolute path, whether the file exists or not; `None` when the user has no configuration folder.

    Raises:
        ConfigurationError: The variable holds a relative path.
    """
    named = environ.get(VARIABLE)
    del environ  # it may hold keys, and a traceback may show locals
    if named:
        path = os.path.expanduser(named)
        if not os.path.isabs(path):
            msg = f"{VARIABLE} must be an absolute path, so that no working directory can redirect prompts, not {named!r}"
            raise ConfigurationError(msg)
        return path
    from platformdirs import user_config_dir  # not needed when the variable is set

    # Without a home directory the path would begin with a bare `~`.
    path = os.path.join(user_config_dir("providerhub", appauthor=False), "settings.toml")
    return path if os.path.isabs(path) else None


def read(path: str, *, optional: bool = False) -> SettingsFile:
    """Read a settings file. Mistakes do not raise; they stand in `problems`.

    Args:
        path: The path of the file.
        optional: Whether the file may be missing. Default false.
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
    """Return the file's text and mode, or the problem that keeps it from being read."""
    try:
        with open(path, "rb") as file:
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
    """Return the data and the lines of its keys, or the problem that keeps the text from being TOML."""
    import re  # a program without a settings file does not need it
    import tomllib  # the same

    try:
        return tomllib.loads(text), locate(text), None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(found.group(1) or text.count("\n") + 1) if found else None
        said = str(error)[: found.start()] if found else type(error).__name__
        return {}, {}, Problem(line, f"this is not TOML: {said}")


_WORDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}


_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "seconds or none": lambda value: None if value == "none" else value,
    "number from 0 or none": lambda value: None if value == "none" else value,
    "error classes": lambda names: tuple(getattr(errors, name) for name in names),
}
"""The kinds of values that TOML cannot hold as they are → the conversion."""


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))


class _Reading:
    """Converts the data of one file, and collects the mistakes in it.

    Args:
        path: The path of the file.
        mode: The permission bits of the file.
        lines: The line of each key.
    """

    def __init__(self, path: str, mode: int, lines: dict[Path, int]) -> None:
        self._path = path
        self._mode = mode if sys.platform != "win32" else 0
        self._lines = lines
        self._problems: list[Problem] = []

    def settings(self, data: dict[str, Any]) -> SettingsFile:
        """Convert the whole file.

        Args:
            data: The result of `tomllib.loads`.
        """
        readers: dict[str, Callable[[Any], Any]] = {
            "timeout": lambda value: self._timeout(("timeout",), value),
            "ca_bundle": self._beside,
            "proxies": self._proxies,
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
        """Return the entries of a table that are known and of the right kind; each of the others becomes a problem."""
        known = below(pattern)
        sound = {}
        for name, value in table.items():
            here = (*path, name)
            key = known.get(name) or known.get(ANY_NAME)
            if key is None:
                self._problem(here, f"unknown key {_dotted(here)!r}{_nearest(name, known)}")
            elif self._fits(here, key, value):
                sound[name] = _CONVERTED.get(key.kind, _as_is)(value)
        return sound

    def _fits(self, path: Path, key: Key, value: object) -> bool:
        check = KINDS[key.kind]
        choices = one_of(key.choices)
        if not check.test(value):
            # A number is shown only for a key that takes numbers: any other value may be an API key in the wrong place.
            is_shown = isinstance(value, int | float) and check.test(1)
            shown = str(value).lower() if is_shown else _WORDS.get(type(value), "a date or time")
            self._problem(path, f"{_dotted(path)} must be {check.wanted}, not {shown}{_other_key(path, value)}")
        elif key.choices and not choices.test(value):
            near = _nearest(str(value), key.choices)
            self._problem(path, f"{_dotted(path)} must be {choices.wanted}, not {value!r}{near}")
        else:
            return True
        return False

    def _timeout(self, path: Path, value: float | dict[str, Any]) -> Timeout:
        return Timeout(**(self._checked(path, "timeout", value) if isinstance(value, dict) else {"total": value}))

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

    def _target(self, path: Path, item: Any) -> str | Model | None:
        """Convert one model of an alias."""
        if isinstance(item, dict) and {"name"} <= set(item) <= {"name", "provider"} and all(map(TEXT.test, item.values())):
            return Model(**item)
        if isinstance(item, str) and TEXT.test(item):
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
            "model": self._refined,
            "timeout": self._timeout,
            **dict.fromkeys(("ca_bundle", "client_cert", "client_key"), lambda _path, value: self._beside(value)),
            "proxies": lambda path, value: self._checked(path, "providers.*.proxies", value),
            "options": self._options,
        }
        sound = self._checked(path, "providers.*", entries)
        values = {name: readers[name]((*path, name), value) if name in readers else value for name, value in sound.items()}
        return self._without_flaws(path, ProviderConfig(name=str(path[1]), origin=self._path, **values))

    def _without_flaws(self, path: Path, config: ProviderConfig) -> ProviderConfig:
        """Turn each flaw of a configuration into a problem, and leave the value out."""
        for name, flaw in tuple(flaws(config, endpoints=True)):
            field, _, part = name.partition(".")
            here: Path = (*path, *filter(None, (field, part)))
            self._problem(here, f"{_dotted(here)} {flaw}")
            rest: Any = {key: value for key, value in config.proxies.items() if key != part} if part else None
            config = attrs.evolve(config, **{field: rest})
        return config

    def _proxies(self, proxies: dict[str, Any]) -> dict[str, Any]:
        """Check the proxies for all providers."""
        proxies = self._checked(("proxies",), "proxies", proxies)
        wrong = dict(proxy_flaws(proxies))
        for name, flaw in wrong.items():
            self._problem(("proxies", name), f"proxies.{name} {flaw}")
        return {name: address for name, address in proxies.items() if name not in wrong}

    def _beside(self, path: str) -> str:
        """Make a path absolute. A relative one starts in the file's folder, never in the working directory."""
        folder = os.path.dirname(os.path.abspath(self._path))
        return os.path.join(folder, os.path.expanduser(path))

    def _models(self, path: Path, items: list[Any]) -> tuple[ModelInfo, ...]:
        found = [self._model((*path, number), item) for number, item in enumerate(items)]
        return tuple(model for model in found if model is not None)

    def _model(self, path: Path, item: Any) -> ModelInfo | None:
        if TEXT.test(item):
            return ModelInfo(item)
        if not isinstance(item, dict) or not TEXT.test(item.get("name")):
            self._problem(path, f'{_dotted(path[:3])} must hold names, or tables such as {{ name = "acme-1" }}')
            return None
        return self._model_info(path, item["name"], {key: value for key, value in item.items() if key != "name"})

    def _model_info(self, path: Path, name: str, entries: dict[str, Any]) -> ModelInfo:
        sound = self._checked(path, "providers.*.model.*", entries)
        if "timeout" in sound:
            sound["timeout"] = self._timeout((*path, "timeout"), sound["timeout"])
        return ModelInfo(name, **sound)

    def _refined(self, path: Path, table: dict[str, Any]) -> dict[str, ModelInfo]:
        for name in [name for name, entries in table.items() if isinstance(entries, dict) and _unquoted(entries)]:
            whole = ".".join((name, *_unquoted(table[name])))
            self._problem((*path, name), f'a model\'s name with a dot needs quotation marks: [{_dotted(path)}."{whole}"]')
            table = {other: entries for other, entries in table.items() if other != name}
        tables = self._checked(path, "providers.*.model", table)
        return {name: self._model_info((*path, name), name, entries) for name, entries in tables.items() if TEXT.test(name)}

    def _options(self, path: Path, table: dict[str, Any]) -> dict[str, Any]:
        options = {}
        for name, value in table.items():
            # A table with `file` and more may be the plugin's own.
            named = {source for source in _SOURCES if isinstance(value, dict) and source in value}
            is_source = bool(named) and (named != {"file"} or len(value) == 1)
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
        """Make the secret for a table that names the place of a key."""
        before = len(self._problems)
        sound = self._checked(path, "providers.*.api_key", table)
        named = [name for name in _SOURCES if name in table]
        if len(named) != 1:
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
            return Secret.later(FileKey(self._beside(sound["file"]), f"{self._path}:{self._lines.get((*path, 'file'), 1)}"))
        if "command" in sound:
            return Secret.later(CommandKey(tuple(sound["command"]), sound.get("timeout", COMMAND_SECONDS)))
        return Secret.later(KeyringKey(sound["keyring"], sound.get("username")))


def _as_is(value: Any) -> Any:
    return value


def _unquoted(entries: dict[str, Any]) -> list[str]:
    """The rest of a model's name that TOML has split at its dots; empty when the table is a model's."""
    for name, value in entries.items():
        if isinstance(value, dict) and name not in below("providers.*.model.*"):
            return [name, *_unquoted(value)]
    return []


def _other_key(path: Path, value: object) -> str:
    """A hint at the key that is easily mistaken for this one."""
    if path[0] == "providers" and path[2:] == ("models",) and isinstance(value, dict):
        return f'; the values of one model belong in [providers.{path[1]}.model."NAME"]'
    if path[0] == "providers" and path[2:] == ("model",) and isinstance(value, str | list):
        return '; a list of models is written models = ["NAME"]'
    return ""


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the most similar name, else the place of this name elsewhere, else the known names."""
    import difflib  # needed for an error message only

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
    """Find aliases that lead back to themselves.

    Args:
        aliases: Alias → the models for which it stands.

    Returns:
        The names along one circle, the first one again at the end; empty without a circle.
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
