"""A server on loopback that does what a script says, right or wrong, on a raw socket.

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
"""Seconds that a test waits for something the server should see, before it is called a failure."""
_JOIN = 10.0

Scripted: TypeAlias = Script | Callable[[RecordedRequest], Script]
"""A script, or a function that gives one for a request."""


class FaultServer:
    """Plays one script for each request that comes, in the order of their coming, each connection in a thread of its own.

    A request for which no script is left is answered 500, with a body that says so. Bytes that come while a script plays are
    kept for the next request. Leaving the `with` block ends every script, closes every socket, joins every thread, and raises
    whatever a script function raised.

    Args:
        scripts: What to play; a function is called with the request. A function given alone answers every request.
        repeat: Whether the last script is played again for every further request.
        tls: Speak TLS with this server-side context.
        scheme: The scheme of `url`; by default `https` with `tls` and `http` without.
        record: Whether to keep requests and connections; a benchmark does without.

    Attributes:
        connections: Every connection accepted, in order; empty without `record`.
        connected: How many were accepted.
        served: How many requests came.
        peak: How many connections were open at once, at most.
        errors: What script functions, or steps of one's own, raised.
    """

    def __init__(
        self,
        *scripts: Scripted,
        repeat: bool = False,
        tls: ssl.SSLContext | None = None,
        scheme: str | None = None,
        record: bool = True,
    ) -> None:
        # Sequences are flattened now, so that a mistake is the constructor's, not a thread's.
        self._scripts = [_settled(script) for script in scripts]
        self._repeat = repeat or (len(scripts) == 1 and not isinstance(self._scripts[0], tuple))
        self._turn = 0
        self._tls = tls
        self._scheme = scheme or ("https" if tls else "http")
        self._record = record
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
        self._listener.settimeout(0)  # a client may go between the selector's word and accept()
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
        """Every byte that came from any client, whole requests or not, in the order of the connections."""
        with self._changed:
            return b"".join(b"".join(request.raw for request in one.requests) + one.unread for one in self.connections)

    def open(self, name: str) -> None:
        """Open a gate for all who wait at it, and all who come later.

        Args:
            name: The gate's.
        """
        self.latch(name).set()

    def reached(self, name: str, *, times: int = 1, timeout: float = TIMEOUT) -> None:
        """Wait until scripts have got to a gate or a mark.

        Args:
            name: The gate's or the mark's.
            times: How often it must have been reached, by all connections together.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: They have not.
        """
        self._await(lambda: self._marks.get(name, 0) >= times, f"{name!r} was not reached {times} time(s)", timeout)

    def client_gone(self, index: int = 0, *, timeout: float = TIMEOUT) -> str:
        """Wait until a client has closed its connection. A script notices in every step but a function of one's own.

        Args:
            index: The connection's number, from 0.
            timeout: Seconds to wait at most.

        Returns:
            `"closed"` or `"reset"`.

        Raises:
            TimeoutError: It has not, or there never was such a connection.
        """
        self._await(
            lambda: index < len(self.connections) and self.connections[index].gone is not None,
            f"the client of connection {index} has not gone",
            timeout,
        )
        return self.connections[index].gone or ""

    def wait_connected(self, count: int = 1, *, timeout: float = TIMEOUT) -> None:
        """Wait until connections were accepted.

        Args:
            count: How many, over the server's life.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: They were not.
        """
        self._await(lambda: self.connected >= count, f"{count} connection(s) did not come", timeout)

    def wait_served(self, count: int = 1, *, timeout: float = TIMEOUT) -> None:
        """Wait until requests have come in whole.

        Args:
            count: How many, over the server's life.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: They have not.
        """
        self._await(lambda: self.served >= count, f"{count} request(s) did not come", timeout)

    def wait_idle(self, *, timeout: float = TIMEOUT) -> None:
        """Wait until no connection is open.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: One still is.
        """
        self._await(lambda: not self._live, "a connection is still open", timeout)

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._live)

    def close(self) -> None:
        """End every script, close every socket and join every thread. May be called again.

        Raises:
            RuntimeError: A step of one's own does not end.
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
        """Give the server, which is running since it was made."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close it; raise what a script function raised, unless something is being raised already."""
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
                    self.errors.append(error)  # out of descriptors, most likely: it would fail again at once
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
        """The life of one connection."""
        try:
            self._converse(connection)
        except ScriptOver:
            pass
        except Exception as error:  # kept for the test's thread, which raises it
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
            with self._changed:
                self.served += 1
                if self._record:
                    connection.requests.append(request)
                scripted = self._next()
                self._changed.notify_all()
            # The function runs here, without the lock: it may wait, and others go on meanwhile.
            for step in scripted if isinstance(scripted, tuple) else flatten(scripted(request)):
                step.play(connection)

    def _at_connect(self) -> tuple[Step, ...]:
        """Give the next script if it is to be played at once; else nothing."""
        with self._changed:
            place = self._place()
            script = self._scripts[place] if place is not None else ()
            if not isinstance(script, tuple) or not script or not isinstance(script[0], AtConnect):
                return ()
            self._turn += 1
            return script

    def _next(self) -> tuple[Step, ...] | Callable[[RecordedRequest], Script]:
        """Give the script for the request that has come."""
        place = self._place()
        self._turn += 1
        if place is None:
            return http_response(
                500, f"fault server: no script is left for request {self.served}", {"Content-Type": "text/plain"}
            )
        return self._scripts[place]

    def _place(self) -> int | None:
        """Give the index of the script whose turn it is."""
        if self._turn < len(self._scripts):
            return self._turn
        return len(self._scripts) - 1 if self._repeat and self._scripts else None

    # What connections use: `connection.Host`.

    def latch(self, name: str) -> Latch:
        """Give the latch behind a gate.

        Args:
            name: The gate's.

        Returns:
            The latch, made when it is first asked for.
        """
        with self._changed:
            if name not in self._gates:
                self._gates[name] = Latch()
            return self._gates[name]

    def mark(self, name: str) -> None:
        """Note that a script has got to a place."""
        with self._changed:
            self._marks[name] = self._marks.get(name, 0) + 1
            self._changed.notify_all()

    def changed(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def _await(self, condition: Callable[[], bool], otherwise: str, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                msg = f"fault server: {otherwise} within {timeout:g} s ({self.connected} connections, {self.served} requests)"
                raise TimeoutError(msg)


@contextlib.contextmanager
def refusing_url() -> Iterator[str]:
    """An address that refuses connections for as long as the `with` block lasts.

    Yields:
        The address.
    """
    # Bound but not listening: nobody else gets the port, and the kernel refuses for us.
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        yield f"http://{HOST}:{sock.getsockname()[1]}"


@contextlib.contextmanager
def unanswering_url() -> Iterator[str]:
    """An address where connecting hangs: a listener that accepts nobody, its queue full.

    Linux drops what does not fit into the queue, so that a client sees silence; other systems may refuse.

    Yields:
        The address.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        waiting: list[socket.socket] = []
        # A queue of length 0 holds one; a few more are sent after it, so that none of the client's is ever let in.
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(0)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        yield f"http://{HOST}:{listener.getsockname()[1]}"


def _settled(script: Scripted) -> tuple[Step, ...] | Callable[[RecordedRequest], Script]:
    """Flatten what can be flattened now."""
    return script if callable(script) and not isinstance(script, Step) else flatten(script)
