"""The cost of the command line: of its help beside `import click`, and of the first token beside a short script with requests.

Run by hand, or by `tox -e bench`, with the wheels of core and Lockchat plugin installed: `python tests/benchmarks/cli.py`. Every
figure is a median over fresh processes. The variants take turns, so that other work of the machine affects all of them equally.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROUNDS = 41
WARM_UP = 3
HELP_TARGET = 1.1
ASK_TARGET = 1.3

BY_HAND = """
import json, sys, requests
body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.7, "stream": True}
with requests.post(sys.argv[1] + "/v1/chat/completions", json=body, stream=True, timeout=60) as answer:
    answer.raise_for_status()
    for line in answer.iter_lines():
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            delta = json.loads(line[6:])["choices"][0]["delta"]
            sys.stdout.write(delta.get("content") or "")
            sys.stdout.flush()
"""

SCRIPT = str(Path(sysconfig.get_path("scripts")) / "providerhub")
# Users have byte code; without it, the figure would be the time of the compiler.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def whole(command: list[str]) -> float:
    """Seconds of a process, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, timeout=60)
    return time.perf_counter() - start


def first_byte(command: list[str]) -> float:
    """Seconds from a process's start to its first output."""
    start = time.perf_counter()
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        if not os.read(running.stdout.fileno(), 1):
            msg = f"no output from {command}"
            raise RuntimeError(msg)
        took = time.perf_counter() - start
        running.communicate(timeout=60)
    return took


def compare(what: str, measure: Callable[[list[str]], float], commands: Mapping[str, list[str]], target: float) -> bool:
    """Measure two commands in turns; the first is what the second is held against."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(-WARM_UP, ROUNDS):  # the first rounds write byte code and warm the disk's cache
        for name, command in commands.items():
            seconds = measure(command)
            if number >= 0:
                took[name].append(seconds)
    base, ours = (statistics.median(values) for values in took.values())
    print("medians:", ", ".join(f"{name} {statistics.median(values) * 1000:.1f} ms" for name, values in took.items()))
    reached = ours / base <= target
    print(f"{what}: {ours / base:.2f}; target at most {target:g}: {'reached' if reached else 'NOT reached'}")
    return reached


@contextmanager
def sandbox() -> Iterator[str]:
    """A service of its own process, which shares no interpreter lock with what is measured."""
    command = [sys.executable, "-m", "providerhub_lockchat.sandbox", "--delay", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().rpartition("=")[2].strip()
        finally:
            server.terminate()


def main() -> bool:
    """Measure both.

    Returns:
        Whether both targets are reached.
    """
    helped = compare(
        "providerhub --help over python -c 'import click'",
        whole,
        {"import click": [sys.executable, "-c", "import click"], "--help": [SCRIPT, "--help"]},
        HELP_TARGET,
    )
    with sandbox() as url:
        ENVIRONMENT["LOCKCHAT_URL"] = url
        asked = compare(
            "providerhub ask to its first token over a script with requests",
            first_byte,
            {"requests": [sys.executable, "-c", BY_HAND, url], "ask": [SCRIPT, "ask", "-m", "gpt-4", "--no-save", "Hello"]},
            ASK_TARGET,
        )
    return helped and asked


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
