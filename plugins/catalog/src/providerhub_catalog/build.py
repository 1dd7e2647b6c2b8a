"""The tool that makes a snapshot from the data of models.dev: its repository's folder, or the file `api.json` that it serves.

    python -m providerhub_catalog.build SOURCE [DATE [OUTPUT]]

DATE is the date of the data, by default today. OUTPUT is the packaged file by default.
Source of the fields: the README of models.dev, https://github.com/anomalyco/models.dev.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from providerhub_catalog._snapshot import ABILITIES, FORMAT, NAME, NUMBERS

Models = Mapping[str, Mapping[str, Any]]
_COSTS = {"price_in": "input", "price_out": "output", "price_cache_read": "cache_read", "price_cache_write": "cache_write"}
_AUDIO = {"price_in_audio": "input_audio", "price_out_audio": "output_audio"}
_INPUTS = {"supports_images": "image", "supports_audio": "audio", "supports_files": "pdf"}
_FLAGS = {"supports_tools": "tool_call", "supports_json_schema": "structured_output", "supports_reasoning": "reasoning"}


def build(vendors: Mapping[str, Models], day: str) -> str:
    """Write a snapshot.

    Args:
        vendors: The models of each vendor, by their names, in the form of `api.json`.
        day: The date of the data, such as `"2026-07-02"`.

    Raises:
        ValueError: The date or an entry has another form.
    """
    date.fromisoformat(day)
    rows = [f"{FORMAT}{day}", "# MIT License, Copyright (c) 2025 models.dev: see LICENSE-models.dev"]
    for vendor, models in sorted(vendors.items()):
        rows.append(f"[{vendor}]")
        rows += [line(name, entry) for name, entry in sorted(models.items())]
    return "\n".join([*rows, ""])


def line(name: str, entry: Mapping[str, Any]) -> str:
    """Write one model as a line: its name, its abilities as letters, its numbers.

    Args:
        name: The model's name at the vendor.
        entry: Its entry in the form of `api.json`.

    Raises:
        ValueError: The entry has another form.
    """
    try:
        known: dict[str, Any] = {field: entry.get(said) for field, said in _FLAGS.items()}
        inputs = entry["modalities"]["input"]
        known |= {field: kind in inputs for field, kind in _INPUTS.items()}
        # At models.dev, only the name and the family show a model of embeddings.
        known["supports_embeddings"] = True if "embed" in f"{name} {entry.get('family', '')}".lower() else None
        known["context_window"] = entry["limit"]["context"] or None
        known["max_output_tokens"] = entry["limit"].get("output") or None
        known |= _prices(name, entry.get("cost") or {})
        letters = "".join(one.upper() if known[field] else one for one, field in ABILITIES.items() if known[field] is not None)
        row = (name, letters, *(_number(known[field]) for field in NUMBERS), _tiers(entry.get("cost") or {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the model {name!r} is not in the form of models.dev: {error!r}") from error
    if not name or "\t" in name or "\n" in name:
        raise ValueError(f"the model {name!r} has a name that a line cannot hold")
    return "\t".join(row).rstrip("\t")


def from_folder(folder: Path) -> dict[str, Models]:
    """Read the TOML files of a copy of the repository.

    Args:
        folder: The folder with `providers` and `models`.
    """
    vendors: dict[str, dict[str, Mapping[str, Any]]] = {}
    bases = dict(_files(folder / "models"))
    for vendor in sorted((folder / "providers").iterdir()):
        if vendor.is_dir():
            vendors[vendor.name] = {name: _whole(entry, bases) for name, entry in _files(vendor / "models")}
    return dict(vendors)


def from_json(content: bytes) -> dict[str, Models]:
    """Read the content of `api.json`.

    Raises:
        ValueError: It has another form.
    """
    found = json.loads(content)
    if not isinstance(found, dict) or not all(
        isinstance(one, dict) and isinstance(one.get("models"), dict) for one in found.values()
    ):
        raise ValueError("it must map each vendor to an object with `models`, as api.json of models.dev does")
    return {vendor: entry["models"] for vendor, entry in found.items()}


def _prices(name: str, cost: Mapping[str, Any]) -> dict[str, float | None]:
    """The prices of a model.

    Zero for input and output may mean an unknown price, so only a name with `free` is free. The same holds for a cache.
    """
    is_free = name.endswith((":free", "-free"))
    if not cost.get("input") and not cost.get("output") and not is_free:
        cost = {}
    found = {field: cost.get(said) for field, said in {**_COSTS, **_AUDIO}.items()}
    return {field: price if price or is_free or field in {"price_in", "price_out"} else None for field, price in found.items()}


def _tiers(cost: Mapping[str, Any]) -> str:
    """The prices of long prompts."""
    tiers = [tier for tier in cost.get("tiers", ()) if tier["tier"].get("type", "context") == "context"]
    return ";".join(
        ":".join([str(tier["tier"]["size"]), *(_number(tier.get(said)) for said in _COSTS.values())]).rstrip(":")
        for tier in tiers
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"


def _files(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in filter(Path.exists, sorted(folder.rglob("*.toml"))):  # some links have no target
        yield path.relative_to(folder).as_posix().removesuffix(".toml"), tomllib.loads(path.read_text("utf-8"))


def _whole(entry: dict[str, Any], bases: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """An entry with the values of its base model, without the values that it omits."""
    if "base_model" not in entry:
        return entry
    found = _over(bases[entry["base_model"]], entry)
    for path in entry.get("base_model_omit", ()):
        *folders, last = path.split(".")
        table: Any = found
        for one in folders:
            table = table.get(one, {})
        table.pop(last, None)
    return found


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with the values of another mapping, also within its tables."""
    found = {name: _over(value, {}) if isinstance(value, dict) else value for name, value in base.items()}
    for name, value in own.items():
        found[name] = _over(found.get(name) or {}, value) if isinstance(value, dict) else value
    return found


def main(source: str, day: str = "", output: str = "") -> None:
    """Write the snapshot of a source, as the module says."""
    path = Path(source)
    vendors = from_folder(path) if path.is_dir() else from_json(path.read_bytes())
    target = Path(output) if output else Path(__file__).with_name(NAME)
    target.write_text(build(vendors, day or datetime.now(UTC).date().isoformat()), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
