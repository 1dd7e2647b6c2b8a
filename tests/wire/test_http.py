"""Refusals, redaction and errors of the HTTP toolkit, over real sockets."""

import contextlib
import itertools
import re
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest

import providerhub
from providerhub import CallContext, ConfigurationError, InvalidRequestError, ProviderConfig, Timeout
from providerhub._watchdog import WATCHDOG, Timer
from providerhub.http import HttpClient
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.testing import Close, FakeClock, FaultServer, Hold, Send, chunked, http_response

CANARY = "canary-key-123"


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def post(client, payload=None, timeout=None):
    call = CallContext(timeout or Timeout(total=5.0))
    with client.post("/v1/chat/completions", payload or {}, call, stream=False) as answer:
        return answer.read()


def test_the_error_for_a_refused_connection_names_the_address(closed_port):
    client = HttpClient(ProviderConfig(name="acme", url=f"http://127.0.0.1:{closed_port}", api_key=CANARY))
    with pytest.raises(
        providerhub.ProviderConnectionError, match=rf"cannot connect to 127.0.0.1:{closed_port}: .*refused"
    ) as caught:
        post(client)
    assert CANARY not in repr(caught.value)
    client.close()


def test_a_huge_timeout_raises_no_error_of_its_own(closed_port):
    client = HttpClient(ProviderConfig(name="acme", url=f"http://127.0.0.1:{closed_port}"))
    with pytest.raises(providerhub.ProviderConnectionError):
        post(client, timeout=Timeout(total=1e10))
    client.close()


def test_the_line_break_at_the_end_of_a_key_is_dropped():
    client = HttpClient(ProviderConfig(name="acme", url="http://127.0.0.1:1", api_key=f"{CANARY}\n"))
    assert client.redact(f"Bearer {CANARY}") == "Bearer ***"


def test_a_placeholder_for_a_key_leaves_messages_readable():
    client = HttpClient(ProviderConfig(url="https://acme.example", api_key="abc"))
    assert client.redact("abc: the model cabcd is unknown") == "abc: the model cabcd is unknown"


@pytest.mark.parametrize("key", [f"{CANARY}\nX-Other: 1", "ключ-canary"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key):
    with pytest.raises(ConfigurationError, match="acme") as caught:
        HttpClient(ProviderConfig(name="acme", url="http://127.0.0.1:1", api_key=key))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80", "http://127.0.0.1:99999", "http://[::1"])
def test_an_invalid_url_is_a_configuration_error(url):
    with pytest.raises(ConfigurationError, match="acme"):
        HttpClient(ProviderConfig(name="acme", url=url))


def test_a_key_is_sent_unencrypted_to_loopback_only():
    for host in ("localhost", "127.0.0.2", "[::1]"):
        HttpClient(ProviderConfig(name="acme", url=f"http://{host}:1", api_key=CANARY))
    with pytest.raises(ConfigurationError, match="https"):
        HttpClient(ProviderConfig(name="acme", url="http://acme.example", api_key=CANARY))


def test_the_error_for_a_missing_ca_bundle_names_its_path():
    with pytest.raises(ConfigurationError, match=r"/no/such/bundle\.pem"):
        HttpClient(ProviderConfig(name="acme", url="https://acme.example", ca_bundle="/no/such/bundle.pem"))


def test_half_of_a_surrogate_pair_is_refused_and_a_whole_pair_is_sent(closed_port):
    client = HttpClient(ProviderConfig(name="acme", url=f"http://127.0.0.1:{closed_port}"))
    with pytest.raises(InvalidRequestError, match="half of a surrogate pair"):
        post(client, {"text": "a\ud83d b"})
    client.close()
    with FaultServer(http_response(200, {})) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))
        post(client, {"text": "a\ud83d\ude00"})
        client.close()
        assert server.requests[0].json() == {"text": "a\U0001f600"}


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf")])
def test_a_payload_that_is_not_json_is_an_invalid_request(closed_port, value):
    client = HttpClient(ProviderConfig(name="acme", url=f"http://127.0.0.1:{closed_port}"))
    with pytest.raises(InvalidRequestError, match="JSON"):
        post(client, {"messages": [value]})


def test_a_url_that_ends_with_the_version_gets_it_once():
    assert OpenAIChatProvider(ProviderConfig(name="acme", url="http://127.0.0.1:1/v1/")).path == "/chat/completions"


