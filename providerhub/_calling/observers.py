"""Observers and rankers: the implementations of their hooks, each called in a `try` of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from providerhub._values import Attempt, Candidate, Request, Route

_log = logging.getLogger("providerhub")

Observer = Callable[..., Any]


class Observers:
    """The implementations of the observer hooks. False when there are none.

    Args:
        started: The implementations of the hook `providerhub_attempt_started`.
        finished: The implementations of the hook `providerhub_attempt_finished`.
        call_finished: The implementations of the hook `providerhub_call_finished`.
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
        """Report the start of an attempt."""
        self._call(self._started, attempt=attempt)

    def attempt_finished(self, attempt: Attempt) -> None:
        """Report the end of an attempt."""
        self._call(self._finished, attempt=attempt)

    def call_finished(self, route: Route) -> None:
        """Report the end of a call."""
        self._call(self._call_finished, route=route)

    def _call(self, observers: tuple[Observer, ...], **arguments: object) -> None:
        for observer in observers:
            try:
                observer(**arguments)
            except (Exception, SystemExit):  # an observer cannot make a call fail
                if id(observer) not in self._faulty:
                    self._faulty.add(id(observer))
                    _log.warning("an observer raised; further errors of it are not logged", exc_info=True)


class Rankers:
    """The implementations of the hook `providerhub_rank`. False when there are none.

    Args:
        rankers: The implementations, in the order in which they are called.
    """

    def __init__(self, rankers: Sequence[Observer] = ()) -> None:
        self._rankers = tuple(rankers)
        self._faulty: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._rankers)

    def order(self, request: Request, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Return the order of the first implementation that has one.

        Args:
            request: The request of the call.
            candidates: The candidates of the plan, in the order that routing found.

        Returns:
            The candidates to try, each once. Objects that are not among `candidates` are left out. Without an order of any
            implementation, `candidates`.
        """
        return next(filter(None, (self._asked(ranker, request, candidates) for ranker in self._rankers)), candidates)

    def _asked(self, ranker: Observer, request: Request, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        try:
            order = ranker(request=request, candidates=candidates) or ()
            return tuple(dict.fromkeys(candidate for candidate in order if candidate in candidates))
        except (Exception, SystemExit):  # a ranker cannot make a call fail
            if id(ranker) not in self._faulty:
                self._faulty.add(id(ranker))
                _log.warning("a providerhub_rank implementation raised; further errors of it are not logged", exc_info=True)
            return ()
