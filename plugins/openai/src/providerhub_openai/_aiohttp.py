"""Changes to aiohttp's response and connector. The first asynchronous call imports this module and aiohttp.

Each class overrides a private step of aiohttp. If a release of aiohttp moves the step, its own behaviour remains, and the tests
of rows 23 and 27 of the fault matrix fail.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import ClientResponse, TCPConnector
from aiohttp.client_proto import ResponseHandler

_END_OF_HEAD = b"\r\n\r\n"


class Response(ClientResponse):
    """A response that keeps its connection until it is released or closed.

    aiohttp gives the connection back when the body's end has arrived, before the body has been read. Only after reading it is
    known whether the connection can be used again.
    """

    def _response_eof(self) -> None:
        pass


class Connector(TCPConnector):
    """A connector whose connections pass the head on by itself.

    Args:
        **options: The arguments of `TCPConnector`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Handler, loop=self._loop)  # type: ignore[assignment]  # a `partial` of a subclass


class _Handler(ResponseHandler):
    """Passes a head to the parser before the body of the same read, since a broken chunk in the body would lose the head too."""

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
