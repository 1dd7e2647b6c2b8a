"""The provider `azure`: addresses, keys, tokens, filters, deployments, and errors that name the setting."""

import asyncio
import json
import sys
import time
import types

import pytest

import providerhub
from providerhub import CallContext, ConfigurationError, ProviderConfig, Request, Timeout
from providerhub.testing import FaultServer, chunked, http_response, openai_chunk, openai_completion, openai_stream, sse
from providerhub_openai.azure_provider import Azure

KEY = "canary-key-0123456789"
WHOLE = http_response(200, openai_completion("Hi"))
DATED = "2024-10-21"
REQUEST = Request("my gpt", [{"role": "user", "content": "Hello"}])
VARIABLES = (
    "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_BASE_URL", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION",
)  # fmt: skip


@pytest.fixture(autouse=True)
def bare_azure(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def config(url, **options):
    key = options.pop("api_key", KEY)
    return ProviderConfig(name="azure", url=url, api_key=key, options=options)


@pytest.fixture(params=["sync", "async"])
def pieces(request):
    """`pieces(url, request=REQUEST, **options)`: what the provider yields."""

    def found(url, asked=REQUEST, **options):
        provider, call = Azure(config(url, **options)), CallContext(Timeout(total=20))
        if request.param == "sync":
            try:
                return list(provider.stream(asked, call))
            finally:
                provider.close()

        async def run():
            try:
                return [piece async for piece in provider.astream(asked, call)]
            finally:
                await provider.aclose()

        return asyncio.run(run())

    return found


class Credential:
    """A credential as those of azure-identity."""

    def __init__(self, lasts=3600.0, error=None):
        self.asked, self._lasts, self._error = [], lasts, error

    def get_token(self, *scopes):
        self.asked.append(scopes)
        if self._error:
            raise self._error
        return types.SimpleNamespace(token=f"token-{len(self.asked)}-of-entra", expires_on=int(time.time() + self._lasts))


class ClientAuthenticationError(Exception):
    pass


class ServiceRequestError(Exception):
    pass


# --- addresses


@pytest.mark.parametrize(
    ("suffix", "options", "target"),
    [
        ("", {}, "/openai/v1/chat/completions"),
        ("/", {}, "/openai/v1/chat/completions"),
        ("/openai/v1/", {}, "/openai/v1/chat/completions"),
        ("/openai", {"api_version": "preview"}, "/openai/v1/chat/completions?api-version=preview"),
        ("", {"api": "responses"}, "/openai/v1/responses"),
        ("/a/b/openai/v1", {}, "/a/b/openai/v1/chat/completions"),
        ("", {"api_version": DATED}, f"/openai/deployments/my%20gpt/chat/completions?api-version={DATED}"),
        ("", {"api_version": DATED, "api": "responses"}, f"/openai/responses?api-version={DATED}"),
        (
            "/openai/deployments/d/chat/completions?api-version=2024-10-21",
            {},
            f"/openai/deployments/d/chat/completions?api-version={DATED}",
        ),
        ("/?api-version=2024-10-21", {}, f"/openai/deployments/my%20gpt/chat/completions?api-version={DATED}"),
    ],
)
def test_each_form_of_the_address(pieces, suffix, options, target):
    done = {"object": "response", "status": "completed", "output": []}
    answer = http_response(200, done) if "api" in options else WHOLE
    with FaultServer(answer) as server:
        pieces(server.url + suffix, **options)
    request = server.requests[0]
    assert request.target == target
    assert (request.header("api-key"), request.header("authorization")) == (KEY, "")
    assert request.json()["model"] == "my gpt"


@pytest.mark.parametrize("version", ["2024-10", "v2", "latest-1"])
def test_a_version_of_another_form_is_refused(version):
    with pytest.raises(ConfigurationError, match="api_version"):
        Azure(config("http://127.0.0.1:1", api_version=version))


@pytest.mark.parametrize(("version", "is_new"), [("v1", True), (DATED, True), ("2024-06-01", False)])
def test_old_versions_get_only_the_fields_that_they_know(version, is_new):
    asked = Request("d", REQUEST.messages, stream=True, max_tokens=5)
    body = Azure(config("http://127.0.0.1:1", api_version=version)).body(asked)
    assert ("max_completion_tokens" in body, "stream_options" in body) == (is_new, is_new)


def test_the_environment_configures_it(monkeypatch):
    with FaultServer(WHOLE) as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_API_VERSION", DATED)
        with providerhub.Hub(providerhub.Settings(allow=("azure",))) as hub:
            assert hub.complete("azure/d", "Hello").text == "Hi"
    assert server.requests[0].target == f"/openai/deployments/d/chat/completions?api-version={DATED}"


@pytest.mark.parametrize(("name", "variable"), [("url", "AZURE_OPENAI_ENDPOINT"), ("api_key", "AZURE_OPENAI_API_KEY")])
def test_a_missing_setting_is_named(monkeypatch, name, variable):
    for other, value in (("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:1"), ("AZURE_OPENAI_API_KEY", KEY)):
        if other != variable:
            monkeypatch.setenv(other, value)
    with providerhub.Hub(providerhub.Settings(allow=("azure",))) as hub, pytest.raises(ConfigurationError, match=variable):
        hub.complete("azure/d", "Hello")


# --- Entra


def test_a_token_is_fetched_once_and_replaces_the_key():
    credential = Credential()
    with FaultServer(WHOLE, repeat=True) as server:
        provider = Azure(config(server.url, api_key=None, auth="entra", credential=credential))
        for _ in range(2):
            list(provider.stream(REQUEST, CallContext(Timeout(total=20))))
        provider.close()
    assert [request.header("authorization") for request in server.requests] == ["Bearer token-1-of-entra"] * 2
    assert server.requests[0].header("api-key") == ""
    assert credential.asked == [("https://cognitiveservices.azure.com/.default",)]


def test_a_token_near_its_end_is_replaced(pieces):
    credential = Credential(lasts=60)
    with FaultServer(WHOLE, repeat=True) as server:
        pieces(server.url, api_key=None, auth="entra", credential=credential, scope="https://other/.default")
        provider = Azure(config(server.url, api_key=None, auth="entra", credential=credential))
        for _ in range(2):
            list(provider.stream(REQUEST, CallContext(Timeout(total=20))))
        provider.close()
    assert [request.header("authorization")[-16:] for request in server.requests] == [f"token-{n}-of-entra" for n in (1, 2, 3)]
    assert credential.asked[0] == ("https://other/.default",)


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (ClientAuthenticationError("the token has expired"), providerhub.AuthenticationError, "az login"),
        (ServiceRequestError("no route"), providerhub.ProviderConnectionError, "no route"),
    ],
)
def test_a_failure_to_sign_in_names_the_way_out(pieces, error, expected, words):
    with pytest.raises(expected, match=words):
        pieces("http://127.0.0.1:1", api_key=None, auth="entra", credential=Credential(error=error))


