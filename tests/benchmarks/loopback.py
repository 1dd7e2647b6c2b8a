"""The server of all benchmarks: the OpenAI chat shape on loopback, in its own process.

`python loopback.py` prints its port and serves until its standard input closes. The first segment of the path sets the
behaviour: `/chunks=1000,frame=each/v1/chat/completions`.

- `chunks`: content chunks of a streamed answer (default 100).
- `frame`: the form of the body. `each`: one HTTP chunk for each content chunk, and many in one segment, as from a fast model
  behind a proxy. `bulk`: a body that ends with the connection, in segments of 16 KiB. `alone`: each chunk in its own segment,
  with a short pause between them, so that the client wakes for each. `held`: the first word, and then nothing.
- `shape`: `same`: the chunks differ only in their text, as at OpenAI and most vendors. `varied`: each chunk also has its own
  identifier, so that no chunk can be read by a comparison with the chunk before.
- `wire`: streams the shape of another vendor, to any request: `anthropic`, `gemini`, `cohere` or `ollama`.
- `status`: answers with this status and an error in place of an answer.
- `window=100x2`: accepts 100 requests in each 2 s, from the first request on, and refuses the others (429, `Retry-After: 2`).
- `faults=0.3`: answers this share of the requests with status 500; the same ones in every run.
- `bucket=20`: accepts 20 requests a second, and 20 at once after a pause; refuses the others (429, `Retry-After: 1`).
- `run`: a name. Each name has its own count for the limits. The path `/run=a/refused` returns the number of refusals so far.

Every request of every peer gets the same bytes, which are made in advance.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import math
import os
import random
import socket
import sys
import threading
import time

SEGMENT = 16 * 1024
IDENTITY = {"id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "created": 1741570283, "model": "gpt-4"}
USAGE = {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}


def chunk(delta: dict[str, object], reason: str | None = None, *, mark: str = "") -> bytes:
    """One streamed chunk in the shape that the service sends today."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    body = {
        "id": f"{IDENTITY['id']}{mark}",
        "object": "chat.completion.chunk", "created": IDENTITY["created"], "model": IDENTITY["model"],
        "service_tier": "default", "system_fingerprint": "fp_fc9f1d7035", "choices": [choice],
    }  # fmt: skip
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


@functools.cache
def events(count: int, shape: str) -> tuple[bytes, ...]:
    """The events of a streamed answer."""
    marks = [f"-{number}" if shape == "varied" else "" for number in range(count)]
    words = [chunk({"content": f" word{number % 10}"}, mark=mark) for number, mark in enumerate(marks)]
    first = chunk({"role": "assistant", "content": "", "refusal": None})
    return (first, *words, chunk({}, "stop"), b"data: [DONE]\n\n")


def said(wire: str, word: str) -> dict[str, object]:
    """One word in the shape of a vendor."""
    shapes: dict[str, dict[str, object]] = {
        "anthropic": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}},
        "gemini": {
            "candidates": [{"content": {"parts": [{"text": word}], "role": "model"}, "index": 0}],
            "modelVersion": "gpt-4",
        },
        "cohere": {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}},
        "ollama": {"model": "gpt-4", "message": {"role": "assistant", "content": word}, "done": False},
    }
    return shapes[wire]


