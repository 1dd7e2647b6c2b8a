"""A server on loopback that plays correct and faulty scripts on a raw socket.

>>> from providerhub import Hub, ModelInfo, ProviderConfig, ProviderInfo
>>> from providerhub.openai_provider import OpenAIChatProvider
>>> from providerhub_conformance import FaultServer, Gate, chunked, openai_chunk, sse
>>> info = ProviderInfo(name="acme", models=(ModelInfo("m"),))
>>> with FaultServer(chunked(sse(openai_chunk("Hel"), Gate("half"), openai_chunk("lo")))) as server, Hub() as hub:
...     hub.register(info, OpenAIChatProvider(ProviderConfig(url=server.url)))
...     stream = hub.complete("acme/m", "Hi", stream=True)
...     server.reached("half")  # no sleep: the server has sent the first piece
...     stream.close()
...     server.client_gone()  # the socket really was closed
'closed'
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeAlias

from providerhub_conformance._faults.connection import Connection, Latch, RecordedRequest, ScriptOver
from providerhub_conformance._faults.scripts import http_response
from providerhub_conformance._faults.steps import AtConnect, Script, Step, flatten

HOST = "127.0.0.1"
TIMEOUT = 10.0
"""Seconds for which a test waits for an event at the server by default."""
_JOIN = 10.0

Scripted: TypeAlias = Script | Callable[[RecordedRequest], Script]
"""A script, or a function that returns one for a request."""


class FaultServer:
    """Plays one script for each request, in the order of the requests. Each connection has its own thread.

    When no script is left, the server answers with status 500. Bytes that arrive during a script are kept for the next request.
    The end of the `with` block ends every script, closes every socket, joins every thread, and raises the first error of a script
    function.

    Args:
        scripts: The scripts to play. A function is called with the request. A single function answers every request.
        repeat: Whether the last script is played again for every further request.
        tls: A server-side context, for TLS.
        scheme: The scheme of `url`; by default `https` with `tls` and `http` without.
        record: Whether to keep requests and connections. Benchmarks set it to `False`.
        aside: A function called with each request. If it returns a script, such as for a token request, the server plays this
            script and does not record the request. If it returns `None`, the server plays one of `scripts`.

    Attributes:
        connections: Every accepted connection, in order; empty without `record`.
        connected: The number of accepted connections.
        served: The number of requests.
        peak: The largest number of connections that were open at once.
        errors: The errors that script functions and custom steps raised.
    """

    def __init__(
        self,
        *scripts: Scripted,
        repeat: bool = False,
        tls: ssl.SSLContext | None = None,
        scheme: str | None = None,
        record: bool = True,
        aside: Callable[[RecordedRequest], Script | None] | None = None,
    ) -> None:
        # Flattened here, so that the constructor raises for a mistake, not a thread.
        self._scripts = [_settled(script) for script in scripts]
        self._repeat = repeat or (len(scripts) == 1 and not isinstance(self._scripts[0], tuple))
        self._turn = 0
        self._tls = tls
        self._scheme = scheme or ("https" if tls else "http")
        self._record = record
        self._aside = aside
        self._changed = threading.Condition()
        self.closing = Latch()
        self._gates: dict[str, Latch] = {}
        self._marks: dict[str, int] = {}
        self._live: dict[Connection, threading.Thread] = {}
        self.connections: list[Connection] = []
        self.connected = 0
        self.served = 0
        self.peak = 0
        self.errors: list[Exception] = []
        self._listener = socket.create_server((HOST, 0), backlog=4096)
        self._listener.settimeout(0)  # the client may go between select() and accept()
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept_all, name=f"fault-server-{self.port}", daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        """The server's address, without a path or a closing slash."""
        return f"{self._scheme}://{HOST}:{self.port}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, in the order in which they were complete; empty without `record`."""
        with self._changed:
            return sorted((request for one in self.connections for request in one.requests), key=lambda request: request.at)

    @property
    def received(self) -> bytes:
        """Every byte from clients, in the order of the connections, also of incomplete requests."""
        with self._changed:
            return b"".join(b"".join(request.raw for request in one.requests) + one.unread for one in self.connections)

    def open(self, name: str) -> None:
        """Open a gate for all scripts that wait at it and for all later ones.

        Args:
            name: The name of the gate.
        """
        self.latch(name).set()

    def reached(self, name: str, *, times: int = 1, timeout: float = TIMEOUT) -> None:
        """Wait until scripts have reached a gate or a mark.

        Args:
            name: The name of the gate or mark.
            times: The number of times that all connections together must have reached it.
            timeout: The longest wait, in seconds.

        Raises:
            TimeoutError: The scripts did not reach the place in time.
        """
        self._await(lambda: self._marks.get(name, 0) >= times, f"{name!r} was not reached {times} time(s)", timeout)

    def client_gone(self, index: int = 0, *, timeout: float = TIMEOUT) -> str:
        """Wait until a client has closed its connection. Every step of a script notices this; a script function does not.

        Args:
            index: The number of the connection, from 0.
            timeout: The longest wait, in seconds.

        Returns:
            `"closed"` or `"reset"`.

        Raises:
            TimeoutError: The client did not close the connection in time, or there is no such connection.
        """
        self._await(
            lambda: index < len(self.connections) and self.connections[index].gone is not None,
            f"the client of connection {index} has not gone",
            timeout,
        )
        return self.connections[index].gone or ""

    def wait_connected(self, count: int = 1, *, timeout: float = TIMEOUT) -> None:
        """Wait until the server has accepted a number of connections.

        Args:
            count: The number, since the server's start.
            timeout: The longest wait, in seconds.

        Raises:
            TimeoutError: Fewer connections were accepted in time.
        """
        self._await(lambda: self.connected >= count, f"{count} connection(s) did not come", timeout)

    def wait_served(self, count: int = 1, *, timeout: float = TIMEOUT) -> None:
        """Wait until the server has read a number of whole requests.

        Args:
            count: The number, since the server's start.
            timeout: The longest wait, in seconds.

        Raises:
            TimeoutError: Fewer requests were read in time.
        """
        self._await(lambda: self.served >= count, f"{count} request(s) did not come", timeout)

    def wait_idle(self, *, timeout: float = TIMEOUT) -> None:
        """Wait until no connection is open.

        Args:
            timeout: The longest wait, in seconds.

        Raises:
            TimeoutError: A connection is still open.
        """
        self._await(lambda: not self._live, "a connection is still open", timeout)

    @property
    def open_connections(self) -> int:
        """The number of connections that are open now."""
        return len(self._live)

    def close(self) -> None:
        """End every script, close every socket and join every thread. A second call has no effect.

        Raises:
            RuntimeError: A custom step does not end.
        """
        self.closing.set()
        self._acceptor.join(_JOIN)
        self._listener.close()
        with self._changed:
            live = dict(self._live)
        for connection, thread in live.items():
            connection.interrupt()
            thread.join(_JOIN)
        if any(thread.is_alive() for thread in live.values()):
            msg = "a script does not end: every step must give up when the methods of its peer raise"
            raise RuntimeError(msg)
        for latch in (self.closing, *self._gates.values()):
            latch.release()

    def __enter__(self) -> Self:
        """Return the server. It has been running since it was made."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the server. Raise the first error of a script function, unless the block raised one."""
        self.close()
        if error is None and self.errors:
            raise self.errors[0]

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self.closing, selectors.EVENT_READ)
            while not self.closing.is_set:
                selector.select()
                try:
                    sock, _ = self._listener.accept()
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno in {errno.ECONNABORTED, errno.EINTR}:
                        continue
                    self.errors.append(error)  # probably no descriptor is left: the next call would fail, too
                    return
                self._start(sock)

    def _start(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        connection = Connection(self.connected, sock, self)
        thread = threading.Thread(target=self._serve, args=(connection,), name=f"fault-server-{self.port}", daemon=True)
        with self._changed:
            self.connected += 1
            self._live[connection] = thread
            self.peak = max(self.peak, len(self._live))
            if self._record:
                self.connections.append(connection)
            self._changed.notify_all()
        thread.start()

    def _serve(self, connection: Connection) -> None:
        """Serve one connection until it ends."""
        try:
            self._converse(connection)
        except ScriptOver:
            pass
        except Exception as error:  # the thread of the test raises it
            self.errors.append(error)
        finally:
            connection.release()
            with self._changed:
                del self._live[connection]
                self._changed.notify_all()

    def _converse(self, connection: Connection) -> None:
        for step in self._at_connect():
            step.play(connection)
        if self._tls is not None:
            connection.start_tls(self._tls)
        while not self.closing.is_set:
            request = connection.read_request()
            aside = None if self._aside is None else self._aside(request)
            if aside is not None:
                for step in flatten(aside):
                    step.play(connection)
                continue
            with self._changed:
                self.served += 1
                if self._record:
                    connection.requests.append(request)
                scripted = self._next()
                self._changed.notify_all()
            # The function runs without the lock: it may wait while other connections go on.
            for step in scripted if isinstance(scripted, tuple) else flatten(scripted(request)):
                step.play(connection)

    def _at_connect(self) -> tuple[Step, ...]:
        """Take the next script if it begins with `AtConnect`."""
        with self._changed:
            place = self._place()
            script = self._scripts[place] if place is not None else ()
            if not isinstance(script, tuple) or not script or not isinstance(script[0], AtConnect):
                return ()
            self._turn += 1
            return script

    def _next(self) -> tuple[Step, ...] | Callable[[RecordedRequest], Script]:
        """Take the script for a new request."""
        place = self._place()
        self._turn += 1
        if place is None:
            return http_response(
                500, f"fault server: no script is left for request {self.served}", {"Content-Type": "text/plain"}
            )
        return self._scripts[place]

    def _place(self) -> int | None:
        """Find the index of the next script."""
        if self._turn < len(self._scripts):
            return self._turn
        return len(self._scripts) - 1 if self._repeat and self._scripts else None

    # The methods for connections: `connection.Host`.

    def latch(self, name: str) -> Latch:
        """Find or make the latch of a gate.

        Args:
            name: The name of the gate.

        Returns:
            The latch.
        """
        with self._changed:
            if name not in self._gates:
                self._gates[name] = Latch()
            return self._gates[name]

    def mark(self, name: str) -> None:
        """Record that a script has reached a mark or a gate."""
        with self._changed:
            self._marks[name] = self._marks.get(name, 0) + 1
            self._changed.notify_all()

    def changed(self) -> None:
        """Wake all threads that wait for a condition."""
        with self._changed:
            self._changed.notify_all()

    def _await(self, condition: Callable[[], bool], otherwise: str, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                msg = f"fault server: {otherwise} within {timeout:g} s ({self.connected} connections, {self.served} requests)"
                raise TimeoutError(msg)


@contextlib.contextmanager
def refusing_url() -> Iterator[str]:
    """Reserve an address that refuses connections until the end of the `with` block.

    Yields:
        The address.
    """
    # The socket is bound but does not listen: no other process gets the port, and the kernel refuses connections.
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        yield f"http://{HOST}:{sock.getsockname()[1]}"


@contextlib.contextmanager
def unanswering_url() -> Iterator[str]:
    """Reserve an address at which connecting hangs: a listener with a full queue that accepts no connection.

    Linux drops connections that do not fit into the queue, so the client gets no answer. Other systems may refuse them.

    Yields:
        The address.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        waiting: list[socket.socket] = []
        # A queue of length 0 holds one connection. Further connections make sure that it is full.
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(0)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        yield f"http://{HOST}:{listener.getsockname()[1]}"


def _settled(script: Scripted) -> tuple[Step, ...] | Callable[[RecordedRequest], Script]:
    """Flatten a script; a function is kept as it is."""
    return script if callable(script) and not isinstance(script, Step) else flatten(script)
