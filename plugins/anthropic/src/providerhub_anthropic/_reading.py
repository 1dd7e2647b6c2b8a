"""Reads answers of the Messages API, whole or as an event stream, as pieces. It does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from providerhub import CallContext, Detail, Event
from providerhub.wire_provider import JsonReading
from providerhub_anthropic._message import Message

Pieces = Iterator[str | Event]

_REQUEST_IDS = ("request-id", "x-request-id")
"""Headers with the identifier of the request, for questions to the service's support."""


class MessagesReading(JsonReading):
    """Reads one answer.

    Args:
        call: The call, for notes.
        headers: The headers of the answer.
        tail: White space removed from the end of a partial answer. The first text must not repeat it. Default empty.
        form: The name of the tool whose input is the text of the answer; `""`, the default, for none.
    """

    def __init__(self, call: CallContext, headers: Mapping[str, str], tail: str = "", form: str = "") -> None:
        super().__init__(call, headers)
        self._headers = headers
        self._message = Message(tail, form)
        self._named = False

    def event(self, data: dict[str, Any], name: str) -> Iterable[str | Event]:
        """Read one event; see `JsonReading.event`.

        Args:
            data: The event's data, parsed.
            name: The event's name, which may be empty.

        Returns:
            The complete pieces.
        """
        message = self._message
        pieces: Iterable[str | Event] = message.event(data, name)
        if not self._named:
            pieces = (*self._name(), *pieces)
        if message.done:
            self.done = True
            pieces = (*pieces, *message.end())
        return pieces

    def whole(self, data: dict[str, Any]) -> Pieces:
        """Read an answer that is one object; see `JsonReading.whole`.

        Args:
            data: The object, parsed from the body or from an event.

        Yields:
            The pieces of the answer.
        """
        yield from self._name()
        yield from self._message.whole(data)
        yield from self._message.end()

    def end(self) -> Pieces:
        """End the input; see `JsonReading.end`. Some gateways write `[DONE]` in place of the event `message_stop`.

        Yields:
            The remaining pieces.
        """
        if self._framing.done and self._any_event and not self._message.done:
            self._complete()
            yield from self._message.end()
        yield from super().end()

    def _name(self) -> Pieces:
        """Give the service's identifier of the request."""
        self._named = True
        name = next((self._headers[name] for name in _REQUEST_IDS if self._headers.get(name)), None)
        if name:
            yield Detail("request_id", name)

    def refuse(self, data: dict[str, Any], name: str) -> None:
        """Raise an error if an object is an error; see `JsonReading.refuse`.

        Args:
            data: The object, parsed from the body or from an event.
            name: The event's name, which may be empty.
        """
        if "error" in {data.get("type"), name} or isinstance(data.get("error"), dict):
            raise self.failure(data)
