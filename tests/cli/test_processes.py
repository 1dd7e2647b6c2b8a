"""The installed script in separate processes: pipes, a pseudo-terminal, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from providerhub.testing import http_response, openai_completion

pytestmark = pytest.mark.unix

WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == {name!r} else super().find_spec(name, path, target)
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from providerhub.cli import main
main()
"""


@pytest.mark.parametrize("name", ["click", "rich"])
def test_without_the_extra_one_line_names_it(name):
    command = [sys.executable, "-c", WITHOUT.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'providerhub\'s command line needs: pip install "providerhub[cli]"\n'


def test_python_m_providerhub_is_the_script(sandbox):
    sandbox()
    command = [sys.executable, "-m", "providerhub", "ask", "-m", "gpt-4", "Hello"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("You said: Hello\n")


def _closed(script, *numbers):
    """Ask with some standard streams closed. Return the output of the others."""
    shut = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in numbers)
    command = ["sh", "-c", f'"$0" ask -m gpt-4 - {shut}', script]
    return subprocess.run(command, input="Hello", capture_output=True, text=True, timeout=60, check=False)


def test_a_closed_standard_input_is_an_empty_prompt(script, sandbox):
    sandbox()
    done = _closed(script, 0)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the prompt is empty" in done.stderr


def test_a_closed_standard_output_loses_no_answer_silently(script, sandbox):
    sandbox()
    done = _closed(script, 1)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: OSError: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_standard_error_keeps_the_answer(script, sandbox):
    sandbox()
    done = _closed(script, 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("You said: Hello\n")


@pytest.mark.parametrize("numbers", [(0, 1), (1, 2), (0, 1, 2)])
def test_several_closed_standard_streams(script, sandbox, numbers):
    sandbox()
    done = _closed(script, *numbers)
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_before_anything_is_written(script, sandbox):
    sandbox()
    command = ["sh", "-c", '"$0" plugins --json | true; "$0" --help | true; "$0" ask -m gpt-4 Hello | head -c 1', script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("T", "")


def test_a_full_disk_is_one_line(script, sandbox):
    if not os.path.exists("/dev/full"):  # noqa: PTH110 -- a device, not a path of this project
        pytest.skip("there is no /dev/full")
    sandbox()
    command = ["sh", "-c", '"$0" ask -m gpt-4 Hello > /dev/full', script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_ask_in_a_pipe(process, sandbox):
    sandbox()
    done = process("ask", "-m", "gpt-4", "-", input="Hello from a pipe")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("You said: Hello from a pipe\n")


ENCODINGS = [{"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]


@pytest.mark.parametrize("env", ENCODINGS, ids=range(len(ENCODINGS)))
def test_a_pipe_gets_utf_8_whatever_the_locale(process, sandbox, env):
    sandbox()
    done = process("ask", "-m", "gpt-4", "-", env=env, input="naïve → 你好")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("You said: naïve → 你好\n")
    done = process("ask", "-m", "gpt-4", "-", "--json", env=env, input="naïve → 你好")
    assert json.loads(done.stdout)["text"].endswith("You said: naïve → 你好")


def test_json_in_a_terminal_of_another_encoding_loses_nothing(terminal, sandbox):
    sandbox()
    child = terminal("ask", "-m", "gpt-4", "--json", "h\u00e9", PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    child.expect_exact("You said: h\\u00e9")
    child.wait()
    assert child.exitstatus == 0


def test_a_prompt_and_a_file_are_joined(process, service):
    server = service(lambda _: http_response(200, openai_completion("short")))
    done = process("ask", "-m", "gpt-4", "--no-stream", "Summarise", input="line one\nline two\n")
    assert (done.returncode, done.stdout) == (0, "short\n")
    assert server.requests[0].json()["messages"] == [{"role": "user", "content": "Summarise\n\nline one\nline two\n"}]


def test_ask_fails_in_one_line(process, sandbox):
    sandbox(fault="model-not-found")
    done = process("ask", "-m", "gpt-4", "Hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def _begun(script, sandbox, **how):
    sandbox(**how)
    command = [script, "ask", "-m", "gpt-4", "Hello " * 2000]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert os.read(running.stdout.fileno(), 4) == b"This"
    return running


def test_ctrl_c_ends_an_answer_quietly(script, sandbox):
    with _begun(script, sandbox, fault="stall") as running:
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, b"")


def test_a_reader_that_leaves_ends_an_answer_quietly(script, sandbox):
    with _begun(script, sandbox, delay=0.001) as running:
        running.stdout.close()
        errors = running.stderr.read()
        running.wait(timeout=60)
    assert errors == b""
    assert running.returncode != 0


def _check_demo(text):
    for part in ("lockchat-down", "lockchat-demo", "HTTP 500", "sandbox"):
        assert part in text
    assert (
        text.index("Two services")
        < text.index("The plan")
        < text.index("The answer")
        < text.index("The attempts")
        < text.index("Next")
    )
    assert text.index("1. lockchat-down/gpt-4: error") < text.index("2. lockchat-demo/gpt-4: ok")


def test_ask_in_a_terminal_without_a_prompt_says_so(terminal, sandbox):
    sandbox()
    child = terminal("ask", "-m", "gpt-4")
    child.expect_exact("there is no PROMPT")
    child.wait()
    assert child.exitstatus == 2


def test_ask_in_a_terminal(terminal, sandbox):
    sandbox()
    child = terminal("ask", "-m", "gpt-4", "Hello")
    child.expect_exact("You said: Hello\r\n")
    child.wait()
    assert child.exitstatus == 0


def test_demo_in_a_pipe_ignores_the_environment(process):
    nowhere = {"LOCKCHAT_URL": "http://127.0.0.1:9", "PROVIDERHUB_BLOCK": "lockchat", "PROVIDERHUB_DISABLE_AUTOLOAD": "1"}
    done = process("demo", env={**nowhere, "HTTP_PROXY": "http://127.0.0.1:9"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    _check_demo(done.stdout)


@pytest.mark.once
@pytest.mark.parametrize("colour", [True, False])
def test_demo_in_a_terminal(script, colour):
    pexpect = pytest.importorskip("pexpect", reason="pseudo-terminals are for POSIX")
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    if not colour:
        environment["NO_COLOR"] = "1"
    child = pexpect.spawn(script, ["demo"], env=environment, encoding="utf-8", timeout=60, dimensions=(50, 120))
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert ("\x1b[" in child.before) == colour
    _check_demo(child.before)


@pytest.mark.once
def test_an_answer_cannot_steer_the_terminal(script, sandbox):
    pexpect = pytest.importorskip("pexpect", reason="pseudo-terminals are for POSIX")
    sandbox()
    child = pexpect.spawn(script, ["ask", "-m", "gpt-4", "a\x1b]0;owned\x07b"], encoding="utf-8", timeout=60)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "\x1b]" not in child.before
    assert "\x07" not in child.before
    assert "a]0;ownedb" in child.before
