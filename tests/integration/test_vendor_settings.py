"""A wrong setting at a vendor: the error names the setting, at each entry point."""

import os
import re
import socket
import sys
import types

import pytest

import providerhub
from providerhub import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ModelNotFoundError,
    ProtocolError,
    ProviderConfig,
    ProviderConnectionError,
)
from providerhub.testing import FaultServer, http_response

KEY = "key-0123456789"
AWS, GOOGLE = ("bedrock", "anthropic-bedrock"), ("vertex", "anthropic-vertex")
MODELS = {
    "bedrock": "amazon.nova-lite-v1:0", "anthropic-bedrock": "anthropic.claude-haiku-4-5-20251001-v1:0",
    "vertex": "gemini-2.5-flash", "anthropic-vertex": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash", "azure": "dep", "anthropic": "claude-opus-5",
}  # fmt: skip


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No setting of the machine's own."""
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "GEMINI_", "ANTHROPIC_", "OPENAI_"))
    ]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def _error(name, answer=None, **config):
    def ask(**more):
        providers = {name: ProviderConfig(**config, **more)}
        settings = providerhub.Settings(providers=providers, allow=(name,), retry=providerhub.RetryPolicy(attempts=1))
        with providerhub.Hub(settings) as hub, pytest.raises(providerhub.ProviderHubError) as caught:
            hub.complete(f"{name}/{MODELS.get(name, 'm')}", "Hi")
        assert KEY not in str(caught.value)
        return caught.value

    if answer is None:
        return ask()
    with FaultServer(answer) as server:
        return ask(url=server.url)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *((name, r"set region .*AWS_REGION") for name in AWS),
        ("vertex", r"set project .*GOOGLE_CLOUD_PROJECT"),
        ("anthropic-vertex", r"set project .*ANTHROPIC_VERTEX_PROJECT_ID"),
        ("azure", r"set url .*AZURE_OPENAI_ENDPOINT.*api_key .*AZURE_OPENAI_API_KEY"),
        *((name, r"set api_key \(environment variable") for name in ("openai", "anthropic", "gemini", "cohere", "mistral")),
    ],
)
def test_what_is_not_set_is_named(name, setting):
    error = _error(name)
    assert isinstance(error, ConfigurationError)
    assert re.search(setting, str(error))


@pytest.mark.parametrize("name", AWS)
@pytest.mark.parametrize("options", [{}, {"profile": "nope"}])
def test_missing_credentials_of_aws(name, options):
    error = _error(name, options={"region": "eu-west-1", **options})
    assert isinstance(error, AuthenticationError)
    assert "set `profile`, or a key in `api_key`" in str(error)


def _aws(kind, message):
    return http_response(403, {"message": message}, headers={"x-amzn-errortype": kind})


EXPIRED = _aws("ExpiredTokenException", "The security token included in the request is expired")
UNKNOWN = _aws("UnrecognizedClientException", "The security token included in the request is invalid.")
BEARER = http_response(403, {"Message": "Bearer Token has expired"})
CLOCK = _aws("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z")
NO_MODEL = http_response(400, {"message": "The provided model identifier is invalid."})


@pytest.mark.parametrize("name", AWS)
@pytest.mark.parametrize(
    ("answer", "kind", "setting"),
    [
        (EXPIRED, AuthenticationError, "set another `profile` or `api_key`"),
        (UNKNOWN, AuthenticationError, "check the credentials of the `profile`, or `api_key`"),
        (BEARER, AuthenticationError, "set another `profile` or `api_key`"),
        (CLOCK, AuthenticationError, "set the clock of this machine"),
        (NO_MODEL, ModelNotFoundError, "`region`"),
    ],
)
def test_what_aws_refuses(name, answer, kind, setting):
    error = _error(name, answer, api_key=KEY, options={"region": "eu-west-1"})
    assert isinstance(error, kind)
    assert setting in str(error)


def _google(status, code, message):
    return http_response(code, {"error": {"code": code, "message": message, "status": status}})


DENIED = _google("PERMISSION_DENIED", 403, "Permission 'aiplatform.endpoints.predict' denied on resource '//x/projects/p'.")
ABSENT = _google("NOT_FOUND", 404, "Publisher Model `projects/p/locations/l/publishers/x/models/g` was not found.")
ELSEWHERE = _google("FAILED_PRECONDITION", 400, "Unsupported region for Vertex AI, select from europe-west1.")
STALE = _google("UNAUTHENTICATED", 401, "Request had invalid authentication credentials.")


@pytest.mark.parametrize("name", GOOGLE)
@pytest.mark.parametrize(
    ("answer", "kind", "setting"),
    [
        (DENIED, AuthenticationError, "check `project` of the provider"),
        (ABSENT, ModelNotFoundError, "`project` and `location` of the provider"),
        (STALE, AuthenticationError, "`api_key`"),
        (ELSEWHERE, BadRequestError, "`location`"),
        (http_response(404, b"<html><title>Error 404</title>", headers={"Content-Type": "text/html"}), ProtocolError, "`url`"),
    ],
)
def test_what_vertex_refuses(name, answer, kind, setting):
    error = _error(name, answer, api_key=KEY, options={"project": "p"})
    assert isinstance(error, kind)
    assert setting in str(error)