def test_azure_identity_is_imported_when_a_token_is_needed(pieces, monkeypatch):
    package, module = types.ModuleType("azure"), types.ModuleType("azure.identity")
    package.__path__, module.DefaultAzureCredential = [], Credential
    module.__spec__ = types.SimpleNamespace(name="azure.identity")
    monkeypatch.setitem(sys.modules, "azure", package)
    monkeypatch.setitem(sys.modules, "azure.identity", module)
    with FaultServer(WHOLE) as server:
        pieces(server.url, api_key=None, auth="entra")
    assert server.requests[0].header("authorization") == "Bearer token-1-of-entra"


def test_without_azure_identity_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "azure", types.ModuleType("azure"))  # a module that is no package
    with pytest.raises(ConfigurationError, match=r"providerhub-openai\[azure\]"):
        Azure(config("http://127.0.0.1:1", api_key=None, auth="entra"))


@pytest.mark.parametrize(("options", "words"), [({"auth": "oauth"}, "auth"), ({"auth": "entra", "credential": "x"}, "get_token")])
def test_wrong_ways_to_sign_in_are_refused(options, words):
    with pytest.raises(ConfigurationError, match=words):
        Azure(config("http://127.0.0.1:1", **options))


def test_a_token_is_not_shown():
    refusal = http_response(400, {"error": {"message": "token-1-of-entra is not liked"}})
    with FaultServer(refusal) as server, pytest.raises(providerhub.ProviderError) as caught:
        list(Azure(config(server.url, auth="entra", credential=Credential())).stream(REQUEST, CallContext(Timeout(total=20))))
    assert "token-1-of-entra" not in f"{caught.value} {caught.value.excerpt}"


# --- answers


def test_filters_and_chunks_without_choices_or_delta(pieces):
    bare = {
        "index": 0,
        "finish_reason": None,
        "content_filter_results": {"hate": {"filtered": False}},
        "content_filter_offsets": {},
    }
    chunks = [
        {"choices": [], "id": "", "created": 0, "object": "", "prompt_filter_results": [{"prompt_index": 0}]},
        openai_chunk("H"),
        {"choices": [bare], "id": "c"},
        openai_chunk("i", finish_reason="stop"),
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    ]
    with FaultServer(chunked(sse(*chunks))) as server:
        found = pieces(server.url, Request("d", REQUEST.messages, stream=True))
    assert "".join(piece for piece in found if isinstance(piece, str)) == "Hi"
    (created,) = (piece.value for piece in found if getattr(piece, "name", "") == "created")
    assert created > 0
    (safety,) = (piece.value for piece in found if getattr(piece, "name", "") == "safety")
    assert safety["prompt_filter_results"] == [{"prompt_index": 0}]
    assert safety["content_filter_results"]["hate"] == {"filtered": False}


