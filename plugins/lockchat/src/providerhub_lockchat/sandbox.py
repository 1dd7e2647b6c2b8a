"""A loopback server with Lockchat's protocol, for demonstrations, tests and plugin authors. It invents its answers.

python -m providerhub_lockchat.sandbox --port 8080
LOCKCHAT_URL=http://127.0.0.1:8080 providerhub ask -m gpt-4 Hello
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS: Mapping[str, str] = {
    "error": "answers HTTP 500",
    "rate-limit": "answers HTTP 429 with Retry-After: 1",
    "model-not-found": "answers HTTP 200, then writes into the stream that the model does not exist",
    "reset": "resets the connection before any header",
    "cut": "ends the connection in the middle of the answer",
    "empty": "answers HTTP 200 with an empty body",
    "garbage": "answers with a web page",
    "stall": "sends the beginning of the answer and then nothing until the client leaves",
}
"""The sandbox's faults: name → behaviour."""

CUT_AFTER = 2
"""In a stream, the fault `cut` ends the connection after the token with this number, counted from 0."""

MODELS = ("gpt-4", "gpt-3.5-turbo")

_LINGER_ZERO = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


def reply(messages: list[Mapping[str, Any]]) -> list[str]:
    """Return the tokens of the sandbox's answer. The answer states that it comes from a sandbox.

    Args:
        messages: The conversation in the OpenAI chat shape.
    """
    last = next((m.get("content") for m in reversed(messages) if m.get("role") == "user"), "")
    text = f"This is the Lockchat sandbox, not a real model. You said: {last}"
    words = text.split(" ")
    return [word if n == 0 else f" {word}" for n, word in enumerate(words)]


def _usage(tokens: list[str]) -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": len(tokens), "total_tokens": len(tokens) + 1}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # With Nagle's algorithm a small write waits for the peer's delayed acknowledgement, which takes 40 ms a token.
    disable_nagle_algorithm = True
    server: _Server

    def version_string(self) -> str:
        """Return the value of the header `Server`."""
        return "Lockchat-sandbox"

    @property
    def _path(self) -> str:
        """The path of the request, without its query."""
        return self.path.partition("?")[0]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault
        if self._path != "/v1/chat/completions":
            self._whole(404, {"error": {"message": f"the Lockchat sandbox has no {self._path}; POST to /v1/chat/completions"}})
        elif fault in {"error", "rate-limit", "reset", "empty", "garbage"}:
            self._misbehave(fault)
        else:
            self._answer(body)

    def do_GET(self) -> None:
        if self._path == "/v1/models":
            self._whole(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})
        else:
            self._whole(404, {"error": {"message": "this is the Lockchat sandbox; POST to /v1/chat/completions"}})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's signature
        if self.server.verbose:
            super().log_message(format, *args)

    def _answer(self, body: bytes) -> None:
        try:
            asked = json.loads(body)
            model, messages = asked["model"], asked["messages"]
            tokens = reply(messages)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._whole(
                400, {"error": {"message": "the body must be JSON with 'model' and 'messages'", "type": "invalid_request_error"}}
            )
            return
        missing = self.server.fault == "model-not-found" or model not in MODELS
        if asked.get("stream"):
            self._stream(model, tokens, missing=missing)
        elif missing:
            self._whole(200, {"error": {"message": f"The model: `{model}` does not exist"}})
        else:
            message = {"role": "assistant", "content": "".join(tokens)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = {"object": "chat.completion", "model": model, "choices": [choice], "usage": _usage(tokens)}
            if self.server.fault in {"cut", "stall"}:
                self._send(200, json.dumps(answer).encode(), "application/json", half=True)
                self._break_off()
            else:
                self._whole(200, answer)

    def _stream(self, model: str, tokens: list[str], *, missing: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if missing:
            self._chunk(f"The model: `{model}` does not exist\n\n".encode())
            self._chunk(b"")
            return
        for number, token in enumerate(tokens):
            self._event({"choices": [{"index": 0, "delta": {"content": token}, "finish_reason": None}]})
            if self.server.fault == "stall" or (self.server.fault == "cut" and number == CUT_AFTER):
                self._break_off()
                return
            if self.server.stopping.wait(self.server.delay):
                return
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _break_off(self) -> None:
        """End the connection in the middle of an answer: at once, or, for the fault `stall`, when the client has left."""
        while self.server.fault == "stall" and not self.server.stopping.wait(0.05) and not self._client_left():
            pass
        self.close_connection = True

    def _client_left(self) -> bool:
        self.connection.settimeout(0.01)
        try:
            return not self.connection.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True

    def _misbehave(self, fault: str) -> None:
        if fault == "error":
            self._whole(500, {"error": {"message": "the sandbox runs with the fault 'error'", "type": "server_error"}})
        elif fault == "rate-limit":
            self._whole(429, {"error": {"message": "the sandbox runs with the fault 'rate-limit'"}}, ("Retry-After", "1"))
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self.close_connection = True
            self.connection.close()
        else:
            self._send(
                200,
                b"" if fault == "empty" else b"<html>not a model</html>",
                "text/html" if fault == "garbage" else "text/event-stream",
            )

    def _whole(self, status: int, answer: Mapping[str, Any], *headers: tuple[str, str]) -> None:
        self._send(status, json.dumps(answer).encode(), "application/json", *headers)

    def _send(self, status: int, body: bytes, kind: str, *headers: tuple[str, str], half: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)

    def _event(self, data: Mapping[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, fault: str | None, delay: float, *, verbose: bool) -> None:
        self.fault = fault
        self.delay = delay
        self.verbose = verbose
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Return the address to configure."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        with contextlib.suppress(OSError):
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that leaves early. Report any other error, since it is a bug of the sandbox."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """End every connection and the server."""
        self.stopping.set()
        self.shutdown()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


@contextlib.contextmanager
def serve(*, port: int = 0, fault: str | None = None, delay: float = 0.02) -> Iterator[str]:
    """Run a sandbox on loopback during a `with` block.

    Args:
        port: The port to listen on; default 0, for a free one.
        fault: A name of `FAULTS`; default `None`, for correct answers.
        delay: Seconds between two tokens; default 0.02.

    Yields:
        The address to configure, such as `"http://127.0.0.1:43210"`.

    Raises:
        ValueError: `fault` is not a name of `FAULTS`.
        OSError: The port cannot be listened on.
    """
    server = _Server(port, _known(fault), delay, verbose=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="lockchat-sandbox", daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


def _known(fault: str | None) -> str | None:
    if fault is not None and fault not in FAULTS:
        msg = f"unknown fault {fault!r}; the faults are {', '.join(FAULTS)}"
        raise ValueError(msg)
    return fault


def main() -> None:
    """Run the sandbox until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m providerhub_lockchat.sandbox", description="A sandbox on loopback that answers like a Lockchat service."
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: 0, a free one)")
    parser.add_argument("--fault", choices=FAULTS, help="how to misbehave (default: not at all)")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds between two tokens (default: 0.02)")
    asked = parser.parse_args()
    server = _Server(asked.port, asked.fault, asked.delay, verbose=True)
    print(f"Lockchat sandbox (its answers are made up): export LOCKCHAT_URL={server.url}", flush=True)  # noqa: T201 -- a command
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
