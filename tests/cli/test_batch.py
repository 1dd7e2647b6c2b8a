"""`providerhub batch`: requests, results and refusals."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from providerhub._calling.keywords import KEYWORDS
from providerhub.cli import _batch_lines as lines
from providerhub.cli import _batch_results as results
from providerhub.cli._lock import locked
from providerhub.cli._progress import Bar
from providerhub.testing import Gate, Mark, http_response, openai_completion

FAILS = "fail"


def _content(request):
    return request.json()["messages"][-1]["content"]


def answering(request):
    """Fail if the message says so, and answer everything else."""
    text = _content(request)
    if text.startswith(FAILS):
        return http_response(400, {"error": {"message": f"no {text}", "type": "invalid_request_error"}})
    return said(f"You said: {text}")


def said(text):
    """An answer with this text."""
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    return http_response(200, openai_completion(text, usage=usage))


def asked(server):
    return sorted(map(_content, server.requests))


def write(path, *values):
    path.write_text("".join(f"{value if isinstance(value, str) else json.dumps(value)}\n" for value in values), "utf-8")
    return str(path)


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def by_line(path):
    found = read(path)
    assert len({r["line"] for r in found}) == len(found), "a line has two results"
    return {r["line"]: r for r in found}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def run(cli, tmp_path, output):
    """Write the input, run the batch."""

    def start(*values, options=("-m", "gpt-4")):
        return cli("batch", write(tmp_path / "in.jsonl", *values), "-o", str(output), *options)

    return start


def test_every_line_is_answered_with_what_it_came_with(run, service, output):
    server = service(answering)
    second = {"id": "b", "messages": [{"role": "user", "content": "two"}], "model": "gpt-3.5-turbo"}
    result = run({"id": 7, "messages": "one", "topic": "numbers"}, "", second)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("2 answered, 0 failed; ")
    assert result.stderr.endswith("; 4 tokens in, 6 out; 2 answers of unknown cost\n")
    first, second = by_line(output)[1], by_line(output)[3]
    assert (first["id"], first["fields"], first["status"]) == (7, {"topic": "numbers"}, "ok")
    assert first["completion"]["text"] == "You said: one"
    assert first["completion"]["usage"]["output_tokens"] == 3
    assert first["completion"]["route"]["attempts"][0]["provider"] == "lockchat"
    assert (second["id"], second["completion"]["model"]) == ("b", "gpt-3.5-turbo")
    assert asked(server) == ["one", "two"]
    assert sorted(path.name for path in output.parent.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_other_processes_make_the_calls(run, service, output):
    server = service(answering)
    lines, options = [{"messages": str(number)} for number in range(6)], ("-m", "gpt-4", "--executor", "processes:2")
    result = run(*lines[:4], {"messages": "fail it"}, options=options)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("4 answered, 1 failed (1 BadRequestError); ")
    found = by_line(output)
    assert [found[number]["status"] for number in range(1, 6)] == ["ok"] * 4 + ["failed"]
    assert run(*lines[:4], {"messages": "fail it"}, *lines[4:], options=options).exit_code == 1  # the failure stays
    assert sorted(by_line(output)) == [1, 2, 3, 4, 5, 6, 7]
    assert asked(server) == [*"012345", "fail it"]


def test_an_unknown_executor_is_one_line(run, service, output):
    server = service(answering)
    result = run({"messages": "one"}, options=("-m", "gpt-4", "--executor", "absent:2"))
    assert result.exit_code == 1
    assert "install providerhub-absent" in result.stderr
    assert server.requests == []


@pytest.mark.parametrize("options", [(), ("--media",)])
def test_a_result_holds_all_of_the_answer(run, service, output, options):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}}
    kept = [{"type": "reasoning.encrypted", "data": "c2ln"}]
    service(http_response(200, openai_completion("One.", images=[image], reasoning_details=kept)))
    assert run({"messages": "one"}, options=("-m", "gpt-4", *options)).exit_code == 0
    answer = by_line(output)[1]["completion"]
    assert answer["message"]["turn"]["content"]["reasoning_details"] == kept
    (medium,) = answer["media"]
    assert medium.get("base64", medium.get("bytes")) == ("UE5H" if options else 3)


def test_keywords_reach_the_call(run, service):
    server = service(answering)
    line = {
        "messages": "one",
        "temperature": 0.25,
        "timeout": {"total": 20, "connect": 2},
        "retry": {"attempts": 1},
        "stream": False,
    }
    assert run({**line, "model": [{"name": "gpt-4", "provider": "lockchat"}, "gpt-3.5-turbo"]}).exit_code == 0
    assert server.requests[0].json()["temperature"] == 0.25


def test_a_failure_is_recorded_and_stops_no_other(run, service, output):
    service(answering)
    result = run({"messages": "fail it", "id": 1}, {"messages": "one"})
    assert result.exit_code == 1
    assert result.stderr.startswith("1 answered, 1 failed (1 BadRequestError); ")
    assert "--retry-failed" in result.stderr
    failed = by_line(output)[1]
    assert (failed["status"], failed["id"]) == ("failed", 1)
    assert failed["error"]["type"] == "BadRequestError"
    assert "no fail it" in failed["error"]["message"]
    assert failed["error"]["route"]["attempts"][0]["outcome"] == "error"


BAD = {
    "not json": "not JSON: Expecting value at column 1",
    '{"messages": NaN}': "NaN is not JSON",
    "[1]": "not an object",
    "[" * 100_000: "not readable JSON",
    '{"model": "gpt-4"}': "'messages' is missing",
    '{"messages": "x"}': "'model' is missing: give one in the line, or for all lines as --model",
    '{"model": "gpt-4", "messages": "x", "stream": true}': "'stream' must be false",
    '{"model": "gpt-4", "messages": "x", "temprature": 1}': "did you mean 'temperature'?",
    '{"model": "gpt-4", "messages": "x", "timeout": {"totl": 1}}': "'timeout' is wrong",
    '{"model": "gpt-4", "messages": "x", "timeout": -1}': "timeout must be",
    '{"model": "gpt-4", "messages": "x", "retry": {"attempts": 0}}': "'retry' is wrong",
    '{"model": {"nom": "gpt-4"}, "messages": "x"}': "'model' is wrong",
    '{"model": "gpt-4", "messages": [{"role": "nobody"}]}': "messages[0]['role']",
}


@pytest.mark.parametrize("line", BAD, ids=range(len(BAD)))
def test_a_bad_line_is_named_and_stops_no_other(run, service, output, line):
    server = service(answering)
    result = run(line, {"model": "gpt-4", "messages": "one"}, options=())
    assert result.exit_code == 1
    assert "in.jsonl:1: " in result.stderr
    assert BAD[line] in result.stderr
    assert "requests[" not in result.stderr
    assert "1 answered, 0 failed, 1 bad" in result.stderr
    assert by_line(output)[1]["error"]["type"] == "InvalidRequestError"
    assert asked(server) == ["one"]


def test_bytes_that_are_not_text_and_a_byte_order_mark(cli, service, tmp_path, output):
    server = service(answering)
    (tmp_path / "in.jsonl").write_bytes(b'\xef\xbb\xbf{"messages": "one"}\r\n{"messages": "\xff"}\r\n')
    result = cli("batch", str(tmp_path / "in.jsonl"), "-o", str(output), "-m", "gpt-4")
    assert ":2: not UTF-8 text" in result.stderr
    assert asked(server) == ["one"]


def test_many_bad_lines_do_not_flood(run, service, output):
    service(answering)
    result = run(*["bad"] * 50)
    assert len(result.stderr.splitlines()) == 23
    assert len(read(output)) == 50


def test_text_that_utf8_cannot_hold_is_recorded(run, service, output):
    service(lambda _: http_response(200, b'{"choices":[{"message":{"content":"half \\ud83d"},"finish_reason":"stop"}]}'))
    assert run('{"messages": "one"}').exit_code == 0
    assert by_line(output)[1]["completion"]["text"].startswith("half ")


def test_a_second_run_sends_only_what_has_no_result(run, service, output):
    server = service(answering)
    run({"messages": "one"}, {"messages": "fail"})
    result = run({"messages": "one"}, {"messages": "fail"}, {"messages": "two"})
    assert result.exit_code == 1
    assert result.stderr.startswith("1 answered, 0 failed, 1 answered before, 1 failed before; ")
    assert asked(server) == ["fail", "one", "two"]
    assert sorted(by_line(output)) == [1, 2, 3]


def test_retry_failed_sends_the_failed_lines_again(run, service, output):
    server = service(answering)
    run({"messages": "one"}, {"messages": "fail"}, "bad")
    output.chmod(0o640)
    mode = output.stat().st_mode
    server.errors.clear()
    again = service(lambda _: http_response(200, openai_completion("better")))
    result = run({"messages": "one"}, {"messages": "fail"}, {"messages": "mended"}, options=("-m", "gpt-4", "--retry-failed"))
    assert result.exit_code == 0, result.output
    assert asked(again) == ["fail", "mended"]
    assert {n: r["completion"]["text"] for n, r in by_line(output).items()} == {1: "You said: one", 2: "better", 3: "better"}
    assert output.stat().st_mode == mode
    assert not list(output.parent.glob("*.tmp"))


def test_nothing_failed_so_nothing_is_sent_again(run, service, output):
    service(answering)
    run({"messages": "one"})
    before = output.read_bytes()
    assert run({"messages": "one"}, options=("-m", "gpt-4", "--retry-failed")).exit_code == 0
    assert output.read_bytes() == before


def test_another_model_is_refused_when_a_batch_is_continued(run, service, output):
    server = service(answering)
    run({"messages": "one"}, {"messages": "two", "model": "gpt-3.5-turbo"})
    before = output.read_bytes()
    for options, named in (("-m", "gpt-3.5-turbo"), "--model is gpt-3.5-turbo now"), ((), "there is no --model now"):
        result = run({"messages": "one"}, {"messages": "two", "model": "gpt-3.5-turbo"}, {"messages": "three"}, options=options)
        assert result.exit_code == 2
        assert "has answers of --model gpt-4" in result.stderr
        assert named in result.stderr
    assert output.read_bytes() == before
    assert asked(server) == ["one", "two"]


def test_lines_that_name_their_model_continue_with_any(run, service, output):
    service(answering)
    line = {"messages": "one", "model": "gpt-4"}
    run(line, options=("-m", "gpt-3.5-turbo"))
    assert run(line, {"messages": "two"}).exit_code == 0
    assert "default_model" not in by_line(output)[1]
    assert by_line(output)[2]["default_model"] == "gpt-4"


def test_failures_may_be_sent_again_to_another_model(run, service, output):
    service(answering)
    run({"messages": "fail"})
    refused = run({"messages": "fail"}, options=("-m", "gpt-3.5-turbo"))
    assert (refused.exit_code, "--retry-failed" in refused.stderr) == (2, True)
    service(lambda _: http_response(200, openai_completion("better")))
    assert run({"messages": "fail"}, options=("-m", "gpt-3.5-turbo", "--retry-failed")).exit_code == 0
    assert by_line(output)[1]["default_model"] == "gpt-3.5-turbo"


@pytest.mark.parametrize(
    ("line", "fix"), [({"messages": "other"}, "name another file as --output"), ({"messages": "fail not"}, "--retry-failed")]
)
def test_an_input_that_has_changed_is_refused_before_anything_is_sent(run, service, output, line, fix):
    server = service(answering)
    run({"messages": "one" if fix != "--retry-failed" else "fail"})
    before = output.read_bytes()
    result = run(line, {"messages": "two"})
    assert result.exit_code == 1
    assert "in.jsonl:1 has changed since its result was recorded" in result.stderr
    assert fix in result.stderr
    assert len(server.requests) == 1
    assert output.read_bytes() == before


def test_an_input_that_has_become_shorter_is_refused(run, service):
    service(answering)
    run({"messages": "one"}, {"messages": "two"})
    assert "ends at line 1, but the output has a result for line 2" in run({"messages": "one"}).stderr


@pytest.mark.parametrize("cut", [1, 2, 5, 40, 150])
def test_a_result_that_was_cut_off_is_sent_again(run, service, output, cut):
    server = service(answering)
    run({"messages": "one"}, {"messages": "two"})
    whole = output.read_bytes()
    last = read(output)[-1]["line"]
    output.write_bytes(whole[:-cut])
    assert run({"messages": "one"}, {"messages": "two"}).exit_code == 0
    assert sorted(by_line(output)) == [1, 2]
    sent_again = [] if cut == 1 else [["one", "two"][last - 1]]  # only the line's end was missing: nothing was lost
    assert asked(server) == sorted(["one", "two", *sent_again])


def test_only_the_first_bytes_of_a_result_are_there(run, service, output):
    service(answering)
    output.write_bytes(b'{"li')
    assert run({"messages": "one"}).exit_code == 0
    assert sorted(by_line(output)) == [1]


@pytest.mark.parametrize(
    "text", ["my notes", "my notes\n", '{"a": 1}\n', '{"line": "1", "input": "00", "status": "ok"}\n', "[1]\n"]
)
def test_a_file_without_results_is_not_changed(run, service, output, text):
    server = service(answering)
    output.write_text(text, "utf-8")
    assert "out.jsonl:1 is not a result of a batch" in run({"messages": "one"}).stderr
    assert output.read_text("utf-8") == text
    assert server.requests == []


def test_results_that_another_program_has_reformatted_are_understood(run, service, output):
    server = service(answering)
    run({"messages": "one"}, {"messages": "fail"})
    output.write_text("".join(json.dumps(r, separators=(",", ":"), sort_keys=True) + "\n" for r in read(output)), "utf-8")
    run({"messages": "one"}, {"messages": "fail"}, options=("-m", "gpt-4", "--retry-failed"))
    assert asked(server) == ["fail", "fail", "one"]
    assert sorted(by_line(output)) == [1, 2]


def test_two_results_for_one_line_are_refused(run, service, output):
    service(answering)
    run({"messages": "one"})
    output.write_bytes(output.read_bytes() * 2)
    assert "out.jsonl:2 is a second result for line 1" in run({"messages": "one"}).stderr


def test_two_batches_on_one_output_are_refused(run, service, output):
    server = service(answering)
    with locked(output.with_name("out.jsonl.lock")):
        result = run({"messages": "one"})
    assert result.exit_code == 1
    assert "another batch is writing to" in result.stderr
    assert server.requests == []
    assert run({"messages": "one"}).exit_code == 0


def test_a_folder_that_is_not_there_is_named(cli, service, tmp_path):
    service(answering)
    absent = tmp_path / "absent"
    result = cli("batch", write(tmp_path / "in.jsonl", {"messages": "one"}), "-o", str(absent / "out.jsonl"), "-m", "gpt-4")
    assert result.exit_code == 1
    assert f"cannot write in the folder {absent}: No such file" in result.stderr
    assert ".lock" not in result.stderr


def test_the_lock_of_a_batch_that_was_killed_is_taken_over(run, service, output):
    service(answering)
    output.with_name("out.jsonl.lock").touch()
    assert run({"messages": "one"}).exit_code == 0
    assert not output.with_name("out.jsonl.lock").exists()


def test_the_input_is_not_the_output(cli, service, tmp_path):
    service(answering)
    path = write(tmp_path / "in.jsonl", {"messages": "one"})
    result = cli("batch", path, "-o", path, "-m", "gpt-4")
    assert (result.exit_code, "is the input" in result.stderr) == (1, True)
    assert read(tmp_path / "in.jsonl") == [{"messages": "one"}]


def test_a_folder_is_not_an_output(cli, service, tmp_path):
    service(answering)
    result = cli("batch", write(tmp_path / "in.jsonl", {"messages": "one"}), "-o", str(tmp_path), "-m", "gpt-4")
    assert (result.exit_code, "is not a file" in result.stderr) == (1, True)


@pytest.mark.unix
def test_a_link_is_written_through(run, service, output, tmp_path):
    service(answering)
    target = tmp_path / "elsewhere.jsonl"
    output.symlink_to(target)
    run({"messages": "fail"})
    run({"messages": "fail"}, options=("-m", "gpt-4", "--retry-failed"))
    assert output.is_symlink()
    assert sorted(by_line(target)) == [1]


def test_the_summary_as_json(run, service, output):
    service(answering)
    summary = json.loads(run({"messages": "one"}, {"messages": "fail"}, options=("-m", "gpt-4", "--json")).stdout)
    assert summary.pop("seconds") >= 0
    assert summary == {
        "answered": 1, "failed": 1, "bad": 0, "answered_before": 0, "failed_before": 0, "input_tokens": 2, "output_tokens": 3,
        "interrupted": False, "output": str(output), "cost": None, "currency": "", "unpriced": 1, "over_budget": "",
        "reasons": {"BadRequestError": 1},
    }  # fmt: skip


def test_from_standard_input_to_standard_output(cli, service):
    service(answering)
    result = cli("batch", "-", "-o", "-", "-m", "gpt-4", input='{"messages": "one"}\nbad\n')
    assert result.exit_code == 1
    assert {json.loads(line)["line"] for line in result.stdout.splitlines()} == {1, 2}
    assert "standard input:2: not JSON" in result.stderr


def test_from_a_file_to_standard_output(cli, service, tmp_path):
    service(answering)
    result = cli("batch", write(tmp_path / "in.jsonl", {"messages": "one"}), "-o", "-", "-m", "gpt-4")
    assert json.loads(result.stdout)["completion"]["text"] == "You said: one"


def test_standard_input_is_continued_too(cli, service, output):
    server = service(answering)
    words = ("batch", "-", "-o", str(output), "-m", "gpt-4")
    assert cli(*words, input='{"messages": "one"}\n').exit_code == 0
    assert cli(*words, input='{"messages": "one"}\n{"messages": "two"}\n').exit_code == 0
    assert asked(server) == ["one", "two"]
    changed = cli(*words, input='{"messages": "one"}\n{"messages": "other"}\n')
    assert "standard input:2 has changed" in changed.stderr
    assert "ends at line 1" in cli(*words, input='{"messages": "one"}\n').stderr


@pytest.mark.parametrize("option", ["--json", "--retry-failed"])
def test_standard_output_is_for_results_only(cli, service, tmp_path, option):
    service(answering)
    result = cli("batch", write(tmp_path / "in.jsonl"), "-o", "-", option)
    assert (result.exit_code, f"{option} needs a file" in result.stderr) == (2, True)


def test_an_unknown_model_is_reported_once(run, service):
    server = service(answering)
    result = run({"messages": "one"}, {"messages": "two"}, options=("-m", "gpt-5"))
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert server.requests == []


def test_the_keywords_are_those_of_complete():
    assert {"model", "messages", "stream", *KEYWORDS} == lines.KEYWORDS


MEASURED = """
import resource, sys
from providerhub.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform == "linux" else 1024))
"""


def _peak(source, output):
    """The peak memory in KiB of a batch that sends nothing."""
    command = [sys.executable, "-c", MEASURED, "batch", str(source), "-o", str(output), "-m", "gpt-4"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    return int(done.stdout)


def test_a_huge_input_is_not_held_in_memory(sandbox, tmp_path):
    pytest.importorskip("resource", reason="POSIX")
    sandbox()
    source, output, filler = tmp_path / "in.jsonl", tmp_path / "out.jsonl", "x" * 20_000
    peaks = []
    for number in (10, 3_000):
        with source.open("w", encoding="utf-8") as file, output.open("wb") as done:
            for n in range(1, number + 1):
                raw = json.dumps({"messages": f"{n} {filler}"})
                file.write(f"{raw}\n")
                done.write(results.record(n, lines.Line(n, raw.encode()).digest, "ok", {"completion": {"text": filler}}))
        peaks.append(_peak(source, output))
    assert source.stat().st_size + output.stat().st_size > 100 * 2**20
    assert peaks[1] - peaks[0] < 20 * 2**10


@contextlib.contextmanager
def started(command):
    """A process that does not outlive its test, even if the test fails."""
    with subprocess.Popen(command, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()  # empty if the process has ended


@pytest.mark.unix
def test_ctrl_c_records_what_is_under_way_and_sends_nothing_more(script, service, tmp_path, output):
    server = service(lambda request: (Gate("answer"), *answering(request)))
    path = write(tmp_path / "in.jsonl", *({"messages": str(n)} for n in range(10)))
    command = [script, "batch", path, "-o", str(output), "-m", "gpt-4", "--concurrency", "3"]
    with started(command) as running:
        server.reached("answer", times=3)
        running.send_signal(signal.SIGINT)
        assert running.stderr.readline().startswith(b"Stopping after 3 calls that are under way")
        server.open("answer")
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.decode().startswith("3 answered, 0 failed; ")
    assert b"the same command continues" in errors
    assert len(by_line(output)) == 3
    assert len(server.requests) == 3


@pytest.mark.unix
def test_a_second_ctrl_c_leaves_at_once(script, service, tmp_path, output):
    server = service(lambda _: Gate("never"))
    path = write(tmp_path / "in.jsonl", {"messages": "one"})
    with started([script, "batch", path, "-o", str(output), "-m", "gpt-4"]) as running:
        server.reached("never")
        running.send_signal(signal.SIGINT)
        running.stderr.readline()
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130


def test_reports_whose_reader_has_gone_do_not_stop_the_work(script, service, tmp_path, output):
    service(answering)
    path = write(tmp_path / "in.jsonl", *({"messages": str(n)} if n % 3 else "nonsense" for n in range(60)))
    command = [script, "batch", path, "-o", str(output), "-m", "gpt-4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        process.stderr.close()
        assert process.wait(60) == 1
    assert [r["status"] for _, r in sorted(by_line(output).items())] == ["ok" if n % 3 else "failed" for n in range(60)]


def test_a_full_disk_is_one_line(script, service, tmp_path):
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("there is no /dev/full")
    service(answering)
    path = write(tmp_path / "in.jsonl", {"messages": "one"})
    with device.open("wb") as full:
        command = [script, "batch", path, "-o", "-", "-m", "gpt-4"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: OSError: .*No space left on device.*\n", done.stderr)


def test_the_bar_is_for_a_terminal(terminal, service, tmp_path, output):
    server = service(lambda request: (Mark("asked"), Gate(_content(request)), *answering(request)))
    path = write(tmp_path / "in.jsonl", {"messages": "one"}, {"messages": "fail"}, {"messages": "three"})
    child = terminal("batch", path, "-o", str(output), "-m", "gpt-4", term="xterm")
    server.reached("asked", times=3)
    child.expect_exact("0/3")
    server.open("one")
    child.expect_exact("1/3")
    server.open("fail")
    child.expect_exact("1 failed")
    server.open("three")
    child.expect_exact("3/3")
    child.expect_exact("2 answered, 1 failed (1 BadRequestError); ")
    child.wait()
    assert child.exitstatus == 1
    assert len(by_line(output)) == 3


# --- tables, prompts and budgets

ROWS = 'id,text,model\n1,"two\nlines",x\n\n2,plain,"y, z"\n'


@pytest.fixture
def table(cli, tmp_path, output):
    """Write a table, run the batch."""

    def start(text, *options, name="in.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return cli("batch", str(path), "-o", str(output), "-m", "gpt-4", *options)

    return start


def test_rows_of_csv_fill_the_prompt(table, service, output):
    server = service(answering)
    result = table(b"\xef\xbb\xbf" + ROWS.encode(), "--prompt", "Sort {text} ({model}) {{id}}", "-s", "Be brief.")
    assert result.exit_code == 0, result.output
    assert asked(server) == ["Sort plain (y, z) {id}", "Sort two\nlines (x) {id}"]
    assert {request.json()["messages"][0]["content"] for request in server.requests} == {"Be brief."}
    found = {one["id"]: one for one in read(output)}
    assert found["2"]["fields"] == {"text": "plain", "model": "y, z"}
    assert sorted(by_line(output)) == [3, 5]
    assert table(ROWS, "--prompt", "Sort {text} ({model}) {{id}}", "-s", "Be brief.").stderr.startswith("0 answered")
    assert len(server.requests) == 2


@pytest.mark.parametrize(("name", "options"), [("in.tsv", ()), ("in.TXT", ("--csv",))])
def test_other_tables(table, service, name, options):
    server = service(answering)
    text = "a\tb\n1\t2\n" if name == "in.tsv" else "a,b\n1,2\n"
    assert table(text, "--prompt", "{a}+{b}", *options, name=name).exit_code == 0
    assert asked(server) == ["1+2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,a\n1,2\n", "none twice"),
        ("a,\n1,2\n", "name each column"),
        ("a,b\n1\n", "line 2 of the CSV has 1 values"),
        ('a\n"1\n', "not CSV"),
        (b"a\n\xff\n", "line 2 is not CSV in UTF-8"),
        (b"\xff\n1\n", "line 1 is not CSV in UTF-8"),
    ],
)
def test_a_table_with_a_mistake_is_refused_before_anything_is_sent(table, service, text, said):
    server = service(answering)
    result = table(text, "--prompt", "{a}")
    assert result.exit_code == 1
    assert said in result.stderr
    assert server.requests == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('\ufefftext;"a, b"\n"x; ""y""";2\n', "in.csv"),
        ('text\t"a, b"\n"x; ""y"""\t2\n', "in.csv"),
        ('text;"a, b"\n"x; ""y""";2\n', "in.tsv"),
        ('text,"a, b"\n"x; ""y""",2\n', "in.csv"),
        ('"a, b",text\r\n2,"x; ""y"""\r\n', "in.csv"),
    ],
)
def test_the_separator_is_that_of_the_header(table, service, output, text, name):
    server = service(answering)
    assert table(text, "--prompt", "{text}", name=name).exit_code == 0
    assert [_content(request) for request in server.requests] == ['x; "y"']
    assert read(output)[0]["fields"] == {"text": 'x; "y"', "a, b": "2"}


