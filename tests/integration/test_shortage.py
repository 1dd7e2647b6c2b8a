"""A system without a free thread or file descriptor: calls wait, and no provider is blamed."""

import asyncio
import errno
import subprocess
import sys
import threading

import pytest

from providerhub import Hub, ModelInfo, ProviderConfig, ProviderInfo, RetryPolicy, Secret, Settings
from providerhub._finding import instance as instances
from providerhub._settings import secrets
from providerhub._settings.secrets import CommandKey, FileKey
from providerhub.testing import FakeClock, FaultServer, http_response, openai_completion

SOON = Settings(autoload=False, retry=RetryPolicy(beside_after=0.01))


class Slow:
    """Answers when it is let go, and ends when it is cancelled."""

    def __init__(self):
        self.go = threading.Event()

    def stream(self, request, call):
        call.on_cancel(self.go.set)
        self.go.wait(60)
        yield "a"


class Fast:
    def stream(self, request, call):
        yield "b"


@pytest.fixture
def shortage(monkeypatch):
    """`shortage(prefix, count, after=0)`: so many starts of threads whose names begin so fail, after some that succeed."""
    start, wanted = threading.Thread.start, {}

    def refuse(thread):
        for prefix, left in wanted.items():
            if thread.name.startswith(prefix):
                left[0] -= 1
                if left[0] < 0 and left[1] > 0:
                    left[1] -= 1
                    raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return lambda prefix, count, after=0: wanted.update({prefix: [after, count]})


def _info(name):
    return ProviderInfo(name=name, models=(ModelInfo("m", supports_stream=True),))


@pytest.mark.parametrize("stream", [False, True])
def test_an_attempt_beside_a_slow_one_waits_for_its_thread(make_hub, shortage, stream):
    shortage("providerhub-beside", 3)
    slow = Slow()
    hub = make_hub(SOON, a=(_info("a"), slow), b=(_info("b"), Fast()))
    answer = hub.complete(["a/m", "b/m"], "x", stream=stream, timeout=60)
    assert ("".join(answer) if stream else answer.text) == "b"
    assert [type(one.error).__name__ for one in answer.route.attempts if one.error] == ["ShortageError"] * 3
    assert all(record.state == "closed" and (record.budget is None or record.budget >= 9.0) for record in hub.health())
    assert [record.model for record in hub.health() if record.provider == "b"] == ["m"]  # no failure counts for the instance


def test_a_call_goes_on_alone_without_a_thread_for_its_supervisor(make_hub, shortage):
    shortage("providerhub-supervisor", 1)
    slow = Slow()
    hub = make_hub(SOON, a=(_info("a"), slow), b=(_info("b"), Fast()))
    threading.Timer(0.05, slow.go.set).start()
    assert hub.complete(["a/m", "b/m"], "x", timeout=60).text == "a"


@pytest.mark.parametrize("after", [0, 2])
def test_many_calls_wait_for_the_threads_that_there_are(make_hub, shortage, after):
    shortage("providerhub-many_", 50, after)
    rows = [{"model": "m", "messages": "x"}] * 20
    outcomes = list(make_hub(a=Fast()).complete_many(rows))
    assert sorted(outcome.index for outcome in outcomes if outcome.unwrap()) == list(range(20))


@pytest.mark.parametrize("awaited", [False, True])
def test_many_calls_wait_for_the_thread_of_their_input(make_hub, shortage, awaited):
    shortage("providerhub-many-input", 2)
    rows = [{"model": "m", "messages": "x"}] * 3
    hub = make_hub(a=Fast())

    async def main():
        return [outcome async for outcome in hub.acomplete_many(iter(rows))]

    outcomes = asyncio.run(main()) if awaited else list(hub.complete_many(iter(rows)))
    assert [outcome.unwrap().text for outcome in outcomes] == ["b"] * 3


def _short(times, function):
    left = [OSError(errno.EMFILE, "Too many open files")] * times

    def wrapped(*args, **kwargs):
        if left:
            raise left.pop()
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("kind", ["file", "command"])
def test_a_key_that_cannot_be_read_without_a_descriptor_is_read_again(monkeypatch, tmp_path, kind, awaited):
    path = tmp_path / "key"
    path.write_text("sk-canary\n")
    source = FileKey(str(path)) if kind == "file" else CommandKey((sys.executable, "-c", "print('sk-canary')"))
    with FaultServer(http_response(200, openai_completion("fine"))) as server:
        config = ProviderConfig(plugin="openai", url=server.url, api_key=Secret.later(source), models=["m"])
        with Hub(Settings(providers={"p": config}, allow=("openai",)), clock=FakeClock()) as hub:
            if kind == "file":
                monkeypatch.setattr(secrets, "open", _short(3, open), raising=False)
            else:
                monkeypatch.setattr(subprocess, "Popen", _short(3, subprocess.Popen))
            answer = asyncio.run(hub.acomplete("p/m", "x")) if awaited else hub.complete("p/m", "x")
    assert answer.text == "fine"
    assert {type(one.error).__name__ for one in answer.route.attempts[:-1]} <= {"ShortageError"}
    assert server.requests[0].header("authorization") == "Bearer sk-canary"


@pytest.mark.parametrize("awaited", [False, True])
def test_a_provider_that_cannot_be_imported_without_a_descriptor_is_imported_again(monkeypatch, awaited):
    with FaultServer(http_response(200, openai_completion("fine"))) as server:
        config = ProviderConfig(plugin="openai", url=server.url, api_key="k", models=["m"])
        with Hub(Settings(providers={"p": config}, allow=("openai",)), clock=FakeClock()) as hub:
            monkeypatch.setattr(instances, "import_object", _short(3, instances.import_object))
            answer = asyncio.run(hub.acomplete("p/m", "x")) if awaited else hub.complete("p/m", "x")
    assert answer.text == "fine"
    assert [type(one.error).__name__ for one in answer.route.attempts] == ["ShortageError"] * 3 + ["NoneType"]