def test_a_get_request_has_no_body():
    with FaultServer(http_response(200, {"data": []}), http_response(401, f"no {CANARY}")) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url, api_key=CANARY))
        with client.get("/v1/models", CallContext(Timeout(total=5.0))) as answer:
            assert answer.read() == b'{"data":[]}'
        with pytest.raises(providerhub.AuthenticationError) as caught:
            client.get("/v1/models", CallContext(Timeout(total=5.0)))
        client.close()
    request = server.requests[0]
    assert (request.method, request.target, request.body) == ("GET", "/v1/models", b"")
    assert request.header("authorization") == f"Bearer {CANARY}"
    assert CANARY not in repr(caught.value)


def test_a_key_can_be_sent_in_another_header():
    with FaultServer(http_response(200, {})) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url, api_key=CANARY), key_header="x-api-key")
        post(client)
        client.close()
    request = server.requests[0]
    assert (request.header("x-api-key"), request.header("authorization")) == (CANARY, "")


class SlowReader:
    """Accepts one connection, leaves the request unread until `read` is set, then answers."""

    def __init__(self):
        self.connected = threading.Event()
        self.read = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.read.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as reader:
                self.connected.set()
                self.read.wait()
                head = b"".join(itertools.takewhile(b"\r\n".__ne__, reader))
                size = re.search(rb"(?i)content-length: (\d+)", head)
                reader.read(int(size[1]) if size else 0)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                connection.recv(1)


LARGE = {"messages": [{"role": "user", "content": "x" * (8 << 20)}]}


def test_sending_a_large_request_may_take_longer_than_connecting():
    timeout = Timeout(connect=0.2, total=30.0)
    with SlowReader() as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))
        later = threading.Timer(3 * timeout.connect, server.read.set)  # the slow reader is the subject of the test
        later.start()
        assert post(client, LARGE, timeout) == b"{}"
        client.close()
        later.join()


@pytest.mark.parametrize(("stream", "phase"), [(True, "first token"), (False, "total time")])
def test_sending_obeys_the_other_timeouts(stream, phase):
    with SlowReader() as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))
        # Long enough to write the large request as JSON and to connect, also on a busy machine.
        call = CallContext(Timeout(first_token=1.0 if stream else 30.0, total=30.0 if stream else 1.0))
        with pytest.raises(providerhub.ProviderTimeoutError, match=phase):
            client.post("/v1/chat/completions", LARGE, call, stream=stream)
        client.close()


def test_a_call_that_is_cancelled_while_it_sends_ends_at_once():
    call = CallContext(Timeout())
    with SlowReader() as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))
        canceller = threading.Thread(target=lambda: server.connected.wait() and call.cancel())
        canceller.start()
        with pytest.raises(providerhub.ProviderConnectionError, match="cancelled"):
            client.post("/v1/chat/completions", LARGE, call, stream=True)
        client.close()
        canceller.join()


def test_one_connection_serves_every_path_of_a_service():
    paths = ["/models/a:generate", "/models/b c:generate?alt=sse", "/models/ä"]
    with FaultServer(http_response(200, {}), repeat=True) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url + "/v1"))
        for path in paths * 2:
            with client.post(path, {}, CallContext(Timeout(total=5.0)), stream=False) as answer:
                answer.read()
        client.close()
        server.wait_connected(1)
        assert len({request.connection for request in server.requests}) == 1
    targets = ["/v1/models/a:generate", "/v1/models/b%20c:generate?alt=sse", "/v1/models/%C3%A4"]
    assert [request.target for request in server.requests] == targets * 2


AGES = Timeout(connect=1e308, first_token=1e308, byte_idle=1e308, token_idle=1e308, total=1e308)


@pytest.mark.parametrize("stream", [False, True])
def test_huge_timeouts_do_not_expire(stream):
    with FaultServer(http_response(200, {})) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))
        with client.post("/", {}, CallContext(AGES), stream=stream) as answer:
            assert answer.read() == b"{}"
        client.close()


