"""The pauses of many calls: a model whose providers are paused gets no row, and afterwards one row goes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from providerhub._calling.many_rows import Row
from providerhub._values.errors import (
    AllProvidersFailedError,
    AuthenticationError,
    DeadlineExceededError,
    InvalidOutputError,
    QuotaExceededError,
    RateLimitError,
)

LONGEST_PAUSE = 600.0  # seconds; many calls do not wait for a longer pause that a provider states; they stop
UNKNOWN = float("inf")

Holds = Callable[..., float | None]
"""The arguments of a call → seconds until any candidate may be tried again; `None` when one may be tried now."""


def causes(error: BaseException) -> list[BaseException]:
    """The errors of the attempts of a failed call; the error itself when there is one class only."""
    if isinstance(error, AllProvidersFailedError):
        return [attempt.error for attempt in error.attempts if attempt.error is not None] or [error]
    return [error]


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later: rate limits, timeouts, failures of the connection or the server.

    An answer that does not fit has been asked for again in the call, and each further one costs money.
    """
    found = [cause for cause in causes(error) if not isinstance(cause, InvalidOutputError)]
    return any(isinstance(cause, DeadlineExceededError) or getattr(cause, "retryable", False) for cause in found)


def stated_wait(error: Exception) -> float:
    """The seconds after which the first of the providers that refused wants to be asked again; 0 when one of them names none."""
    return min(getattr(cause, "retry_after", None) or 0.0 for cause in causes(error))


@attrs.define(eq=False)
class Gate:
    """One model's pause."""

    until: float = 0.0  # the end of the pause as far as it is known, in seconds
    probe: int | None = None  # the index of the row that is sent first after the pause
    refused: Exception | None = None  # the refusal of a key or a quota
    shut: Exception | None = None  # set when the pause does not end: the rows of the model are sent no more


class Gates:
    """The pauses of the models that are asked; a model that is not paused has no gate."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self._gates: dict[str, Gate] = {}

    @property
    def error(self) -> Exception | None:
        """An error for which rows are sent no more; `None` when there is none."""
        return next((gate.shut for gate in self._gates.values() if gate.shut is not None), None)

    def forget(self) -> None:
        """Forget every pause; `holds` tells of those that go on."""
        self._gates.clear()

    def delay(self, row: Row, now: float) -> float | None:
        """The seconds for which a row must not be sent: infinite while a probe is under way, `None` for a row to send now."""
        key = _model(row)
        gate = self._gates.get(key)
        if gate is not None:
            if gate.shut is not None or gate.probe is not None:
                return UNKNOWN
            if gate.until > now:
                return gate.until - now
        try:
            request = row.request if isinstance(row.request, Mapping) else {}
            seconds = self._holds(**{name: value for name, value in request.items() if name != "stream"})
        except Exception:  # the call itself will report it
            seconds = None
        if seconds is None or seconds <= 0:
            return None
        gate = self._gates.setdefault(key, Gate())
        gate.until = now + seconds
        if seconds > LONGEST_PAUSE:
            msg = f"every provider of {key} is paused for {seconds:.0f} s more; run the rest of the requests after that"
            gate.shut = gate.refused or RateLimitError(msg, retry_after=seconds)
            return UNKNOWN
        return seconds

    def sent(self, row: Row) -> None:
        """Record that a row is sent: the first one after a pause is the probe."""
        gate = self._gates.get(_model(row))
        if gate is not None:
            gate.probe = row.index

    def ended(self, row: Row) -> None:
        """Record an answer, or an error of another kind than a refusal: the pause of the probe's model is over."""
        gate = self._gates.get(_model(row))
        if gate is not None and gate.probe == row.index:
            del self._gates[_model(row)]

    def refused(self, row: Row, error: Exception, now: float) -> bool:
        """Record an error. Returns whether the row is held back until the refusal of the key or the quota is over."""
        found = causes(error)
        if all(isinstance(cause, AuthenticationError | QuotaExceededError) for cause in found):
            gate = self._gates.setdefault(_model(row), Gate())
            if gate.probe == row.index or all(isinstance(cause, QuotaExceededError) for cause in found):
                gate.shut = gate.shut or error
            gate.refused, gate.probe = error, None
            return True
        self.ended(row)
        seconds = stated_wait(error)
        if seconds and all(isinstance(cause, RateLimitError) for cause in found):
            gate = self._gates.setdefault(_model(row), Gate())
            gate.until = max(gate.until, now + seconds)
            if seconds > LONGEST_PAUSE:
                gate.shut = gate.shut or error
                return True
        return False


def _model(row: Row) -> str:
    model: Any = row.request.get("model") if isinstance(row.request, Mapping) else None
    return model if isinstance(model, str) else repr(model)
