"""A server on loopback that answers as OpenAI, Anthropic, Google and Ollama do, so that the pages for their users run."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWERS = {
    "french": "Bonjour !",
    "haiku": "Quiet server hums,\none request, then another:\nwarm light in the rack.",
    "invoice": '{"number": "A-17", "total": 12.5}',
    "summar": "The notes plan a release on Friday.",
}
"""A word of the prompt → the answer."""
OTHERWISE = "Hello! How can I help?"
OPENAI_MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")


def answer_to(body):
    """Return the text for the last message of a request in any of the four shapes."""
    messages = body.get("messages") or body["contents"]
    prompt = json.dumps(messages[-1]).lower()
    return next((said for word, said in ANSWERS.items() if word in prompt), OTHERWISE)


def words(text):
    """Return the pieces of a stream."""
    return re.findall(r"\S+\s*", text)


def sse(*events, named=False, done=b""):
    """Return events as a stream of server-sent events."""
    lines = ((f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events)
    return "".join(lines).encode() + done, "text/event-stream"


def openai_chat(body, _path):
    """Return an answer of OpenAI's chat completions."""
    said = answer_to(body)
    head = {"id": "chatcmpl-1", "created": 1_760_000_000, "model": f"{body['model']}-2024-08-06"}
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    if not body.get("stream"):
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    head["object"] = "chat.completion.chunk"
    chunks = [{**head, "choices": [{"index": 0, "delta": {"content": word}}]} for word in words(said)]
    last = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return sse(*chunks, last, {**head, "choices": [], "usage": usage}, done=b"data: [DONE]\n\n")


def anthropic(body, _path):
    """Return an answer of Anthropic's Messages API."""
    said = answer_to(body)
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
    if not body.get("stream"):
        usage = {"input_tokens": 12, "output_tokens": 5}
        return {**head, "content": [{"type": "text", "text": said}], "stop_reason": "end_turn", "usage": usage}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0}
    deltas = [{**delta, "delta": {"type": "text_delta", "text": word}} for word in words(said)]
    first = {"type": "message_start", "message": {**head, "content": [], "usage": {"input_tokens": 12, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
    stop = {"type": "content_block_stop", "index": 0}
    return sse(first, block, *deltas, stop, end, {"type": "message_stop"}, named=True)


def gemini(body, path):
    """Return an answer of Google's generateContent."""
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 5, "totalTokenCount": 17}

    def part(text, **more):
        content = {"role": "model", "parts": [{"text": text}]}
        return {
            "candidates": [{"content": content, "index": 0, **more}],
            "usageMetadata": usage,
            "modelVersion": "gemini-2.5-flash",
        }

    said = answer_to(body)
    if ":stream" not in path:
        return part(said, finishReason="STOP")
    *some, last = words(said)
    return sse(*map(part, some), part(last, finishReason="STOP"))


def ollama(body, _path):
    """Return an answer of Ollama's chat."""
    said, head = answer_to(body), {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 5}
    if not body.get("stream", True):
        return {**head, "message": {"role": "assistant", "content": said}, **end}
    parts = [{**head, "message": {"role": "assistant", "content": word}, "done": False} for word in words(said)]
    lines = [*parts, {**head, "message": {"role": "assistant", "content": ""}, **end}]
    return "".join(json.dumps(line) + "\n" for line in lines).encode(), "application/x-ndjson"


def listed(names):
    """Return a list of models in OpenAI's shape."""
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "system"} for name in names]}


GETS = {
    "/v1/models": lambda headers: listed(OPENAI_MODELS) if "anthropic-version" not in headers else claude_models(),
    "/v1beta/models": lambda _: {
        "models": [{"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent"]}]
    },
    "/api/tags": lambda _: {"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest"}]},
}
POSTS = (
    ("/v1/chat/completions", openai_chat),
    ("/v1/messages", anthropic),
    ("/v1beta/models/", gemini),
    ("/api/chat", ollama),
    ("/api/show", lambda *_: {"capabilities": ["completion"], "model_info": {"llama.context_length": 131_072}}),
)


def claude_models():
    """Return a list of models in Anthropic's shape."""
    model = {"type": "model", "id": "claude-sonnet-4-5", "created_at": "2025-09-29T00:00:00Z"}
    return {"data": [model], "has_more": False, "first_id": model["id"], "last_id": model["id"]}


class Handler(BaseHTTPRequestHandler):
    """Answers with JSON, or with the bytes of a stream."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        self._send(GETS[path](self.headers) if path in GETS else None)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = next((answer for path, answer in POSTS if self.path.startswith(path)), None)
        self._send(answer(body, self.path) if answer else None)

    def _send(self, answer):
        if isinstance(answer, tuple):
            data, kind = answer
        else:
            data, kind = json.dumps(answer or {"error": {"message": "not here"}}).encode(), "application/json"
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve_vendors():
    """Run the server; yields the environment that leads the plugins to it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield {
            "OPENAI_BASE_URL": f"{url}/v1",
            "ANTHROPIC_BASE_URL": url,
            "GOOGLE_GEMINI_BASE_URL": url,
            "OLLAMA_HOST": url,
        }
        server.shutdown()
        thread.join()
