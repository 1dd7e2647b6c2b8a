"""Many calls at once: no lost row, no row that is taken too early, and nothing left behind."""

import asyncio
import pickle
import queue
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import attrs
import pytest

import providerhub
from providerhub import (
    Completion,
    ConfigurationError,
    Hub,
    InvalidRequestError,
    ModelNotFoundError,
    Outcome,
    ProviderConfig,
    ServerError,
    Settings,
)
from providerhub._calling.attempt import StoppedError
from providerhub.testing import FakeProvider, Hold, Mark
from providerhub_lockchat.sandbox import serve


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.name.startswith("providerhub-many")]
    assert not left


def ask(text):
    return {"model": "m", "messages": text}


class Echo:
    """Answers with the question; `error` fails, `wait` waits for the test."""

    def __init__(self):
        self.begun = queue.SimpleQueue()
        self.go = threading.Event()
        self.most = self.now = 0
        self._lock = threading.Lock()

    def stream(self, request, call):
        text = request.messages[-1]["content"]
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.put(text)
        try:
            if text == "wait":
                assert self.go.wait(60)
            if text == "error":
                raise ServerError("no", retryable=False)
            if text == "exit":
                raise SystemExit(3)
            yield text
        finally:
            with self._lock:
                self.now -= 1


class Inline(Executor):
    """Runs at once, in the caller's thread, and holds whatever comes of it."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Reverse(Executor):
    """Waits until so many calls have been submitted, then runs the last first."""

    def __init__(self, batch):
        self.batch = batch
        self.waiting = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.waiting.append((future, fn, args, kwargs))
        if len(self.waiting) == self.batch:
            for future_, fn_, args_, kwargs_ in self.waiting[::-1]:
                future_.set_result(fn_(*args_, **kwargs_))
            self.waiting.clear()
        return future


class First(Inline):
    """Runs the first call and never another."""

    def __init__(self):
        self.futures = []

    def submit(self, fn, /, *args, **kwargs):
        self.futures.append(Future() if self.futures else super().submit(fn, *args, **kwargs))
        return self.futures[-1]


class Counted:
    """An input that counts what has been taken from it."""

    def __init__(self, items):
        self.items = iter(items)
        self.taken = 0

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        self.taken += 1
        return item


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def hub(make_hub, echo):
    return make_hub(a=echo)


def test_every_request_has_its_outcome(hub):
    outcomes = list(hub.complete_many(ask(str(n)) for n in range(100)))
    assert sorted(outcome.index for outcome in outcomes) == list(range(100))
    assert all(outcome.completion.text == str(outcome.index) and outcome.error is None for outcome in outcomes)
    assert all(outcome.unwrap() is outcome.completion for outcome in outcomes)


def test_no_requests_have_no_outcomes(hub):
    assert list(hub.complete_many([])) == []


def test_all_keywords_reach_the_call(scripted, make_hub):
    provider = scripted()
    requests = [ask("x") | {"temperature": 0.5, "max_tokens": 9, "stream": False, "options": {"a": {"k": 1}}, "timeout": 7}]
    (outcome,) = make_hub(a=provider).complete_many(requests)
    assert outcome.completion.text == "Hello"
    (request,) = provider.requests
    assert (request.temperature, request.max_tokens, request.stream, request.options) == (0.5, 9, False, {"k": 1})
    assert provider.calls[0].timeout.total == 7


def test_outcomes_come_as_they_finish(hub, echo):
    outcomes = hub.complete_many([ask("wait"), ask("b"), ask("c")], concurrency=2)
    assert [next(outcomes).index, next(outcomes).index] == [1, 2]
    echo.go.set()
    assert next(outcomes).index == 0


WRONG = [
    (5, InvalidRequestError, r"requests\[1\] must be a mapping"),
    ("text", InvalidRequestError, r"requests\[1\] must be a mapping.*str"),
    ({1: 2}, InvalidRequestError, r"requests\[1\] must be a mapping"),
    ({}, InvalidRequestError, r"requests\[1\] lacks 'model' and 'messages'"),
    ({"model": "m", "message": "x"}, InvalidRequestError, r"requests\[1\] lacks 'messages'; its keys are model, message"),
    (ask("x") | {"stream": True}, InvalidRequestError, r"requests\[1\] asks for a stream"),
    (ask("x") | {"temprature": 1}, TypeError, "temprature"),
    (ask("x") | {"timeout": -1}, InvalidRequestError, "timeout"),
    (ask([]), InvalidRequestError, "messages"),
    ({"model": "absent", "messages": "x"}, ModelNotFoundError, "absent"),
    (ask("error"), ServerError, "no"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_one_error_stops_no_other(hub, wrong, error, message):
    outcomes = sorted(hub.complete_many([ask("a"), wrong, ask("c")]), key=lambda outcome: outcome.index)
    assert [outcome.completion and outcome.completion.text for outcome in outcomes] == ["a", None, "c"]
    with pytest.raises(error, match=message):
        outcomes[1].unwrap()


def test_the_error_carries_its_route(hub):
    (outcome,) = hub.complete_many([ask("error")])
    assert [attempt.provider for attempt in outcome.error.route.attempts] == ["a"]


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, None])
def test_a_wrong_concurrency_is_refused_at_once(hub, concurrency):
    requests = Counted([ask("x")])
    with pytest.raises(InvalidRequestError, match="concurrency"):
        hub.complete_many(requests, concurrency=concurrency)
    assert requests.taken == 0


@pytest.mark.parametrize("requests", [None, 5, "text", b"bytes", ask("one alone")])
def test_a_wrong_input_is_refused_at_once(hub, requests):
    with pytest.raises(InvalidRequestError, match="iterable of mappings"):
        hub.complete_many(requests)


def test_a_wrong_executor_is_refused_at_once(hub):
    with pytest.raises(InvalidRequestError, match="executor"):
        hub.complete_many([], executor=5)


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_no_more_is_taken_than_there_is_room_for(hub, echo, concurrency):
    requests = Counted(ask(str(n)) for n in range(50))
    outcomes = hub.complete_many(requests, concurrency=concurrency)
    assert requests.taken == 0
    for given, _ in enumerate(outcomes):
        assert requests.taken - given <= concurrency
    assert requests.taken == 50
    assert echo.most <= concurrency


def test_a_consumer_that_stands_still_stops_the_input(hub, echo):
    requests = Counted(ask(str(n)) for n in range(50))
    outcomes = hub.complete_many(requests, concurrency=3)
    next(outcomes)
    for _ in range(requests.taken - 1):  # the last row may have been taken while the consumer stands still, but it is not sent
        echo.begun.get(timeout=60)
    assert requests.taken <= 3
    outcomes.close()


def test_an_input_without_end(hub):
    def endless():
        while True:
            yield ask("x")

    outcomes = hub.complete_many(endless(), concurrency=4)
    assert [next(outcomes).completion.text for _ in range(20)] == ["x"] * 20
    outcomes.close()


def test_an_input_that_breaks_is_told_after_what_it_gave(hub):
    def breaking():
        yield ask("a")
        yield ask("b")
        raise OSError("the file ends here")

    outcomes = hub.complete_many(breaking())
    assert sorted([next(outcomes).index, next(outcomes).index]) == [0, 1]
    with pytest.raises(OSError, match="ends here"):
        next(outcomes)


def test_leaving_early_takes_and_begins_nothing_more(hub, echo):
    requests = Counted([ask("a"), *[ask("wait")] * 20])
    outcomes = hub.complete_many(requests, concurrency=5)
    assert next(outcomes).index == 0
    taken = requests.taken
    echo.go.set()
    outcomes.close()
    assert requests.taken == taken <= 6
    assert list(outcomes) == []


def test_leaving_early_ends_calls_under_way():
    provider = FakeProvider(lambda request: [Mark("held"), Hold()] if request.messages[-1]["content"] == "hold" else "x")
    hub = Hub(Settings(autoload=False), providers=[(provider.info, provider)])  # with the real clock, holding would take a minute
    outcomes = hub.complete_many([ask("hold"), ask("hold"), ask("now"), ask("never")], concurrency=3)
    assert next(outcomes).index == 2
    provider.reached("held", times=2)
    outcomes.close()  # waits for its threads
    assert [call.call.cancelled for call in provider.calls if call.state == "failed"] == [True, True]
    assert len(provider.calls) == 3
    (record,) = hub.complete("m", "x").route.attempts
    assert record.outcome == "ok"  # no failure counts for the provider
    assert hub.explain("m").skipped == ()


class Later(Inline):
    """Runs each call at once but the second, which the test runs."""

    def __init__(self):
        self.calls = []

    def submit(self, fn, /, *args, **kwargs):
        self.calls.append(lambda: fn(*args, **kwargs))
        future = Future()
        future.set_running_or_notify_cancel()
        return future if len(self.calls) == 2 else super().submit(fn, *args, **kwargs)


def test_a_call_that_begins_too_late_is_not_made():
    provider, later = FakeProvider(), Later()
    outcomes = provider.hub().complete_many([ask("a"), ask("b"), ask("c")], concurrency=2, executor=later)
    assert [next(outcomes).index, next(outcomes).index] == [0, 2]
    outcomes.close()
    with pytest.raises(StoppedError):
        later.calls[1]()
    assert len(provider.calls) == 2


def test_a_break_leaves_no_thread(hub):
    for _ in hub.complete_many(ask(str(n)) for n in range(100)):
        break


def test_what_was_never_begun_costs_nothing(hub):
    before = threading.active_count()
    hub.complete_many([ask("x")])
    assert threading.active_count() == before


def test_an_end_of_the_process_is_not_an_outcome(hub):
    with pytest.raises(SystemExit):
        list(hub.complete_many([ask("a"), ask("exit"), ask("b")]))


def test_an_own_executor_that_runs_inline(hub):
    requests = Counted([ask("a"), ask("error"), ask("c")])
    outcomes = hub.complete_many(requests, executor=Inline())
    assert next(outcomes).completion.text == "a"
    assert requests.taken == 1  # finished calls come first
    assert isinstance(next(outcomes).error, ServerError)
    assert [outcome.index for outcome in outcomes] == [2]


def test_an_own_executor_that_runs_in_reverse(hub):
    outcomes = hub.complete_many((ask(str(n)) for n in range(6)), concurrency=3, executor=Reverse(3))
    found = [(outcome.index, outcome.completion.text) for outcome in outcomes]
    assert found != sorted(found)
    assert sorted(found) == [(n, str(n)) for n in range(6)]


def test_an_own_executor_is_not_shut_down(hub):
    with ThreadPoolExecutor(2) as pool:
        assert len(list(hub.complete_many([ask("a"), ask("b")], executor=pool))) == 2
        assert pool.submit(str, 5).result() == "5"


def test_leaving_early_cancels_what_another_executor_has_not_begun(hub):
    first = First()
    requests = Counted(ask(str(n)) for n in range(9))
    outcomes = hub.complete_many(requests, concurrency=3, executor=first)
    assert next(outcomes).index == 0
    stop = threading.Thread(target=outcomes.close)  # from another thread, as a garbage collector might
    stop.start()
    stop.join()
    assert requests.taken == 1


def test_an_executor_that_takes_no_more_loses_nothing(hub, echo):
    pool = ThreadPoolExecutor(1)

    def requests():
        yield ask("wait")
        yield ask("cancelled")
        assert echo.begun.get(timeout=60) == "wait"
        pool.shutdown(wait=False, cancel_futures=True)
        echo.go.set()
        yield ask("refused")
        yield ask("never taken")

    outcomes = hub.complete_many(requests(), executor=pool)
    found = {outcome.index: outcome for outcome in (next(outcomes), next(outcomes), next(outcomes))}
    with pytest.raises(RuntimeError, match="shutdown"):
        next(outcomes)
    pool.shutdown()
    assert found.keys() == {0, 1, 2}
    assert found[0].completion.text == "wait"
    assert isinstance(found[1].error, CancelledError)
    assert isinstance(found[2].error, RuntimeError)


@pytest.fixture
def sandboxed():
    """A hub that other processes can have: an installed plugin, and a server to talk to."""
    config = ProviderConfig(api_key="sk-canary", key_travels=True)
    with serve() as url, Hub(Settings(providers={"lockchat": attrs.evolve(config, url=url)})) as hub:
        yield hub


def test_other_processes(sandboxed):
    requests = [{"model": "gpt-4", "messages": f"number {n}"} for n in range(4)] + [{"model": "absent", "messages": "x"}]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        outcomes = sorted(sandboxed.complete_many(requests, concurrency=2, executor=pool), key=lambda outcome: outcome.index)
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3, 4]
    assert all(f"number {n}" in outcome.completion.text for n, outcome in enumerate(outcomes[:4]))
    assert outcomes[0].completion.route.attempts[0].provider == "lockchat"
    assert isinstance(outcomes[4].error, ModelNotFoundError)


def test_a_process_has_one_hub_of_equal_settings(sandboxed):
    first, second = pickle.loads(pickle.dumps(sandboxed)), pickle.loads(pickle.dumps(sandboxed))
    assert first is second
    assert first is not sandboxed
    assert attrs.evolve(first.settings, variables={}) == sandboxed.settings
    assert first.complete("gpt-4", "Hello").text
    first.close()
    other = pickle.loads(pickle.dumps(Hub(Settings(autoload=False))))
    assert other is not first


def test_a_process_does_not_keep_hubs_without_end(sandboxed):
    first = pickle.loads(pickle.dumps(sandboxed))
    for n in range(20):
        pickle.loads(pickle.dumps(Hub(Settings(autoload=False, block=[f"b{n}"]))))
    assert pickle.loads(pickle.dumps(sandboxed)) is not first


def test_a_key_shows_in_no_message_of_a_hub_that_does_not_pickle(hub, echo):
    with pytest.raises(ConfigurationError, match=r"objects of the application \(a\)"):
        pickle.dumps(hub)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        outcomes = list(hub.complete_many([ask("a"), ask("b")], executor=pool))
    assert [type(outcome.error) for outcome in outcomes] == [ConfigurationError, ConfigurationError]


def test_an_outcome_is_one_of_two():
    with pytest.raises(ValueError, match="either"):
        Outcome(0)
    with pytest.raises(ValueError, match="either"):
        Outcome(0, Completion(), ValueError("x"))
    with pytest.raises(AttributeError):
        Outcome(0, Completion()).index = 5


def test_the_default_hub_makes_many_calls_too(monkeypatch):
    with serve() as url:
        monkeypatch.setenv("LOCKCHAT_URL", url)
        monkeypatch.setattr("providerhub._default._default", None)
        (outcome,) = providerhub.complete_many([{"model": "gpt-4", "messages": "Hello"}])
        assert "Hello" in outcome.unwrap().text
        providerhub._default.default_hub().close()


INTERRUPTED = """
import threading
from providerhub import Hub, ModelInfo, ProviderInfo, Settings

