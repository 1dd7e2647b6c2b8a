"""What is otherwise than in aiohttp. Imported by the first asynchronous call, as aiohttp is.

Each is a step that aiohttp keeps to itself, overridden in the one way that leaves aiohttp's own behaviour where the step should
have moved: rows 23 and 27 of the fault matrix are the tests that would tell.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import ClientResponse, TCPConnector
from aiohttp.client_proto import ResponseHandler

_END_OF_HEAD = b"\r\n\r\n"


class Response(ClientResponse):
    """Holds its connection until it is released or closed.

    aiohttp's own gives it back as soon as the body's end has come, before anybody has read what stands in front of it: whether
    the connection may serve again is known only then.
    """

    def _response_eof(self) -> None:
        pass


class Connector(TCPConnector):
    """Opens connections that read heads by themselves; its arguments are those of `TCPConnector`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Handler, loop=self._loop)  # type: ignore[assignment]  # a `partial` of a subclass


class _Handler(ResponseHandler):
    """Hands a head over before the body behind it is looked at: a broken chunk in the same read would swallow both."""

    _in_head = True

    def set_response_params(self, **options: Any) -> None:
        self._in_head = True
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            head, end, body = data.partition(_END_OF_HEAD)
            self._in_head = not end
            if body:
                super().data_received(head + end)
                data = body
        super().data_received(data)
