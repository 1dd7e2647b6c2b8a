"""A batch's results as a table in the order of the input, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""The ending of an output's name → the separator of its columns."""

_TAKEN = ("provider", "model", "finish_reason", "input_tokens", "output_tokens")


def write(results: Path, table: Path, *, objects: bool) -> None:
    """Write the table of a file of results, at once or not at all.

    Args:
        results: The file, with a line of JSON for each result.
        table: The table's file. The ending of its name decides the separator.
        objects: Whether each name of an answer that is a JSON object has a column. Else the column `answer` holds the text.

    Raises:
        click.ClickException: The table cannot be written, such as one that a spreadsheet under Windows has open.
    """
    places: dict[int, int] = {}
    columns: dict[str, None] = {}
    fresh = table.with_name(f"{table.name}.tmp")
    try:
        with results.open("rb") as file, fresh.open("w", encoding="utf-8", errors="replace", newline="") as out:
            while raw := file.readline():
                record = json.loads(raw)
                places[record["line"]] = file.tell() - len(raw)
                columns |= dict.fromkeys(_row(record, objects=objects))
            ordered = sorted(columns, key=lambda name: name.startswith("call."))
            writer = csv.DictWriter(out, ordered, delimiter=SEPARATORS[table.suffix.lower()], lineterminator="\n")
            writer.writeheader()
            for _, place in sorted(places.items()):
                file.seek(place)
                writer.writerow(_row(json.loads(file.readline()), objects=objects))
        fresh.replace(table)
    except OSError as error:
        text = f"cannot write {table}: {error.strerror}; the results are in {results}"
        raise click.ClickException(f"{text}, and the same command makes the table again") from error


def _row(record: Mapping[str, Any], *, objects: bool) -> dict[str, Any]:
    """The input's own fields, the answer's, and what the call took, whose names begin with `call.`."""
    answer, error = record.get("completion"), record.get("error")
    row = ({"id": record["id"]} if "id" in record else {}) | record.get("fields", {})
    for name, value in (_said(answer["text"], objects=objects) if answer else {}).items():
        row[f"answer.{name}" if name in row else name] = value
    row |= {"call.line": record["line"], "call.status": record["status"]}
    if answer:
        row |= {f"call.{name}": {**answer, **(answer["usage"] or {})}.get(name) for name in _TAKEN}
    if error:
        row["call.error"] = f"{error['type']}: {error['message']}"
    return {
        name: value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)
        for name, value in row.items()
    }


def _said(text: str, *, objects: bool) -> dict[str, Any]:
    try:
        found = json.loads(text) if objects else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"answer": text}
