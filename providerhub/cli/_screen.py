"""The output of the commands: drawn by rich in a terminal, plain text in a pipe, or JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import click

from providerhub import Attempt, Completion, NoCapableProviderError, ProviderHubError, Route, StreamInterruptedError

_NARROWEST = 20  # columns of a terminal that the last column of a table has at least
_DIGITS = 4  # decimal places of seconds: smaller differences are noise
# C0 and C1 without newline and tab: a text from a provider must not move the cursor or fill the clipboard.
_CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10})


def safe(text: str) -> str:
    """Remove the control characters from a text that a model, a plugin or an error supplies."""
    return text.translate(_CONTROLS)


def piece(text: str) -> None:
    """Write a part of an answer at once, without a newline; a pipe gets it unchanged."""
    sys.stdout.write(safe(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def answer(pieces: Iterable[str], heard: list[str] | None = None, *, markdown: bool = False) -> None:
    """Write an answer as it comes, and a newline. `heard` takes each piece first. With `markdown`, a terminal renders it."""
    if heard is not None:
        pieces = (heard.append(text) or text for text in pieces)  # type: ignore[func-returns-value]
    if markdown and sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:
        from providerhub.cli._markdown import show  # with rich, which is slow to import

        show(_console(), map(safe, pieces))
        return
    last = "\n"
    try:
        for text in pieces:
            last = text[-1:] or last
            piece(text)
    finally:
        if last != "\n":
            piece("\n")


def line(text: object, *, err: bool = False) -> None:
    """Write a text and a newline to standard output, or with `err` to standard error: a report whose reader may have gone."""
    with contextlib.suppress(*[OSError] * err):
        click.echo(safe(str(text)), err=err)


def ending(answer: Completion, *, cost: bool = False) -> None:
    """Write notes about an answer to standard error: a refusal, a cut answer, media; with `cost`, tokens and cost."""
    if answer.refusal:
        line(f"The model declined: {answer.refusal}", err=True)
    if answer.finish_reason == "length":
        line("The answer was cut at its limit of tokens (finish_reason: length); --max-tokens sets a larger max_tokens", err=True)
    if answer.media:
        count = ", ".join(medium.type or medium.kind for medium in answer.media)
        line(f"The answer holds media ({count}), which `ask --json --media` prints", err=True)
    if cost:
        line(spent(answer), err=True)


def spent(answer: Completion) -> str:
    """The tokens of an answer and its cost; "unknown" for missing values."""
    usage = answer.usage
    counts = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
    into, out = ("unknown" if count is None else str(count) for count in counts)
    return f"tokens: {into} in, {out} out; cost: {answer.cost or 'unknown'}"


def indented(text: object, *, err: bool = False) -> None:
    for part in str(text).splitlines():
        line(f"  {part}", err=err)


def _console() -> Any:
    from rich.console import Console  # rich is slow to import, and a pipe does not need it

    return Console(color_system=None) if os.environ.get("NO_COLOR") else Console()


def paragraph(text: str, style: str = "") -> None:
    """Write a text. A terminal wraps it between words."""
    if sys.stdout.isatty():
        _console().print(safe(text), style=style, markup=False, highlight=False)
    else:
        line(text)


def heading(text: str) -> None:
    paragraph(f"\n{text}", "bold")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], optional: Sequence[str] = ()) -> None:
    """Write a table. A pipe gets one row a line, its cells separated by tabs, and cut at 200 characters.

    In a terminal, only the last column is wrapped between words. Columns without a value are left out. If the terminal is too
    narrow, `optional` columns are left out, from the right; then the columns after the first are merged; then each value gets its
    own line.
    """
    cells = [[" ".join(safe(cell).split()) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (columns, *cells):
            line(shortened("\t".join(row)))
        return
    _draw(columns, cells, [number for number, name in enumerate(columns) if name in optional])


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]], optional: Sequence[int]) -> None:
    from rich import padding, table, text  # rich is slow to import, and a pipe does not need it

    console = _console()
    widths = [max(map(len, column)) + 2 for column in zip(columns, *cells, strict=True)]
    shown = [number for number in range(len(columns)) if any(row[number] for row in cells)]

    def fits() -> bool:
        return bool(sum(widths[number] for number in shown[:-1]) + min(widths[shown[-1]], _NARROWEST) <= console.width)

    while shown and not fits() and any(number in shown for number in optional):
        shown.remove(max(number for number in optional if number in shown))
    if len(shown) > 2 and not fits():
        first, *rest = shown
        if widths[first] + _NARROWEST <= console.width:
            joined = [(row[first], "; ".join(row[number] for number in rest if row[number])) for row in cells]
            _draw((columns[first], "; ".join(columns[number] for number in rest)), joined, ())
            return
    if shown and not fits():
        for row in cells:
            console.print(text.Text(row[shown[0]]))
            lines = (f"{columns[number]}: {row[number]}" for number in shown[1:] if row[number])
            console.print(padding.Padding(text.Text("\n".join(lines)), (0, 0, 0, 4)))
        return
    drawn = table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number in shown:
        drawn.add_column(columns[number], no_wrap=number != shown[-1], overflow="fold")
    for row in cells:
        drawn.add_row(*(text.Text(row[number]) for number in shown))  # `Text`: square brackets in a reason are not markup
    console.print(drawn)


def told(text: str, document: Any, *, as_json: bool, err: bool = True) -> None:
    data(document) if as_json else line(text, err=err)


def shortened(text: str, most: int = 200) -> str:
    """A text of at most this many characters; a longer one ends with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def data(value: Any, *, indent: int | None = 2) -> None:
    """Write a value as JSON, or other objects as their `repr`. Characters that the output's encoding lacks are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=repr)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, or a terminal that is not UTF-8
        text = json.dumps(value, indent=indent, default=repr)
    click.echo(text)


def one_line(error: BaseException) -> str:
    """The error's message on one line; its class's name if the message is empty."""
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return safe("; ".join(filter(None, map(str.strip, text.splitlines())))) or type(error).__name__


def _plain(owner: object, _field: object, value: Any) -> Any:
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": one_line(value)}
    is_time = isinstance(value, float) and isinstance(owner, Route | Attempt)
    return round(value, _DIGITS) if is_time else value


def record(value: Completion | Route, *, media: bool = False) -> dict[str, Any]:
    """An answer with its `message`, or the attempts of a call. With `media`, media are base64; else their size in bytes."""
    found = attrs.asdict(value, value_serializer=_plain)
    if isinstance(value, Completion):
        del found["turn"], found["parsed"]  # the message has the turn, and the text of the answer has the parsed object
        found["message"] = value.message
        for medium in () if media else found["media"]:
            medium["bytes"] = len(medium.pop("base64")) * 3 // 4
    return found


def error_record(failure: BaseException) -> dict[str, Any]:
    """An error, with the partial answer and the route, if any."""
    found: dict[str, Any] = _plain(None, None, failure)
    if isinstance(failure, StreamInterruptedError):
        found["partial"] = failure.partial
    if isinstance(failure, ProviderHubError):
        found["route"] = record(failure.route)
    return found


def picked(value: object, *names: str) -> dict[str, Any]:
    """Some attributes of an object, by name; tuples become lists."""
    found = {name: getattr(value, name) for name in names}
    return {name: list(item) if isinstance(item, tuple) else item for name, item in found.items()}


def _reported(error: BaseException) -> str:
    text = one_line(error)
    if not isinstance(error, ProviderHubError):
        return f"{type(error).__name__}: {text}; `--debug` shows the traceback"
    if isinstance(error, NoCapableProviderError) and any(skip.reason == "no stream" for skip in error.route.skipped):
        return f"{text}; try without streaming: ask --no-stream, route without --stream"
    return text


def as_click(error: Exception, *, debug: bool, as_json: bool = False) -> click.ClickException:
    """The error as click prints it. With `as_json`, write it as `{"error": ...}`; with `debug`, its traceback to standard error.

    Raises:
        BrokenPipeError: The reader of a pipe has gone; click ends the command quietly.
    """
    if isinstance(error, BrokenPipeError) and not isinstance(error, ProviderHubError):  # a provider's error is reported
        raise error
    if as_json:
        data({"error": error_record(error)})
    if debug:
        import traceback  # slow to import

        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    return error if isinstance(error, click.ClickException) else click.ClickException(_reported(error))


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keep the library's log off standard error, for commands that report the same problems."""
    import logging

    log, handler = logging.getLogger("providerhub"), logging.NullHandler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