class Slow:
    def stream(self, request, call):
        threading.Event().wait(request.messages[-1]["content"] == "later" and 0.2)
        yield "x"

hub = Hub(Settings(autoload=False), providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), Slow())])
requests = [{"model": "m", "messages": "now"}] * 2 + [{"model": "m", "messages": "later"}] * 500
try:
    for outcome in hub.complete_many(requests, concurrency=2):
        if outcome.index == 1:
            print("begun", flush=True)
except KeyboardInterrupt:
    left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    print("interrupted", left, flush=True)
"""


@pytest.mark.unix
def test_fault_52_keyboard_interrupt_ends_it_and_leaves_no_thread():
    code = textwrap.dedent(INTERRUPTED)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "begun\n"
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=60)
    assert rest.splitlines()[-1] == "interrupted []"
    assert child.returncode == 0


LEFT = """
import sys, threading, time
from providerhub import *

class Deaf:
    def stream(self, request, call):
        if request.messages[-1]["content"] == "deaf":
            threading.Event().wait()
        yield "x"

hub = Hub(Settings(autoload=False))
hub.register(ProviderInfo(name="p", models=("m",)), Deaf())
left = hub.complete_many([{"model": "m", "messages": text} for text in ("now", "deaf", "deaf", "never")], concurrency=2)
print(next(left).completion, flush=True)
if sys.argv[1] == "closed":
    left.close()
