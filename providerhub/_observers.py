"""Those who watch calls: implementations of the observer hooks, called one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from providerhub._types import Attempt, Candidate, Request, Route

_log = logging.getLogger("providerhub")

Observer = Callable[..., Any]


class Observers:
    """The implementations of the observer hooks. False when nobody listens.

    Args:
        started: Those of `providerhub_attempt_started`.
        finished: Those of `providerhub_attempt_finished`.
        call_finished: Those of `providerhub_call_finished`.
    """

    def __init__(
        self, started: Sequence[Observer] = (), finished: Sequence[Observer] = (), call_finished: Sequence[Observer] = ()
    ) -> None:
        self._started = tuple(started)
        self._finished = tuple(finished)
        self._call_finished = tuple(call_finished)
        self._faulty: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._started or self._finished or self._call_finished)

    def attempt_started(self, attempt: Attempt) -> None:
        """Tell of an attempt's start."""
        self._tell(self._started, attempt=attempt)

    def attempt_finished(self, attempt: Attempt) -> None:
        """Tell of an attempt's end."""
        self._tell(self._finished, attempt=attempt)

    def call_finished(self, route: Route) -> None:
        """Tell of a call's end."""
        self._tell(self._call_finished, route=route)

    def _tell(self, observers: tuple[Observer, ...], **what: object) -> None:
        for observer in observers:
            try:
                observer(**what)
            except (Exception, SystemExit):  # noqa: BLE001 -- a call must never notice its observers
                if id(observer) not in self._faulty:
                    self._faulty.add(id(observer))
                    _log.warning("an observer raised; it is not reported again", exc_info=True)


def rank(ranker: Observer, request: Request, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Ask one implementation of `providerhub_rank`.

    Args:
        ranker: The implementation.
        request: What is asked.
        candidates: Those that can answer.

    Returns:
        The candidates in its order, strangers left out; empty when it has no opinion or failed.
    """
    try:
        order = ranker(request=request, candidates=candidates) or ()
        return tuple(candidate for candidate in order if candidate in candidates)
    except Exception:  # noqa: BLE001 -- a call must never fail for a ranking plugin's sake
        _log.warning("a providerhub_rank implementation raised; its order is not used", exc_info=True)
        return ()