def test_a_second_line_with_an_id_is_refused(run, service, output):
    server = service(answering)
    lines = [{"id": "a", "messages": "1"}, {"id": 1, "messages": "2"}, {"id": "1", "messages": "3"}, {"id": "a", "messages": "4"}]
    result = run(*lines, options=("-m", "gpt-4", "--concurrency", "1"))
    assert result.exit_code == 1
    assert "in.jsonl:4: the id 'a' is also the id of line 1" in result.stderr
    again = run(*lines, options=("-m", "gpt-4", "--retry-failed"))
    assert "in.jsonl:4: the id 'a' is also the id of line 1" in again.stderr
    assert sorted(map(_content, server.requests)) == ["1", "2", "3"]
    assert run(*lines[:3], lines[3] | {"id": "b"}, options=("-m", "gpt-4", "--retry-failed")).exit_code == 0


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys):
    now = [0.0]
    bar = Bar(9, 2, get_time=lambda: now[0])
    for now[0], failed in ((10.0, 0), (20.0, 0), (40.0, 1), (60.0, 1)):
        bar.step(failed, "5 tokens in, 6 out")
    assert capsys.readouterr().err == "5 of 9 lines; 1 failed; 5 tokens in, 6 out\n"


def test_a_table_needs_a_prompt_and_a_model(table, cli, tmp_path, output):
    result = table(ROWS)
    assert result.exit_code == 2
    assert "--prompt" in result.stderr
    result = cli("batch", str(tmp_path / "in.csv"), "-o", str(output), "--prompt", "{text}")
    assert result.exit_code == 2
    assert "CSV needs --model" in result.stderr


