"""Make parts of the reference from the code when the documentation is built, so they are always up to date.

A line `<!-- generated: NAME -->` in a page is replaced by the result of the function with that name in `MAKERS`.
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
ROOT = DOCS.parent
TESTS = ROOT / "tests"
SINCE: dict[str, dict[str, str]] = tomllib.loads((DOCS / "reference" / "since.toml").read_text("utf-8"))
PLACE = re.compile(r"^<!-- generated: ([\w-]+)((?: \S+)*) -->$", re.MULTILINE)
FAULT_TEST = re.compile(r"test_fault((?:_(?:and_)?\d+a?)+)_")
PLURAL = re.compile(r"(`[^`\n]+`)(?=s\b)")
NAME = re.compile(r"(?<![:`\w])`([A-Za-z]\w*(?:\.[a-z]\w*)?)(\(\))?`(?!`)")
ATTRS_DEFAULT = re.compile(r"attr_dict\['(\w+)'\]\.default")
LONGEST_DEFAULT = 30
MADE_BY_THE_HUB = re.compile(r"providerhub\.(Stream|AsyncStream|http\.Answer|testing\.Connection)$")
FAULT = re.compile(r"^\|\s*(\d+a?)\s*\|([^|]*)\|([^|]*)\|$", re.MULTILINE)


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    return "\n".join([_row(*head), _row(*["---"] * len(head)), *(_row(*row) for row in rows)])


def errors() -> str:
    """Return the tree at the top of the module of errors."""
    text = inspect.getdoc(importlib.import_module("providerhub._values.errors")) or ""
    tree = re.search(r"^    ProviderHubError\n(?:    .*\n)+", text, re.MULTILINE)
    if tree is None:
        msg = "the docstring of providerhub._values.errors has no drawing of the tree; add it"
        raise ValueError(msg)
    return "```text\n" + inspect.cleandoc(tree[0]) + "\n```"


def figures() -> str:
    """Return the table of the benchmarks' page, which `tox -e bench` writes."""
    table = re.search(r"^\|.*?(?=\n\n)", (DOCS / "benchmarks.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if table is None:
        msg = "docs/benchmarks.md has no table; run tox -e bench"
        raise ValueError(msg)
    return table[0]


def since() -> str:
    """List every public name of every public module, with its first version."""
    parts = []
    for module, names in SINCE.items():
        rows: list[tuple[object, ...]] = [
            (f"`{name}`", version) for name, version in sorted(names.items(), key=lambda i: i[0].lower())
        ]
        parts.append(f"## `{module}`\n\n" + _table(("name", "since"), rows))
    return "\n\n".join(parts)


def names(module: str, *chosen: str) -> str:
    """Document some public names of a module, or all of them in the order of the table."""
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
    """Document one public name that is not a class and not a function."""
    module, _, name = path.rpartition(".")
    return "```{eval-rst}\n" + _data(module, name, getattr(importlib.import_module(module), name)) + "```"


def _data(module: str, name: str, value: object) -> str:
    """Return the docstring below the assignment of a name; Sphinx does not find it when another module exports the name."""
    homes = [
        home for home in sorted(sys.modules) if home.startswith("providerhub") and vars(sys.modules[home]).get(name) is value
    ]
    docs = (ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name), []) for home in homes)
    lines = next((found for found in docs if found), [])
    text = [*(PLURAL.sub(r"\1\\ ", line) for line in lines), "", f".. versionadded:: {SINCE[module][name]}"]
    return f".. py:data:: {module}.{name}\n\n" + "".join(f"   {line}\n" if line else "\n" for line in text)


