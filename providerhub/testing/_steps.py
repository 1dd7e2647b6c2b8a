"""The steps that a `FakeProvider` and the fault server have in common: marks, gates and silences in a script."""

from __future__ import annotations

from typing import Protocol

import attrs


class Peer(Protocol):
    """The server's end of one connection, as a step of the fault server sees it.

    Every method ends the script at once when the client has gone or the server is being closed.
    """

    def send(self, data: bytes) -> None:
        """Send bytes. Waits as long as the client does not read.

        Args:
            data: The bytes to send.
        """
        ...

    def pause(self, seconds: float) -> None:
        """Send nothing for a while.

        Args:
            seconds: The length of the pause.
        """
        ...

    def mark(self, name: str) -> None:
        """Record that the script has reached this place; see `FaultServer.reached`.

        Args:
            name: The name of the mark.
        """
        ...

    def gate(self, name: str) -> None:
        """Mark, then wait until the test calls `FaultServer.open` with the name.

        Args:
            name: The name of the gate.
        """
        ...

    def hold(self) -> None:
        """Stay silent until the client goes or the server is closed. Ends the script."""
        ...

    def close(self) -> None:
        """Send FIN and wait for the client's FIN. Ends the script."""
        ...

    def reset(self) -> None:
        """Send RST. Ends the script."""
        ...


@attrs.frozen
class Pause:
    """Send nothing for a while. Prefer a `Gate` where a test waits for something.

    Attributes:
        seconds: The length of the pause.
    """

    seconds: float

    def play(self, peer: Peer) -> None:
        """Play the step."""
        peer.pause(self.seconds)


@attrs.frozen
class Mark:
    """Record that the script has reached this place, and go on. A test waits for it with `reached`.

    Attributes:
        name: The mark's name.
    """

    name: str

    def play(self, peer: Peer) -> None:
        """Play the step."""
        peer.mark(self.name)


@attrs.frozen
class Gate:
    """Record that the script has reached this place, and wait until the test opens the gate. An open gate stays open.

    Attributes:
        name: The gate's name, for `reached` and `open`.
    """

    name: str

    def play(self, peer: Peer) -> None:
        """Play the step."""
        peer.gate(self.name)


@attrs.frozen
class Hold:
    """Stay silent, with the connection open, until the client goes or the server is closed."""

    def play(self, peer: Peer) -> None:
        """Play the step."""
        peer.hold()