def test_several_models_are_tried_in_their_order(table, service, output):
    service(http_response(401, {"error": {"message": "no"}}))
    options = ("--prompt", "{text}", "-m", "echo/echo-1")
    assert table("text\n7\n", *options).exit_code == 0
    (result,) = read(output)
    assert (result["default_model"], result["completion"]["provider"]) == ("gpt-4, echo/echo-1", "echo")
    assert table("text\n7\n", *options).stderr.startswith("0 answered")
    assert "answers of --model gpt-4, echo/echo-1" in table("text\n7\n", *options[:2]).stderr


def test_results_as_a_table_in_the_order_of_the_input(table, service, tmp_path):
    answers = {"a": '{"kind": "bill", "tags": ["x", "y"]}', "b": '{"kind": "letter", "tags": []}'}
    server = service(lambda request: answering(request) if _content(request) == FAILS else said(answers[_content(request)]))
    where = tmp_path / "out.csv"
    options = ("--prompt", "{text}", "--schema", "kind, tags str[]", "-o", str(where), "--concurrency", "1")
    result = table("kind,text\nk1,b\nk2,fail\nk3,a\n", *options)
    assert result.exit_code == 1, result.output
    with where.open(encoding="utf-8", newline="") as file:
        letter, failed, bill = csv.DictReader(file)
    assert list(letter)[:4] == ["kind", "text", "answer.kind", "tags"]
    assert [letter["kind"], letter["text"], letter["answer.kind"], letter["tags"]] == ["k1", "b", "letter", "[]"]
    assert [bill["answer.kind"], bill["tags"], bill["call.status"]] == ["bill", '["x", "y"]', "ok"]
    assert [failed["call.line"], failed["call.status"], failed["tags"]] == ["3", "failed", ""]
    assert failed["call.error"].startswith("BadRequestError: ")
    assert letter["call.input_tokens"] == "2"
    asked_before = len(server.requests)
    where.unlink()
    assert table("kind,text\nk1,b\nk2,fail\nk3,a\n", *options).exit_code == 1
    assert where.exists()
    assert len(server.requests) == asked_before


