"""Batches at OpenAI and Azure: sent once, found again after a crash, matched by identifier, and with mixed outcomes."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from typing import TypedDict

import pytest

from providerhub import (
    BadRequestError,
    CapabilityError,
    ConfigurationError,
    Hub,
    InvalidOutputError,
    InvalidRequestError,
    ModelUnavailableError,
    ProviderConfig,
    Settings,
)
from providerhub.testing import FakeClock, FaultServer, Reset, http_response, openai_completion, openai_error


class Service:
    """Files and batches of OpenAI's protocol. `answers` gives the result of a request's text; `None` leaves it unanswered."""

    def __init__(self):
        self.files, self.batches, self.asked, self.calls = {}, {}, [], []
        self.answers = lambda text: (200, openai_completion(f"answer to {text}"))
        self.looks = 1
        self.lose = False
        self.final = "completed"

    def __call__(self, request):
        path = request.target.partition("?")[0].removeprefix("/openai").removeprefix("/v1")
        self.asked.append(f"{request.method} {path}")
        if path == "/chat/completions":
            self.calls.append(request.json())
            return http_response(200, openai_completion("ordinary"))
        if path == "/files":
            return self._json({"id": self._upload(request.body)})
        if path.startswith("/files/"):
            return http_response(200, self.files[path.split("/")[2]])
        if path == "/batches" and request.method == "POST":
            made = self._create(request.json())
            return [Reset()] if self.lose else self._json(made)
        if path == "/batches":
            return self._json({"data": list(self.batches.values())[::-1], "has_more": False})
        batch = self.batches[path.split("/")[2]]
        if path.endswith("/cancel"):
            batch["status"] = "cancelling"
        elif self.looks:
            self.looks -= 1
        else:
            self._finish(batch)
        return self._json(batch)

    def _json(self, value):
        return http_response(200, json.dumps(value))

    def _upload(self, body):
        assert b'name="purpose"\r\n\r\nbatch\r\n' in body
        _, _, rest = body.partition(b"application/jsonl\r\n\r\n")
        name = f"file-{len(self.files)}"
        self.files[name] = rest.partition(b"\n\r\n--")[0].decode()
        return name

    def _create(self, body):
        assert body["completion_window"] == "24h"
        assert body["endpoint"] == "/v1/chat/completions"
        name = f"batch-{len(self.batches)}"
        rows = self.files[body["input_file_id"]].splitlines()
        self.batches[name] = {
            "id": name, "status": "in_progress", "metadata": body["metadata"], "created_at": 1, "file": body["input_file_id"],
            "request_counts": {"total": len(rows), "completed": 0, "failed": 0},
        }  # fmt: skip
        return self.batches[name]

    def _finish(self, batch):
        good, bad = [], []
        for line in reversed(self.files[batch["file"]].splitlines()):
            row = json.loads(line)
            assert row["url"] == "/v1/chat/completions"
            found = self.answers(row["body"]["messages"][0]["content"])
            if found is None:
                bad.append(
                    {"custom_id": row["custom_id"], "response": None, "error": {"code": "batch_expired", "message": "late"}}
                )
            else:
                into = good if found[0] == 200 else bad
                into.append(
                    {"custom_id": row["custom_id"], "response": {"status_code": found[0], "body": found[1]}, "error": None}
                )
        batch["status"] = self.final
        for field, lines in (("output_file_id", good), ("error_file_id", bad)):
            name = f"file-{len(self.files)}"
            self.files[name] = "".join(json.dumps(line) + "\n" for line in lines)
            batch[field] = name


@pytest.fixture
def service():
    return Service()


@pytest.fixture(params=["openai", "azure"])
def hub(request, service):
    with FaultServer(service, repeat=True) as server:
        config = ProviderConfig(plugin=request.param, url=server.url, api_key="sk-canary", models=["m"])
        other = ProviderConfig(plugin="openai", url=server.url, api_key="sk-canary", models=["m"], priority=-1)
        settings = Settings(providers={"first": config, "second": other}, allow=("openai", "azure"))
        with Hub(settings, clock=FakeClock()) as made:
            yield made


def rows(*texts):
    return [{"model": "m", "messages": text} for text in texts]


def test_results_are_matched_by_their_identifiers(hub, service, tmp_path):
    outcomes = list(hub.batches.outcomes(rows("a", "b", "c"), tmp_path / "journal"))
    assert {outcome.index: outcome.unwrap().text for outcome in outcomes} == {n: f"answer to {t}" for n, t in enumerate("abc")}
    assert {outcome.completion.provider for outcome in outcomes} == {"first"}
    assert service.asked.count("POST /batches") == 1
    assert service.calls == []
    assert "sk-canary" not in (tmp_path / "journal").read_text()


def test_outcomes_may_be_mixed(hub, service, tmp_path):
    service.answers = {
        "good": (200, openai_completion("fine")), "bad": (400, openai_error("no", code="invalid_value")), "late": None,
    }.get  # fmt: skip
    service.final = "expired"
    found = {o.index: o for o in hub.batches.outcomes(rows("good", "bad", "late"), tmp_path / "journal")}
    assert found[0].unwrap().text == "fine"
    assert type(found[1].error) is BadRequestError
    assert type(found[2].error) is ModelUnavailableError
    assert "late" in str(found[2].error)


def test_the_turn_of_an_answer_goes_back_to_its_service_alone(hub, service, tmp_path):
    details = [{"type": "reasoning.encrypted", "data": "secret", "format": "f", "index": 0}]
    message = {"role": "assistant", "content": "Hi", "reasoning_details": details}
    service.answers = lambda text: (200, {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    [outcome] = hub.batches.outcomes(rows("a"), tmp_path / "journal")
    answer = outcome.unwrap()
    assert (answer.turn.name, answer.turn.content["reasoning_details"]) == (answer.message["turn"]["name"], details)
    foreign = {"role": "assistant", "content": "Hi", "turn": {**answer.message["turn"], "host": "elsewhere.example"}}
    list(hub.batches.outcomes(rows(["b", answer, "c"], ["b", foreign, "c"]), tmp_path / "second"))
    sent = [json.loads(line)["body"]["messages"][1] for name in ("file-3",) for line in service.files[name].splitlines()]
    assert sent == [message, {"role": "assistant", "content": "Hi"}]


class Invoice(TypedDict):
    total: int


def test_answers_are_read_into_a_class(hub, service, tmp_path):
    pytest.importorskip("msgspec")
    service.answers = {"good": (200, openai_completion('{"total": 7}')), "bad": (200, openai_completion("seven"))}.get
    asked = [{**row, "response_format": Invoice} for row in rows("good", "bad")]
    found = {o.index: o for o in hub.batches.outcomes(asked, tmp_path / "journal")}
    assert found[0].unwrap().parsed == {"total": 7}
    assert isinstance(found[1].error, InvalidOutputError)
    assert found[1].error.text == "seven"


@pytest.mark.parametrize("name", ["extra_headers", "extra_query"])
def test_options_of_a_request_that_a_batch_has_not_are_refused(hub, service, tmp_path, name):
    [outcome] = hub.batches.outcomes([{**rows("a")[0], "options": {"first": {name: {"X": "1"}}}}], tmp_path / "journal")
    assert isinstance(outcome.error, InvalidRequestError)
    assert name in str(outcome.error)
    assert not service.batches


def test_what_was_not_answered_goes_on_as_ordinary_calls(hub, service, tmp_path):
    service.answers = lambda text: None if text == "late" else (200, openai_completion("fine"))
    found = {o.index: o.unwrap().text for o in hub.batches.outcomes(rows("good", "late"), tmp_path / "journal", calls=True)}
    assert found == {0: "fine", 1: "ordinary"}
    assert [call["messages"][0]["content"] for call in service.calls] == ["late"]


def test_a_crash_before_the_identifier_was_recorded(hub, service, tmp_path):
    service.lose = True
    with pytest.raises(Exception, match=r"connection|reset|closed"):
        list(hub.batches.outcomes(rows("a", "b"), tmp_path / "journal"))
    assert len(service.batches) == 1
    service.lose = False
    outcomes = list(hub.batches.outcomes(rows("a", "b"), tmp_path / "journal"))
    assert sorted(outcome.unwrap().text for outcome in outcomes) == ["answer to a", "answer to b"]
    assert service.asked.count("POST /batches") == 1


def test_an_intent_that_was_never_sent_is_sent(hub, service, tmp_path):
    journal = tmp_path / "journal"
    journal.write_text('{"tag": "t", "provider": "first", "model": "m", "keys": ["0"], "at": 5}\n{"tag": "t", "i')
    [outcome] = hub.batches.outcomes(rows("a"), journal)
    assert outcome.unwrap().text == "answer to a"
    assert len(service.batches) == 1


def test_the_same_command_continues_after_an_interruption(hub, service, tmp_path):
    outcomes = hub.batches.outcomes(rows("a", "b"), tmp_path / "journal")
    next(outcomes)
    outcomes.close()
    assert len(list(hub.batches.outcomes(rows("a", "b"), tmp_path / "journal"))) == 2
    assert service.asked.count("POST /batches") == 1


def test_a_batch_is_asked_at_the_provider_that_holds_it_only(hub, service, tmp_path):
    journal = tmp_path / "journal"
    journal.write_text('{"tag": "t", "provider": "gone", "model": "m", "keys": ["0"], "at": 5}\n{"tag": "t", "id": "batch-0"}\n')
    with pytest.raises(ConfigurationError, match="gone"):
        list(hub.batches.outcomes(rows("a"), journal))
    assert service.asked == []


def test_the_same_call_reads_again_and_sends_nothing_twice(hub, service, tmp_path, monkeypatch):
    monkeypatch.setattr("providerhub._calling.vendor_batches.MOST_ROWS", 2)
    rest = hub.batches.outcomes(rows("a", "b", "c"), tmp_path / "journal")
    begun = [next(rest), next(rest), next(rest)]  # the first batch was read to its end
    rest.close()
    outcomes = list(hub.batches.outcomes(rows("a", "b", "c"), tmp_path / "journal"))
    assert sorted(outcome.index for outcome in outcomes) == sorted(outcome.index for outcome in begun) == [0, 1, 2]
    assert service.asked.count("POST /batches") == 2


def test_in_an_event_loop(hub, service, tmp_path):
    async def main():
        outcomes = [outcome async for outcome in hub.batches.aoutcomes(rows("a", "b"), tmp_path / "journal")]
        return outcomes, await hub.batches.astates(tmp_path / "journal"), await hub.batches.acancel(tmp_path / "journal")

    outcomes, *others = asyncio.run(main())
    assert {outcome.index: outcome.unwrap().text for outcome in outcomes} == {0: "answer to a", 1: "answer to b"}
    assert others == [[], []]


def test_a_cancelled_task_goes_on_later(hub, service, tmp_path):
    service.looks = 10**6
    asked = threading.Event()
    look = service._json
    service._json = lambda value: (asked.set(), look(value))[1]

    async def main():
        async for _ in hub.batches.aoutcomes(rows("a"), tmp_path / "journal"):
            raise AssertionError("there is no result yet")

    async def cancelled():
        task = asyncio.create_task(main())
        await asyncio.to_thread(asked.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    service.looks = 0
    [outcome] = hub.batches.outcomes(rows("a"), tmp_path / "journal")
    assert outcome.unwrap().text == "answer to a"


def test_closing_the_hub_ends_the_wait_for_a_batch(hub, service, tmp_path):
    service.looks = 10**6
    asked, raised = threading.Event(), []
    look = service._json
    service._json = lambda value: (asked.set(), look(value))[1]

    def read(hub):
        try:
            list(hub.batches.outcomes(rows("a"), tmp_path / "journal", poll=600))
        except RuntimeError as error:
            raised.append(str(error))

    with Hub(hub.settings) as waiting:  # with the real clock
        thread = threading.Thread(target=read, args=(waiting,))
        thread.start()
        assert asked.wait(60)
    thread.join(60)
    assert "this hub is closed" in raised[0]


def test_a_batch_can_be_cancelled(hub, service, tmp_path):
    service.lose = True
    with pytest.raises(Exception, match=r"connection|reset|closed"):
        list(hub.batches.outcomes(rows("a"), tmp_path / "journal"))
    [state] = hub.batches.cancel(tmp_path / "journal")
    assert (state.id, state.state, state.provider, state.rows) == ("batch-0", "running", "first", 1)
    assert service.asked[-1] == "POST /batches/batch-0/cancel"
    assert [one.id for one in hub.batches.states(tmp_path / "journal")] == ["batch-0"]


def test_requests_of_one_batch_have_a_limit(hub, service, tmp_path, monkeypatch):
    monkeypatch.setattr("providerhub._calling.vendor_batches.MOST_ROWS", 2)
    outcomes = list(hub.batches.outcomes(rows(*"abcde"), tmp_path / "journal"))
    assert sorted(outcome.unwrap().text[-1] for outcome in outcomes) == list("abcde")
    assert service.asked.count("POST /batches") == 3


def test_a_wrong_request_stops_no_other(hub, service, tmp_path):
    found = {o.index: o for o in hub.batches.outcomes([{"model": "m"}, *rows("a")], tmp_path / "journal")}
    assert "messages" in str(found[0].error)
    assert found[1].unwrap().text == "answer to a"


def test_a_file_that_is_no_journal(hub, tmp_path):
    (tmp_path / "journal").write_text("hello\n")
    with pytest.raises(ConfigurationError, match="journal:1"):
        list(hub.batches.outcomes(rows("a"), tmp_path / "journal"))


def test_a_provider_without_batches(tmp_path):
    settings = Settings(
        providers={"lockchat": ProviderConfig(url="http://127.0.0.1:9", api_key="k", models=["m"])}, allow=("lockchat",)
    )
    with Hub(settings) as hub:
        [outcome] = hub.batches.outcomes(rows("a"), tmp_path / "journal")
    assert type(outcome.error) is CapabilityError


def test_the_command(service, tmp_path):
    """It waits, writes the results by their lines, and sends nothing twice when it is run again."""
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": text, "messages": text}) + "\n" for text in "abc"))
    command = [
        sys.executable,
        "-m",
        "providerhub",
        "batch",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "-m",
        "openai/m",
        "--vendor",
        "--poll",
        "1",
    ]
    with FaultServer(service, repeat=True) as server:
        env = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-canary", "PROVIDERHUB_CONFIG": os.devnull}
        for _ in range(2):
            ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stderr
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {found["id"]: found["completion"]["text"] for found in results} == {text: f"answer to {text}" for text in "abc"}
    assert service.asked.count("POST /batches") == 1
    assert "sk-canary" not in (tmp_path / "out.jsonl.batches").read_text()
