"""The common steps of `FakeProvider` and the fault server: marks, gates and silences in a script.

`play` is for the fault server, whose `Peer` is in the distribution `providerhub-conformance`.
"""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Pause:
    """Send nothing for some time. Use a `Gate` if a test waits for something.

    Attributes:
        seconds: The length of the pause.
    """

    seconds: float

    def play(self, peer: Any) -> None:
        peer.pause(self.seconds)


@attrs.frozen
class Mark:
    """Record that the script has reached this place, and go on. A test waits for the mark with `reached`.

    Attributes:
        name: The mark's name.
    """

    name: str

    def play(self, peer: Any) -> None:
        peer.mark(self.name)


@attrs.frozen
class Gate:
    """Record that the script has reached this place, and wait until the test opens the gate. An open gate stays open.

    Attributes:
        name: The gate's name, for `reached` and `open`.
    """

    name: str

    def play(self, peer: Any) -> None:
        peer.gate(self.name)


@attrs.frozen
class Hold:
    """Stay silent, with the connection open, until the client disconnects or the server is closed."""

    def play(self, peer: Any) -> None:
        peer.hold()
