"""The command `providerhub logs`: the content of the journal."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from providerhub.cli import _screen as screen
from providerhub_journal._config import Config, Row, read, seconds

if TYPE_CHECKING:  # slow to import, and the help needs none of it
    import sqlalchemy as sa

    from providerhub_journal._queries import Filter

_COLUMNS = ("id", "time", "model", "outcome", "tries", "s", "tokens", "cost", "metadata")
_OPTIONAL = ("tries", "s", "tokens", "metadata")
_TAIL = 10  # the number of last characters of an identifier that a terminal shows

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option("--since", metavar="TIME", help="Only calls of the latest TIME, such as 12h or 30d."),
        click.option("--provider", default="", help="Only calls that this provider answered, or failed last."),
        click.option("--model", "-m", default="", help="Only calls of this model."),
        click.option("--failed", is_flag=True, help="Only calls that failed."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _wanted(*, since: str | None, text: str = "", **rest: Any) -> Filter:
    from providerhub_journal._queries import Filter

    return Filter(time.time() - seconds(since, "--since") if since else 0.0, text, **rest)


def _config() -> Config:
    from providerhub import Settings

    return read(Settings.load().journal)


@contextlib.contextmanager
def _opened(*, as_json: bool = False) -> Iterator[sa.Engine]:
    """Open the journal, and close it at the end. Without a journal, print a message and end the command successfully."""
    from sqlalchemy import exc

    from providerhub_journal._database import NewerError, connect, is_missing
    from providerhub_journal._worker import reason

    config = _config()
    if is_missing(config.url):
        if as_json:
            click.echo("[]")
        click.echo(
            f"There is no journal yet at {config.url.partition(':///')[2]}: the first call of the command line begins it, or "
            "that of a program whose settings have [journal] enabled = true.", err=as_json,
        )  # fmt: skip
        raise click.exceptions.Exit(0)
    try:
        engine = connect(config.url)
    except (NewerError, exc.SQLAlchemyError, ImportError, OSError) as error:
        raise click.ClickException(f"the journal cannot be opened: {reason(error)}") from error
    try:
        yield engine
    finally:
        engine.dispose()


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def logs(ctx: click.Context, as_json: bool) -> None:  # noqa: FBT001 -- click calls it
    """Show the calls that were made, and what they cost."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)
    elif as_json:
        raise click.UsageError(f"--json comes after the name of the command: logs {ctx.invoked_subcommand} --json")


@logs.command("list")
@click.option("-n", "--count", default=20, show_default=True, type=click.IntRange(1), help="Maximum number of calls.")
@_filters
@as_json
def list_(count: int, as_json: bool, since: str | None, **which: Any) -> None:  # noqa: FBT001 -- click calls it
    """List the latest calls."""
    _listed(_wanted(since=since, **which), count, as_json=as_json)


@logs.command()
@click.argument("text")
@click.option("-n", "--count", default=20, show_default=True, type=click.IntRange(1), help="Maximum number of calls.")
@_filters
@as_json
def search(text: str, count: int, as_json: bool, since: str | None, **which: Any) -> None:  # noqa: FBT001
    """Find the calls that hold TEXT in their names, errors, metadata or content."""
    _listed(_wanted(since=since, text=text, **which), count, as_json=as_json)


def _listed(wanted: Filter, count: int, *, as_json: bool) -> None:
    from providerhub_journal import _queries

    with _opened(as_json=as_json) as engine:
        rows, lost = list(_queries.calls(engine, wanted, count)), _queries.lost(engine)
    if as_json:
        _data(rows)
        return
    if rows:
        screen.table(_COLUMNS, list(map(_cells, rows)), _OPTIONAL)
    else:
        _none_found()
    if lost:
        click.echo(f"{lost} calls could not be written to the journal.", err=True)


def _none_found() -> None:
    click.echo("The journal has no such call. It records a program only if its settings have [journal] enabled = true.", err=True)


def _cells(row: Row) -> list[str]:
    model = "/".join(filter(None, (row["provider"], row["model"]))) or row["asked"] or ""
    short = sys.stdout.isatty()
    when = time.strftime("%m-%d %H:%M" if short else "%Y-%m-%d %H:%M:%S", time.localtime(row["started"]))
    return [
        row["id"][-_TAIL:] if short else row["id"], when, model, row["error"] or row["outcome"],
        "cached" if row["cached"] else str(row["attempts"]), f"{row['duration']:.2f}", tokens(row), money(row),
        " ".join(f"{name}={value}" for name, value in (row["metadata"] or {}).items()),
    ]  # fmt: skip


def tokens(row: Row) -> str:
    """The tokens of the prompt and of the answer, as `"12+345"`; empty when they are unknown."""
    counts = row["input_tokens"], row["output_tokens"]
    return "" if counts == (None, None) else "+".join("?" if count is None else str(count) for count in counts)


