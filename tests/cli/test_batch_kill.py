"""A batch that is killed again and again: in the end, every line has one result, and no recorded line was sent again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess

import pytest

from providerhub.testing import Mark, http_response, openai_completion

pytestmark = pytest.mark.unix

LINES = 60
ROUNDS = 6


def _answer(request):
    """An answer longer than a page of the disk."""
    text = request.json()["messages"][-1]["content"]
    return (Mark("asked"), *http_response(200, openai_completion(f"{text} {'x' * 30_000}")))


def _recorded(output):
    """The lines with a whole result."""
    raw = output.read_bytes() if output.exists() else b""
    return [json.loads(line)["line"] for line in raw.splitlines(keepends=True) if line.endswith(b"\n")]


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_points_and_resumed(script, service, tmp_path, seed):
    rng = random.Random(seed)
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f'{{"id": {n}, "messages": "{n}"}}\n' for n in range(1, LINES + 1)), "utf-8")
    server = service(_answer)
    command = [script, "batch", str(source), "-o", str(output), "-m", "gpt-4", "--concurrency", "4"]
    recorded = {}
    for number in range(ROUNDS):
        recorded[number], served = _recorded(output), server.served
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=_marked(number)) as running:
            some = min(rng.randint(1, 12), LINES - len(recorded[number]))
            server.reached("asked", times=served + some, timeout=60)
            running.send_signal(signal.SIGKILL)
            running.wait(timeout=60)
        if output.exists() and rng.random() < 0.5:  # imitates a kill in the middle of a write, which is rare
            _tear(output, rng)
    recorded[ROUNDS] = _recorded(output)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=_marked(ROUNDS))
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert sorted(r["line"] for r in results) == list(range(1, LINES + 1))
    assert all(r["completion"]["text"].startswith(f"{r['id']} ") for r in results)
    for number, before in recorded.items():
        sent = _sent(server, number)
        assert not set(before) & set(sent), "sent again although its result was recorded"
        assert len(sent) == len(set(sent)), "sent twice by one run"
    assert len(sent) == LINES - len(before)


def _tear(output, rng):
    raw = output.read_bytes()
    last = raw.rstrip(b"\n").rfind(b"\n") + 1
    if raw[last:]:
        output.write_bytes(raw[: rng.randint(last + 1, len(raw) - 2)])


def _marked(number):
    """An environment whose key bears the run's number: a killed run's request may arrive after the next run has begun."""
    return {**os.environ, "LOCKCHAT_API_KEY": f"run-{number}"}


def _sent(server, number):
    mine = [request for request in server.requests if request.header("Authorization") == f"Bearer run-{number}"]
    return [int(request.json()["messages"][-1]["content"]) for request in mine]
