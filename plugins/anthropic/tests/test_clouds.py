"""Claude at Amazon Bedrock and at Vertex AI, synchronously and under asyncio, against a server on loopback."""

import base64
import datetime as dt
import json
import struct
import sys
import types
import zlib

import botocore.auth
import botocore.eventstream
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import providerhub
from providerhub_anthropic._aws import EventStream
from providerhub_anthropic.bedrock_provider import AnthropicBedrock
from providerhub_anthropic.conformance import chunk, frame
from providerhub_anthropic.vertex_provider import AnthropicVertex
from providerhub_conformance import FaultServer, chunked, http_response
from providerhub_conformance.ways import WAYS, ask_sync

TOKEN = "session-token-0123456789"
AT_BEDROCK = "anthropic-bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
AT_VERTEX = "anthropic-vertex/claude-sonnet-4-5@20250929"
CLEARED = (
    "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
    "ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT", "CLOUD_ML_REGION",
    "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION", "ANTHROPIC_VERTEX_BASE_URL", "PROVIDERHUB_ANTHROPIC_VERTEX_API_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Credentials of AWS in variables, and no files of the user's."""
    for name in CLEARED:
        monkeypatch.delenv(name, raising=False)
    values = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-0123456789", "AWS_SESSION_TOKEN": TOKEN,
        "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)


class Google:
    """google-auth, as far as the provider calls it. Each refresh gives another token."""

    class AuthError(Exception):
        pass

    class TransportError(AuthError):
        pass

    def __init__(self):
        self.refreshed, self.paths, self.failure = 0, [], None
        self.valid, self.token, self.quota_project_id = False, None, "billed-project"

    def refresh(self, request):
        if self.failure:
            raise self.failure
        self.refreshed += 1
        self.valid, self.token = True, f"token-{self.refreshed}-0123456789"

    def modules(self):
        auth = types.ModuleType("google.auth")
        auth.default = lambda scopes: (self, "found-project")
        auth.load_credentials_from_file = lambda path, scopes: (self.paths.append(path) or self, None)
        auth.exceptions = types.SimpleNamespace(TransportError=Google.TransportError, GoogleAuthError=Google.AuthError)
        requests = types.ModuleType("google.auth.transport.requests")
        requests.Request = object
        return {"google.auth": auth, "google.auth.transport.requests": requests}


@pytest.fixture
def google(monkeypatch):
    found = Google()
    for name, module in found.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return found


def hub_at(**urls):
    own = {"anthropic-vertex": {"project": "my-project", "location": "us-east5"}, "anthropic-bedrock": {}}
    providers = {}
    for key, value in urls.items():
        name = key.replace("_", "-")
        given = {"url": value} if isinstance(value, str) else value
        options = {**own.get(name, {}), **given.pop("options", {})}
        providers[name] = providerhub.ProviderConfig(**given, options=options)
    settings = providerhub.Settings(providers=providers, allow=tuple(providers), retry=providerhub.RetryPolicy(attempts=1))
    return providerhub.Hub(settings)


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def ask(request):
    def ask(hub, model, messages="Hello", *, stream=True, **knobs):
        return request.param(hub, messages, model=model, stream=stream, **knobs)

    return ask


OLD = "anthropic.claude-3"
THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmF0dXJl"}
TEXT = {"type": "text", "text": "Hi"}
WHOLE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [THOUGHT, TEXT],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 4},
}  # fmt: skip
EVENTS = [
    {"type": "message_start", "message": {**WHOLE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me see."}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2lnbmF0dXJl"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"firstByteLatency": 12}},
]
STREAM = "application/vnd.amazon.eventstream"


def whole():
    return http_response(200, json.dumps(WHOLE), {"Content-Type": "application/json"})


def streamed(*frames):
    return chunked(list(frames), headers={"Content-Type": STREAM}, end=True)


def at_bedrock():
    return streamed(*(chunk(json.dumps(event).encode()) for event in EVENTS))


def at_frames():
    return b"".join(chunk(json.dumps(event).encode()) for event in EVENTS)


def at_vertex():
    frames = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in EVENTS]
    return chunked(frames, headers={"Content-Type": "text/event-stream"}, end=True)