def test_without_a_schema_a_table_has_the_text_and_no_file_is_overwritten(table, service, tmp_path):
    service(answering)
    where = tmp_path / "out.TSV"
    where.write_text("mine", "utf-8")
    options = ("--prompt", "{text}", "-o", str(where))
    assert "no batch has written it" in table("text\n7\n", *options).stderr
    assert where.read_text("utf-8") == "mine"
    where.unlink()
    assert table("text\n7\n", *options).exit_code == 0
    where.unlink()
    where.mkdir()
    assert f"cannot write {where}: " in table("text\n7\n", *options).stderr
    where.rmdir()
    assert table("text\n7\n", *options).exit_code == 0
    header, row = where.read_text("utf-8").splitlines()
    assert header.startswith("text\tanswer\tcall.line\t")
    assert row.startswith("7\tYou said: 7\t2\tok\t")


def test_a_prompt_that_names_no_column_is_refused_before_anything_is_sent_or_recorded(table, service, output):
    server = service(answering)
    near, unlike = (table("id,text\n1,x\n", "--prompt", f"Sort {name}") for name in ("{txt}", "{nothing}"))
    assert (near.exit_code, unlike.exit_code) == (2, 2)
    assert "--prompt names 'txt', and the CSV has no such column; did you mean 'text'?" in near.stderr
    assert "its columns are id, text" in unlike.stderr
    assert asked(server) == []
    assert not output.exists() or not output.read_bytes()


