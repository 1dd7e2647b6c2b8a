"""The table `refusals.toml`, and the search in it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from providerhub._values import errors
from providerhub._values.refusal import Refusal

LONGEST = 2000  # characters of a message that are searched. A message may repeat the whole request.


class Found(NamedTuple):
    """The line that fits a refusal, and the capability that the model lacks; empty for other failures."""

    line: Refusal
    capability: str


def find(status: int, codes: frozenset[str], said: str, own: Iterable[Refusal] = ()) -> Found | None:
    """The first line that fits a refusal, the plugin's `own` first. Texts are in lower case; 200 is an error inside an answer."""
    said = said[:LONGEST]
    for line in (*own, *table()):
        if line.counts_at(status):
            match = None if (known := not codes.isdisjoint(line.codes)) else _search(line.phrases, said)
            if known or match:
                named = match.groupdict().get("capability") if match else None
                return Found(line, line.capability or named or "")
    return None


@functools.cache
def table() -> tuple[Refusal, ...]:
    """The lines for all services. They are read once, at the first refusal."""
    import tomllib  # only a refused request needs these
    from importlib.resources import files

    data: dict[str, Any] = tomllib.loads(files(__package__).joinpath("refusals.toml").read_text("utf-8"))
    return tuple(_line(data["unable"], **line) for line in data["line"])


def _line(unable: list[str], *, error: str, features: str = "", phrases: Sequence[str] = (), **rest: Any) -> Refusal:
    made = [phrase.replace("FEATURE", rf"(?<!\w)(?:{features})(?!\w)") for phrase in unable] if features else []
    return Refusal(error=getattr(errors, error), phrases=(*made, *phrases), **rest)


def _search(phrases: tuple[str, ...], said: str) -> re.Match[str] | None:
    return _compiled(phrases).search(said) if phrases else None


@functools.cache
def _compiled(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.DOTALL)