def cli() -> str:
    """List every command with its arguments and options."""
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
    """Turn help for a terminal into Markdown. Text after a backspace, which click prints verbatim, becomes a block."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            paragraphs.append("```text\n" + paragraph.removeprefix("\b").strip("\n") + "\n```")
        else:
            # Markdown shows a backslash within backticks, so escape only the text between them.
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
    """List every hook specification with its entry-point group."""
    from providerhub import hookspecs

    parts = []
    for name, function in vars(hookspecs).items():
        if hasattr(function, "providerhub_spec"):
            group = "providerhub" if name == "providerhub_provider" else "providerhub.hooks"
            first = "; the first result that is not `None` is used" if function.providerhub_spec["firstresult"] else ""
            line = f"Entry-point group `{group}`{first}."
            parts.append(f"```{{eval-rst}}\n.. autofunction:: providerhub.hookspecs.{name}\n```\n\n{line}")
    return "\n\n".join(parts)


def settings() -> str:
    """List every key of the settings file, from the table that the code reads, with a section for each table of the file."""
    tables: dict[str, list[Any]] = {}
    for key in importlib.import_module("providerhub._settings.table").KEYS:
        table, _, _ = key.path.rpartition(".")
        tables.setdefault(table, []).append(key)
    parts = []
    for table, keys in tables.items():
        shown = table.replace("providers.*", "providers.NAME").replace("budgets.*", "budgets.NAME").replace(".*", "")
        parts.append(f"### `[{shown}]`" if table else "### Top level")
        rows: list[tuple[object, ...]] = [(f"`{_last(key.path)}`", _prose(_meaning(key.path)) + _details(key)) for key in keys]
        parts.append(_table(("key", "meaning"), rows))
    return "\n\n".join(parts)


def _meaning(path: str) -> str:
    """Return the sentence about a key of the settings file."""
    meanings: dict[str, str] = tomllib.loads((DOCS / "reference" / "keys.toml").read_text("utf-8"))
    last = _last(path)
    places = (path, path.replace(".models.*.", ".model.*."), f"providers.*.{last}", f"timeout.{last}")
    return next(meanings[place] for place in places if place in meanings)


def _last(path: str) -> str:
    return path.rpartition(".")[2].replace("*", "NAME")


def _details(key: Any) -> str:
    """Return the type of a value or its choices, and its default."""
    choices = f"one of {', '.join(f'`{choice}`' for choice in key.choices)}" if key.choices else f"*{key.kind}*"
    default = f", default `{key.default}`" if key.default else ""
    return f" {choices[0].upper()}{choices[1:]}{default}." if key.choices else f" {choices}{default}."


def unreleased() -> str:
    """Return the changelog fragments, which the next release moves into the changelog."""
    towncrier = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
    parts: list[str] = []
    for kind, title in ((one["directory"], one["name"]) for one in towncrier["type"]):
        texts = [path.read_text("utf-8").strip() for path in sorted((DOCS / "changelog").glob(f"*.{kind}.md"))]
        parts += [f"### {title}", *(f"- {text}".replace("\n", "\n  ") for text in texts)] if texts else []
    return "\n\n".join(["## Not released yet", *parts] if parts else [])


def variables() -> str:
    """List the environment variables that replace the value of a key in the settings file."""
    keys = importlib.import_module("providerhub._settings.table").KEYS
    named = {key.env: key for key in reversed(keys) if key.env.startswith("PROVIDERHUB_")}
    rows: list[tuple[object, ...]] = [(f"`{env}`", f"`{key.path}`") for env, key in sorted(named.items())]
    paths = [
        ("`PROVIDERHUB_CONFIG`", "the path of the settings file"),
        ("`PROVIDERHUB_PROGRAM`", "the name of the program in the journal; the command line sets it to `providerhub`"),
        ("`PROVIDERHUB_CACHE_DIR`", "the folder of kept lists of models"),
    ]
    return _table(("variable", "replaces the key"), [*paths, *rows])


def conformance() -> str:
    """Every check of the conformance kit, group by group."""
    checks = importlib.import_module("providerhub_conformance").CHECKS.values()
    parts = [f"{len(checks)} checks, in {len({check.group for check in checks})} groups."]
    for group in dict.fromkeys(check.group for check in checks):
        parts.append(f"## {group.capitalize()}")
        for check in (check for check in checks if check.group == group):
            parts.append(f"### `{check.name}`\n\n{check.means}")
            parts.append(f"- **Promise to users:** {check.promise}\n- **Fix:** {check.fix}")
    return "\n\n".join(parts)


def plugins() -> str:
    """Return the README of each plugin of this repository, as a section."""
    parts = []
    for readme in sorted(ROOT.glob("plugins/*/README.md")):
        text = re.sub(r"^(#+ )", r"#\1", readme.read_text("utf-8"), flags=re.MULTILINE)
        # A relative link leads into the repository, where there are no pages.
        parts.append(re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text).strip())
    return "\n\n".join(parts)


def fault_tests() -> str:
    """Return the sources of the tests of the fault matrix, one after the other."""
    parts = []
    for path in sorted({path for found in _fault_tests().values() for path in found}):
        place = path.relative_to(ROOT).as_posix()
        parts.append(f"### {path.name}\n\n```{{literalinclude}} ../../{place}\n:language: python\n:class: tests\n```")
    return "\n\n".join(parts) or "There are no such tests."


def with_tests(text: str) -> str:
    """Add a column to the fault matrix: the file that tests each row."""
    tests = _fault_tests()

    def proven(row: re.Match[str]) -> str:
        links = (f"[{path.stem.removeprefix('test_')}](#{_slug(path)})" for path in tests.get(row[1], {}))
        return f"{row[0]} {', '.join(links) or '–'} |"

    text = text.replace("| # | fault | expected |\n|---|---|---|", "| # | fault | expected | tested in |\n|---|---|---|---|")
    return FAULT.sub(proven, text)


def _slug(path: Path) -> str:
    return path.name.replace(".", "").lower()


def _fault_tests() -> dict[str, dict[Path, list[str]]]:
    """Map each row of the matrix to the files with its tests, and each file to the names of these tests."""
    found: dict[str, dict[Path, list[str]]] = {}
    for path in (*sorted((TESTS / "faults").glob("test_*.py")), TESTS / "integration" / "test_preparing.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = FAULT_TEST.match(node.name) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
            for number in re.findall(r"\d+a?", name[1]) if name else ():
                found.setdefault(number.lstrip("0"), {}).setdefault(path, []).append(name.string if name else "")
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
    "unreleased": unreleased,
    "variables": variables,
}


def _replace(_app: Sphinx, name: str, source: list[str]) -> None:
    if name == "reference/faults":
        source[0] = with_tests(source[0])
    source[0] = PLACE.sub(lambda place: MAKERS[place[1]](*place[2].split()), source[0])


def _prepare(_app: Sphinx, _what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Add the first version of a public name, and allow an `s` for the plural after a name in backticks."""
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
    """Set the module of every public class to its import path, so that types in signatures become links."""
    for name, names in SINCE.items():
        module = importlib.import_module(name)
        for attribute in names:
            value = getattr(module, attribute, None)
            home = getattr(value, "__module__", "")
            if inspect.isclass(value) and home.startswith(("providerhub._", "providerhub_conformance._")):
                value.__module__ = name


