"""The installed distributions and their metadata on the disk.

Nearly every entry of `sys.path` is a folder, which this module reads itself: the import of importlib-metadata takes several times
as long as the reading of a hundred distributions. Archives and other finders are left to importlib-metadata.
Sources: "Recording installed projects" and "Entry points specification", packaging.python.org.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

_COMPATIBLE = (
    "ai21", "alibaba", "avian", "baseten", "bedrock-mantle", "cerebras", "cloudflare", "crusoe", "databricks", "deepinfra",
    "deepseek", "doubleword", "fireworks", "github", "gpustack", "groq", "heroku", "huggingface", "hyperbolic", "lambda",
    "litellm", "llamacpp", "lmstudio", "minimax", "moonshot", "nebius", "novita", "nvidia", "openrouter", "ovhcloud",
    "perplexity", "sambanova", "sglang", "snowflake", "together", "venice", "vercel", "vllm", "watsonx", "writer", "xai",
    "xiaomi", "zai", "zhipu",
)  # fmt: skip
# The distributions of this project that messages say to install, without `providerhub-`: for the first characters of a model, a
# table of the settings, a command, the address of a store, and a provider.
OURS = {
    "models": {
        "gpt": "openai", "chatgpt": "openai", "o1": "openai", "o3": "openai", "o4-": "openai",
        "claude": "anthropic", "gemini": "gemini", "mistral": "mistral",
        "command-": "cohere",
    },
    "tables": {"journal": "journal", "budgets": "journal", "cache": "cache"},
    "commands": {"conformance": "conformance", "logs": "journal", "new-plugin": "conformance"},
    "stores": {"Redis and Valkey": "redis"},
    "providers": {
        **{name: name for name in ("anthropic", "bedrock", "cohere", "gemini", "lockchat", "mistral", "ollama", "openai")},
        "anthropic-bedrock": "anthropic", "anthropic-vertex": "anthropic", "azure": "openai", "vertex": "gemini",
        **dict.fromkeys(_COMPATIBLE, "compatible"),
    },
}  # fmt: skip
# The fix that messages name when no provider plugin is installed.
INSTALL_HINT = "pip install providerhub-openai (or -anthropic, -gemini, -ollama; -lockchat for a try without a key)"


def vendor_of(model: str) -> str:
    """The vendor whose models have names with the same beginning; empty if unknown."""
    return next((vendor for begin, vendor in OURS["models"].items() if model.startswith(begin)), "")


def to_install(provider: str) -> str:
    """The command that installs a provider of this project; empty for any other name."""
    owner = OURS["providers"].get(provider)
    return f"pip install providerhub-{owner}" if owner else ""


_SUFFIXES = (".dist-info", ".egg-info")
# The modules of the finders that look for distributions in the folders of `sys.path`.
_USUAL_FINDERS = frozenset({"_frozen_importlib_external", "importlib_metadata"})
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class Distribution:
    """An installed distribution with a folder of metadata. It has the same method as one of importlib-metadata."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def read_text(self, filename: str) -> str | None:
        """The text of a file of the metadata, such as `"METADATA"`; `None` when there is no such file."""
        try:
            with open(os.path.join(self.path, filename), encoding="utf-8") as file:
                return file.read()
        except _ABSENT:
            return None


class EntryPoint(NamedTuple):
    """One entry point of an installed distribution. Its value is `"module"` or `"module:object"`."""

    group: str
    name: str
    value: str
    distribution: str
    version: str


def offered(word: str, broken: Callable[[Distribution, Exception], object]) -> Iterator[EntryPoint]:
    """All entry points of the distributions whose `entry_points.txt` contains a word. Of two copies, Python imports the first.

    Most distributions do not contain the word, and parsing all of them would take most of the time. `broken` is called with each
    distribution whose metadata cannot be read, and the error.
    """
    seen: set[str] = set()
    for distribution in distributions():
        try:
            found = _offers(distribution, word)
        except Exception as error:
            broken(distribution, error)
            continue
        if found and (name := normalized(found[0].distribution)) not in seen:
            seen.add(name)
            yield from found


def in_group(group: str) -> list[EntryPoint]:
    """The entry points of a group. The command `doctor` reports broken metadata."""
    return [entry for entry in offered(group, lambda *_: None) if entry.group == group]


def _offers(distribution: Distribution, word: str) -> Sequence[EntryPoint]:
    """The entry points of a distribution with the word in its file. Each hub asks, so only a changed file is read again."""
    key, state = "", None
    if isinstance(distribution, Distribution):
        key = os.path.join(distribution.path, "entry_points.txt")
        try:
            found = os.stat(key)
        except _ABSENT:
            return ()
        state = word, found.st_mtime_ns, found.st_size, found.st_ino
        if (known := _known.get(key)) and known[0] == state:
            return known[1]
    text = distribution.read_text("entry_points.txt") or ""
    entries: Sequence[EntryPoint] = ()
    if word in text:
        name, version = name_and_version(distribution)
        entries = tuple(EntryPoint(*entry, name, version) for entry in entry_points(text))
    if state is not None:
        _known[key] = state, entries
    return entries


