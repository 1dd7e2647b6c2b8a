"""The hook specifications: everything that a plugin may implement.

A plugin marks its functions with `providerhub.hookimpl`. A function may leave out arguments that it does not need.
Providers are declared in entry-point group `providerhub`, where the entry point's name is the provider's name; the other
hooks belong to group `providerhub.hooks`, which is always loaded. Each implementation is called on its own: one that raises is
logged once and passed over, and the call never notices.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from providerhub._values import Attempt, Candidate, Request, Route
from providerhub._values.capabilities import ProviderInfo

PROJECT = "providerhub"
"""pluggy's project name, and the entry-point group of providers."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the implementation of the hook of the same name."""


@hookspec
def providerhub_provider() -> ProviderInfo:  # type: ignore[empty-body]
    """Declare the provider. Called once, when the plugin is first looked at; it must not do I/O.

    Returns:
        What the provider is, under the same name as its entry point.
    """


@hookspec(firstresult=True)
def providerhub_rank(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate] | None:
    """Put candidates in another order.

    Args:
        request: What is asked.
        candidates: Those that can answer, in the order that would be used.

    Returns:
        The same candidates in the order to use; what is left out of it is not tried. `None`, or an order that names none of
        them, leaves the order to the next plugin, and in the end as it was.
    """


@hookspec
def providerhub_attempt_started(attempt: Attempt) -> None:
    """Observe the start of an attempt.

    Args:
        attempt: The attempt, with `outcome="open"`.
    """


@hookspec
def providerhub_attempt_finished(attempt: Attempt) -> None:
    """Observe the end of an attempt.

    Args:
        attempt: The attempt with its outcome, error and times.
    """


@hookspec
def providerhub_call_finished(route: Route) -> None:
    """Observe the end of a call, whether it answered, failed or was abandoned.

    Args:
        route: All attempts and what was left out.
    """
