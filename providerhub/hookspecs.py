"""The hook specifications: all functions that a plugin may implement.

A plugin marks its functions with `providerhub.hookimpl`. A function may leave out arguments that it does not need.
Entry-point group `providerhub` is for providers; the name of the entry point is the provider's name. The other hooks belong to
group `providerhub.hooks`, which is always loaded. The implementations are isolated: an exception of an observer, a ranker or a
catalogue is logged once, and the call goes on. The hooks that are called when a hub is made say what an exception does.
Observers are called in a copy of the context (`contextvars`) in which the call began.
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
"""Marks a plugin's function as the implementation of the hook that has the same name."""


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
        An object whose methods are marked with `@hookimpl`, which are called as those of an observer that the application gives
        to the hub; `None` to stay out of the calls of this hub.

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
        The candidates in the order to use; candidates that are left out are not tried. `None`, or an order without any of
        the candidates, lets the next plugin decide; without another plugin the order stays.
    """


@hookspec
def providerhub_around(settings: Settings) -> Callable[[Request, Any], Any] | None:
    """Offer a callable that stands around each call, as `Hub(around=[...])` takes it. Called once for each hub, when it is made.

    Args:
        settings: The settings of the hub.

    Returns:
        A callable `(request, go_on)`, which is called inside of those that the application gives; `None` for none. An exception
        stops the making of the hub.
    """


@hookspec
def providerhub_gate(settings: Settings) -> AttemptGate | None:
    """Offer a gate, which decides before each attempt whether it may be sent. Called once for each hub, when it is made.

    Args:
        settings: The settings of the hub.

    Returns:
        The gate; `None` when there is nothing to guard. An exception stops the making of the hub: a budget that cannot be
        read must not count as none.
    """


@hookspec
def providerhub_call_started(call: CallRecord) -> None:
    """Observe the start of a call, after its plan was made and before anything is sent.

    A call for which no plan can be made is reported as started and finished at once.

    Args:
        call: The record of the call; its `route` is empty.
    """


@hookspec
def providerhub_model(provider: str, model: str) -> ModelInfo | None:
    """Describe a model, for the values that neither its user nor its service nor its plugin gives.

    Called when a plan or a list of models needs the values, and only for a service at its vendor's own address or with the entry
    that the user names. It must not do I/O over a network. A capability that it denies leaves no model out; such a model is tried
    after the others.

    Args:
        provider: The name of the vendor: that of its provider plugin, such as `"openai"`, or the one that the user wrote.
        model: The name of the model as it is sent to the service.

    Returns:
        The values that are known; `None` without any. Its `source` says where they come from, and ends with the day of the data
        if that is known.
    """


@hookspec(firstresult=True)
def providerhub_conversation(settings: Settings, name: str | None) -> Mapping[str, Any] | None:
    """Find a conversation that the command line is to continue, and that is not among those which it has saved.

    Args:
        settings: The settings of the command line.
        name: The name that the user gave; `None` for the latest conversation.

    Returns:
        A mapping with `model`, the name to ask, and `messages`, the whole conversation with the last answer; `None` for none.

    Raises:
        ConfigurationError: The conversation is there and cannot be read. The message names the fix.
    """


@hookspec
def providerhub_attempt_started(attempt: Attempt) -> None:
    """Observe the start of an attempt.

    Args:
        attempt: The attempt, whose `outcome` is `"open"`.
    """


@hookspec
def providerhub_chunk(attempt: Attempt, seconds: float) -> None:
    """Observe a piece of the content of a stream, from the second one of its attempt on.

    Called when the piece comes from the provider, in the thread or task that reads it. A stream without an implementation costs
    nothing.

    Args:
        attempt: The attempt, as `providerhub_attempt_started` gets it.
        seconds: The time since the piece before came. It includes the time for which the reader of the stream was busy.
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
        route: All attempts, and the providers that were left out with their reasons.
        call: The record of the call with its route, and with its answer or error. Its `id` is that of the record which
            `providerhub_call_started` got.
    """
