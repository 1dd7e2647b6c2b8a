"""The web applications of the guide, under a real server: a stream that breaks, and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import socket
import sys
import threading

import pytest

import providerhub._default
from providerhub.testing import Close, FaultServer, Gate, chunked, http_response, openai_chunk, openai_error, sse

uvicorn = pytest.importorskip("uvicorn")
pytestmark = pytest.mark.once

APPS = ["asgi_app", "starlette_app"]


@pytest.fixture(params=APPS)
def application(request, shown, tmp_path, monkeypatch):
    """An application of the page, by its address; the log of the server must hold no traceback."""
    if request.param == "starlette_app":
        pytest.importorskip("starlette")
    for _, block in shown:
        if block.argument in {f"{name}.py" for name in APPS}:
            (tmp_path / block.argument).write_text(block.text, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in APPS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    app = importlib.import_module(request.param).app
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", http="h11", loop="asyncio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    for name in APPS:
        sys.modules.pop(name, None)


@pytest.fixture
def service(monkeypatch):
    """The provider, which plays scripts."""

    def start(*scripts):
        server = FaultServer(*scripts)
        servers.append(server)
        monkeypatch.setenv("LOCKCHAT_URL", server.url)
        return server

    servers = []
    monkeypatch.setenv("PROVIDERHUB_CONFIG", "/dev/null")
    monkeypatch.setattr(providerhub._default, "_default", None)
    yield start
    if providerhub._default._default is not None:
        providerhub._default._default.close()
    for server in servers:
        server.__exit__(None, None, None)


@contextlib.contextmanager
def _asking(port):
    body = json.dumps({"question": "Hello"}).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            b"POST /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        yield connection


def _read(connection):
    return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def _tracebacks(caplog):
    return [record for record in caplog.records if record.exc_info]


def test_a_stream_that_breaks_ends_the_response_without_a_traceback(application, service, caplog):
    service(chunked(sse(openai_chunk("Half an"), Close())))
    with _asking(application) as connection:
        said = _read(connection)
    assert said.startswith("HTTP/1.1 200 ")
    if "text/event-stream" in said:
        assert 'data: "Half an"\n\n' in said
        assert 'event: error\ndata: "the answer is not complete"\n\n' in said
        assert said.endswith("\r\n0\r\n\r\n")
    else:
        assert said.endswith("\r\nHalf an\r\n")  # without the last chunk
    assert _tracebacks(caplog) == []


@pytest.mark.parametrize("said", [b"", b"Half an"], ids=["before-the-first-content", "later"])
def test_a_client_that_leaves_ends_the_call(application, service, caplog, said):
    server = service(chunked(sse(*([openai_chunk(said.decode())] if said else []), Gate("never"))))
    with _asking(application) as connection:
        server.reached("never")
        while said and said not in connection.recv(65536):
            pass
    server.client_gone()
    assert _tracebacks(caplog) == []


def test_an_early_failure_is_a_status(application, service, caplog):
    service(http_response(401, openai_error("wrong key")))
    with _asking(application) as connection:
        said = _read(connection)
    assert said.startswith("HTTP/1.1 503 ")
    assert "try again later" in said
    assert _tracebacks(caplog) == []