def test_a_prompt_for_lines_of_json(run, service, output):
    server = service(answering)
    lines = ({"text": "one"}, {"messages": "own"}, {"txt": "two"}, {"message": "near"})
    result = run(*lines, options=("-m", "gpt-4", "--prompt", "Say {text}"))
    assert result.exit_code == 1
    assert asked(server) == ["Say one", "own"]
    assert "in.jsonl:3: --prompt names 'text', which this line does not have; it has txt" in result.stderr
    assert "did you mean 'messages'" in result.stderr
    assert by_line(output)[1]["fields"] == {"text": "one"}


def test_another_prompt_does_not_continue_a_run(table, service):
    service(answering)
    assert table(ROWS, "--prompt", "Sort {text}").exit_code == 0
    result = table(ROWS, "--prompt", "Count {text}")
    assert result.exit_code == 1
    assert "--prompt, --system or --schema" in result.stderr


def test_failures_and_unequal_answers_are_counted_by_reason(table, service, output):
    def answer(request):
        text = _content(request)
        if text == "refused":
            return http_response(200, openai_completion("", refusal="I would rather not."))
        if text == "cut":
            return http_response(200, openai_completion('{"n": 1', finish_reason="length"))
        return http_response(200, openai_completion('{"n": 1}' if text == "fits" else '{"n": "x"}'))

    service(answer)
    result = table("text\nfits\nrefused\ncut\nodd\n", "--prompt", "{text}", "--schema", "n int", "--passes", "0")
    assert "3 answered, 1 failed (" in result.stderr
    for reason in ("1 InvalidOutputError", "1 refusal", "1 cut at max_tokens"):
        assert reason in result.stderr


