"""`providerhub new-plugin`: write a project that builds, installs and passes the conformance kit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import click

import providerhub
from providerhub.cli import _screen as screen

TEMPLATE = Path(__file__).with_name("template")
"""The folders `common`, `openai` and `custom`, whose files end in `.tmpl`, and the licences."""
SUFFIX = ".tmpl"
LICENSES = ("Apache-2.0", "MIT", "none")
PREFIX = "providerhub-"

# PyPA specification "Names and normalization".
_NAME = re.compile(r"[a-z0-9]|[a-z0-9][a-z0-9._-]*[a-z0-9]", re.IGNORECASE)
_LONGEST = 50
_FIELD = re.compile(r"\{\{(\w+)\}\}")


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
        wire: The protocol of the service: `"openai"` or `"custom"`.
        license_name: The licence, one of `LICENSES`.
        author: The name of the author; by default the maintainers of the distribution.

    Yields:
        The path of each file in the project, and its text.
    """
    fields = _fields(name, license_name, author)
    for part in ("common", wire):
        root = TEMPLATE / part
        for file in sorted(root.rglob(f"*{SUFFIX}")):
            path = file.relative_to(root).as_posix().removesuffix(SUFFIX)
            yield path.replace("_package_", fields["package"]), _filled(file, fields)
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


def _filled(file: Path, fields: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: fields[match.group(1)], file.read_text("utf-8"))


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--wire", type=click.Choice(["openai", "custom"]), default="openai", show_default=True, help="The protocol of the service."
)
@click.option("--directory", type=click.Path(path_type=Path), help="The new folder; by default providerhub-NAME.")
@click.option("--license", "license_name", type=click.Choice(LICENSES), default="Apache-2.0", show_default=True)
@click.option("--author", default="", help="By default the maintainers of the distribution.")
def new_plugin(*, name: str, wire: str, directory: Path | None, license_name: str, author: str) -> None:
    """Write the project of a plugin for the provider NAME into a new folder. Existing files are not changed."""
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
    for path, text in project(provider, wire=wire, license_name=license_name, author=author):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    screen.line(f"{folder}: a plugin for the provider {provider!r}. Try it, with pip 25.1 or later:")
    screen.line(f"  cd {folder} && pip install -e . --group dev")
    screen.line(f"  pytest && providerhub conformance {provider}")
