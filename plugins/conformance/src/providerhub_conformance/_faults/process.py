"""The fault server in a process of its own: it shares neither the interpreter lock nor the descriptors of what it serves."""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

import attrs

from providerhub_conformance._faults.server import FaultServer, Scripted

_STACK = 256 * 1024
_PATIENCE = 30.0
_START = "from providerhub_conformance._faults.process import main; main()"


@attrs.frozen
class Stats:
    """What a server has seen.

    Attributes:
        connected: Connections accepted.
        served: Requests that came.
        peak: Connections open at once, at most.
        open: Connections open now.
    """

    connected: int
    served: int
    peak: int
    open: int


class ServerProcess:
    """A running child; made by `serve_in_process`.

    Args:
        child: The process.
        url: The server's address, as the child has said it.

    Attributes:
        url: The server's address.
        pid: The child's process id.
    """

    def __init__(self, child: subprocess.Popen[bytes], url: str) -> None:
        self._child = child
        self.url = url
        self.pid = child.pid

    def open(self, name: str) -> None:
        """Open a gate; see `FaultServer.open`.

        Args:
            name: The gate's.
        """
        self._ask({"open": name})

    def reached(self, name: str, *, times: int = 1, timeout: float = 10.0) -> None:
        """Wait until scripts have got to a gate or a mark; see `FaultServer.reached`.

        Args:
            name: The gate's or the mark's.
            times: How often it must have been reached, by all connections together.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: They have not.
        """
        answer = self._ask({"reached": name, "times": times, "timeout": timeout})
        if "error" in answer:
            raise TimeoutError(answer["error"])

    def stats(self) -> Stats:
        """Ask what the server has seen.

        Returns:
            The figures.
        """
        return Stats(**self._ask({"stats": True}))

    def _ask(self, order: dict[str, object]) -> dict[str, Any]:
        assert self._child.stdin is not None  # noqa: S101 -- it was made with pipes
        self._child.stdin.write(json.dumps(order).encode() + b"\n")
        self._child.stdin.flush()
        return _answer(self._child)


@contextlib.contextmanager
def serve_in_process(*scripts: Scripted, repeat: bool = True) -> Iterator[ServerProcess]:
    """Run a fault server in a process of its own. It holds thousands of connections; it keeps no requests.

    Args:
        scripts: As for `FaultServer`; they travel by pickle, so that a function must be importable there by its name.
        repeat: Whether the last script is played again for every further request.

    Yields:
        The running server.

    Raises:
        RuntimeError: It did not start.
    """
    child = subprocess.Popen([sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 -- ourselves
    with child:
        assert child.stdin is not None  # noqa: S101 -- it was made with pipes
        try:
            pickle.dump((scripts, repeat), child.stdin)
            child.stdin.flush()
            answer = _answer(child)
            if "url" not in answer:
                raise RuntimeError(f"the fault server's process did not start: {answer}")
            yield ServerProcess(child, str(answer["url"]))
        finally:
            # The end of its input ends it.
            with contextlib.suppress(OSError):  # it may have died with orders unread
                child.stdin.close()
            try:
                child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()


def main() -> None:
    """Be the child: read the scripts, serve, and obey one JSON order a line until the input ends."""
    _raise_descriptor_limit()
    threading.stack_size(_STACK)
    orders = sys.stdin.buffer
    try:
        scripts, repeat = pickle.load(orders)  # noqa: S301 -- from the process that started this one
        server = FaultServer(*scripts, repeat=repeat, record=False)
    except Exception as error:  # whatever it is, the parent is to know
        _tell({"error": f"{type(error).__name__}: {error}"})
        return
    with server:
        _tell({"url": server.url})
        _obey(server, orders)


def _obey(server: FaultServer, orders: IO[bytes]) -> None:
    for line in orders:
        order = json.loads(line)
        answer: dict[str, object] = {}
        if "open" in order:
            server.open(order["open"])
        elif "reached" in order:
            try:
                server.reached(order["reached"], times=order["times"], timeout=order["timeout"])
            except TimeoutError as error:
                answer = {"error": str(error)}
        else:
            answer = attrs.asdict(Stats(server.connected, server.served, server.peak, server.open_connections))
        _tell(answer)


def _tell(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _answer(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert child.stdout is not None  # noqa: S101 -- it was made with pipes
    line = child.stdout.readline()
    if not line:
        raise RuntimeError("the fault server's process has ended; its own output says why")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as the system lets it have."""
    try:
        import resource  # absent on Windows
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
