"""The tables that find the error class of a service's refusal by its words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import attrs

from providerhub._values import errors
from providerhub._values.errors import ProviderError
from providerhub._values.value import Value, frozen

FIXED = frozenset({401, 402, 405, 407, 408, 409, 425})
"""Statuses with a fixed class, like all statuses from `FAILED` up."""

FAILED = 500
"""The first status of a failure of the service itself."""


@frozen(eq=False, repr=False, kw_only=True)
class Refusal(Value):
    """The texts of a service's refusal, and the error class. The first line that fits a refusal decides.

    A plugin passes its own lines to `HttpClient(refusals=...)` or `error_from_status(refusals=...)`. They come before the lines
    of `providerhub` for all services.

    Args:
        error: The class of the error.
        codes: Values of `code`, `type`, `status`, `reason` or `error_type` in the body, in lower case and with `_` for `-` and
            spaces. One match is enough. Default none.
        phrases: Regular expressions in lower case, for a search in the lower-case message. One match is enough. A group named
            `capability` matches the capability. Default none.
        capability: For a `CapabilityError`: the ability that the model lacks, such as `"images"`. Default empty.
        hint: The fix, added to the error's message, such as `"; set stream_usage = 'no'"`. Default empty.
        only: The HTTP statuses for which the line counts; 200 is an error inside an answer. Default empty: all except 401, 402,
            405, 407, 408, 409, 425, and 500 or more, whose classes are fixed.
        also: Further statuses for which the line counts. Default none.
        never: Statuses for which the line does not count. Default none.
    """

    error: type[ProviderError]
    codes: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...])
    phrases: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...])
    capability: str = ""
    hint: str = ""
    only: tuple[int, ...] = attrs.field(default=(), converter=tuple[int, ...])
    also: tuple[int, ...] = attrs.field(default=(), converter=tuple[int, ...])
    never: tuple[int, ...] = attrs.field(default=(), converter=tuple[int, ...])

    def counts_at(self, status: int) -> bool:
        """Whether the line counts for an HTTP status.

        Args:
            status: The status; 200 for an error inside an answer.
        """
        if self.only:
            return status in self.only
        return status in self.also or not (status in FIXED or status >= FAILED or status in self.never)


class RefusalTable:
    """The lines of the file `refusals.toml` in a package, for `refusals` of a provider. The file is read at the first refusal.

    A line is a table `[[line]]` with the fields of `Refusal`; `error` is the name of a class, such as `"RateLimitError"`.

    Args:
        package: The import package with the file.
        *tables: The names of the arrays of tables to search, in this order. Default: `"line"`.
    """

    __module__ = "providerhub"

    def __init__(self, package: str, *tables: str) -> None:
        self._package, self._tables = package, tables or ("line",)

    def __iter__(self) -> Iterator[Refusal]:
        return iter(_lines(self._package, self._tables))


@cache
def _lines(package: str, tables: tuple[str, ...]) -> tuple[Refusal, ...]:
    import tomllib  # only a refused request needs these
    from importlib.resources import files

    data: dict[str, Any] = tomllib.loads(files(package).joinpath("refusals.toml").read_text("utf-8"))
    return tuple(_line(data.get("unable", ()), **line) for table in tables for line in data[table])


def _line(unable: Iterable[str], *, error: str, features: str = "", phrases: Sequence[str] = (), **rest: Any) -> Refusal:
    made = [phrase.replace("FEATURE", rf"(?<!\w)(?:{features})(?!\w)") for phrase in unable] if features else []
    return Refusal(error=getattr(errors, error), phrases=(*made, *phrases), **rest)
