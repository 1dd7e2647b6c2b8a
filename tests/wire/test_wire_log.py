"""The wire log: each request and answer in a file, without keys, for every provider and both transports."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest

import providerhub
from providerhub import ConfigurationError, ProviderConfig, Settings
from providerhub.testing import Close, FaultServer, chunked, http_response, openai_chunk, sse

CANARY = "canary-key-0123456789"


def complete(hub):
    try:
        with hub.complete("lockchat/m", "Hello", stream=True) as stream:
            return "".join(stream)
    finally:
        hub.close()


def acomplete(hub):
    async def ask():
        try:
            async with await hub.acomplete("lockchat/m", "Hello", stream=True) as stream:
                return "".join([text async for text in stream])
        finally:
            await hub.aclose()

    return asyncio.run(ask())


@pytest.fixture(params=[complete, acomplete])
def ask(request):
    return request.param


@pytest.fixture
def log(tmp_path):
    return tmp_path / "wire.jsonl"


def hub_at(url, *, wire_log=None, key=CANARY):
    config = ProviderConfig(url=url, api_key=key, models=["m"])
    retry = providerhub.RetryPolicy(attempts=1)
    settings = Settings(providers={"lockchat": config}, allow=("lockchat",), retry=retry)
    return providerhub.Hub(settings, wire_log=wire_log and str(wire_log))


def read(log):
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


def test_each_request_and_answer_is_written(ask, log):
    pieces = sse(openai_chunk("Hi é"), openai_chunk(finish_reason="stop"))
    with FaultServer(chunked(pieces)) as server:
        assert ask(hub_at(server.url, wire_log=log)) == "Hi é"
    request, answer, *reads, end = read(log)
    assert [request["what"], answer["what"], end["what"]] == ["request", "answer", "end"]
    assert (request["provider"], request["method"], request["url"]) == ("lockchat", "POST", f"{server.url}/v1/chat/completions")
    assert json.loads(request["body"])["messages"][0]["content"] == "Hello"
    assert {name.lower(): text for name, text in request["headers"].items()}["authorization"] == "***"
    assert answer["status"] == 200
    assert "".join(line["data"] for line in reads).startswith("data: ")
    assert len({line["exchange"] for line in (request, answer, *reads, end)}) == 1
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", range(1, len(CANARY)))
def test_a_key_that_an_answer_repeats_is_left_out_wherever_it_is_cut(ask, log, cut):
    body = f"data: {json.dumps(openai_chunk(f'the key {CANARY}'))}\n\n".encode()
    at = body.index(CANARY.encode()) + cut
    with FaultServer(chunked([body[:at], body[at:], *sse(openai_chunk(finish_reason="stop"))])) as server:
        ask(hub_at(server.url, wire_log=log))
    text = log.read_text("utf-8")
    assert "the key ***" in "".join(line.get("data", "") for line in read(log))
    assert not any(CANARY[start : start + 6] in text for start in range(len(CANARY) - 6))


def test_other_secrets_are_left_out(ask, log):
    refusal = http_response(400, {"error": "x=second%2Fkey second/key"}, {"Set-Cookie": "a=b"})
    with FaultServer(refusal) as server, pytest.raises(providerhub.BadRequestError):
        ask(hub_at(f"{server.url}/?x=second%2Fkey", wire_log=log, key="second/key"))
    text = log.read_text("utf-8")
    assert "x=***" in text
    assert not [part for part in ("second", "a=b") if part in text]


def test_an_error_of_the_transport_is_written(ask, log):
    with FaultServer(Close()) as server, pytest.raises(providerhub.ProviderHubError):
        ask(hub_at(server.url, wire_log=log))
    assert [line["what"] for line in read(log)] == ["request", "error", "end"]


def test_the_environment_and_the_settings_name_the_file(ask, log, monkeypatch, tmp_path):
    answer = chunked(sse(openai_chunk("Hi"), openai_chunk(finish_reason="stop")))
    with FaultServer(answer, repeat=True) as server:
        monkeypatch.setenv("PROVIDERHUB_WIRE_LOG", str(log))
        ask(hub_at(server.url))
        assert len(read(log)) > 3
        own = tmp_path / "own.jsonl"
        other = ProviderConfig(url=server.url, models=["m"], wire_log=str(own))
        ask(providerhub.Hub(Settings(providers={"lockchat": other}, allow=("lockchat",))))
    assert read(own)[0]["what"] == "request"


def test_standard_error(ask, capfd):
    with FaultServer(chunked(sse(openai_chunk("Hi"), openai_chunk(finish_reason="stop")))) as server:
        ask(hub_at(server.url, wire_log="-"))
    assert '"what": "request"' in capfd.readouterr().err


def test_a_file_that_cannot_be_written_is_an_error(ask, tmp_path):
    with pytest.raises(ConfigurationError, match=r"wire_log .* cannot be written"):
        ask(hub_at("http://127.0.0.1:1", wire_log=tmp_path / "no" / "such"))


@pytest.mark.parametrize("cut", range(1, 70))
def test_a_token_that_an_answer_gives_is_left_out_wherever_it_is_cut(ask, log, cut):
    body = b'{"choices": [], "access_token": "fetched\\"token", "refresh_token":"another", "expires_in": 300}\n'
    with FaultServer(chunked([body[:cut], body[cut:]])) as server, pytest.raises(providerhub.ProviderError):
        ask(hub_at(server.url, wire_log=log))
    text = "".join(line.get("data", "") for line in read(log))
    assert '"access_token": "***", "refresh_token":"***", "expires_in": 300' in text
    assert "fetched" not in log.read_text("utf-8")


def test_an_encoded_secret_is_left_out_of_log_and_error(ask, log):
    form = "client_secret=unknown&again=a%2Fb%2Bc+d&more=a%2Fb%2Bc%20d&assertion=signed"
    refusal = http_response(400, {"error": {"message": f"cannot read {form}"}})
    with FaultServer(refusal) as server, pytest.raises(providerhub.BadRequestError) as caught:
        ask(hub_at(server.url, wire_log=log, key="a/b+c d"))
    shown = "client_secret=***&again=***&more=***&assertion=***"
    assert shown in str(caught.value)
    assert shown in caught.value.excerpt
    assert shown in log.read_text("utf-8")
