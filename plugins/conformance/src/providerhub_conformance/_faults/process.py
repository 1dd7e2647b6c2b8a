"""The fault server in a separate process, which shares neither the interpreter lock nor the descriptors with its clients."""

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
    """Counters of a server.

    Attributes:
        connected: The number of accepted connections.
        served: The number of requests.
        peak: The largest number of connections that were open at once.
        open: The number of connections that are open now.
    """

    connected: int
    served: int
    peak: int
    open: int


class ServerProcess:
    """A running server process; made by `serve_in_process`.

    Args:
        child: The running process.
        url: The address that the process printed.

    Attributes:
        url: The address of the server.
        pid: The id of the process.
    """

    def __init__(self, child: subprocess.Popen[bytes], url: str) -> None:
        self._child = child
        self.url = url
        self.pid = child.pid

    def open(self, name: str) -> None:
        """Open a gate; see `FaultServer.open`.

        Args:
            name: The name of the gate.
        """
        self._ask({"open": name})

    def reached(self, name: str, *, times: int = 1, timeout: float = 10.0) -> None:
        """Wait until scripts have reached a gate or a mark; see `FaultServer.reached`.

        Args:
            name: The name of the gate or mark.
            times: The number of times that all connections together must have reached it.
            timeout: The longest wait, in seconds.

        Raises:
            TimeoutError: The scripts did not reach the place in time.
        """
        answer = self._ask({"reached": name, "times": times, "timeout": timeout})
        if "error" in answer:
            raise TimeoutError(answer["error"])

    def stats(self) -> Stats:
        """Ask the server for its counters.

        Returns:
            The counters.
        """
        return Stats(**self._ask({"stats": True}))

    def _ask(self, order: dict[str, object]) -> dict[str, Any]:
        assert self._child.stdin is not None  # noqa: S101 -- the process was started with pipes
        self._child.stdin.write(json.dumps(order).encode() + b"\n")
        self._child.stdin.flush()
        return _answer(self._child)


@contextlib.contextmanager
def serve_in_process(*scripts: Scripted, repeat: bool = True) -> Iterator[ServerProcess]:
    """Run a fault server in a separate process. It can hold thousands of connections. It does not keep requests.

    Args:
        scripts: The scripts, as for `FaultServer`. They are pickled, so the process must be able to import their functions.
        repeat: Whether the last script is played again for every further request.

    Yields:
        The running server.

    Raises:
        RuntimeError: The process did not start.
    """
    child = subprocess.Popen([sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 -- our own module
    with child:
        assert child.stdin is not None  # noqa: S101 -- the process was started with pipes
        try:
            pickle.dump((scripts, repeat), child.stdin)
            child.stdin.flush()
            answer = _answer(child)
            if "url" not in answer:
                raise RuntimeError(f"the fault server's process did not start: {answer}")
            yield ServerProcess(child, str(answer["url"]))
        finally:
            # The process ends at the end of its input.
            with contextlib.suppress(OSError):  # the process may have died before it read all orders
                child.stdin.close()
            try:
                child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()


def main() -> None:
    """Run in the child: read the scripts, serve, and obey one JSON order a line until the input ends."""
    _raise_descriptor_limit()
    threading.stack_size(_STACK)
    orders = sys.stdin.buffer
    try:
        scripts, repeat = pickle.load(orders)  # noqa: S301 -- from the process that started this one
        server = FaultServer(*scripts, repeat=repeat, record=False)
    except Exception as error:  # the parent process reports any error
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
    assert child.stdout is not None  # noqa: S101 -- the process was started with pipes
    line = child.stdout.readline()
    if not line:
        raise RuntimeError("the fault server's process has ended; read its output for the reason")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _raise_descriptor_limit() -> None:
    """Raise the limit of descriptors to the most that the system allows."""
    try:
        import resource  # absent on Windows
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
