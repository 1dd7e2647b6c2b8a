"""The script language of the fault server: each step of a server is a value.

A script is a step, bytes (sent as they are), or a nesting of sequences of these. It is played after a request has been read,
unless it begins with `AtConnect`. A script that ends without `Close`, `Reset` or `Hold` leaves the connection open for the next
request. Steps can be pickled and compared, so that scripts can be parameters of tests.

A custom step is any object with a method `play(peer)`. It may use the methods of `Peer` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias, Union, runtime_checkable

import attrs

from providerhub.testing import Hold
from providerhub_conformance._faults.peer import Peer

_BLOCK = 65536


@runtime_checkable
class Step(Protocol):
    """One action of a server."""

    def play(self, peer: Peer) -> None:
        """Play the step.

        Args:
            peer: The server's end of the connection.
        """
        ...


Script: TypeAlias = Union[Step, bytes, Iterable["Script"]]  # noqa: UP007 -- a recursive alias that Python 3.11 can evaluate


@attrs.frozen
class Send:
    """Send bytes in one call.

    Attributes:
        data: The bytes to send.
    """

    data: bytes

    def play(self, peer: Peer) -> None:
        """Play the step."""
        peer.send(self.data)


@attrs.frozen
class Drip:
    """Send bytes in small pieces, each in a separate segment if the kernel allows this.

    Attributes:
        data: The bytes to send.
        interval: Seconds before each piece except the first; 0 for no wait.
        size: The number of bytes in a piece; at least 1.
    """

    data: bytes
    interval: float = 0.0
    size: int = attrs.field(default=1, validator=attrs.validators.ge(1))

    def play(self, peer: Peer) -> None:
        """Play the step."""
        for start in range(0, len(self.data), self.size):
            if start and self.interval:
                peer.pause(self.interval)
            peer.send(self.data[start : start + self.size])


@attrs.frozen
class Close:
    """Send FIN. This ends a body without length, or cuts a body in the middle."""

    def play(self, peer: Peer) -> None:
        """Play the step."""
        peer.close()


@attrs.frozen
class Reset:
    """Send RST, as a crashed process or a load balancer does."""

    def play(self, peer: Peer) -> None:
        """Play the step."""
        peer.reset()


@attrs.frozen
class AtConnect:
    """As the first step of a script: play the script when a client connects, before TLS and before any request.

    It has no effect on a connection that is used again.
    """

    def play(self, peer: Peer) -> None:
        """Do nothing. The server looks for this step before it plays a script."""


def _as_steps(script: Script) -> tuple[Step, ...]:
    return flatten(script)


@attrs.frozen
class Repeat:
    """Play a script repeatedly.

    Attributes:
        script: The script to play. Short bytes in an endless repeat are sent in larger blocks.
        times: The number of times; `None` until the client disconnects or the server is closed.
    """

    script: tuple[Step, ...] = attrs.field(converter=_as_steps)
    times: int | None = None

    def play(self, peer: Peer) -> None:
        """Play the step."""
        steps = self.script
        if self.times is None and len(steps) == 1 and isinstance(steps[0], Send) and steps[0].data:
            # For a client, one send looks like many, and an endless stream should be fast.
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
        TypeError: The script has a part of another type.
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
    """Accept connections and never answer the TLS greeting. For a server with `scheme="https"` and no certificate."""
    return (AtConnect(), Hold())
