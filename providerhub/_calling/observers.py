"""Those who watch calls, and those who order candidates: implementations of their hooks, called one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from providerhub._values import Attempt, Candidate, Request, Route

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


class Rankers:
    """The implementations of the hook `providerhub_rank`. False when there are none.

    Args:
        rankers: They, in the order in which they are asked.
    """

    def __init__(self, rankers: Sequence[Observer] = ()) -> None:
        self._rankers = tuple(rankers)
        self._faulty: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._rankers)

    def order(self, request: Request, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Ask for an order: the first implementation that has one decides.

        Args:
            request: What is asked.
            candidates: Those that can answer.

        Returns:
            The candidates to try, each once and strangers left out; as they were when nobody names one of them.
        """
        return next(filter(None, (self._asked(ranker, request, candidates) for ranker in self._rankers)), candidates)

    def _asked(self, ranker: Observer, request: Request, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        try:
            order = ranker(request=request, candidates=candidates) or ()
            return tuple(dict.fromkeys(candidate for candidate in order if candidate in candidates))
        except (Exception, SystemExit):  # noqa: BLE001 -- a call must never fail for a ranking plugin's sake
            if id(ranker) not in self._faulty:
                self._faulty.add(id(ranker))
                _log.warning("a providerhub_rank implementation raised; it is not reported again", exc_info=True)
            return ()
