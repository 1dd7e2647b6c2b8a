"""The lists of models, the addresses and credentials of Vertex AI, and wrong settings."""

import asyncio
import json
import subprocess
import sys
import threading
import types

import pytest

import providerhub
from providerhub import AuthenticationError, ModelUnavailableError, ProviderConfig, ProviderConnectionError
from providerhub.testing import FaultServer, http_response
from providerhub_gemini.provider import Gemini, Vertex
from providerhub_gemini.vertex import providerhub_provider

from .conftest import EVERY_WAY, ask, hub_at, said, script_of


class GoogleAuthError(Exception):
    pass


class TransportError(GoogleAuthError):
    pass


class Credentials:
    """Credentials whose token is valid until it is refused."""

    token, quota_project_id, valid, wrong, threads = None, "billed", False, None, []

    def refresh(self, _request):
        if self.wrong:
            raise self.wrong
        Credentials.threads.append(threading.current_thread())
        self.valid, self.token = True, f"token-{len(Credentials.threads)}"


@pytest.fixture
def google(monkeypatch):
    """A stand-in for google-auth."""
    auth, transport = types.ModuleType("google.auth"), types.ModuleType("google.auth.transport.requests")
    auth.exceptions = types.SimpleNamespace(GoogleAuthError=GoogleAuthError, TransportError=TransportError)
    auth.made = []

    def default(scopes):
        assert scopes == ["https://www.googleapis.com/auth/cloud-platform"]
        auth.made.append("default")
        return Credentials(), "p"

    def load_credentials_from_file(path, scopes):
        auth.made.append(path)
        return default(scopes)

    auth.default, auth.load_credentials_from_file = default, load_credentials_from_file
    transport.Request = object
    names = {"google": types.ModuleType("google"), "google.auth": auth, "google.auth.transport.requests": transport}
    for name, module in {**names, "google.auth.transport": types.ModuleType("google.auth.transport")}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Credentials, "threads", [])
    return auth


def vertex_at(url, name="vertex", **options):
    return hub_at(url, name, api_key=None, options={"project": "p", **options})


HI = said({"text": "Hi"})
PARENT = "/v1beta1/projects/p/locations/global"


@EVERY_WAY
def test_a_token_is_fetched_in_a_thread_and_used_again(google, stream, aio):
    with FaultServer(*[script_of([HI], stream=stream)] * 2) as server, vertex_at(server.url) as hub:
        assert _ask(hub, stream=stream, aio=aio, times=2) == "HiHi"
    assert len(Credentials.threads) == 1
    assert Credentials.threads[0] is not threading.main_thread()
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    for request in server.requests:
        assert request.target == f"{PARENT}/publishers/google/models/gemini-2.5-flash:{method}"
        assert (request.header("authorization"), request.header("x-goog-user-project")) == ("Bearer token-1", "billed")
        assert request.header("x-goog-api-key") == ""


def _ask(hub, *, stream=False, aio=False, times=1):
    async def run():
        texts = []
        for _ in range(times):
            found = await hub.acomplete("vertex/gemini-2.5-flash", "?", stream=stream)
            texts += [one async for one in found] if stream else [found.text]
        return "".join(texts)

    if aio:
        return asyncio.run(run())
    texts = []
    for _ in range(times):
        found = hub.complete("vertex/gemini-2.5-flash", "?", stream=stream)
        texts += list(found) if stream else [found.text]
    return "".join(texts)


def test_a_refused_token_is_fetched_again_and_never_shown(google):
    def refusal(request):
        said = f"The token {request.header('authorization')} is expired."
        return http_response(401, {"error": {"code": 401, "message": said, "status": "UNAUTHENTICATED"}})

    with FaultServer(refusal, http_response(200, HI), refusal, refusal) as server, vertex_at(server.url) as hub:
        assert _ask(hub) == "Hi"
        with pytest.raises(AuthenticationError) as caught:
            _ask(hub)
        assert "token-" not in str(caught.value) + caught.value.excerpt
    assert [one.header("authorization")[-1] for one in server.requests] == ["1", "2", "2", "3"]


