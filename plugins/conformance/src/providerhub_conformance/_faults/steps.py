"""The script language of the fault server: what a server does, step by step, as values.

A script is a step, some bytes (sent as they are), or any nesting of sequences of these. Unless it begins with `AtConnect`
it is played once a request has been read. A script that ends without `Close`, `Reset` or `Hold` leaves the connection open
for the next request. Every step pickles and compares, so scripts can be tables of test parameters.

A step of one's own is any object with a method `play(peer)`; the methods of `Peer` are all it may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias, Union, runtime_checkable

import attrs

from providerhub.testing import Hold, Peer

_BLOCK = 65536


@runtime_checkable
class Step(Protocol):
    """One thing that a server does."""

    def play(self, peer: Peer) -> None:
        """Do it.

        Args:
            peer: The server's end of the connection.
        """
        ...


Script: TypeAlias = Union[Step, bytes, Iterable["Script"]]  # noqa: UP007 -- a recursive alias that Python 3.11 can evaluate


@attrs.frozen
class Send:
    """Send bytes in one call.

    Attributes:
        data: What to send.
    """

    data: bytes

    def play(self, peer: Peer) -> None:
        """Do it."""
        peer.send(self.data)


@attrs.frozen
class Drip:
    """Send bytes in small pieces, each in a segment of its own as far as the kernel allows.

    Attributes:
        data: What to send.
        interval: Seconds before each piece but the first; 0 for none.
        size: Bytes in a piece.
    """

    data: bytes
    interval: float = 0.0
    size: int = attrs.field(default=1, validator=attrs.validators.ge(1))

    def play(self, peer: Peer) -> None:
        """Do it."""
        for start in range(0, len(self.data), self.size):
            if start and self.interval:
                peer.pause(self.interval)
            peer.send(self.data[start : start + self.size])


@attrs.frozen
class Close:
    """Send FIN: the orderly end of a body, or a cut in the middle of one."""

    def play(self, peer: Peer) -> None:
        """Do it."""
        peer.close()


@attrs.frozen
class Reset:
    """Send RST: what a crashed process or an impatient load balancer does."""

    def play(self, peer: Peer) -> None:
        """Do it."""
        peer.reset()


@attrs.frozen
class AtConnect:
    """As a script's first step: play it as soon as a client has connected, before TLS and before any request.

    On a connection that is being used again it means nothing.
    """

    def play(self, peer: Peer) -> None:
        """Do nothing: the server looks for it before it plays a script."""


def _as_steps(script: Script) -> tuple[Step, ...]:
    return flatten(script)


@attrs.frozen
class Repeat:
    """Play a script over and over.

    Attributes:
        script: What to play; bytes are sent in blocks of a useful size when they are short and repeat for ever.
        times: How often; `None` for without end, until the client goes or the server is closed.
    """

    script: tuple[Step, ...] = attrs.field(converter=_as_steps)
    times: int | None = None

    def play(self, peer: Peer) -> None:
        """Do it."""
        steps = self.script
        if self.times is None and len(steps) == 1 and isinstance(steps[0], Send) and steps[0].data:
            # Nobody can tell one send from many here, and an endless stream should fill the wire.
            data = steps[0].data
            steps = (Send(data * max(1, _BLOCK // len(data))),)
        played = 0
        while self.times is None or played < self.times:
            for step in steps:
                step.play(peer)
            played += 1


def flatten(script: Script) -> tuple[Step, ...]:
    """Turn a script of any shape into a tuple of steps.

    Args:
        script: A step, bytes, or a nesting of sequences of these.

    Returns:
        The steps in order.

    Raises:
        TypeError: Something in it is none of these.
    """
    return tuple(_steps(script))


def _steps(script: Script) -> Iterator[Step]:
    if isinstance(script, bytes):
        yield Send(script)
    elif isinstance(script, Step):
        yield script
    elif isinstance(script, Iterable) and not isinstance(script, (str, bytearray)):
        for part in script:
            yield from _steps(part)
    else:
        msg = f"a script is made of steps and bytes, not {type(script).__name__}: {script!r}"
        raise TypeError(msg)


def tls_handshake_hang() -> tuple[Step, ...]:
    """Accept, and never answer the client's TLS greeting. For a server with `scheme="https"` and no certificate."""
    return (AtConnect(), Hold())
