"""A signal in another thread does not interrupt a read of the main thread; a signal just before a read does not either.

For the main thread, both are the same: Python notices the signal when the read ends. Under Windows this is true of every signal.
"""

from __future__ import annotations

import json
import signal
import threading

import pytest

from providerhub.cli import _screen as screen
from providerhub.testing import Gate, chunked, http_response, openai_chunk, openai_completion, openai_stream, sse

pytestmark = pytest.mark.unix

HALF = chunked(sse(openai_chunk("Half an"), Gate("never")))


@pytest.fixture
def written(monkeypatch):
    """Set when a part of an answer has been written."""
    event, piece = threading.Event(), screen.piece
    monkeypatch.setattr(screen, "piece", lambda text: (piece(text), event.set()))
    return event


@pytest.fixture
def interrupting(service):
    """A service that is silent at a gate. A thread waits until so many calls are there, and then gets the signal."""

    def start(script, gate, *, number=signal.SIGINT, times=1, after=None, then=lambda server: None):
        server = service(script)

        def interrupt():
            server.reached(gate, times=times)
            assert after is None or after.wait(60)
            signal.pthread_kill(threading.get_ident(), number)
            then(server)

        thread = threading.Thread(target=interrupt)
        threads.append(thread)
        thread.start()
        return server

    threads = []
    yield start
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("options", [(), ("--no-stream",), ("--json",)])
def test_ask_ends_before_the_first_word(cli, interrupting, options):
    server = interrupting(Gate("never"), "never")
    result = cli("ask", "-m", "gpt-4", "Hello", *options)
    assert (result.exit_code, result.output) == (130, "")
    server.client_gone()


def test_ask_ends_in_an_answer(cli, interrupting, written):
    server = interrupting(HALF, "never", after=written)
    result = cli("ask", "-m", "gpt-4", "Hello")
    assert (result.exit_code, result.output) == (130, "Half an\n")
    server.client_gone()


def test_a_stopped_ask_is_the_conversation_that_goes_on(cli, interrupting, written, service):
    interrupting(HALF, "never", after=written)
    cli("ask", "-m", "gpt-4", "first")
    server = service(openai_stream("Two."))
    assert cli("ask", "-c", "second").stdout == "Two.\n"
    said = [(one["role"], one["content"]) for one in server.requests[0].json()["messages"]]
    assert said == [("user", "first"), ("assistant", "Half an [interrupted]"), ("user", "second")]


def test_a_conversation_goes_on_after_an_answer_stopped_before_its_first_word(cli, interrupting, service):
    interrupting(Gate("never"), "never")
    cli("ask", "-m", "gpt-4", "first")
    server = service(openai_stream("Two."))
    cli("ask", "-c", "second")
    assert [one["content"] for one in server.requests[0].json()["messages"]] == ["first", "[interrupted]", "second"]


def test_chat_ends_in_an_answer(cli, interrupting, written):
    server = interrupting(HALF, "never", after=written)
    result = cli("chat", "-m", "gpt-4", input="first\nsecond\n")
    assert (result.exit_code, result.output) == (130, "Half an\n")
    server.client_gone()
    assert len(server.requests) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_batch_records_what_is_under_way(cli, interrupting, tmp_path, number):
    def answer(_):
        return (Gate("answer"), *http_response(200, openai_completion("x")))

    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"messages": str(n)}) + "\n" for n in range(9)), "utf-8")
    server = interrupting(answer, "answer", number=number, times=3, then=lambda server: server.open("answer"))
    result = cli("batch", str(source), "-o", str(output), "-m", "gpt-4", "--concurrency", "3")
    assert result.exit_code == 128 + number
    assert "the same command continues" in result.stderr
    assert len(output.read_text("utf-8").splitlines()) == len(server.requests) < 9
