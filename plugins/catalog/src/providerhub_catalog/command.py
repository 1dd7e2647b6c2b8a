"""`providerhub catalog`: show the date of the data, and refresh it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from providerhub import CallContext, ProviderConfig, Timeout
from providerhub.http import HttpClient, HttpRequest
from providerhub_catalog._snapshot import own_path, snapshot
from providerhub_catalog.build import build, from_json

TIMEOUT = Timeout(total=60.0)


@click.command()
@click.option(
    "--refresh", metavar="SOURCE", help="Take newer data from SOURCE, the address or path of an api.json of models.dev."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def catalog(*, refresh: str | None, as_json: bool) -> None:
    """Show the date of the catalogue's data. With --refresh, first fetch newer data."""
    if refresh:
        path = own_path()
        if path is None:
            raise click.ClickException("there is no cache folder; set PROVIDERHUB_CACHE_DIR to an absolute path")
        try:
            text = build(from_json(_read(refresh)), datetime.now(UTC).date().isoformat())
        except (OSError, ValueError) as error:
            raise click.ClickException(f"{refresh} cannot be read: {error}") from error
        _replace(path, text)
        snapshot.cache_clear()
    date = snapshot().date
    click.echo(json.dumps({"date": date}) if as_json else f"The catalogue has the data of models.dev of {date}.")


def _read(source: str) -> bytes:
    where = urlsplit(source)
    if where.scheme not in {"http", "https"}:
        return Path(source).read_bytes()
    client = HttpClient(ProviderConfig(name="models.dev", url=f"{where.scheme}://{where.netloc}", trust_env=True))
    try:
        return client.fetch(HttpRequest(where.path or "/", method="GET"), CallContext(TIMEOUT)).body
    finally:
        client.close()


def _replace(path: Path, text: str) -> None:
    """Write a file. Readers see the old or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