_known: dict[str, tuple[object, Sequence[EntryPoint]]] = {}
"""The entry points that were read, by the path of their file; with the state of that file."""


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Make permanent objects, for example in an import, without garbage collection, which would only take time."""
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_collecting:
            gc.enable()


def import_object(reference: str) -> Any:
    """Import `"module"`, `"module:object"` or `"module:object.attribute"`. The module may raise any exception."""
    module, _, attribute = reference.partition(":")
    with uncollected():
        found: Any = import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        found = getattr(found, part)
    return found


def flaw_of(reference: str) -> str:
    """Return a reason why `"module:object"` cannot be imported, without importing the module; empty if none is found.

    Only the packages around the module are imported, because the module may be slow to import. Its source is searched for the
    name of the object.
    """
    import re  # slow to import; only lists of plugins need it
    from importlib.util import find_spec

    module, _, attribute = (part.strip() for part in reference.partition(":"))
    name = attribute.partition(".")[0]
    try:
        spec = find_spec(module)
        source = getattr(spec.loader, "get_source", lambda _: None)(module) if spec else None
    except Exception as error:
        return f"finding the module {module!r} raised {type(error).__name__}: {error}"
    if spec is None:
        return f"there is no module {module!r}"
    loaded = sys.modules.get(module)
    source = source or ""
    may_have = not source or re.search(rf"\b{re.escape(name)}\b|import \*|__getattr__|globals\(|setattr\(", source)
    if not name or hasattr(loaded, name) or (loaded is None and may_have):
        return ""
    from providerhub._values.checks import nearest  # the command line's help does not need it

    known = re.findall(r"^(?:async +)?(?:def|class) +(\w+)|^(\w+) *[:=]", source, re.MULTILINE)
    near = nearest(name, [*filter(None, (name for pair in known for name in pair))], "correct the name")
    return f"the module {module!r} has no {name!r}; {near}"


def distributions() -> Iterator[Distribution]:
    """All distributions in the order of `sys.path`. Of two with the same name, Python imports the first."""
    if not all(map(_is_usual, sys.meta_path)):
        yield from _by_library()
        return
    # Python's import skips entries that are not text.
    for folder in (entry or os.curdir for entry in sys.path if isinstance(entry, str)):
        try:
            names = os.listdir(folder)
        except NotADirectoryError:
            yield from _by_library([folder])
        except OSError:
            continue  # `sys.path` names many folders that do not exist
        else:
            is_egg = folder.lower().endswith(".egg")
            for name in names:
                if name.lower().endswith(_SUFFIXES) or (is_egg and name.lower() == "egg-info"):
                    yield Distribution(os.path.join(folder, name))


def entry_points(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the group, the name and the value of each entry in the text of a file `entry_points.txt`."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and group and not line.startswith(("#", ";")):
            name, sign, value = line.partition("=")
            if not sign:
                raise ValueError(f"{line!r} is not of the form name = value")
            # A bracket begins the extras, which the specification has deprecated.
            yield group, name.strip(), value.partition("[")[0].strip()


def name_and_version(distribution: Distribution) -> tuple[str, str]:
    """A distribution's name and version, from the headers of its core metadata."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    headers = text.replace("\r\n", "\n").partition("\n\n")[0]
    found: dict[str, str] = {}
    for line in headers.split("\n"):
        key, _, value = line.partition(":")
        found[key.lower()] = value.strip()
        if "name" in found and "version" in found:  # the first three headers, usually, of a hundred
            break
    if not found.get("name"):
        raise ValueError("its metadata has no name")
    return found["name"], found.get("version", "")


def normalized(name: str) -> str:
    """A project's name as packaging tools compare it: `Acme_Tools`, `acme.tools` and `acme--tools` are one project.

    Source: "Names and normalization", packaging.python.org.
    """
    words = name.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(filter(None, words))


def name_of(distribution: Distribution) -> str:
    """A distribution's name; the path of its folder when the metadata cannot be read."""
    try:
        return name_and_version(distribution)[0]
    except Exception:
        return str(getattr(distribution, "path", None) or getattr(distribution, "_path", "unknown"))


def _by_library(path: Sequence[str] | None = None) -> Iterator[Distribution]:
    import importlib_metadata  # slow to import, and needed for archives and special finders only

    options = {} if path is None else {"path": path}
    found: Any = importlib_metadata.distributions(**options)
    yield from found


def _is_usual(finder: object) -> bool:
    return not hasattr(finder, "find_distributions") or getattr(finder, "__module__", "") in _USUAL_FINDERS
