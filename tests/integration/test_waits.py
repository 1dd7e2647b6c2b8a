"""The early end of a wait between two attempts: the hub is closed or forgives, the reader leaves, Ctrl-C."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from providerhub import Finish, ModelInfo, ProviderInfo, RateLimitError, RetryPolicy, ServerError, Settings, hookimpl

LONG = 500.0
"""Seconds of the waits here: longer than a test may take."""

WAITING = Settings(autoload=False, retry=RetryPolicy(backoff=LONG, backoff_max=LONG, throttle_backoff=LONG))


class Failing:
    """Fails its first call, and answers the others. A stream breaks after its first piece."""

    def __init__(self, error):
        self.error = error
        self.asked = threading.Event()
        self.calls = 0

    def stream(self, request, call):
        self.calls += 1
        if self.calls > 1:
            yield "again"
            yield Finish()
            return
        if request.stream:
            yield "word"
        self.asked.set()
        raise self.error


ERRORS = [ServerError("down"), RateLimitError("slow down", retry_after=LONG), RateLimitError("slow down")]


@pytest.fixture(params=ERRORS, ids=["backoff", "stated", "throttled"])
def failing(request):
    return Failing(request.param)


@pytest.fixture
def hub(make_hub, failing):
    return make_hub(WAITING, {"rng": lambda: 0.99}, a=failing)


def _in_thread(work):
    """Run a function in a thread; return a function that waits for its result, or raises its exception."""
    ended = []

    def run():
        try:
            ended.append((work(), None))
        except BaseException as error:
            ended.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(60)
        ((value, error),) = ended
        if error is not None:
            raise error
        return value

    result.thread = thread
    return result


def test_close_ends_the_wait_of_a_call(hub, failing):
    result = _in_thread(lambda: hub.complete("m", "x", timeout=2 * LONG))
    assert failing.asked.wait(60)
    hub.close()
    with pytest.raises(RuntimeError, match="this hub is closed"):
        result()
    assert failing.calls == 1


def test_close_ends_the_wait_of_a_stream(hub, failing):
    stream = hub.complete("m", "x", timeout=2 * LONG, stream=True, on_interrupt="restart")
    result = _in_thread(lambda: list(stream.events()))
    assert failing.asked.wait(60)
    hub.close()
    with pytest.raises(RuntimeError, match="this hub is closed"):
        result()


@pytest.mark.parametrize("how", ["close", "aclose"])
def test_close_ends_the_wait_of_a_task(hub, failing, how):
    async def main():
        task = asyncio.create_task(hub.acomplete("m", "x", timeout=2 * LONG))
        await asyncio.to_thread(failing.asked.wait, 60)
        if how == "close":
            hub.close()
        else:
            await hub.aclose()
        with pytest.raises(RuntimeError, match="this hub is closed"):
            await asyncio.wait_for(task, 60)

    asyncio.run(main())


class Deaf:
    """Answers in its own time, whether or not anyone waits."""

    def __init__(self):
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    def stream(self, request, call):
        raise NotImplementedError

    async def astream(self, request, call):
        self.asked.set()
        await self.answers.wait()
        yield "late"


@pytest.mark.parametrize("how", ["close", "aclose"])
def test_close_ends_a_task_whose_provider_ignores_its_context(make_hub, how):
    async def main():
        provider = Deaf()
        hub = make_hub(a=provider)
        task = asyncio.create_task(hub.acomplete("m", "x", timeout=LONG))
        await provider.asked.wait()
        if how == "close":
            await asyncio.to_thread(hub.close)
        else:
            await hub.aclose()
        with pytest.raises(RuntimeError, match="this hub is closed"):
            await asyncio.wait_for(task, 60)

    asyncio.run(main())


def test_close_leaves_the_calls_of_many_that_are_under_way(make_hub):
    asked, answers = threading.Event(), threading.Event()

    class Slow:
        def stream(self, request, call):
            asked.set()
            assert answers.wait(60)
            yield "whole"

    hub = make_hub(a=Slow())
    outcomes = hub.complete_many([{"model": "m", "messages": "x"}] * 3, concurrency=1)
    first = _in_thread(lambda: next(outcomes))
    assert asked.wait(60)
    hub.close()
    answers.set()
    assert first().unwrap().text == "whole"
    with pytest.raises(RuntimeError, match="the hub was closed before all requests were sent"):
        next(outcomes)


def test_leaving_many_calls_ends_their_waits(make_hub, failing, scripted):
    other = ProviderInfo(name="b", models=(ModelInfo("n"),))
    hub = make_hub(WAITING, {"rng": lambda: 0.99}, a=failing, b=(other, scripted()))
    before = threading.active_count()
    outcomes = hub.complete_many([{"model": name, "messages": "x", "timeout": 2 * LONG} for name in "mn"])
    assert next(outcomes).index == 1
    assert failing.asked.wait(60)
    outcomes.close()
    assert threading.active_count() <= before


def _one(hub):
    return hub.complete("m", "x", timeout=2 * LONG).text


def _streamed(hub):
    return list(hub.complete("m", "x", timeout=2 * LONG, stream=True, on_interrupt="restart").events())[-2].text


def _awaited(hub):
    return asyncio.run(hub.acomplete("m", "x", timeout=2 * LONG)).text


def _one_of_many(hub):
    return next(hub.complete_many([{"model": "m", "messages": "x", "timeout": 2 * LONG}])).unwrap().text


def _again_at_the_end(hub):
    once = RetryPolicy(attempts=1, attempts_per_provider=1, backoff=LONG)
    return next(hub.complete_many([{"model": "m", "messages": "x", "timeout": 2 * LONG, "retry": once}])).unwrap().text


@pytest.mark.parametrize("call", [_one, _awaited])
def test_close_ends_a_call_that_is_about_to_begin(make_hub, call):
    class Closing:
        @hookimpl
        def providerhub_call_started(self):
            hub.close()

    provider = Failing(ServerError("down"))
    hub = make_hub(Settings(autoload=False), {"observers": [Closing()]}, a=provider)
    with pytest.raises(RuntimeError, match="this hub is closed"):
        call(hub)
    assert provider.calls == 0


@pytest.mark.parametrize("call", [_one, _streamed, _awaited, _one_of_many, _again_at_the_end])
def test_a_call_that_waits_goes_on_when_its_provider_is_forgiven(failing, hub, call):
    result = _in_thread(lambda: call(hub))
    assert failing.asked.wait(60)
    while result.thread.is_alive():  # the wait may begin after the first look
        hub.forgive("a")
        result.thread.join(0.05)
    assert result() == "again"


def test_a_call_waits_on_when_another_provider_is_forgiven(make_hub, failing):
    other = ProviderInfo(name="b", models=(ModelInfo("n"),))
    hub = make_hub(WAITING, {"rng": lambda: 0.99}, a=failing, b=(other, Failing(failing.error)))
    result = _in_thread(lambda: _one(hub))
    assert failing.asked.wait(60)
    for _ in range(3):
        hub.forgive("b")
        result.thread.join(0.05)
    assert failing.calls == 1
    hub.close()
    with pytest.raises(RuntimeError, match="this hub is closed"):
        result()


@pytest.mark.skipif(sys.platform == "win32", reason="no process of Windows can be sent Ctrl-C alone")
@pytest.mark.parametrize("failure", ["ServerError('down')", f"RateLimitError('slow down', retry_after={LONG})"])
def test_ctrl_c_ends_a_wait(failure):
    code = f"""
        import sys
        from providerhub import Hub, ModelInfo, ProviderInfo, RateLimitError, RetryPolicy, ServerError, Settings

        class Failing:
            def stream(self, request, call):
                print("asked", flush=True)
                raise {failure}

        settings = Settings(autoload=False, retry=RetryPolicy(backoff={LONG}, backoff_max={LONG}))
        hub = Hub(settings, providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), Failing())], rng=lambda: 0.99)
        try:
            hub.complete("m", "x", timeout={2 * LONG})
        except KeyboardInterrupt:
            print("interrupted")
    """
    lines = "\n".join(line[8:] for line in code.splitlines())
    with subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