@pytest.mark.parametrize("start", [0.0, 1e9])
def test_a_call_with_another_clock_waits_in_the_system_s_time(start):
    with FaultServer(http_response(200, {}), Hold(), (*chunked([b"{"], end=False), Hold())) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))

        def ask(**phases):
            call = CallContext(Timeout(**phases), clock=FakeClock(start))
            with client.post("/", {}, call, stream=True) as answer:
                return answer.read()

        assert ask() == b"{}"
        with pytest.raises(providerhub.ProviderTimeoutError, match="first token"):
            ask(first_token=0.1)
        with pytest.raises(providerhub.ProviderTimeoutError, match="byte idle"):
            ask(byte_idle=0.1)
        client.close()


NO_THREAD = """
import sys, threading
from providerhub import CallContext, ProviderConfig, ProviderConnectionError, Timeout
from providerhub.http import HttpClient
from providerhub._watchdog import WATCHDOG
real, left = threading.Thread.start, [1]
def start(thread):
    if thread.name == "providerhub-watchdog" and left:
        left.pop()
        raise RuntimeError("can't start new thread")
    real(thread)
threading.Thread.start = start
client = HttpClient(ProviderConfig(name="acme", url=sys.argv[1]))
def ask(**phases):
    with client.post("/", {}, CallContext(Timeout(**phases)), stream=True) as answer:
        return answer.read()
try:
    ask()
except ProviderConnectionError as error:
    print(error)
print(ask())
try:
    ask(first_token=0.1)
except TimeoutError as error:
    print(error)
"""


def test_a_watchdog_that_cannot_start_is_an_error_and_the_next_call_tries_again():
    with FaultServer(http_response(200, {}), Hold()) as server:
        done = subprocess.run([sys.executable, "-c", NO_THREAD, server.url], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    told, answer, timeout = done.stdout.splitlines()
    assert "no thread can be started to watch the timeouts: can't start new thread" in told
    assert answer == "b'{}'"
    assert "first token" in timeout


@pytest.fixture
def _switching_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_often")
def test_closing_the_client_in_another_thread_does_not_disturb_a_call():
    def ask_often():
        try:
            for _ in range(50):
                assert post(client) == b"{}"
        except BaseException as error:  # the main thread asserts that there is none
            failures.append(error)

    failures = []
    with FaultServer(http_response(200, {}), repeat=True) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))
        callers = [threading.Thread(target=ask_often) for _ in range(4)]
        for caller in callers:
            caller.start()
        while any(caller.is_alive() for caller in callers):
            client.close()
        client.close()
    assert failures == []


@pytest.mark.parametrize("size", [b"1" * 5000, b"0x5", b"f" * 17, b"-1", b"1_0"])
def test_an_invalid_chunk_size_is_a_protocol_error(size):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with FaultServer((Send(head + size + b"\r\nhello\r\n0\r\n\r\n"), Close())) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))
        with pytest.raises(providerhub.ProtocolError, match="has the size"):
            post(client)
        client.close()


@pytest.mark.parametrize(
    ("timeouts", "stream", "words"),
    [
        ({"first_token": 0.1}, True, r"no content came for 0\.1 s \(first token timeout\)"),
        ({"total": 0.1}, False, "total timeout"),
    ],
)
def test_a_timeout_of_the_socket_itself_names_its_phase(monkeypatch, timeouts, stream, words):
    monkeypatch.setattr(WATCHDOG, "start", lambda timer: None)  # as if the watchdog's thread were late
    with FaultServer(Hold()) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url))
        with pytest.raises(providerhub.ProviderTimeoutError, match=words):
            client.post("/", {}, CallContext(Timeout(**timeouts)), stream=stream)
        client.close()


def test_no_refusal_is_its_own_cause():
    with FaultServer(http_response(500, "no"), http_response(200, b"x" * 9), repeat=True) as server:
        client = HttpClient(ProviderConfig(name="acme", url=server.url), body_limit=5)
        for kind in (providerhub.ServerError, providerhub.ProtocolError):
            with pytest.raises(kind) as caught:
                post(client)
            assert caught.value.__cause__ is not caught.value
        client.close()


def test_the_watchdog_keeps_no_timer_that_was_stopped():
    class Seen(Timer):
        def due(self, now):
            looked.set()
            return super().due(now)

    looked, timer = threading.Event(), Seen(time.monotonic() + 3600, list)
    left = weakref.ref(timer)
    WATCHDOG.start(timer)
    assert looked.wait(60)
    WATCHDOG.stop(timer)
    del timer
    while left() is not None:  # the thread is on its way to its wait
        time.sleep(0.01)