def test_a_streamed_answer_of_bedrock(ask, monkeypatch):
    with FaultServer(at_bedrock()) as server:
        answer = ask(hub_at(anthropic_bedrock=server.url), AT_BEDROCK, options={"anthropic-bedrock": {"betas": ["one", "two"]}})
        request = server.requests[0]
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Hi", "Let me see.", "stop")
    assert answer.turn.content == [THOUGHT, TEXT]
    assert answer.details["timings"] == {"firstByteLatency": 12}
    path = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream"
    assert request.target == path
    body = request.json()
    assert (body["anthropic_version"], body["anthropic_beta"]) == ("bedrock-2023-05-31", ["one", "two"])
    assert not {"model", "stream"} & body.keys()
    at = dt.datetime.strptime(request.header("x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    if hasattr(botocore.auth, "get_current_datetime"):
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: at)
    else:  # before 1.41
        clock = types.SimpleNamespace(utcnow=lambda: at)
        monkeypatch.setattr(botocore.auth, "datetime", types.SimpleNamespace(datetime=clock))
    again = AWSRequest("POST", f"http://{request.header('host')}{path}", data=request.body)
    botocore.auth.SigV4Auth(Credentials("AKIDEXAMPLE", "secret-0123456789", TOKEN), "bedrock", "eu-west-1").add_auth(again)
    assert request.header("authorization") == again.headers["Authorization"]


def test_a_whole_answer_of_bedrock_with_a_key(ask):
    with FaultServer(whole()) as server:
        config = {"url": server.url, "api_key": "bedrock-api-key-1"}
        assert ask(hub_at(anthropic_bedrock=config), AT_BEDROCK, stream=False).text == "Hi"
        assert server.requests[0].header("authorization") == "Bearer bedrock-api-key-1"
        assert not server.requests[0].header("x-api-key")
        assert server.requests[0].target.endswith("/invoke")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", providerhub.RateLimitError),
        ("modelStreamErrorException", providerhub.ServerError),
        ("internalServerException", providerhub.ServerError),
        ("serviceUnavailableException", providerhub.ServerError),
        ("validationException", providerhub.BadRequestError),
    ],
)
def test_an_exception_in_a_stream_of_bedrock_is_classed_by_its_name(ask, name, kind):
    failure = frame({":message-type": "exception", ":exception-type": name}, b'{"message": "it went wrong"}')
    with FaultServer(streamed(failure)) as server, pytest.raises(kind, match="it went wrong") as caught:
        ask(hub_at(anthropic_bedrock=server.url), AT_BEDROCK)
    assert type(caught.value) is kind


KINDS = ((0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16))  # the type of a header, and the bytes of its value


