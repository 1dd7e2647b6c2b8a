"""Parts of the reference that are made from the code when the documentation is built, so that they cannot grow stale.

A line `<!-- generated: NAME -->` in a page is replaced by what the function of that name in `MAKERS` returns.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from providerhub.cli import _app

DOCS = Path(__file__).resolve().parent.parent
TESTS = DOCS.parent / "tests"
SINCE: dict[str, dict[str, str]] = tomllib.loads((DOCS / "reference" / "since.toml").read_text("utf-8"))
PLACE = re.compile(r"^<!-- generated: ([\w-]+)((?: \S+)*) -->$", re.MULTILINE)
FAULT_TEST = re.compile(r"test_fault((?:_(?:and_)?\d+)+)_")
PLURAL = re.compile(r"(`[^`\n]+`)(?=s\b)")
NAME = re.compile(r"(?<![:`\w])`([A-Za-z]\w*(?:\.[a-z]\w*)?)(\(\))?`(?!`)")
ATTRS_DEFAULT = re.compile(r"attr_dict\['(\w+)'\]\.default")
LONGEST_DEFAULT = 30
MADE_BY_THE_HUB = re.compile(r"providerhub\.(Stream|AsyncStream|http\.Answer|testing\.Connection)$")
FAULT = re.compile(r"^\|\s*(\d+)\s*\|([^|]*)\|([^|]*)\|$", re.MULTILINE)


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    return "\n".join([_row(*head), _row(*["---"] * len(head)), *(_row(*row) for row in rows)])


def errors() -> str:
    """The tree at the top of the module of errors."""
    text = inspect.getdoc(importlib.import_module("providerhub._values.errors")) or ""
    tree = re.search(r"^    ProviderHubError\n(?:    .*\n)+", text, re.MULTILINE)
    if tree is None:
        msg = "the docstring of providerhub._values.errors does not draw the tree"
        raise ValueError(msg)
    return "```text\n" + inspect.cleandoc(tree[0]) + "\n```"


def figures() -> str:
    """The table of the benchmarks' page, which a run of its own writes."""
    table = re.search(r"^\|.*?(?=\n\n)", (DOCS / "benchmarks.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if table is None:
        msg = "docs/benchmarks.md holds no table"
        raise ValueError(msg)
    return table[0]


def since() -> str:
    """Every public name of every public module, and since when it exists."""
    parts = []
    for module, names in SINCE.items():
        rows: list[tuple[object, ...]] = [
            (f"`{name}`", version) for name, version in sorted(names.items(), key=lambda i: i[0].lower())
        ]
        parts.append(f"## `{module}`\n\n" + _table(("name", "since"), rows))
    return "\n\n".join(parts)


def names(module: str, *chosen: str) -> str:
    """The documentation of some public names of a module, or of all in the order of the table."""
    parts = []
    for name in chosen or SINCE[module]:
        value = getattr(importlib.import_module(module), name)
        if inspect.isclass(value):
            parts.append(f".. autoclass:: {module}.{name}\n   :members:\n")
        elif inspect.isfunction(value):
            parts.append(f".. autofunction:: {module}.{name}\n")
        else:
            parts.append(_data(module, name, value))
    return "```{eval-rst}\n" + "\n".join(parts) + "```"


def data(path: str) -> str:
    """The documentation of one public name that is neither class nor function."""
    module, _, name = path.rpartition(".")
    return "```{eval-rst}\n" + _data(module, name, getattr(importlib.import_module(module), name)) + "```"


def _data(module: str, name: str, value: object) -> str:
    """What stands below a name where it is assigned; Sphinx does not look there for a name that is exported from elsewhere."""
    homes = [
        home for home in sorted(sys.modules) if home.startswith("providerhub") and vars(sys.modules[home]).get(name) is value
    ]
    docs = (ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name), []) for home in homes)
    lines = next((found for found in docs if found), [])
    text = [*(PLURAL.sub(r"\1\\ ", line) for line in lines), "", f".. versionadded:: {SINCE[module][name]}"]
    return f".. py:data:: {module}.{name}\n\n" + "".join(f"   {line}\n" if line else "\n" for line in text)


def cli() -> str:
    """Every command with its arguments and options."""
    context = click.Context(_app.app, info_name="providerhub")
    parts = [_options(_app.app, context)]
    for name in _app.app.list_commands(context):
        command = _app.app.resolve_command(context, [name])[1]
        parts.extend(_command(command, context, name, "##") if command else [])
    return "\n\n".join(parts)