PRICES = '[providers.lockchat.model."gpt-4"]\nprice_in = 1000000\nprice_out = 0\n'


def test_a_budget_ends_the_run_and_the_next_one_continues(table, service, settings_file, output):
    settings_file.write_text(PRICES, "utf-8")
    server = service(answering)  # each answer costs 2
    text = "text\n" + "".join(f"{number}\n" for number in range(9))
    knobs = ("--prompt", "{text}", "--concurrency", "1")
    result = table(text, *knobs, "--max-cost", "3.5")
    assert result.exit_code == 1
    assert "Stopped: --max-cost 3.5 is reached. The same command continues" in result.stderr
    assert "USD" in result.stderr
    sent = len(server.requests)
    assert 2 <= sent <= 4
    summary = json.loads(table(text, *knobs, "--max-cost", "100", "--json").stdout)
    assert (summary["answered"], summary["answered_before"]) == (9 - sent, sent)
    assert (summary["cost"], summary["currency"]) == (2.0 * (9 - sent), "USD")


def test_a_budget_needs_known_prices(table, service, output):
    server = service(answering)
    text = "text\n" + "".join(f"{number}\n" for number in range(9))
    result = table(text, "--prompt", "{text}", "--concurrency", "1", "--max-cost", "3")
    assert result.exit_code == 1
    assert "the cost of lockchat/gpt-4 in one currency is unknown; set price_in and price_out" in result.stderr
    assert len(server.requests) < 9


@pytest.mark.once
def test_a_refused_key_costs_one_warning(service, tmp_path):
    server = service(http_response(401, {"error": {"message": "wrong key"}}), repeat=True)
    rows = write(tmp_path / "in.jsonl", *({"messages": str(number)} for number in range(20)))
    command = [sys.executable, "-m", "providerhub", "batch", rows, "-o", "-", "-m", "gpt-4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as running:
        told = running.stderr.readline()
        assert "lockchat refused its key (status 401)" in told
        assert running.wait(timeout=60) == 1
        rest = running.stderr.read().splitlines()
    assert len(rest) == 2
    assert rest[1].startswith("Error: lockchat/gpt-4: HTTP 401")
    assert len(server.requests) <= 9
