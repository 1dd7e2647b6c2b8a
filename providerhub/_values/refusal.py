"""One line of the table that classes the refusals of services by what they say."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from providerhub._values.errors import ProviderError
from providerhub._values.value import Value, frozen

FIXED = frozenset({401, 402, 405, 407, 408, 409, 425})
"""Statuses with a class of their own, beside all from `FAILED` up."""

FAILED = 500
"""The first status of a failure of the service itself."""


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _statuses(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


@frozen(eq=False, repr=False, kw_only=True)
class Refusal(Value):
    """The words in which a service refuses, and the error that they mean. The first line that fits a refusal decides.

    A plugin passes its own lines to `HttpClient(refusals=...)` or `error_from_status(refusals=...)`. They come before those that
    `providerhub` has for all services.

    Args:
        error: The class of the error.
        codes: Values of `code`, `type`, `status`, `reason` or `error_type` in the body, in lower case and with `_` for `-` and
            spaces. One of them is enough. Default none.
        phrases: Regular expressions in lower case, which are searched in the lower-case message. One of them is enough. A group
            named `capability` names the capability. Default none.
        capability: For a `CapabilityError`: the ability that the model lacks, such as `"images"`. Default empty.
        hint: A remedy, which the error's message ends with, such as `"; set stream_usage = 'no'"`. Default empty.
        only: The HTTP statuses at which the line counts; 200 stands for an error inside an answer. Default empty: all but 401,
            402, 405, 407, 408, 409, 425 and those from 500 up, whose classes are fixed.
        also: Further statuses at which the line counts. Default none.
        never: Statuses at which the line does not count. Default none.
    """

    error: type[ProviderError]
    codes: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    phrases: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    capability: str = ""
    hint: str = ""
    only: tuple[int, ...] = attrs.field(default=(), converter=_statuses)
    also: tuple[int, ...] = attrs.field(default=(), converter=_statuses)
    never: tuple[int, ...] = attrs.field(default=(), converter=_statuses)

    def counts_at(self, status: int) -> bool:
        """Whether the line counts at an HTTP status.

        Args:
            status: The status; 200 for an error inside an answer.
        """
        if self.only:
            return status in self.only
        return status in self.also or not (status in FIXED or status >= FAILED or status in self.never)
