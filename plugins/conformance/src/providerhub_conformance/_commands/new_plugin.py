"""`providerhub new-plugin`: write a project that builds, installs and passes the conformance kit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import click

import providerhub
from providerhub.cli import _screen as screen

TEMPLATE = Path(__file__).with_name("template")
"""The folders of files that end in `.tmpl`, and the licences."""
SUFFIX = ".tmpl"
LICENSES = ("Apache-2.0", "MIT", "none")
PREFIX = "providerhub-"

# PyPA specification "Names and normalization".
_NAME = re.compile(r"[a-z0-9]|[a-z0-9][a-z0-9._-]*[a-z0-9]", re.IGNORECASE)
_LONGEST = 50
_FIELD = re.compile(r"\{\{(\w+)\}\}")
_PART = re.compile(r"\{\{#(\w+)\}\}\n(.*?)\{\{/\1\}\}\n", re.DOTALL)
"""Lines for one kind of plugins: of a provider, or of hooks."""


class Protocol(NamedTuple):
    """A protocol of a service: the folders of the template, and the fields of its files.

    `_framed` fills in the fields of a protocol of JSON objects in frames.
    """

    folders: tuple[str, ...]
    fields: Mapping[str, str]
    kind: str = "provider"


def _framed(
    folder: str, framing: str, *, stream_type: str, newlines: str, encode: str, own_import: str = "", own_faults: str = ""
) -> Protocol:
    fields = {
        "framing": framing,
        "framing_import": "" if own_import else f"{framing}, ",
        "own_import": f"\n{own_import}\n" if own_import else "",
        "stream_type": stream_type,
        "newlines": newlines,
        "encode": encode,
        "own_faults": own_faults,
        "json_schema": "False",
    }
    return Protocol(("common", "framed", folder) if folder else ("common", "framed"), fields)


_FAULTS = '''
    def garbage(self) -> bytes:
        """Write a frame whose framing is right and whose content cannot be parsed."""
        return _framed(b\'{"truncated": \')

    def endless(self) -> tuple[bytes, bytes]:
        """Write the beginning of a frame that is longer than a frame may be, and the bytes that follow for ever."""
        return (1 << 31).to_bytes(4, "big"), b"x"
'''
_ENCODE = """return _framed(_json(value))


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data"""
WIRES: Mapping[str, Protocol] = {
    "openai": Protocol(("common", "openai"), {"json_schema": "True"}),
    "sse": _framed(
        "",
        "SSEDecoder",
        stream_type="text/event-stream",
        newlines=r'(b"\n", b"\r\n", b"\r")',
        encode=r'return b"data: %b\n\n" % _json(value)',
    ),
    "ndjson": _framed(
        "",
        "LineDecoder",
        stream_type="application/x-ndjson",
        newlines=r'(b"\n", b"\r\n")',
        encode=r'return _json(value) + b"\n"',
    ),
    "custom": _framed(
        "custom",
        "Frames",
        stream_type="application/x-{{name}}-frames",
        newlines="()",
        encode=_ENCODE,
        own_import="from {{package}}.framing import Frames",
        own_faults=_FAULTS,
    ),
    "hooks": Protocol(("common", "hooks"), {}, "hooks"),
}
"""The protocols by name: the OpenAI chat shape; JSON objects in server-sent events, in lines, or in a framing of its own; none,
for a plugin with hooks."""


def normalised(name: str) -> str:
    """Normalise the name of a provider like a package index, and remove the common prefix.

    Args:
        name: A name such as `acme`, `Acme_AI` or `providerhub-acme`.

    Returns:
        The name in lower case, with single hyphens.

    Raises:
        ValueError: The name is not valid for a distribution.
    """
    if not _NAME.fullmatch(name) or not name.isascii() or len(name) > _LONGEST:
        msg = f"{name!r} is not a valid name: use letters, digits, and . _ - between them, at most {_LONGEST} characters"
        raise ValueError(msg)
    found = re.sub(r"[-_.]+", "-", name).lower().removeprefix(PREFIX)
    if found in {"", "providerhub"}:
        msg = f"{name!r} is the name of the core; use the name of the service"
        raise ValueError(msg)
    return found


def project(name: str, *, wire: str, license_name: str = "Apache-2.0", author: str = "") -> Iterator[tuple[str, str]]:
    """Make the project of a plugin.

    Args:
        name: The normalised name of the provider.
        wire: The protocol of the service, one of `WIRES`.
        license_name: The licence, one of `LICENSES`.
        author: The name of the author; by default the maintainers of the distribution.

    Yields:
        The path of each file in the project, and its text.
    """
    fields = {**_fields(name, license_name, author), **WIRES[wire].fields}
    fields = {key: _with_fields(text, fields) for key, text in fields.items()}
    for part in WIRES[wire].folders:
        root = TEMPLATE / part
        for file in sorted(root.rglob(f"*{SUFFIX}")):
            path = file.relative_to(root).as_posix().removesuffix(SUFFIX)
            text = _filled(file, fields, WIRES[wire].kind)
            if text or path.endswith(".typed"):  # a file for the other kind of plugins is empty
                yield path.replace("_package_", fields["package"]), text
    if license_name != "none":
        yield "LICENSE", _filled(TEMPLATE / f"LICENSE-{license_name}{SUFFIX}", fields)


def _fields(name: str, license_name: str, author: str) -> dict[str, str]:
    words = name.split("-")
    who = " ".join(author.split()) or f"The {PREFIX}{name} maintainers"
    license_lines = f'license = "{license_name}"\nlicense-files = ["LICENSE"]\n' if license_name != "none" else ""
    title = " ".join(word.capitalize() for word in words)
    package = f"{PREFIX}{name}".replace("-", "_")
    camel = "".join(word.capitalize() for word in words)
    return {
        "name": name,
        "title": title,
        "distribution": PREFIX + name,
        "package": package,
        "class": camel if camel.isidentifier() else f"Provider{camel}",
        "env": name.upper().replace("-", "_") if name[0].isalpha() else f"PROVIDER_{name.upper().replace('-', '_')}",
        "author": who,
        "author_quoted": json.dumps(who, ensure_ascii=False),  # a JSON string is a TOML string
        "core_version": providerhub.__version__,
        "kit_version": metadata.version("providerhub-conformance"),
        "license_lines": license_lines,
    }


def _filled(file: Path, fields: Mapping[str, str], kind: str = "") -> str:
    text = _PART.sub(lambda match: match[2] * (match[1] == kind), file.read_text("utf-8"))
    return _with_fields(text, fields)


def _with_fields(text: str, fields: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: fields[match.group(1)], text)


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--wire", type=click.Choice([*WIRES]), default="openai", show_default=True, help="The protocol of the service; or hooks."
)
@click.option("--directory", type=click.Path(path_type=Path), help="The new folder; by default providerhub-NAME.")
@click.option("--license", "license_name", type=click.Choice(LICENSES), default="Apache-2.0", show_default=True)
@click.option("--author", default="", help="By default the maintainers of the distribution.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def new_plugin(*, name: str, wire: str, directory: Path | None, license_name: str, author: str, as_json: bool) -> None:
    """Write the project of a plugin for the provider NAME, or with hooks, into a new folder. Existing files are not changed."""
    try:
        provider = normalised(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    folder = directory or Path(PREFIX + provider)
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        msg = f"{folder} exists already; remove it, or choose another folder with --directory"
        raise click.ClickException(msg) from error
    files = dict(project(provider, wire=wire, license_name=license_name, author=author))
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    if as_json:
        screen.data({"provider": provider, "folder": str(folder), "files": list(files)})
        return
    is_provider = WIRES[wire].kind == "provider"
    what = f"for the provider {provider!r}" if is_provider else "with hooks"
    screen.line(f"{folder}: a plugin {what}. Try it, with pip 25.1 or later:")
    screen.line(f"  cd {folder} && pip install -e . --group dev")
    screen.line(f"  pytest && providerhub conformance {provider}" if is_provider else "  pytest")
