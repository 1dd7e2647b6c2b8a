"""A server on loopback that answers like OpenAI, Anthropic, Google and Ollama, so that the pages for their users run."""

from __future__ import annotations

import contextlib
import re

from providerhub import Usage
from providerhub_conformance import AnthropicWire, FaultServer, OpenAIChatWire, Reply, http_response
from providerhub_gemini.conformance import GeminiWire
from providerhub_ollama.conformance import OllamaWire

ANSWERS = {
    "french": "Bonjour !",
    "haiku": "Quiet server hums,\none request, then another:\nwarm light in the rack.",
    "summar": "The notes plan a release on Friday.",
}
"""A word of the prompt → the answer."""
OTHERWISE = "Hello! How can I help?"
DATED = {"gpt-4o": "gpt-4o-2024-08-06"}
"""A model → the name under which it answers."""
OPENAI, ANTHROPIC, GEMINI, OLLAMA = OpenAIChatWire(), AnthropicWire(), GeminiWire(), OllamaWire()
CALLS = {"/v1/chat/completions": OPENAI, "/v1/messages": ANTHROPIC, "/v1beta/models/": GEMINI, "/api/chat": OLLAMA}
LISTS = {"/v1beta/models": (GEMINI, ["gemini-2.5-flash"]), "/api/tags": (OLLAMA, ["llama3.2:latest"])}


def _answer(request):
    path = request.target.partition("?")[0]
    if request.method == "GET":
        wire, models = LISTS.get(path, (OPENAI, ["gpt-4o", "gpt-4o-mini"]))
        if request.header("anthropic-version"):
            wire, models = ANTHROPIC, ["claude-sonnet-4-5"]
        return http_response(200, wire.listing(models))
    if path == "/api/show":
        return http_response(200, {"capabilities": ["completion"]})
    wire = next(wire for begin, wire in CALLS.items() if path.startswith(begin))
    asked = wire.asked(request)
    prompt = asked.messages[-1][1].lower()
    said = next((answer for word, answer in ANSWERS.items() if word in prompt), OTHERWISE)
    model = DATED.get(asked.model, asked.model)
    reply = Reply(text=tuple(re.findall(r"\S+\s*", said)), usage=Usage(12, 5), model=model)
    if not asked.stream:
        return http_response(200, wire.answer(reply))
    return http_response(200, b"".join(wire.stream(reply).all), headers={"Content-Type": wire.stream_type})


@contextlib.contextmanager
def serve_vendors():
    """Run the server; yields the environment that leads the plugins to it."""
    with FaultServer(_answer) as server:
        url = server.url
        yield {
            "OPENAI_BASE_URL": f"{url}/v1",
            "ANTHROPIC_BASE_URL": url,
            "GOOGLE_GEMINI_BASE_URL": url,
            "OLLAMA_HOST": url,
        }
