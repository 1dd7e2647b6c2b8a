"""The interface of a framing, which cuts a stream into frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

MAX_LINE: Final = 64 * 1024 * 1024
"""Default limit of one line or one object, in bytes, without the ending of the line."""

EXCERPT: Final = 2048
"""The maximum bytes of an incomplete frame, or of a text outside frames, that a decoder keeps for an error message."""


class Frame(Protocol):
    """One frame of a stream, such as a `ServerSentEvent`."""

    @property
    def data(self) -> bytes:
        """The payload."""

    @property
    def event(self) -> str:
        """The name; empty if the framing has no names."""


class Framing(Protocol):
    """Cuts a stream into frames. Examples are `SSEDecoder`, `LineDecoder` and `ArrayDecoder`; a plugin may have its own."""

    __slots__ = ()

    content_type: str
    """The expected part of the content type; empty for any."""
    tail: bytes
    """Bytes that complete a last frame at the end of the input, such as a line's end; usually empty."""
    done: bool
    """Whether the framing's end mark has come; further bytes are ignored."""
    stray: bytes
    """The beginning of a text outside frames, such as an error message or a web page."""

    def is_whole(self, begin: bytes) -> bool | None:
        """Return whether an answer is one object in place of a stream.

        Args:
            begin: The bytes so far, without leading white space; not empty.

        Returns:
            True or false; `None` if more bytes are needed.
        """

    def feed_events(self, data: bytes) -> Sequence[Frame]:
        """Take the next bytes and return the frames that they complete.

        Args:
            data: Bytes from the transport.

        Returns:
            The frames, in their order.

        Raises:
            ValueError: The framing is broken. Earlier complete frames are returned first; the next call raises.
        """

    def finish(self) -> bytes:
        """End the input. Return the beginning of an incomplete frame, or empty bytes.

        Raises:
            ValueError: The framing is broken.
        """
