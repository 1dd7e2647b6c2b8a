"""`providerhub chat`, in a pipe and in a pseudo-terminal."""

from __future__ import annotations

import signal
import subprocess

import pytest

from providerhub.cli._store import append
from providerhub.cli._store import folder as opened_folder
from providerhub.testing import Close, Gate, chunked, http_response, openai_chunk, openai_stream, sse

HALF = chunked(sse(openai_chunk("Half an"), Gate("never")))
ENTER = "\r"
CTRL_D = "\x04"
UP = "\x1b[A"


def _said(server):
    return [[(m["role"], m["content"]) for m in request.json()["messages"]] for request in server.requests]


def test_the_model_sees_the_conversation(cli, service):
    server = service(openai_stream("One", "."), openai_stream("Two."))
    result = cli("chat", "-m", "gpt-4", "--system", "Count.", "--temperature", "0.1", input="first\n\n  \nsecond")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "One.\nTwo.\n", "")
    start = [("system", "Count."), ("user", "first")]
    assert _said(server) == [start, [*start, ("assistant", "One."), ("user", "second")]]
    assert {request.json()["temperature"] for request in server.requests} == {0.1}


def test_clear_forgets_all_but_the_system_message(cli, service):
    server = service(openai_stream("One."), openai_stream("Two."))
    assert cli("chat", "-m", "gpt-4", "--system", "Count.", input="first\n/clear\nsecond\n").exit_code == 0
    assert _said(server)[1] == [("system", "Count."), ("user", "second")]


def test_another_model_from_now_on(cli, service):
    server = service(openai_stream("One."), openai_stream("Two."))
    result = cli("chat", "-m", "gpt-4", input="first\n/model gpt-3.5-turbo\n/model\nsecond\n")
    assert [request.json()["model"] for request in server.requests] == ["gpt-4", "gpt-3.5-turbo"]
    assert result.stderr == "The model is gpt-3.5-turbo.\n" * 2
    assert len(_said(server)[1]) == 3


def test_an_unknown_model_leaves_the_old_one(cli, service):
    server = service(openai_stream("One."))
    result = cli("chat", "-m", "gpt-4", input="/model gpt-5\nfirst\n")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no provider has the model 'gpt-5'")
    assert [request.json()["model"] for request in server.requests] == ["gpt-4"]


def test_chat_does_not_begin_with_an_unknown_model(cli):
    result = cli("chat", "-m", "gpt-5", input="first\n")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_route_shows_the_last_answer_and_the_next_plan(cli, sandbox):
    sandbox()
    result = cli("chat", "-m", "gpt-4", input="/route\nHello\n/route\n")
    before, after = result.stderr.split("The candidates for the next:\n", 1)
    assert before == ""
    assert "The attempts of the last answer:\n  1. lockchat/gpt-4: ok" in after
    assert after.endswith("The candidates for the next:\n  1. lockchat/gpt-4\n")


@pytest.mark.parametrize("command", ["/quit", " /quit ", "/exit"])
def test_quit_leaves(cli, service, command):
    server = service(openai_stream("One."))
    assert cli("chat", "-m", "gpt-4", input=f"{command}\nfirst\n").exit_code == 0
    assert server.requests == []


def test_help_names_every_command(cli, sandbox):
    sandbox()
    said = cli("chat", "-m", "gpt-4", input="/help\n").stderr
    for command in ("/model", "/route", "/retry", "/clear", "/help", "/quit"):
        assert command in said


def test_an_unknown_command_names_the_nearest(cli, service):
    server = service(openai_stream("One."))
    result = cli("chat", "-m", "gpt-4", input="/modle gpt-4\n/xyz\n//sent\n")
    near, lost = result.stderr.splitlines()
    assert "did you mean '/model'?" in near
    assert "/help lists the commands" in lost
    assert _said(server) == [[("user", "/sent")]]


def test_a_failed_question_is_not_kept_and_can_be_asked_again(cli, service):
    bad = http_response(400, {"error": {"message": "no such thing", "type": "invalid_request_error"}})
    server = service(bad, openai_stream("One."), openai_stream("Two."))
    result = cli("chat", "-m", "gpt-4", input="first\n/retry\nsecond\n/retry\n")
    assert result.exit_code == 1
    assert result.stdout == "One.\nTwo.\n"
    failed, none = result.stderr.splitlines()
    assert failed.startswith("Error: ")
    assert "no such thing" in failed
    assert "there is no question to ask again" in none
    assert _said(server) == [
        [("user", "first")], [("user", "first")], [("user", "first"), ("assistant", "One."), ("user", "second")],
    ]  # fmt: skip