def test_a_file_with_credentials(google):
    with FaultServer(http_response(200, HI)) as server, vertex_at(server.url, credentials="key.json") as hub:
        _ask(hub)
    assert google.made == ["key.json", "default"]


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (GoogleAuthError("Reauthentication is needed"), AuthenticationError, "set `credentials`"),
        (OSError("no such file"), AuthenticationError, "GOOGLE_APPLICATION_CREDENTIALS"),
        (TransportError("no route"), ProviderConnectionError, "token service cannot be reached"),
    ],
)
def test_expired_credentials(google, monkeypatch, wrong, kind, words):
    monkeypatch.setattr(Credentials, "wrong", wrong)
    with FaultServer(http_response(200, HI)) as server, vertex_at(server.url) as hub:
        with pytest.raises(providerhub.ProviderHubError, match=words) as caught:
            _ask(hub)
        assert isinstance(caught.value.route.attempts[0].error, kind)
        assert not server.requests


def test_without_google_auth(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with FaultServer(http_response(200, HI)) as server, vertex_at(server.url) as hub:
        hub.explain("vertex/gemini-2.5-flash", "?")
        with pytest.raises(AuthenticationError, match=r"providerhub-gemini\[vertex\]"):
            _ask(hub)


def test_the_express_mode_needs_a_key_only():
    _, server = ask(http_response(200, HI), name="vertex")
    assert server.requests[0].target == "/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
    assert server.requests[0].header("x-goog-api-key") == "a-key-for-this-test"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("meta/llama-4", f"{PARENT}/publishers/meta/models/llama-4"),
        ("endpoints/12", f"{PARENT}/endpoints/12"),
        ("publishers/google/models/g", f"{PARENT}/publishers/google/models/g"),
        ("projects/q/locations/l/endpoints/7", "/v1beta1/projects/q/locations/l/endpoints/7"),
    ],
)
def test_names_of_models(google, model, path):
    settings = {"api_key": None, "options": {"project": "p"}, "models": [model]}
    with FaultServer(http_response(200, HI)) as server, hub_at(server.url, "vertex", **settings) as hub:
        hub.complete(providerhub.Model(model, provider="vertex"), "?")
    assert server.requests[0].target == f"{path}:generateContent"


@pytest.mark.parametrize(
    ("location", "address"),
    [
        (None, "https://aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_the_address_of_a_location(location, address):
    url = next(setting for setting in providerhub_provider().settings if setting.name == "url")
    assert url.default({"location": location}) == address


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "project"),
        ({"project": "p", "location": "the moon"}, "location"),
        ({"project": "p", "api_version": "beta"}, "api_version"),
    ],
)
def test_a_wrong_setting_is_named(options, words):
    hub = hub_at("http://127.0.0.1:9", "vertex", api_key=None, options=options)
    with hub as opened, pytest.raises(providerhub.ProviderHubError, match=words):
        _ask(opened)


def test_without_a_key_the_variable_is_named():
    with hub_at("http://127.0.0.1:9", api_key=None) as hub, pytest.raises(providerhub.ProviderHubError, match="GEMINI_API_KEY"):
        hub.complete("gemini/gemini-2.5-flash", "?")


def refused(status, message, code="INVALID_ARGUMENT", name="gemini"):
    body = message if message.startswith("<") else {"error": {"code": status, "message": message, "status": code}}
    with pytest.raises(providerhub.ProviderHubError) as caught:
        ask(http_response(status, body), name=name)
    error = caught.value
    return error if isinstance(error, providerhub.ProviderError) else error.route.attempts[0].error


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (
            404,
            "models/g is not found for API version v9, or is not supported for generateContent.",
            ModelUnavailableError,
            "api_version",
        ),
        (
            404,
            "Publisher Model `projects/p/locations/l/publishers/google/models/g` was not found",
            ModelUnavailableError,
            "location",
        ),
        (403, "Permission 'aiplatform.endpoints.predict' denied on resource '//x'", AuthenticationError, "project"),
        (403, "Vertex AI API has not been used in project 1 before or it is disabled.", AuthenticationError, "project"),
        (
            400,
            "The thinking budget 9 is invalid. Please choose a value between 512 and 24576.",
            providerhub.BadRequestError,
            "reasoning",
        ),
        (400, "Thinking level is not supported for this model.", providerhub.CapabilityError, "Thinking level"),
        (400, "Tool use with function calling is unsupported", providerhub.CapabilityError, "Tool use"),
        (400, "Multiple tools are supported only when they are all search tools.", providerhub.CapabilityError, "Multiple"),
        (400, "Unsupported MIME type: application/msword", providerhub.CapabilityError, "msword"),
        (404, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", providerhub.ProtocolError, "api_version"),
    ],
)
def test_refusals(status, message, kind, words):
    error = refused(status, message)
    assert type(error) is kind
    assert words in str(error)


