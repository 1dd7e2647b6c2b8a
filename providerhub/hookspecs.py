"""The hook specifications: all functions that a plugin may implement.

A plugin marks its functions with `providerhub.hookimpl`. A function may leave out arguments that it does not need. The
entry-point group `providerhub` is for providers; the name of the entry point is the provider's name. The other hooks belong to
the group `providerhub.hooks`, which is always loaded. An exception of an observer, a ranker or a catalogue is logged once, and
the call goes on. Hooks that are called when a hub is made describe the effect of an exception. Observers run in a copy of the
context (`contextvars`) in which the call began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

from providerhub._settings.settings import Settings
from providerhub._values import Attempt, AttemptGate, CallRecord, Candidate, Request, Route
from providerhub._values.capabilities import ModelInfo, ProviderInfo

PROJECT = "providerhub"
"""pluggy's project name, and the entry-point group of providers."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the implementation of the hook with the same name."""


@hookspec
def providerhub_provider() -> ProviderInfo:  # type: ignore[empty-body]
    """Declare the provider. Called once, when its declaration is first needed. It must not do I/O.

    Returns:
        The declaration. Its name must be the name of the entry point.
    """


@hookspec
def providerhub_join(settings: Settings) -> object | None:
    """Take part in the calls of a hub. Called when a hub is made.

    Args:
        settings: The settings of the hub.

    Returns:
        An observer for the hub: an object with methods that are marked with `@hookimpl`. `None` for no observer.

    Raises:
        ConfigurationError: The settings of the plugin are wrong. `Hub` raises it; any other exception is logged.
    """


@hookspec(firstresult=True)
def providerhub_rank(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate] | None:
    """Change the order of the candidates of a call.

    Args:
        request: The request of the call.
        candidates: The candidates that can answer, in the order of the plan.

    Returns:
        The candidates in the order to use; candidates that are left out are not tried. `None`, or an empty order, lets the next
        plugin decide; without another plugin the order stays.
    """


@hookspec
def providerhub_around(settings: Settings) -> Callable[[Request, Any], Any] | None:
    """Add a callable around each call, as in `Hub(around=[...])`. Called once for each hub, when the hub is made.

    Args:
        settings: The settings of the hub.

    Returns:
        A callable `(request, go_on)`, or `None`. The callables of the application are called first, and this one inside them. If
        the hook raises, the hub is not made.
    """


@hookspec
def providerhub_gate(settings: Settings) -> AttemptGate | None:
    """Add a gate, which decides before each attempt whether it may be sent. Called once for each hub, when the hub is made.

    Args:
        settings: The settings of the hub.

    Returns:
        The gate; `None` for no gate. If the hook raises, the hub is not made: a budget that cannot be read must not be ignored.
    """


@hookspec
def providerhub_call_started(call: CallRecord) -> None:
    """Observe the start of a call, after its plan was made. A call without a plan is reported as started and finished at once.

    Args:
        call: The record of the call; its `route` is empty.
    """


@hookspec
def providerhub_model(provider: str, model: str) -> ModelInfo | None:
    """Describe a model. The values are used if the settings, the service and the plugin do not give them.

    Called when a plan or a list of models needs the values. Called only for a service at the vendor's own address, or if the
    settings name a catalogue entry. It must not use the network. A denied capability excludes no model; such a model is tried
    after the others.

    Args:
        provider: The name of the vendor: the name of its provider plugin, such as `"openai"`, or the name in the settings.
        model: The name of the model as sent to the service.

    Returns:
        The known values, or `None`. Their `source` names their origin, and ends with the day of the data if it is known.
    """


@hookspec(firstresult=True)
def providerhub_conversation(settings: Settings, name: str | None) -> Mapping[str, Any] | None:
    """Find a conversation to continue that the command line has not saved itself.

    Args:
        settings: The settings of the command line.
        name: The name from the user; `None` for the latest conversation.

    Returns:
        A mapping with `model`, the name to ask, and `messages`, the whole conversation with the last answer; `None` if not found.

    Raises:
        ConfigurationError: The conversation exists and cannot be read. The message names the fix.
    """


@hookspec
def providerhub_attempt_started(attempt: Attempt) -> None:
    """Observe the start of an attempt.

    Args:
        attempt: The attempt; its `outcome` is `"open"`.
    """


@hookspec
def providerhub_chunk(attempt: Attempt, seconds: float) -> None:
    """Observe a piece of the content of a stream, from the second piece of its attempt on.

    Called when the piece comes from the provider, in the thread or task that reads the stream.

    Args:
        attempt: The attempt, as `providerhub_attempt_started` gets it.
        seconds: The time since the previous piece, including the time for which the reader of the stream was busy.
    """


@hookspec
def providerhub_attempt_finished(attempt: Attempt) -> None:
    """Observe the end of an attempt.

    Args:
        attempt: The attempt with its outcome, its error and its times.
    """


@hookspec
def providerhub_call_finished(route: Route, call: CallRecord) -> None:
    """Observe the end of a call that answered, failed or was abandoned.

    Args:
        route: All attempts, and the excluded providers with their reasons.
        call: The record of the call with its route, and with its answer or error. `providerhub_call_started` got the same `id`.
    """