def test_metadata_and_then_an_error_is_an_error(pieces):
    head = {"choices": [], "prompt_filter_results": []}
    error = {"error": {"code": "429", "message": "Too many requests"}}
    with FaultServer(chunked(sse(head, error, done=False))) as server, pytest.raises(providerhub.RateLimitError):
        pieces(server.url, Request("d", REQUEST.messages, stream=True))


REFUSED = [
    (
        404,
        "DeploymentNotFound",
        "The API deployment for this resource does not exist.",
        providerhub.ModelUnavailableError,
        "`models`",
    ),
    (404, "404", "Resource not found", providerhub.ProtocolError, "api_version in [providers.azure.options]"),
    (400, "BadRequest", "API version not supported", providerhub.ProtocolError, "set api_version"),
    (400, "UnsupportedApiVersion", "The version is not known.", providerhub.ProtocolError, "set api_version"),
    (
        400,
        "MissingApiVersionParameter",
        "The api-version query parameter is required.",
        providerhub.ProtocolError,
        "set api_version",
    ),
    (
        401,
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint.",
        providerhub.AuthenticationError,
        "api_key and url",
    ),
    (401, "Unauthorized", "The token has expired.", providerhub.AuthenticationError, "sign in again"),
    (401, "PermissionDenied", "The principal lacks the required data action", providerhub.AuthenticationError, "OpenAI User"),
    (400, "content_filter", "The response was filtered.", providerhub.ContentPolicyError, ""),
]


@pytest.mark.parametrize(("status", "code", "message", "error", "words"), REFUSED)
def test_a_refusal_names_the_setting(pieces, status, code, message, error, words):
    body = {"error": {"code": code, "message": message}}
    with FaultServer(http_response(status, body)) as server, pytest.raises(error) as caught:
        pieces(server.url)
    assert words in str(caught.value)


# --- deployments


def test_the_deployments_are_the_models():
    entries = [
        {"id": "fast", "model": "gpt-4.1-mini", "status": "succeeded"},
        {"id": "deep", "model": "o3-pro"},
        {"id": "whale", "model": "DeepSeek-R1"},
        {"id": "vectors", "model": "text-embedding-3-small"},
        {"id": "later", "model": "gpt-5", "status": "creating"},
        {"id": " "},
    ]
    with FaultServer(http_response(200, {"data": entries})) as server:
        found = Azure.discover(config(server.url + "/openai/v1"))
    assert server.requests[0].target == "/openai/deployments?api-version=2023-03-15-preview"
    assert server.requests[0].header("api-key") == KEY
    assert [(model.name, model.context_window) for model in found] == [
        ("fast", 1_047_576), ("deep", 200_000), ("whale", None), ("vectors", 8_192),
    ]  # fmt: skip
    assert [model.name for model in found if model.supports_embeddings] == ["vectors"]


def test_with_chat_alone_a_deployment_that_speaks_only_responses_is_left_out():
    with FaultServer(http_response(200, {"data": [{"id": "deep", "model": "o3-pro"}]})) as server:
        assert Azure.discover(config(server.url, api="chat")) == []


def test_the_deployments_are_listed_with_a_token():
    with FaultServer(http_response(200, {"data": []})) as server:
        Azure.discover(config(server.url, auth="entra", credential=Credential()))
    assert server.requests[0].header("authorization") == "Bearer token-1-of-entra"


def test_a_resource_without_a_list_asks_for_the_names():
    refusal = http_response(404, {"error": {"code": "404", "message": "Resource not found"}})
    with FaultServer(refusal) as server, pytest.raises(providerhub.ProtocolError, match="name them in `models`"):
        Azure.discover(config(server.url))


# --- the provider `openai` at an address of Azure


@pytest.mark.parametrize(("query", "key"), [("?api-version=2024-06-01", KEY), ("?a=1", ""), ("", "")])
def test_openai_sends_its_key_both_ways_where_the_address_has_a_version(hub_at, ask, query, key):
    with FaultServer(openai_stream("Hi")) as server, hub_at(f"{server.url}/openai/deployments/d{query}", api_key=KEY) as hub:
        assert ask(hub).text == "Hi"
    request = server.requests[0]
    assert (request.header("authorization"), request.header("api-key")) == (f"Bearer {KEY}", key)


def test_the_light_module_imports_nothing_heavy():
    import subprocess

    code = "import sys, providerhub_openai.azure; print(sorted(n for n in sys.modules if n in ('urllib3', 'azure', 'aiohttp')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout.replace("'", '"')) == []