def _command(command: click.Command, parent: click.Context, name: str, level: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"{level} `{context.command_path.removeprefix('providerhub ')}`"
    yield f"```text\n{usage}\n```"
    yield _prose(command.help or command.short_help or "")
    yield _options(command, context)
    examples = DOCS / "reference" / "cli-examples" / f"{context.command_path.removeprefix('providerhub ').replace(' ', '-')}.md"
    if examples.exists():
        yield examples.read_text("utf-8").strip()
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            yield from _command(found, context, inner, level + "#") if found else ()


def _prose(text: str) -> str:
    """Help for a terminal, as Markdown: what click keeps verbatim behind a backspace becomes a block."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            paragraphs.append("```text\n" + paragraph.removeprefix("\b").strip("\n") + "\n```")
        else:
            # Within backticks a backslash would show.
            pieces = re.split(r"(`[^`]*`)", " ".join(paragraph.split()))
            paragraphs.append("".join(p if p.startswith("`") else p.replace("<", "\\<").replace("*", "\\*") for p in pieces))
    return "\n\n".join(paragraphs)


def _options(command: click.Command, context: click.Context) -> str:
    rows: list[tuple[object, ...]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in parameter.opts:
            rows.append((f"`{record[0]}`", _prose(record[1])))
    return _table(("option", "meaning"), rows) if rows else ""


def hooks() -> str:
    """Every hook specification with its entry-point group."""
    from providerhub import hookspecs  # noqa: PLC0415 -- beside what it documents

    parts = []
    for name, function in vars(hookspecs).items():
        if hasattr(function, "providerhub_spec"):
            group = "providerhub" if name == "providerhub_provider" else "providerhub.hooks"
            first = "; the first that answers decides" if function.providerhub_spec["firstresult"] else ""
            line = f"Entry-point group `{group}`{first}."
            parts.append(f"```{{eval-rst}}\n.. autofunction:: providerhub.hookspecs.{name}\n```\n\n{line}")
    return "\n\n".join(parts)


def settings() -> str:
    """Every key of the settings file, from the table that the code reads; a section for each table of the file."""
    tables: dict[str, list[Any]] = {}
    for key in importlib.import_module("providerhub._settings.table").KEYS:
        table, _, _ = key.path.rpartition(".")
        tables.setdefault(table, []).append(key)
    parts = []
    for table, keys in tables.items():
        shown = table.replace("providers.*", "providers.NAME").replace(".*", "")
        parts.append(f"### `[{shown}]`" if table else "### At the top")
        rows: list[tuple[object, ...]] = [(f"`{_last(key.path)}`", _prose(key.help) + _details(key)) for key in keys]
        parts.append(_table(("key", "meaning"), rows))
    return "\n\n".join(parts)


def _last(path: str) -> str:
    return path.rpartition(".")[2].replace("*", "NAME")


def _details(key: Any) -> str:
    """The kind of value, the only ones allowed, what holds without it, and the variable that outranks it."""
    choices = f"one of {', '.join(f'`{choice}`' for choice in key.choices)}" if key.choices else f"*{key.kind}*"
    default = f", default `{key.default}`" if key.default else ""
    return f" {choices[0].upper()}{choices[1:]}{default}." if key.choices else f" {choices}{default}."


def variables() -> str:
    """Environment variables that outrank a key of the settings file."""
    keys = importlib.import_module("providerhub._settings.table").KEYS
    named = {key.env: key for key in reversed(keys) if key.env.startswith("PROVIDERHUB_")}
    rows: list[tuple[object, ...]] = [(f"`{env}`", f"`{key.path}`") for env, key in sorted(named.items())]
    return _table(("variable", "key that it outranks"), [("`PROVIDERHUB_CONFIG`", "the path of the settings file"), *rows])


def conformance() -> str:
    """Every check of the conformance kit, group by group."""
    checks = importlib.import_module("providerhub.testing").CHECKS.values()
    parts = [f"{len(checks)} checks, in {len({check.group for check in checks})} groups."]
    for group in dict.fromkeys(check.group for check in checks):
        parts.append(f"## {group.capitalize()}")
        for check in (check for check in checks if check.group == group):
            parts.append(f"### `{check.name}`\n\n{check.means}")
            parts.append(f"- **What users lose without it:** {check.promise}\n- **How to mend:** {check.fix}")
    return "\n\n".join(parts)


def plugins() -> str:
    """The plugins of this repository: each one's README, as a section."""
    parts = []
    for readme in sorted(DOCS.parent.glob("plugins/*/README.md")):
        text = re.sub(r"^(#+ )", r"#\1", readme.read_text("utf-8"), flags=re.MULTILINE)
        # Links out of the README lead into the repository, not to pages.
        parts.append(re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text).strip())
    return "\n\n".join(parts)


def fault_tests() -> str:
    """The sources of the tests that prove the fault matrix, one after the other."""
    parts = []
    for path in sorted({path for found in _fault_tests().values() for path in found}):
        place = path.relative_to(DOCS.parent).as_posix()
        parts.append(f"### {path.name}\n\n```{{literalinclude}} ../../{place}\n:language: python\n:class: tests\n```")
    return "\n\n".join(parts) or "None so far."