def test_the_list_of_ai_studio():
    methods = {"supportedGenerationMethods": ["generateContent", "countTokens"]}
    first = {
        "models": [
            {"name": "models/gemini-3-pro", "inputTokenLimit": 1048576, "outputTokenLimit": 65536, "thinking": True, **methods},
            {"name": "models/text-embedding-9", "supportedGenerationMethods": ["embedContent"]},
        ],
        "nextPageToken": "more",
    }
    second = {"models": [{"name": "models/gemma-3-27b-it", "inputTokenLimit": 131072, **methods}]}
    with FaultServer(http_response(200, first), http_response(200, second)) as server:
        gemini, gemma, vectors = Gemini.discover(ProviderConfig(name="gemini", url=server.url, api_key="k"))
    assert (gemini.name, gemini.context_window, gemini.supports_reasoning, gemini.supports_tools) == (
        "gemini-3-pro",
        1048576,
        True,
        True,
    )
    assert (gemini.max_output_tokens, gemma.max_output_tokens) == (65536, None)
    assert (vectors.name, vectors.supports_embeddings, vectors.context_window) == ("text-embedding-9", True, None)
    assert (gemma.name, gemma.context_window, gemma.supports_tools) == ("gemma-3-27b-it", 131072, None)
    assert [one.target for one in server.requests] == [
        "/v1beta/models?pageSize=1000",
        "/v1beta/models?pageSize=1000&pageToken=more",
    ]
    assert server.requests[0].header("x-goog-api-key") == "k"


def test_the_list_of_vertex(google):
    names = ["gemini-2.5-pro", "gemini-embedding-001", "imagen-4.0", "veo-3"]
    body = {"publisherModels": [{"name": f"publishers/google/models/{name}"} for name in names]}
    with FaultServer(http_response(200, body)) as server:
        model, vectors = Vertex.discover(ProviderConfig(name="vertex", url=server.url, options={"project": "p"}))
    assert (model.name, model.supports_images) == ("gemini-2.5-pro", True)
    assert (vectors.name, vectors.supports_embeddings) == ("gemini-embedding-001", True)
    assert server.requests[0].target == "/v1beta1/publishers/google/models?pageSize=1000"
    assert server.requests[0].header("authorization") == "Bearer token-1"


def test_the_light_modules_import_nothing_heavy():
    code = "import json, sys, providerhub_gemini, providerhub_gemini.vertex; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert not {"providerhub_gemini.provider", "google.auth", "mimetypes", "asyncio", "aiohttp"} & set(loaded)


def test_a_project_in_the_environment_moves_no_prompt_to_vertex(monkeypatch):
    """The variable is set in many shells and in Google's own environments, for other programs."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    with providerhub.Hub(providerhub.Settings()) as hub:
        plan = hub.explain("gemini-2.5-flash")
        assert "vertex" not in [one.provider for one in plan.candidates]
        assert ("vertex", "pinned only") in [(skip.provider, skip.reason) for skip in plan.skipped]
        assert [one.provider for one in hub.explain("vertex/gemini-2.5-flash").candidates] == ["vertex"]
    with providerhub.Hub(providerhub.Settings(providers={"vertex": ProviderConfig()})) as hub:
        assert "vertex" in [one.provider for one in hub.explain("gemini-2.5-flash").candidates]
