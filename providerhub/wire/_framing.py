"""The interface of a framing, which cuts a stream into frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

MAX_LINE: Final = 64 * 1024 * 1024
"""Default limit of one line or one object, in bytes, the ending of a line not counted."""

EXCERPT: Final = 2048
"""The most bytes that a decoder keeps of an incomplete frame or of a text outside of frames, for an error message."""


class Frame(Protocol):
    """One frame of a stream, such as a `ServerSentEvent`."""

    @property
    def data(self) -> bytes:
        """The payload."""

    @property
    def event(self) -> str:
        """The name; empty if the framing has no names."""


class Framing(Protocol):
    """Cuts a stream into frames. `SSEDecoder`, `LineDecoder` and `ArrayDecoder` do; a plugin may bring another."""

    __slots__ = ()

    content_type: str
    """A part of the content type that such a stream should have; empty for any."""
    tail: bytes
    """Bytes that complete a last frame at the end of the input, such as a line's end; usually empty."""
    done: bool
    """The framing's own end mark has come; further bytes are ignored."""
    stray: bytes
    """The beginning of what stood outside of frames, such as a bare error message or a web page."""

    def is_whole(self, begin: bytes) -> bool | None:
        """Return whether an answer is one object in place of a stream.

        Args:
            begin: The bytes that have come, from the first that is not white space on; not empty.

        Returns:
            Whether it is; `None` if more bytes are needed to tell.
        """

    def feed_events(self, data: bytes) -> Sequence[Frame]:
        """Take the next bytes and return the frames that they complete.

        Args:
            data: Bytes as they came from the transport.

        Returns:
            The frames, in their order.

        Raises:
            ValueError: The framing is broken. Frames that were complete before are returned first, and the next call raises.
        """

    def finish(self) -> bytes:
        """End the input, and return the beginning of the frame that is not complete; empty if there is none.

        Raises:
            ValueError: The framing is broken.
        """