AROUND: dict[str, tuple[list[dict[str, object]], list[dict[str, object]]]] = {
    "anthropic": (
        [
            {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
             "model": "gpt-4", "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ],
        [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}},
            {"type": "message_stop"},
        ],
    ),
    "gemini": ([], [{"candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]}]),
    "cohere": (
        [
            {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant", "content": []}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        ],
        [{"type": "content-end", "index": 0}, {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}],
    ),
    "ollama": ([], [{"model": "gpt-4", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}]),
}  # fmt: skip
"""What a vendor sends before the words and after them."""


@functools.cache
def vendor_stream(wire: str, count: int) -> bytes:
    """The streamed answer of a vendor, head and all."""
    first, last = AROUND[wire]
    found = []
    for event in (*first, *(said(wire, f" word{number % 10}") for number in range(count)), *last):
        body = json.dumps(event, separators=(",", ":")).encode()
        name = b"event: %b\n" % str(event["type"]).encode() if "type" in event else b""
        body = body + b"\n" if wire == "ollama" else name + b"data: " + body + b"\n\n"
        found.append(b"%x\r\n%b\r\n" % (len(body), body))
    kind = "application/x-ndjson" if wire == "ollama" else "text/event-stream"
    return head(kind, "Transfer-Encoding: chunked") + b"".join(found) + b"0\r\n\r\n"


@functools.cache
def whole() -> bytes:
    """An answer that does not stream, head and all."""
    message = {"role": "assistant", "content": "Hello! How can I assist you today?", "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = json.dumps({**IDENTITY, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return head("application/json", f"Content-Length: {len(body)}") + body


def head(kind: str, *fields: str, status: int = 200) -> bytes:
    """An answer's head."""
    lines = [f"HTTP/1.1 {status} -", "Date: Mon, 01 Jan 2024 00:00:00 GMT", f"Content-Type: {kind}", *fields, "", ""]
    return "\r\n".join(lines).encode()


@functools.cache
def streamed(count: int, frame: str, shape: str) -> tuple[bytes, ...]:
    """The segments of a streamed answer."""
    if frame == "bulk":
        body, fields = b"".join(events(count, shape)), ("Connection: close",)
    else:
        framed = [b"%x\r\n%b\r\n" % (len(event), event) for event in events(count, shape)]
        fields = ("Transfer-Encoding: chunked",)
        if frame == "held":
            return (head("text/event-stream", *fields) + b"".join(framed[:2]),)
        if frame == "alone":
            return (head("text/event-stream", *fields), *framed, b"0\r\n\r\n")
        body = b"".join(framed) + b"0\r\n\r\n"
    parts = tuple(body[start : start + SEGMENT] for start in range(0, len(body), SEGMENT))
    return (head("text/event-stream", *fields), *parts)


def refused(status: int, *fields: str) -> bytes:
    """An error."""
    body = b'{"error": {"message": "the server had an error", "type": "server_error", "param": null, "code": null}}'
    if status == 429:
        body = b'{"error": {"message": "Rate limit reached", "type": "requests", "param": null, "code": "rate_limit_exceeded"}}'
    return head("application/json", f"Content-Length: {len(body)}", *fields, status=status) + body


class Limit:
    """A limit of requests, by window or by bucket."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.since, self.count = -1e9, 0.0
        self.refused = 0

    def asked(self, how: dict[str, str]) -> float:
        """The seconds to wait that the service names; 0 where it answers."""
        with self.lock:
            now = time.monotonic()
            if "window" in how:
                calls, seconds = map(float, how["window"].split("x"))
                if now - self.since >= seconds:
                    self.since, self.count = now, calls
            else:
                rate, seconds = float(how["bucket"]), 1
                self.since, self.count = now, min(rate, self.count + (now - self.since) * rate)
            if self.count >= 1:
                self.count -= 1
                return 0
            self.refused += 1
            return seconds


FAULTS = random.Random(1)
LIMITS: collections.defaultdict[str, Limit] = collections.defaultdict(Limit)


def asked(path: str) -> dict[str, str]:
    """What the first segment of a path asks for."""
    first = path.split("/")[1]
    return dict(part.split("=", 1) for part in first.split(",")) if "=" in first else {}


def serve(connection: socket.socket) -> None:
    """Answer one connection's requests until it closes."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as source:
        while line := source.readline():
            size = 0
            while (field := source.readline()).strip():
                name, _, value = field.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            if not answer(connection, line.split()[1].decode(), source.read(size)):
                return


def answer(connection: socket.socket, path: str, body: bytes) -> bool:  # noqa: PLR0911 -- one for each behaviour
    """Answer one request; false when the connection is at its end."""
    how = asked(path)
    if "status" in how:
        connection.sendall(refused(int(how["status"])))
        return True
    if "wire" in how:
        connection.sendall(vendor_stream(how["wire"], int(how.get("chunks", "100"))))
        return True
    if path.endswith("/refused"):
        count = b"%d" % LIMITS[how["run"]].refused
        connection.sendall(head("text/plain", f"Content-Length: {len(count)}") + count)
        return True
    if ("window" in how or "bucket" in how) and (seconds := LIMITS[how.get("run", "")].asked(how)):
        connection.sendall(refused(429, f"Retry-After-Ms: {seconds * 1000:.0f}", f"Retry-After: {math.ceil(seconds)}"))
        return True
    if FAULTS.random() < float(how.get("faults", "0")):
        connection.sendall(refused(500))
        return True
    if b'"stream":true' not in body.replace(b" ", b""):
        connection.sendall(whole())
        return True
    frame = how.get("frame", "each")
    pause = threading.Event()
    for segment in streamed(int(how.get("chunks", "100")), frame, how.get("shape", "same")):
        connection.sendall(segment)
        if frame == "alone":
            pause.wait(0.0002)
    return frame != "bulk"


def quietly(connection: socket.socket) -> None:
    """Serve; a client that leaves early is ordinary."""
    with contextlib.suppress(OSError):
        serve(connection)


def main() -> None:
    """Listen until the parent is gone."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=quietly, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