def with_tests(text: str) -> str:
    """The fault matrix with a further column: where each row is proven."""
    tests = _fault_tests()

    def proven(row: re.Match[str]) -> str:
        links = (f"[{path.stem.removeprefix('test_')}](#{_slug(path)})" for path in tests.get(int(row[1]), {}))
        return f"{row[0]} {', '.join(links) or '–'} |"

    text = text.replace("| # | fault | expected |\n|---|---|---|", "| # | fault | expected | proven in |\n|---|---|---|---|")
    return FAULT.sub(proven, text)


def _slug(path: Path) -> str:
    return path.name.replace(".", "").lower()


def _fault_tests() -> dict[int, dict[Path, list[str]]]:
    """Row of the matrix → file → the tests named after the row."""
    found: dict[int, dict[Path, list[str]]] = {}
    for path in sorted((TESTS / "faults").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = FAULT_TEST.match(node.name) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
            for number in re.findall(r"\d+", name[1]) if name else ():
                found.setdefault(int(number), {}).setdefault(path, []).append(name.string if name else "")
    return found


MAKERS: dict[str, Callable[..., str]] = {
    "cli": cli,
    "conformance": conformance,
    "data": data,
    "errors": errors,
    "fault-tests": fault_tests,
    "figures": figures,
    "hooks": hooks,
    "names": names,
    "settings": settings,
    "plugins": plugins,
    "since": since,
    "variables": variables,
}


def _replace(_app: Sphinx, name: str, source: list[str]) -> None:
    if name == "reference/faults":
        source[0] = with_tests(source[0])
    source[0] = PLACE.sub(lambda place: MAKERS[place[1]](*place[2].split()), source[0])


def _prepare(_app: Sphinx, _what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Say since when a public name exists; let the plural of a name in backticks be one."""
    lines[:] = [_linked(PLURAL.sub(r"\1\\ ", line)) for line in lines]
    module, _, attribute = name.rpartition(".")
    version = SINCE.get(module, {}).get(attribute)
    if version:
        lines.extend(["", f".. versionadded:: {version}"])


def _linked(text: str) -> str:
    """Turn public names in backticks into links: `Hub.complete`, `Completion`."""

    def link(found: re.Match[str]) -> str:
        name, _, member = found[1].partition(".")
        home = next((module for module, names in SINCE.items() if name in names), None)
        owner = getattr(importlib.import_module(home), name, None) if home else None
        shown = inspect.isclass(owner) and (inspect.isfunction(getattr(owner, member, None)) if member else True)
        if home and (shown or (inspect.isfunction(owner) and not member)):
            return f":py:obj:`{found[1]}{found[2] or ''} <{home}.{found[1]}>`"
        return found[0]

    return NAME.sub(link, text)


def _public_homes() -> None:
    """Let every public object say that it lives where users import it from, so that types in signatures link there."""
    for name, names in SINCE.items():
        module = importlib.import_module(name)
        for attribute in names:
            value = getattr(module, attribute, None)
            home = getattr(value, "__module__", "")
            if inspect.isclass(value) and home.startswith("providerhub._"):
                value.__module__ = name


def _fields(_app: Sphinx, _what: str, _name: str, obj: Any, skip: bool, _options: Any) -> bool | None:  # noqa: FBT001 -- Sphinx's signature
    """A value class's fields stand in its docstring; their slots need no entry of their own."""
    return True if skip or inspect.ismemberdescriptor(obj) or isinstance(obj, attrs.Attribute) else None


def _signature(
    _app: Sphinx, _what: str, name: str, obj: Any, _options: Any, signature: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """No constructor where nobody makes the objects by hand; the defaults of a value class as they are."""
    if MADE_BY_THE_HUB.match(name):
        return "", ""
    if signature is None or not attrs.has(obj):
        return None
    fields = {field.name: field.default for field in attrs.fields(obj)}
    return ATTRS_DEFAULT.sub(lambda found: _default(fields[found[1]]), signature), result


def _default(value: object) -> str:
    """A default that Sphinx can parse and a reader wants to see; else `...`."""
    text = repr(value)
    readable = not isinstance(value, attrs.Factory) and len(text) <= LONGEST_DEFAULT and "<" not in text  # type: ignore[arg-type]
    return text if readable else "..."


def _outdated(app: Sphinx, *_rest: object) -> list[str]:
    """Pages with generated parts are read again: the code may have changed where they have not."""
    sources = ((name, Path(app.env.doc2path(name))) for name in app.env.found_docs)
    return [name for name, path in sources if PLACE.search(path.read_text("utf-8"))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Join the build."""
    _public_homes()
    app.connect("env-get-outdated", _outdated)
    app.connect("source-read", _replace)
    app.connect("autodoc-process-docstring", _prepare)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