def test_an_answer_that_breaks_off_is_not_kept(cli, service):
    broken = chunked(sse(openai_chunk("Half an"), done=False), end=False)
    server = service((*broken, Close()), openai_stream("One."))
    result = cli("chat", "-m", "gpt-4", input="first\nsecond\n")
    assert result.stdout == "Half an\nOne.\n"
    assert len(result.stderr.splitlines()) == 1
    assert result.exit_code == 1
    assert _said(server)[1] == [("user", "second")]


def test_debug_shows_where_an_error_came_from_and_goes_on(cli, service):
    service(openai_stream("One."))
    result = cli("chat", "-m", "gpt-4", "--debug", input="/model gpt-5\nfirst\n")
    assert "Traceback" in result.stderr
    assert result.stdout == "One.\n"


def test_a_line_that_is_not_text_is_skipped(cli, service):
    server = service(openai_stream("One."))
    result = cli("chat", "-m", "gpt-4", input=b"\xff\xfe\nfirst\n")
    assert "not utf-8 text" in result.stderr
    assert _said(server) == [[("user", "first")]]
    assert result.exit_code == 1


def test_a_refusal_is_part_of_the_conversation(cli, service):
    refusal = chunked(sse(openai_chunk(refusal="I would rather not."), openai_chunk(finish_reason="stop")))
    server = service(refusal, openai_stream("One."))
    result = cli("chat", "-m", "gpt-4", input="first\nsecond\n")
    assert result.stderr == "The model declined: I would rather not.\n"
    assert server.requests[1].json()["messages"][1] == {"role": "assistant", "content": None, "refusal": "I would rather not."}


def test_a_cut_answer_says_so(cli, service):
    service(chunked(sse(openai_chunk("Half an"), openai_chunk(finish_reason="length"))))
    result = cli("chat", "-m", "gpt-4", input="first\n")
    assert (result.exit_code, result.stdout) == (0, "Half an\n")
    assert "cut" in result.stderr
    assert "max_tokens" in result.stderr


@pytest.mark.unix
def test_ctrl_c_in_a_pipe_ends_it(script, service):
    server = service(HALF)
    command = [script, "chat", "-m", "gpt-4"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdin.write(b"first\nsecond\n")
        running.stdin.flush()
        assert running.stdout.read(4) == b"Half"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, b"")
    assert len(server.requests) == 1


def test_a_conversation_in_a_terminal(terminal, sandbox):
    sandbox()
    child = terminal("chat", "-m", "gpt-4")
    child.expect_exact("gpt-4> ")
    child.send(f"Hello{ENTER}")
    child.expect_exact("You said: Hello\r\n")
    child.expect_exact("gpt-4> ")
    child.send(f"/model gpt-3.5-turbo{ENTER}")
    child.expect_exact("gpt-3.5-turbo> ")
    child.send(CTRL_D)
    child.wait()
    assert child.exitstatus == 0


def test_ctrl_c_stops_an_answer_and_keeps_the_conversation(terminal, service):
    server = service(HALF, openai_stream("One."))
    child = terminal("chat", "-m", "gpt-4")
    child.expect_exact("gpt-4> ")
    child.send(f"first{ENTER}")
    child.expect_exact("Half an")
    child.sendintr()
    child.expect_exact("Stopped; the conversation continues")
    child.expect_exact("gpt-4> ")
    server.client_gone()
    child.send(f"second{ENTER}")
    child.expect_exact("One.")
    child.send(CTRL_D)
    child.wait()
    assert child.exitstatus == 0
    assert _said(server)[1] == [("user", "first"), ("assistant", "Half an [interrupted]"), ("user", "second")]


def test_ctrl_c_before_an_answer_keeps_nothing(terminal, service):
    server = service(Gate("never"), openai_stream("One."))
    child = terminal("chat", "-m", "gpt-4")
    child.expect_exact("gpt-4> ")
    child.send(f"first{ENTER}")
    server.reached("never")
    child.sendintr()
    child.expect_exact("Stopped before an answer")
    child.expect_exact("gpt-4> ")
    child.send(f"/retry{ENTER}")
    child.expect_exact("One.")
    child.send(CTRL_D)
    child.wait()
    assert _said(server) == [[("user", "first")]] * 2


def test_ctrl_c_at_the_prompt_drops_the_line(terminal, service):
    server = service(openai_stream("One."))
    child = terminal("chat", "-m", "gpt-4")
    child.expect_exact("gpt-4> ")
    child.send("never sent")
    child.expect_exact("never sent")
    child.sendintr()
    child.expect_exact("gpt-4> ")
    child.send(f"sent{ENTER}")
    child.expect_exact("One.")
    child.send(f"/quit{ENTER}")
    child.wait()
    assert child.exitstatus == 0
    assert _said(server) == [[("user", "sent")]]


