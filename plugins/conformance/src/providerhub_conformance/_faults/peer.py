"""The connection as the steps of a script see it."""

from __future__ import annotations

from typing import Protocol


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
