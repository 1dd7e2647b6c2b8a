"""The plugin as installed, over real HTTP to its own sandbox."""

import json
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import requests

import providerhub
import providerhub_lockchat
from providerhub_lockchat.sandbox import FAULTS, serve


@pytest.fixture
def url():
    with serve(delay=0.0) as address:
        yield address


def hub_at(address, **config):
    settings = providerhub.Settings(
        providers={"lockchat": providerhub.ProviderConfig(url=address, **config)},
        timeout=providerhub.Timeout(token_idle=0.5, first_token=0.5),
        retry=providerhub.RetryPolicy(backoff=0.0, throttle_backoff=0.0),
    )
    return providerhub.Hub(settings)


def test_it_is_found_through_its_entry_point(url):
    with hub_at(url) as hub:
        record = next(record for record in hub.plugins() if record.name == "lockchat")
        assert (record.state, record.distribution) == ("ready", "providerhub-lockchat")


def test_a_whole_answer(url):
    with hub_at(url) as hub:
        answer = hub.complete("gpt-4", "Hello")
    assert answer.text.endswith("You said: Hello")
    assert (answer.provider, answer.model, answer.finish_reason) == ("lockchat", "gpt-4", "stop")
    assert answer.usage is not None


def test_tokens_come_one_by_one(url):
    with hub_at(url) as hub, hub.complete("gpt-3.5-turbo", "Привет, data: [DONE]", stream=True) as stream:
        tokens = list(stream)
    assert len(tokens) > 5
    assert "".join(tokens).endswith("You said: Привет, data: [DONE]")
    assert stream.completion.finish_reason == "stop"


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"cut", "stall", "model-not-found", "rate-limit"}))
@pytest.mark.parametrize("stream", [False, True])
def test_each_fault_raises_its_error(fault, stream):
    with serve(fault=fault) as bad, hub_at(bad) as hub, pytest.raises(providerhub.ProviderError) as caught:
        hub.complete("gpt-4", "Hello", stream=stream)
    assert caught.value.route.attempts
    assert caught.value.provider == "lockchat"


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_missing_inside_the_answer_is_tried_twice_and_then_a_value_error(stream):
    with serve(fault="model-not-found") as bad, hub_at(bad) as hub, pytest.raises(ValueError, match="gpt-4") as caught:
        hub.complete("gpt-4", "Hello", stream=stream)
    assert isinstance(caught.value, providerhub.ModelNotFoundError)
    assert len(caught.value.route.attempts) == 2


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_an_interrupted_answer_keeps_its_partial_text(fault):
    with serve(fault=fault, delay=0.0) as bad, hub_at(bad) as hub:
        stream = hub.complete("gpt-4", "Hello", stream=True)
        with pytest.raises(providerhub.StreamInterruptedError) as caught:
            list(stream)
    assert caught.value.partial.startswith("This")


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("cut", (providerhub.ProtocolError, providerhub.ProviderConnectionError)),
        ("stall", providerhub.DeadlineExceededError),
    ],
)
def test_an_answer_in_one_piece_breaks_off_too(fault, kinds):
    with serve(fault=fault) as bad, hub_at(bad) as hub, pytest.raises(kinds):
        hub.complete("gpt-4", "Hello", timeout=0.5)


def test_an_address_with_a_query(url):
    with hub_at(f"{url}?api-version=1") as hub:
        assert hub.complete("gpt-4", "Hello").text.endswith("Hello")


@pytest.mark.parametrize("path", ["/v1/models?limit=1", "/v1/other"])
def test_each_answer_says_that_it_comes_from_a_sandbox(url, path):
    with requests.get(url + path, timeout=10) as answer:
        assert answer.headers["Server"] == "Lockchat-sandbox"
        assert answer.status_code == (200 if "?" in path else 404)
        assert "?" in path or "Lockchat sandbox" in answer.text


def test_another_provider_answers_in_its_place(url):
    with serve(fault="model-not-found") as bad:
        settings = providerhub.Settings(
            providers={
                "lockchat": providerhub.ProviderConfig(url=bad, priority=1),
                "second": providerhub.ProviderConfig(plugin="lockchat", url=url),
            }
        )
        with providerhub.Hub(settings) as hub:
            answer = hub.complete("gpt-4", "Hello")
    assert answer.provider == "second"
    assert [attempt.outcome for attempt in answer.route.attempts] == ["error", "ok"]


def test_without_an_address_the_variable_is_named(monkeypatch):
    monkeypatch.delenv("LOCKCHAT_URL", raising=False)
    with pytest.raises(providerhub.ConfigurationError, match="LOCKCHAT_URL"):
        providerhub.Hub().complete("gpt-4", "Hello")


def test_a_key_is_not_sent_unencrypted():
    with hub_at("http://lockchat.example", api_key="canary-key") as hub, pytest.raises(providerhub.ProviderHubError) as caught:
        hub.complete("gpt-4", "Hello")
    assert "https" in str(caught.value)
    assert "canary" not in str(caught.value)


class Recorder(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, dict(self.headers), body))
        answer = b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.fixture
def recorder():
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        server.seen = []
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_request_that_is_sent(recorder):
    with hub_at(f"http://127.0.0.1:{recorder.server_port}", api_key="canary-key") as hub:
        hub.complete("gpt-4", "Hello", options={"lockchat": {"top_p": 1}})
    path, headers, body = recorder.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer canary-key"
    assert body == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0.7,
        "stream": False,
        "top_p": 1,
    }


SEED = """
import providerhub_lockchat
from providerhub_lockchat import _create_completion
messages = [{"role": "user", "content": "Привет! Как дела?"}]
tokens = list(_create_completion(model="gpt-4", messages=messages, stream=True, top_p=1))
assert len(tokens) > 5 and "".join(tokens).endswith("Как дела?"), tokens
assert list(_create_completion(model="gpt-4", messages=messages)) == ["".join(tokens)]
assert providerhub_lockchat.url.startswith("http://127.0.0.1")
try:
    list(_create_completion(model="gpt-9", messages=messages, stream=True))
except ValueError as error:
    print(type(error).__name__)
"""


def test_the_original_module_s_function(url):
    import os

    environment = {**os.environ, "LOCKCHAT_URL": url, "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-c", SEED], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ModelNotFoundError\n", "")


def test_the_original_module_s_attributes():
    assert providerhub_lockchat.model == ["gpt-4", "gpt-3.5-turbo"]
    assert providerhub_lockchat.supports_stream is True
    assert providerhub_lockchat.needs_auth is False


def test_the_sandbox_runs_by_itself():
    command = [sys.executable, "-m", "providerhub_lockchat.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            address = re.search(r"http://\S+", process.stdout.readline())[0]
            with hub_at(address) as hub:
                assert "sandbox" in hub.complete("gpt-4", "Hello").text
        finally:
            process.terminate()
