"""The search in the tables of refusals."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

from providerhub._values.refusal import Refusal, RefusalTable

LONGEST = 2000  # characters of a message that are searched. A message may repeat the whole request.


class Found(NamedTuple):
    """The line that fits a refusal, and the capability that the model lacks; empty for other failures."""

    line: Refusal
    capability: str


def find(status: int, codes: frozenset[str], said: str, own: Iterable[Refusal] = ()) -> Found | None:
    """The first line that fits a refusal, the plugin's `own` first. Texts are in lower case; 200 is an error inside an answer."""
    said = said[:LONGEST]
    for line in (*own, *ALL):
        if line.counts_at(status):
            match = None if (known := not codes.isdisjoint(line.codes)) else _search(line.phrases, said)
            if known or match:
                named = match.groupdict().get("capability") if match else None
                return Found(line, line.capability or named or "")
    return None


ALL = RefusalTable("providerhub._rules")
"""The lines for all services."""


def _search(phrases: tuple[str, ...], said: str) -> re.Match[str] | None:
    return _compiled(phrases).search(said) if phrases else None


@functools.cache
def _compiled(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.DOTALL)
