"""`extra_headers`, `extra_query` and `extra_body` reach a real service, synchronously and under asyncio, at every wire."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from providerhub import Hub, ProviderConfig, RetryPolicy, Settings

CHAT = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
CLAUDE = {"id": "m", "type": "message", "model": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
ANSWERS = {"openai": CHAT, "anthropic": {**CLAUDE, "usage": {"input_tokens": 1, "output_tokens": 1}}}


@pytest.fixture
def service():
    """`service(answer)` is the address of a service that gives one answer, and what it was asked."""
    servers = []

    def make(answer):
        seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                seen.append((self.path.partition("?")[2], dict(self.headers), body))
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}", seen

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


EXTRAS = {
    "extra_headers": {"X-Title": "my app"},
    "extra_query": {"beta": "true"},
    "extra_body": {"top_k": 5, "temperature": 0.25},
    "user": "u-1",
}


@pytest.mark.parametrize("under_asyncio", [False, True])
@pytest.mark.parametrize("provider", ["p", "*"])
@pytest.mark.parametrize("plugin", ["openai", "anthropic"])
def test_extras_are_added_to_the_request(service, plugin, provider, under_asyncio):
    url, seen = service(ANSWERS[plugin])
    config = ProviderConfig(plugin=plugin, url=url, api_key="k", models=["m"])
    settings = Settings(providers={"p": config}, retry=RetryPolicy(attempts=1))
    call = {"temperature": 1.0, "top_p": 0.5, "options": {provider: EXTRAS}}

    async def ask():
        async with Hub(settings) as hub:
            return await hub.acomplete("p/m", "Hello", **call)

    if under_asyncio:
        asyncio.run(ask())
    else:
        with Hub(settings) as hub:
            hub.complete("p/m", "Hello", **call)
    ((query, headers, body),) = seen
    assert (query, headers["X-Title"]) == ("beta=true", "my app")
    assert {name: body[name] for name in ("top_k", "temperature", "top_p", "user")} == {
        "top_k": 5, "temperature": 0.25, "top_p": 0.5, "user": "u-1",
    }  # fmt: skip
    assert not any(name.startswith("extra_") for name in body)