if sys.argv[1] == "failed":
    raise ValueError("left")
"""


@pytest.mark.parametrize("how", ["open", "closed", "failed"])
def test_calls_that_cannot_be_stopped_do_not_hold_the_end_of_the_process_up(how):
    done = subprocess.run([sys.executable, "-c", LEFT, how], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "x\n"
    assert done.stderr.splitlines()[-1:] == ["ValueError: left"] * (how == "failed")


class AsyncRows:
    """An asynchronous input that counts what is taken of it, and may fail at its end."""

    def __init__(self, *texts, error=None):
        self.texts, self.error, self.taken, self.left = texts, error, [], False

    async def __aiter__(self):
        try:
            for text in self.texts:
                self.taken.append(text)
                yield ask(text)
            if self.error is not None:
                raise self.error
            if not self.texts:
                await asyncio.sleep(3600)
        finally:
            self.left = True


def test_an_asynchronous_input_is_read_as_calls_end(make_hub):
    rows = AsyncRows(*"abcdef")

    async def main():
        found = []
        async for outcome in make_hub(a=FakeProvider("fine")).acomplete_many(rows, concurrency=2):
            found.append((outcome.index, outcome.completion.text))
            assert len(rows.taken) <= len(found) + 4
        return found

    assert sorted(asyncio.run(main())) == [(index, "fine") for index in range(6)]
    assert rows.left


def test_an_error_of_an_asynchronous_input_comes_after_the_outcomes(make_hub):
    rows, found = AsyncRows("a", "b", error=LookupError("no more")), []

    async def main():
        async for outcome in make_hub(a=FakeProvider("fine")).acomplete_many(rows):
            found.append(outcome.index)  # noqa: PERF401 -- the loop ends with an error, and what came before counts

    with pytest.raises(LookupError, match="no more"):
        asyncio.run(main())
    assert sorted(found) == [0, 1]


def test_leaving_early_ends_an_asynchronous_input_and_the_calls(make_hub):
    rows, begun = AsyncRows("a", "b", "c"), []

    class Slow:
        async def astream(self, request, call):
            begun.append(request.messages[-1]["content"])
            if len(begun) > 1:
                await asyncio.sleep(3600)
            yield "fine"

        def stream(self, request, call):
            raise NotImplementedError

    async def main():
        outcomes = make_hub(a=Slow()).acomplete_many(rows, concurrency=2)
        first = await anext(outcomes)
        await outcomes.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return first.completion.text

    assert asyncio.run(main()) == "fine"
    assert rows.left


def test_an_asynchronous_input_that_waits_is_cancelled(make_hub):
    rows = AsyncRows()

    async def main():
        outcomes = make_hub(a=FakeProvider("fine")).acomplete_many(rows)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(outcomes)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert rows.left