def money(row: Row) -> str:
    """The cost with its currency; empty when it is unknown."""
    return "" if row["cost"] is None else f"{row['cost']:.6f} {row['currency']}"


@logs.command()
@click.argument("name", metavar="ID")
@as_json
def show(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Show one call and its attempts on a time line. ID may be its beginning or its end, or "last"."""
    from providerhub_journal import _queries

    with _opened(as_json=as_json) as engine:
        found, tries = _queries.call(engine, name)
    if len(found) > 1:
        raise click.ClickException(f"several calls begin with {name!r}; write more of the identifier")
    if not found:
        raise click.ClickException(f"the journal has no call {name!r}; `providerhub logs` lists the latest")
    if as_json:
        _data({**found[0], "tries": tries})
        return
    from providerhub_journal._timeline import draw

    draw(found[0], tries)


@logs.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file. Default: standard output.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@_filters
@click.option("--json", "_json", is_flag=True, help="The same as --format jsonl.")
def export(output: Path | None, form: str, since: str | None, _json: bool, **which: Any) -> None:  # noqa: FBT001
    """Write calls as lines of JSON or as CSV, the latest first."""
    from providerhub_journal import _queries

    with _opened() as engine, contextlib.ExitStack() as stack:
        file = stack.enter_context(output.open("w", encoding="utf-8", newline="")) if output else sys.stdout
        _export(_queries.calls(engine, _wanted(since=since, **which)), file, form)


def _export(rows: Iterable[Row], file: Any, form: str) -> None:
    if form == "jsonl":
        for row in rows:
            file.write(json.dumps(row, default=str) + "\n")
        return
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
        writer.writerow({name: json.dumps(item) if isinstance(item, dict | list) else item for name, item in row.items()})


@logs.command()
@click.option("--keep", metavar="TIME", help="Remove calls older than TIME, such as 30d. Default: `keep` of the settings.")
@as_json
def prune(keep: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Remove old calls."""
    length = seconds(keep, "--keep") if keep else _config().keep
    if length is None:
        raise click.UsageError('say how long calls are kept: --keep 30d, or keep = "30d" in the table [journal] of the settings')
    with _opened(as_json=as_json) as engine:
        from providerhub_journal._insert import prune

        removed = prune(engine, time.time() - length)
    if as_json:
        _data({"removed": removed})
    else:
        click.echo(f"Removed {removed} calls.")


@logs.command()
@click.option(
    "--by", multiple=True, default=("day",), metavar="NAME",
    help="day (of UTC; the default), provider, model, program, asked, outcome, error, or a key of the metadata. May be repeated.",
)  # fmt: skip
@_filters
@as_json
def cost(by: Sequence[str], as_json: bool, since: str | None, **which: Any) -> None:  # noqa: FBT001
    """Add up calls, tokens and costs."""
    from providerhub_journal import _queries

    with _opened(as_json=as_json) as engine:
        rows = _queries.sums(engine, _wanted(since=since, **which), by)
    for name in by:
        if name not in _queries.BY and rows and all(row[name] is None for row in rows):
            raise click.ClickException(f"no call has {name!r} in its metadata; --by also takes {', '.join(_queries.BY)}")
    if as_json:
        _data(rows)
        return
    counts = ("calls", "failures", "fallbacks")
    cells = [
        [*(str(row[name] if row[name] is not None else "-") for name in by), *(str(row[name]) for name in counts), tokens(row),
         _costs(row)]
        for row in rows
    ]  # fmt: skip
    if cells:
        screen.table([*by, *counts, "tokens", "cost"], cells, (*counts, "tokens"))
    else:
        _none_found()


def _costs(row: Row) -> str:
    unknown = [f"{row['unknown']} unknown"] if row["unknown"] else []
    return " + ".join([f"{amount:.6f} {currency}" for currency, amount in row["costs"].items()] + unknown)


@logs.command()
@click.option("--html", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--since", metavar="TIME", default="30d", show_default=True, help="The calls of the latest TIME.")
@as_json
def report(file: Path, since: str, as_json: bool) -> None:  # noqa: FBT001
    """Write a page with charts of calls, failures, fallbacks, latency and cost. It needs no server and no network."""
    with _opened(as_json=as_json) as engine:
        try:
            from providerhub_journal._report import page
        except ImportError as error:
            raise click.ClickException(f"the charts need pygal ({error}): pip install 'providerhub-journal[report]'") from error
        text = page(engine, _wanted(since=since, provider="", model="", failed=False), since)
    file.write_text(text, encoding="utf-8")
    if as_json:
        _data({"file": str(file)})
    else:
        click.echo(f"Wrote {file}.")


def _data(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))