def _fields(_app: Sphinx, _what: str, _name: str, obj: Any, skip: bool, _options: Any) -> bool | None:  # noqa: FBT001 -- Sphinx's signature
    """Skip the slots of a value class, because its docstring describes the fields."""
    return True if skip or inspect.ismemberdescriptor(obj) or isinstance(obj, attrs.Attribute) else None


def _signature(
    _app: Sphinx, _what: str, name: str, obj: Any, _options: Any, signature: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """Hide the constructor of a class whose objects only the hub creates, and show the real defaults of a value class."""
    if MADE_BY_THE_HUB.match(name):
        return "", ""
    if signature is None or not attrs.has(obj):
        return None
    fields = {field.name: field.default for field in attrs.fields(obj)}
    return ATTRS_DEFAULT.sub(lambda found: _default(fields[found[1]]), signature), result


def _default(value: object) -> str:
    """Return the text of a default that is short and that Sphinx can parse, else `...`."""
    text = repr(value)
    readable = not isinstance(value, attrs.Factory) and len(text) <= LONGEST_DEFAULT and "<" not in text  # type: ignore[arg-type]
    return text if readable else "..."


def _outdated(app: Sphinx, *_rest: object) -> list[str]:
    """List the pages with generated parts. Sphinx reads them again, because the code may have changed."""
    sources = ((name, Path(app.env.doc2path(name))) for name in app.env.found_docs)
    return [name for name, path in sources if PLACE.search(path.read_text("utf-8"))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the functions of this module with Sphinx."""
    _public_homes()
    app.connect("env-get-outdated", _outdated)
    app.connect("source-read", _replace)
    app.connect("autodoc-process-docstring", _prepare)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