@pytest.mark.parametrize("name", GOOGLE)
def test_expired_credentials_of_google(name, monkeypatch):
    class RefreshError(Exception):
        pass

    def expired(_):
        raise RefreshError("Reauthentication is needed")

    auth, requests = types.ModuleType("google.auth"), types.ModuleType("google.auth.transport.requests")
    auth.exceptions = types.SimpleNamespace(TransportError=ZeroDivisionError, GoogleAuthError=RefreshError)
    auth.default = lambda scopes: (types.SimpleNamespace(refresh=expired), None)
    requests.Request = object
    monkeypatch.setitem(sys.modules, "google.auth", auth)
    monkeypatch.setitem(sys.modules, "google.auth.transport.requests", requests)
    error = _error(name, options={"project": "p"})
    assert isinstance(error, AuthenticationError)
    assert "set `credentials` or GOOGLE_APPLICATION_CREDENTIALS" in str(error)


AZURE = [
    (404, "DeploymentNotFound", "The API deployment for this resource does not exist.", "correct `models` in [providers.azure]"),
    (404, "404", "Resource not found", "check url in [providers.azure] and api_version in [providers.azure.options]"),
    (400, "BadRequest", "API version not supported", "set api_version in [providers.azure.options]"),
    (
        401,
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint.",
        "set api_key and url in [providers.azure]",
    ),
]


@pytest.mark.parametrize(("status", "code", "message", "setting"), AZURE)
def test_what_azure_refuses(status, code, message, setting):
    answer = http_response(status, {"error": {"code": code, "message": message}})
    assert setting in str(_error("azure", answer, api_key=KEY, options={"api_version": "2020-01-01"}))


REFUSED = [
    ("openai", 401, {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}),
    ("anthropic", 401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}),
    ("gemini", 400, {"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}),
    ("cohere", 401, {"message": "invalid api token"}),
    ("mistral", 401, {"detail": "Unauthorized"}),
]


@pytest.mark.parametrize(("name", "status", "body"), REFUSED)
def test_a_refused_key(name, status, body):
    error = _error(name, http_response(status, body), api_key=KEY)
    assert isinstance(error, AuthenticationError)
    assert "check the setting `api_key`" in str(error)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gemini", {"api_version": "latest"}, "api_version must be a version such as 'v1'"),
        *((name, {"region": "eu west"}, "is not the name of a region") for name in AWS),
        *((name, {"project": "p", "location": "us east"}, "location must be") for name in GOOGLE),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_before_anything_is_sent(name, options, said):
    assert said in str(_error(name, api_key=KEY, options=options))


@pytest.mark.parametrize("name", AWS)
def test_a_value_that_cannot_be_used_is_named_with_its_source(name, monkeypatch):
    assert f"region of [providers.{name}] cannot be used" in str(_error(name, api_key=KEY, options={"region": "eu west"}))
    monkeypatch.setenv("AWS_REGION", "eu west")
    assert "AWS_REGION cannot be used" in str(_error(name, api_key=KEY))


@pytest.mark.parametrize(
    ("name", "options", "setting"),
    [
        *((name, {"region": "eu-nowhere-1"}, "`region`") for name in AWS),
        *((name, {"project": "p", "location": "nowhere-east1"}, "`location`") for name in GOOGLE),
        ("snowflake", {"account": "Nowhere-1.east"}, "`account`"),
    ],
)
def test_a_region_that_does_not_exist_is_named_with_its_setting(name, options, setting, monkeypatch):
    def unknown(*_args, **_keywords):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = _error(name, api_key=KEY, options=options)
    assert isinstance(error, ProviderConnectionError)
    assert error.unknown_host
    assert str(error).count(f"check {setting}, or set `url`") == 1
    elsewhere = _error(name, url="https://host.invalid", api_key=KEY, options=options)
    assert elsewhere.unknown_host == "host.invalid"
    assert "check `" not in str(elsewhere)  # the option does not decide this host


URLS = {
    "openai": "OPENAI_BASE_URL", "azure": "AZURE_OPENAI_ENDPOINT", "anthropic": "ANTHROPIC_BASE_URL",
    "gemini": "GOOGLE_GEMINI_BASE_URL", "vertex": "GOOGLE_VERTEX_BASE_URL", "anthropic-vertex": "ANTHROPIC_VERTEX_BASE_URL",
    "bedrock": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "anthropic-bedrock": "ANTHROPIC_BEDROCK_BASE_URL", "cohere": "CO_API_URL",
    "ollama": "OLLAMA_HOST", "groq": "PROVIDERHUB_GROQ_URL",
}  # fmt: skip


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("url", ["http://[::1", "http://host:99999"])
def test_a_wrong_address_in_a_variable_is_refused(name, url, monkeypatch):
    monkeypatch.setenv(URLS[name], url)
    error = _error(name, api_key=KEY, options={"project": "p"} if name in GOOGLE else {})
    assert isinstance(error, ConfigurationError)
    assert "url has a wrong host or port" in str(error)


def test_a_call_that_ends_with_refused_keys_names_each_provider_and_each_variable():
    refused = http_response(401, {"error": {"message": "bad key"}})
    with FaultServer(refused) as one, FaultServer(refused) as two:
        hosts = {"openai": one.url, "mistral": two.url}
        providers = {name: ProviderConfig(url=url, api_key=KEY) for name, url in hosts.items()}
        models = [providerhub.Model("m", name) for name in hosts]
        with providerhub.Hub(providerhub.Settings(providers=providers)) as hub, pytest.raises(AuthenticationError) as raised:
            hub.complete(models, "Hi")
    said = str(raised.value)
    assert said.startswith("mistral/m: HTTP 401")
    assert "environment variable MISTRAL_API_KEY; before that, openai/m: HTTP 401" in said
    assert said.endswith("environment variable OPENAI_API_KEY")
    assert "before that" not in str(raised.value.route)
