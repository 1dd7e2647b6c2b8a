"""The parts of a question: prompt, template, attachments, schema and options."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import click

from providerhub import audio, file, image
from providerhub._calling.keywords import KEYWORDS
from providerhub._calling.output import strictly
from providerhub._values.checks import nearest
from providerhub._values.parts import media_type
from providerhub.cli import _store as store

_UNDECODED = "[\ud800-\udfff]"  # bytes of an argument that Python could not decode; no service accepts them
_PLACE = r"\{(\{\w+\})\}|\{(\w+)\}"  # `{{name}}` stands for the text `{name}`
_FIELD = r"(\w+)(?:\s+(str|int|float|bool)(\[\])?)?\s*(?::\s*(.+))?"
_TYPES = {"str": str, "int": int, "float": float, "bool": bool}


_OTHERWISE = {"model": "name the model with -m MODEL", "messages": "give the message as PROMPT, and the conversation with -c"}
"""The arguments of a call that are not among its keywords."""

_NEAR = 0.85
"""The similarity above which a name is a misspelt keyword. `top_k`, an option of vendors, and `top_p` have 0.8."""


def content(given: str | None, template: str | None, values: Mapping[str, str], files: Iterable[str]) -> Any:
    """The content of the user's message: a text, or the parts of a message with attachments."""
    parts = [attachment(source) for source in files]
    words = _template(template) if template else ""
    names = places(words)
    if unused := sorted(values.keys() - names):
        where = f"the template {template} has no place {{{unused[0]}}}" if template else "there is no template; add -t NAME"
        raise click.UsageError(f"-p {unused[0]}: {where}")
    text = prompt(given, needed=not parts and (not words or "input" in names), piped="-" not in files)
    if words:
        given_values = {**({"input": text} if text else {}), **values}
        words = filled(words, given_values, f"the template {template}: no value for {{name}}; add -p {{name}} VALUE")
        text = words if "input" in names or not text else f"{words.rstrip()}\n\n{text}"
    if not parts:
        return text
    return [*([{"type": "text", "text": text}] if text else []), *parts]


def prompt(given: str | None, *, needed: bool, piped: bool = True) -> str:
    """The argument, the text of standard input if it is `piped`, or both with a blank line between them."""
    piped = piped and not sys.stdin.isatty()
    if needed and given is None and not piped:
        raise click.UsageError("there is no PROMPT; give one as an argument, or pipe one in")
    parts = [] if given in {None, "-"} else [str(given)]
    if piped or given == "-":
        try:
            parts.append(sys.stdin.buffer.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise click.UsageError(f"standard input is not UTF-8 text: {error}; --attach - sends it as a file") from None
    text = "\n\n".join(part for part in parts if part.strip())
    if needed and not text:
        raise click.UsageError("the prompt is empty; give a text")
    if not text.isascii() and re.search(_UNDECODED, text):
        raise click.UsageError("the prompt is not valid text in the encoding of the locale; pipe it in as UTF-8")
    return text


def places(text: str) -> list[str]:
    """The names of the places `{name}` of a text, sorted."""
    return sorted({match[2] for match in re.finditer(_PLACE, text) if match[2]})


def filled(text: str, values: Mapping[str, Any], missing: str) -> str:
    """Replace `{name}` in a text by a value, and `{{name}}` by `{name}`. `missing` is the error for a missing value."""
    for name in places(text):
        if name not in values:
            raise click.ClickException(missing.replace("{name}", name))
    return re.sub(_PLACE, lambda match: match[1] or str(values[match[2]]), text)


def _template(name: str) -> str:
    folder = store.config_folder("templates")
    found = next(filter(Path.is_file, (Path(name), *(folder / f"{name}{end}" for end in ("", ".txt", ".md")))), None)
    if found is None:
        kept = ", ".join(sorted(path.stem for path in folder.glob("*"))) or "none"
        raise click.UsageError(f"no template {name!r}; those in {folder}: {kept}. A template is a text file with {{input}}")
    return _text(found)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error


def attachment(source: str) -> dict[str, Any]:
    """Make the content part of a file, an address or, for `-`, standard input. A text file becomes a text with its name."""
    if source.startswith(("https:", "http:")):
        kind = media_type(source.partition("?")[0], b"") or "image/"
        return _part(kind, source)
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read the attachment {source}: {error.strerror}") from error
    kind = media_type(data, data)
    if not kind:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            kind = media_type(source, data)
            if not kind:
                fix = "give it a usual ending, such as .png or .pdf"
                raise click.ClickException(f"cannot tell the media type of the attachment {source}; {fix}") from None
        else:
            return {"type": "text", "text": text if source == "-" else f"{Path(source).name}:\n\n{text}"}
    return _part(kind, data if source == "-" else source)


def _part(kind: str, source: str | bytes) -> dict[str, Any]:
    family = kind.partition("/")[0]
    return image(source) if family == "image" else audio(source) if family == "audio" else file(source)


def keywords(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The keywords of `-o NAME VALUE`. Any other name is an option of all vendors; `PROVIDER.NAME` is an option of one vendor.

    A name that is almost a keyword is refused; `*.NAME` is always an option of all vendors.
    """
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name in _OTHERWISE:
            raise click.UsageError(f"-o {name}: {_OTHERWISE[name]}")
        if name not in KEYWORDS and (near := nearest(name, KEYWORDS, cutoff=_NEAR)):
            raise click.UsageError(f"-o {name}: {near} A vendor's own option of that name is '*.{name}', or PROVIDER.{name}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if name in KEYWORDS:
            found[name] = value
        else:
            provider, _, option = name.rpartition(".")
            found.setdefault("options", {}).setdefault(provider or "*", {})[option] = value
    return found


def schema(text: str) -> Any:
    """The `response_format` for a schema: a file or a text with a JSON schema, or names such as `name, age int, tags str[]`."""
    is_json = text.lstrip().startswith("{")
    if not is_json and not Path(text).is_file():
        return _class(text)
    try:
        found = json.loads(text if is_json else _text(Path(text)))
    except ValueError as error:
        raise click.UsageError(f"--schema: {'the text' if is_json else text} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError("--schema must be an object, as JSON schemas are")
    if found.get("type") in {"json_schema", "json_object"}:
        return found
    strict = strictly(found)
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": strict or found, "strict": strict is not None}}


def _class(text: str) -> Any:
    """A class with the fields of a text, separated by commas or lines: `name`, `name type`, `name type: description`."""
    from msgspec import Meta, defstruct  # only this needs it

    fields = []
    for part in filter(str.strip, re.split(r"\n" if "\n" in text.strip() else ",", text)):
        match = re.fullmatch(_FIELD, part.strip(), re.DOTALL)
        if match is None:
            wanted = "a file with a JSON schema nor a field such as 'name', 'age int' or 'tags str[]: a few words'"
            raise click.UsageError(f"--schema: {part.strip()!r} is neither {wanted}")
        kind: Any = _TYPES[match[2] or "str"]
        kind = list[kind] if match[3] else kind
        fields.append((match[1], Annotated[kind, Meta(description=match[4])] if match[4] else kind))
    names = [name for name, _ in fields]
    if len(set(names)) < len(names) or not names:
        raise click.UsageError(f"--schema: {text!r} names {'a field twice' if names else 'no field'}")
    try:
        return defstruct("Answer", fields)
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"--schema: {error}") from None
