"""The promises of the public types. mypy reads this file; it never runs.

A call that must be refused has a `type: ignore` with the expected error. If mypy accepts the call, it reports the comment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

import providerhub


def complete_follows_stream(*, either: bool) -> None:
    """The literal decides; a plain bool leaves both open."""
    assert_type(providerhub.complete("gpt-4", "Hello"), providerhub.Completion)
    assert_type(providerhub.complete("gpt-4", "Hello", stream=False), providerhub.Completion)
    assert_type(providerhub.complete("gpt-4", "Hello", stream=True), providerhub.Stream)
    assert_type(providerhub.complete("gpt-4", "Hello", stream=either), providerhub.Completion | providerhub.Stream)


def a_hub_offers_the_same(hub: providerhub.Hub) -> None:
    """Module functions and methods agree."""
    assert_type(hub.complete("gpt-4", "Hello"), providerhub.Completion)
    assert_type(hub.complete("gpt-4", "Hello", stream=True), providerhub.Stream)
    assert_type(hub.explain("gpt-4", "Hello"), providerhub.RoutePlan)


def messages_and_models_in_every_shape() -> None:
    """One name, a pinned one, a sequence; a text or a list of messages."""
    providerhub.complete("lockchat/gpt-4", [{"role": "user", "content": "Hello"}])
    providerhub.complete(["gpt-4", providerhub.Model("gpt-4", provider="lockchat")], "Hello")
    answer = providerhub.complete("gpt-4", ["What is this?", providerhub.image("cat.png", detail="low")])
    providerhub.complete("gpt-4", [{"role": "user", "content": "Hello"}, answer, "Go on"], system="Be brief.")
    providerhub.complete("gpt-4", "Hello", timeout=3, temperature=0)
    providerhub.complete("gpt-4", "Hello", response_format=dict[str, int] if answer.text else {"type": "json_object"})
    providerhub.complete("gpt-4", "Hello", timeout=providerhub.Timeout(connect=1.0))


def mistakes_are_found() -> None:
    """An unknown knob, and a knob of the wrong type."""
    providerhub.complete("gpt-4", "Hello", temprature=0.5)  # type: ignore[call-overload]
    providerhub.complete("gpt-4", "Hello", on_interrupt="ignore")  # type: ignore[call-overload]
    providerhub.complete("gpt-4")  # type: ignore[call-overload]


def a_stream_yields_text(stream: providerhub.Stream) -> None:
    """Iteration gives text, `events()` gives events."""
    for token in stream:
        assert_type(token, str)
    for event in stream.events():
        assert_type(event, providerhub.Event)


def an_answer_has_its_parts(answer: providerhub.Completion) -> None:
    """The parts that most callers touch."""
    assert_type(answer.text, str)
    assert_type(answer.tool_calls, tuple[providerhub.ToolCall, ...])
    assert_type(answer.route, providerhub.Route)


class Plain:
    """The least that is a provider."""

    def stream(self, request: providerhub.Request, call: providerhub.CallContext) -> Iterator[str]:
        """Yield one piece."""
        yield f"{request.model}: {call.remaining()}"


@providerhub.hookimpl
def providerhub_provider() -> providerhub.ProviderInfo:
    """A declaration keeps its type under the marker."""
    return providerhub.ProviderInfo(name="acme", factory="acme.provider:create")


def the_protocol_takes_it() -> providerhub.Provider:
    """A generator of plain text satisfies it."""
    return Plain()


def the_marker_keeps_the_signature() -> None:
    """A hook implementation can be called as before."""
    assert_type(providerhub_provider(), providerhub.ProviderInfo)


def builtin_parents(error: providerhub.ModelNotFoundError) -> ValueError:
    """Errors are their builtin parents to the type checker too."""
    return error