def test_a_line_can_be_edited_recalled_and_completed(terminal, service):
    pytest.importorskip("readline", reason="editing is readline's")
    server = service(openai_stream("One."), openai_stream("Two."))
    child = terminal("chat", "-m", "gpt-4", term="xterm")
    child.expect_exact("gpt-4> ")
    child.send(f"fist\x02\x02r{ENTER}")
    child.expect_exact("One.")
    child.expect_exact("gpt-4> ")
    child.send(f"{UP}!{ENTER}")
    child.expect_exact("Two.")
    child.expect_exact("gpt-4> ")
    child.send(f"/mo\tgpt-3\t{ENTER}")
    child.expect_exact("The model is gpt-3.5-turbo.")
    child.send(CTRL_D)
    child.wait()
    assert [said[-1][1] for said in _said(server)] == ["first", "first!"]


def test_an_error_in_a_terminal_says_how_to_go_on(terminal, sandbox):
    sandbox(fault="garbage")
    child = terminal("chat", "-m", "gpt-4")
    child.expect_exact("gpt-4> ")
    child.send(f"Hello{ENTER}")
    child.expect_exact("/retry asks again, /model NAME asks another model")
    child.expect_exact("gpt-4> ")
    child.send(CTRL_D)
    child.wait()
    assert child.exitstatus == 0


def test_a_conversation_is_saved_and_goes_on(cli, service):
    server = service(openai_stream("One."), openai_stream("Two."), openai_stream("Three."))
    assert cli("chat", "-m", "gpt-4", "-s", "Count.", input="first\n/model gpt-3.5-turbo\nsecond\n").exit_code == 0
    assert cli("chat", "-c", input="third\n").exit_code == 0
    asked = server.requests[-1].json()
    assert asked["model"] == "gpt-3.5-turbo"
    assert _said(server)[-1] == [
        ("system", "Count."), ("user", "first"), ("assistant", "One."), ("user", "second"), ("assistant", "Two."),
        ("user", "third"),
    ]  # fmt: skip


def test_a_full_disk_leaves_whole_lines(tmp_path):
    resource = pytest.importorskip("resource", reason="a limit of the size of files is for POSIX")
    file = tmp_path / "kept.jsonl"
    append(file, b'{"first": "line"}\n')
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (25, limit[1]))
        with pytest.raises(OSError, match="File too large"):
            append(file, b'{"second": "line"}\n')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert file.read_bytes() == b'{"first": "line"}\n'


def test_a_cleared_conversation_is_kept_and_another_begins(cli, service):
    server = service(openai_stream("One."), openai_stream("Two."), openai_stream("Three."))
    assert cli("chat", "-m", "gpt-4", input="first\n/clear\nsecond\n").exit_code == 0
    assert len([*opened_folder().glob("*.jsonl")]) == 2
    assert cli("chat", "-c", input="third\n").exit_code == 0
    assert _said(server)[-1][0] == ("user", "second")


def test_nothing_is_saved_on_request(cli, service):
    service(openai_stream("One."), openai_stream("Two."))
    assert cli("chat", "-m", "gpt-4", "--no-save", input="first\n/clear\nsecond\n").exit_code == 0
    assert not opened_folder().exists()


def test_a_file_goes_with_the_next_question(cli, service, tmp_path):
    server = service(openai_stream("One."), openai_stream("Two."))
    (tmp_path / "a b.txt").write_text("words", "utf-8")
    result = cli(
        "chat", "-m", "gpt-4", input=f"/file\n/file {tmp_path / 'absent'}\n/file {tmp_path / 'a b.txt'}\nfirst\nsecond\n"
    )
    assert result.exit_code == 1
    needs, absent, goes = result.stderr.splitlines()
    assert "/file needs" in needs
    assert "absent: No such file" in absent
    assert goes.endswith("goes with the next question.")
    parts = [{"type": "text", "text": "first"}, {"type": "text", "text": "a b.txt:\n\nwords"}]
    assert [said for _, said in _said(server)[1]] == [parts, "One.", "second"]


def test_several_models_and_the_cost(cli, service):
    service(openai_stream("One."))
    result = cli("chat", "-m", "gpt-4", "-m", "gpt-3.5-turbo", "--cost", input="/model\nfirst\n")
    assert result.stderr.startswith("The model is gpt-4, gpt-3.5-turbo.\ntokens: ")


@pytest.mark.parametrize("empty", ["", "\n \n"])
def test_an_empty_input_is_an_error_as_it_is_at_ask(cli, sandbox, empty):
    sandbox()
    result = cli("chat", "-m", "gpt-4", input=empty)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "standard input is empty" in result.stderr