def framed(headers, payload=b"{}"):
    """A frame by the specification: lengths, a checksum of them, headers, payload, a checksum of all."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    data = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return data + struct.pack(">I", zlib.crc32(data))


def test_the_event_stream_is_read_as_botocore_reads_it():
    other = b"".join(b"\2h%d%b%b" % (kind, bytes([kind]), bytes(size)) for kind, size in KINDS) + b"\2h6\6\0\1x"
    failed = frame({":message-type": "error", ":error-code": "throttlingException", ":error-message": "slow"}, b"")
    data = framed(other, b'{"bytes": "e30="}') + at_frames() + failed
    theirs = botocore.eventstream.EventStreamBuffer()
    theirs.add_data(data)
    payloads = [json.loads(message.payload or b"{}").get("bytes", "") for message in theirs]
    for size in (1, 7, 100, len(data)):
        ours = EventStream()
        found = [event for at in range(0, len(data), size) for event in ours.feed_events(data[at : at + size])]
        assert [base64.b64encode(event.data).decode() for event in found[:-1]] == payloads[:-1]
        assert json.loads(found[-1].data)["error"] == {"type": "throttlingException", "message": "slow", "code": 429}
        assert ours.finish() == b""


@pytest.mark.parametrize(
    "broken",
    [
        b"\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0",
        framed(b"")[:-1] + b"\0",
        framed(b"\1h\x0b"),
        framed(b"\1"),
        struct.pack(">III", 0x1FFFFFF, 0, zlib.crc32(struct.pack(">II", 0x1FFFFFF, 0))),
        struct.pack(">III", 20, 20, zlib.crc32(struct.pack(">II", 20, 20))),
    ],
    ids=["prelude", "frame", "type", "header", "large", "small"],
)
def test_a_broken_frame_of_the_event_stream_is_refused_after_the_whole_frames(broken):
    stream = EventStream()
    assert len(stream.feed_events(at_frames() + broken)) == len(EVENTS)
    for again in (lambda: stream.feed_events(b""), stream.finish, lambda: EventStream().feed_events(broken)):
        with pytest.raises(ValueError, match="a frame of the event stream is broken"):
            again()


def test_expired_credentials_of_aws_name_the_settings(ask):
    refused = http_response(403, '{"message": "The token has expired"}', {"x-amzn-ErrorType": "ExpiredTokenException"})
    with FaultServer(refused, refused) as server, pytest.raises(providerhub.AuthenticationError, match=r"`profile`.*`api_key`"):
        ask(hub_at(anthropic_bedrock=server.url), AT_BEDROCK)


def test_an_address_of_an_image_goes_elsewhere(ask):
    refused = http_response(400, '{"message": "messages.0.content.0.image.source.base64.data: URL sources are not supported"}')
    with FaultServer(refused) as server, pytest.raises(providerhub.CapabilityError, match="send the bytes"):
        ask(hub_at(anthropic_bedrock=server.url), AT_BEDROCK)


def test_without_the_package_that_signs_the_error_names_the_extra_and_the_key(ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "providerhub_bedrock.aws", None)
    with pytest.raises(providerhub.AuthenticationError, match=r"providerhub-anthropic\[bedrock\].*`api_key`"):
        ask(hub_at(anthropic_bedrock="http://127.0.0.1:1"), AT_BEDROCK)


def test_without_the_package_that_fetches_tokens_the_error_names_the_extra_and_the_token(ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "providerhub_gemini.google", None)
    with pytest.raises(providerhub.AuthenticationError, match=r"providerhub-anthropic\[vertex\].*`api_key`"):
        ask(hub_at(anthropic_vertex="http://127.0.0.1:1"), AT_VERTEX)


def test_a_streamed_answer_of_vertex(ask, google):
    with FaultServer(at_vertex(), whole()) as server:
        hub = hub_at(anthropic_vertex={"url": f"{server.url}/v1", "options": {"beta": "one"}})
        answer = ask(hub, AT_VERTEX)
        ask(hub, AT_VERTEX, stream=False)
        first, second = server.requests
    assert (answer.text, answer.reasoning) == ("Hi", "Let me see.")
    place = "/v1/projects/my-project/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929"
    assert [first.target, second.target] == [f"{place}:streamRawPredict", f"{place}:rawPredict"]
    assert first.header("authorization") == "Bearer token-1-0123456789"
    assert first.header("x-goog-user-project") == "billed-project"
    assert first.header("anthropic-beta") == "one"
    body = first.json()
    assert (body["anthropic_version"], body["stream"], "model" in body) == ("vertex-2023-10-16", True, False)


def test_a_valid_token_is_used_again(google):
    with FaultServer(whole(), whole()) as server:
        hub = hub_at(anthropic_vertex=server.url)
        ask_sync(hub, model=AT_VERTEX)
        ask_sync(hub, model=AT_VERTEX)
    assert google.refreshed == 1


def test_a_token_that_is_not_valid_any_more_is_fetched_again(ask, google):
    with FaultServer(whole(), whole()) as server:
        hub = hub_at(anthropic_vertex=server.url)
        ask(hub, AT_VERTEX, stream=False)
        google.valid = False
        ask(hub, AT_VERTEX, stream=False)
        assert server.requests[1].header("authorization") == "Bearer token-2-0123456789"


def test_credentials_may_be_a_file_or_a_token(ask, google):
    with FaultServer(whole(), whole()) as server:
        ask(hub_at(anthropic_vertex={"url": server.url, "options": {"credentials": "key.json"}}), AT_VERTEX, stream=False)
        ask(hub_at(anthropic_vertex={"url": server.url, "api_key": "own-access-token"}), AT_VERTEX, stream=False)
        assert google.paths == ["key.json"]
        assert server.requests[1].header("authorization") == "Bearer own-access-token"


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (Google.AuthError("expired"), providerhub.AuthenticationError, "`credentials`"),
        (Google.TransportError("no route"), providerhub.ProviderConnectionError, "cannot be reached"),
        (FileNotFoundError("no key.json"), providerhub.AuthenticationError, "`credentials`"),
    ],
)
def test_failures_of_googles_credentials(ask, google, failure, kind, said):
    google.failure = failure
    with FaultServer() as server:
        with pytest.raises(kind, match=said):
            ask(hub_at(anthropic_vertex=server.url), AT_VERTEX)
        assert not server.requests


def test_a_refused_token_is_fetched_again_and_the_error_names_the_setting(ask, google):
    error = {"error": {"code": 401, "message": "Request had invalid credentials.", "status": "UNAUTHENTICATED"}}
    refusal = http_response(401, json.dumps(error))
    with FaultServer(refusal, whole(), refusal, refusal) as server:
        hub = hub_at(anthropic_vertex=server.url)
        ask(hub, AT_VERTEX, stream=False)
        assert google.refreshed == 2
        with pytest.raises(providerhub.AuthenticationError, match="`credentials`"):
            ask(hub, AT_VERTEX, stream=False)
    assert len(server.requests) == 4


def test_without_google_auth_the_error_names_the_extra(ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(providerhub.AuthenticationError, match=r"providerhub-anthropic\[vertex\]"):
        ask(hub_at(anthropic_vertex="http://127.0.0.1:1"), AT_VERTEX)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("global", "https://aiplatform.googleapis.com/v1"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com/v1"),
        ("europe-west1", "https://europe-west1-aiplatform.googleapis.com/v1"),
    ],
)
def test_the_location_makes_the_address(location, url):
    hub = hub_at(anthropic_vertex={"options": {"location": location}})
    view = next(view for view in hub.instances() if view.name == "anthropic-vertex")
    assert view.config.url == url


def test_a_missing_project_and_a_wrong_location_are_named():
    own = providerhub.ProviderConfig(options={"location": "us east"})
    with pytest.raises(providerhub.ConfigurationError) as caught:
        providerhub.Hub(providerhub.Settings(providers={"anthropic-vertex": own})).complete(AT_VERTEX, "Hello")
    assert "ANTHROPIC_VERTEX_PROJECT_ID" in str(caught.value)
    assert "location must be" in str(caught.value)


def test_a_missing_region_is_named(monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(providerhub.ConfigurationError, match=r"set region .*AWS_REGION"):
        hub_at(anthropic_bedrock={}).complete(AT_BEDROCK, "Hello")


def test_a_turn_goes_on_at_each_of_the_three(ask, google):
    with FaultServer(at_bedrock(), whole(), whole()) as server:
        key = {"url": server.url, "api_key": "key-of-anthropic"}
        hub = hub_at(anthropic_bedrock=server.url, anthropic_vertex=server.url, anthropic=key)
        talk = [{"role": "user", "content": "Hello"}]
        for model in (AT_BEDROCK, AT_VERTEX, "anthropic/claude-sonnet-4-5"):
            answer = ask(hub, model, talk, stream=model == AT_BEDROCK)
            talk += [answer.message, {"role": "user", "content": "And?"}]
        sent = [message["content"] for message in server.requests[2].json()["messages"] if message["role"] == "assistant"]
    assert sent == [[THOUGHT, TEXT], [THOUGHT, TEXT]]


def test_models_of_bedrock_are_listed():
    name = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    served = [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{name}"}]
    pages = [
        {"modelSummaries": [{"modelId": name, "inferenceTypesSupported": ["INFERENCE_PROFILE"]}, {"modelId": OLD}]},
        {"inferenceProfileSummaries": [{"inferenceProfileId": f"eu.{name}", "models": served}], "nextToken": "more"},
        {"inferenceProfileSummaries": [
            {"inferenceProfileId": "eu.amazon.nova", "models": [{"modelArn": "a/b"}]},
            {"inferenceProfileArn": "arn:aws:p/1", "type": "APPLICATION", "models": served},
        ]},
    ]  # fmt: skip
    with FaultServer(*(http_response(200, json.dumps(page)) for page in pages)) as server:
        config = providerhub.ProviderConfig(name="anthropic-bedrock", url=server.url, options={"region": "eu-west-1"})
        found = {model.name: model for model in AnthropicBedrock.discover(config)}
        assert server.requests[0].target == "/foundation-models?byProvider=Anthropic"
        assert server.requests[2].target == "/inference-profiles?maxResults=1000&nextToken=more"
    assert set(found) == {OLD, f"eu.{name}", "arn:aws:p/1"}
    assert found["arn:aws:p/1"].context_window == 200_000


def test_models_of_vertex_are_listed(google):
    pages = [
        {"publisherModels": [{"name": "publishers/anthropic/models/claude-sonnet-4-5"}], "nextPageToken": "more"},
        {"publisherModels": [{"name": "publishers/anthropic/models/claude-opus-5"}]},
    ]
    with FaultServer(*(http_response(200, json.dumps(page)) for page in pages)) as server:
        config = providerhub.ProviderConfig(name="anthropic-vertex", url=f"{server.url}/v1", options={"project": "p"})
        assert [model.name for model in AnthropicVertex.discover(config)] == ["claude-sonnet-4-5", "claude-opus-5"]
        first, second = server.requests
    assert first.target == "/v1beta1/publishers/anthropic/models?pageSize=1000"
    assert second.target.endswith("&pageToken=more")
    assert first.header("authorization") == "Bearer token-1-0123456789"
