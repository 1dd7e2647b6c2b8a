"""Many calls at once: temporary failures, pauses, and a slow input."""

import asyncio
import contextlib
import contextvars
import itertools
import queue
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from providerhub import (
    AllProvidersFailedError,
    AuthenticationError,
    Hub,
    InvalidRequestError,
    ModelInfo,
    ProviderConfig,
    ProviderInfo,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    Settings,
)
from providerhub._rules import health
from providerhub.testing import FaultServer, http_response, openai_completion

AT_ONCE = RetryPolicy(backoff=0, throttle_backoff=0)


def ask(text, **knobs):
    return {"model": "m", "messages": text, **knobs}


class Asked:
    """Answers with the question, unless the question's errors are not used up. Keeps each question."""

    def __init__(self, errors=None):
        self.errors = errors or {}
        self.asked = []
        self.lock = threading.Lock()

    def stream(self, request, call):
        text = request.messages[-1]["content"]
        with self.lock:
            self.asked.append(text)
            left = self.errors.get(text)
            error = left.pop(0) if left else None
        if error is not None:
            raise error
        yield text


@pytest.fixture
def hub_of(make_hub):
    def make(errors=None, **options):
        provider = Asked(errors)
        return make_hub(a=provider, **options), provider

    return make


def refused(kind=ServerError, times=1000, **how):
    return [kind("not now", **how) for _ in range(times)]


def by_index(outcomes):
    return {outcome.index: outcome for outcome in outcomes}


# --- further tries


def test_a_failure_that_may_pass_is_tried_again_after_the_others(hub_of):
    hub, provider = hub_of({"first": refused(times=3)})
    outcomes = list(hub.complete_many([ask("first"), *(ask(str(n)) for n in range(5))], concurrency=1))
    assert [outcome.index for outcome in outcomes] == [1, 2, 3, 4, 5, 0]
    assert outcomes[-1].unwrap().text == "first"
    assert provider.asked[-1] == "first"


@pytest.mark.parametrize(("passes", "most"), [(0, 2), (1, 6), (3, 14)])
def test_a_failing_call_is_given_out_as_failed_after_its_last_pass(hub_of, passes, most):
    hub, provider = hub_of({"down": refused()})
    outcomes = by_index(hub.complete_many([ask("down"), ask("up")], passes=passes))
    assert isinstance(outcomes[0].error, ServerError)
    assert outcomes[1].unwrap().text == "up"
    assert provider.asked.count("down") <= most
    assert (provider.asked.count("down") > 2) is (passes > 0)


@pytest.mark.parametrize("error", [ServerError("no", retryable=False), InvalidRequestError("no")])
def test_another_failure_is_given_out_at_once(hub_of, error):
    hub, provider = hub_of({"bad": [error]})
    (outcome,) = hub.complete_many([ask("bad")])
    assert type(outcome.error) is type(error)
    assert provider.asked == ["bad"]


def test_one_of_two_failures_may_pass(make_hub):
    bad, good = Asked({"x": refused(AuthenticationError)}), Asked({"x": refused(times=3)})
    (outcome,) = make_hub(a=bad, b=good).complete_many([ask("x")])
    assert outcome.unwrap().text == "x"


@pytest.mark.parametrize("passes", [-1, 1.5, True, None])
def test_a_wrong_number_of_passes_is_refused_at_once(hub_of, passes):
    hub, _ = hub_of()
    with pytest.raises(InvalidRequestError, match="passes"):
        hub.complete_many([], passes=passes)


def test_at_30_percent_faults_nothing_is_lost(make_hub):
    rng = random.Random(1)

    class Flaky:
        def stream(self, request, call):
            if rng.random() < 0.3:
                raise ServerError("no")
            yield request.messages[-1]["content"]

    outcomes = by_index(make_hub(a=Flaky()).complete_many(ask(str(n)) for n in range(2000)))
    assert sorted(outcomes) == list(range(2000))
    assert all(outcome.unwrap().text == str(index) for index, outcome in outcomes.items())


def test_the_policy_of_a_request_holds(hub_of):
    hub, provider = hub_of({"x": refused()})
    (outcome,) = hub.complete_many([ask("x", retry=RetryPolicy(attempts=1, backoff=0))], passes=2)
    assert isinstance(outcome.error, ServerError)
    assert len(provider.asked) == 3


def test_further_tries_in_other_threads_than_the_own(hub_of):
    hub, _ = hub_of({str(n): refused(times=3) for n in range(20)})
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(hub.complete_many([ask(str(n)) for n in range(20)], executor=pool, concurrency=3))
    assert all(outcome.error is None for outcome in outcomes)


def test_the_time_of_a_fake_clock_passes_at_once(scripted):
    from providerhub.testing import FakeClock

    clock = FakeClock()
    provider = scripted(ServerError("no"), ServerError("no"), ServerError("no"), ["x"])
    hub = Hub(Settings(autoload=False), providers=[(ProviderInfo(name="a", models=(ModelInfo("m"),)), provider)], clock=clock)
    (outcome,) = hub.complete_many([ask("x")])
    assert outcome.unwrap().text == "x"
    assert max(clock.sleeps) > 0.4


# --- the rows that wait


@pytest.fixture
def few(hub_of):
    """A hub of which at most 3 rows wait in memory."""

    def start(requests, errors, **how):
        hub, provider = hub_of(errors)
        many = hub._many(requests, concurrency=2, passes=3, in_memory=3, **how)
        return many, provider

    return start


def test_most_waiting_rows_are_in_a_file_beside_the_output(few, tmp_path):
    n = 40
    many, _ = few([ask(str(k)) for k in range(n)], {str(k): refused(times=3) for k in range(n)}, folder=str(tmp_path))
    in_file = []
    for outcome in many.outcomes():
        in_file.append(many.schedule.waiting._stored)
        assert outcome.unwrap().text == str(outcome.index)
    assert len(in_file) == n
    assert max(in_file) >= n - 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["no pickle", "no folder"])
def test_what_the_file_cannot_take_is_not_lost(few, tmp_path, what):
    requests = [ask(str(k)) for k in range(20)]
    if what == "no pickle":
        requests = [{**request, "options": {"a": {"callback": lambda: None}}} for request in requests]
    folder = None if what == "no pickle" else str(tmp_path / "absent")
    many, _ = few(requests, {str(k): refused(times=3) for k in range(20)}, folder=folder)
    outcomes = by_index(many.outcomes())
    assert sorted(outcomes) == list(range(20))
    assert all(outcome.error is None for outcome in outcomes.values())


def test_a_full_disk_loses_nothing(few, monkeypatch):
    class Full:
        def seek(self, *_):
            return 0

        def write(self, _data):
            raise OSError("no space left")

        def truncate(self, _size):
            pass

        def close(self):
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    many, _ = few([ask(str(k)) for k in range(20)], {str(k): refused(times=3) for k in range(20)})
    assert sorted(by_index(many.outcomes())) == list(range(20))


def test_an_executor_that_takes_no_more_gives_out_what_waits(hub_of):
    hub, _ = hub_of({"down": refused()})
    pool = ThreadPoolExecutor(1)

    def requests():
        yield ask("down")
        yield ask("up")

    outcomes = hub.complete_many(requests(), executor=pool, concurrency=1)
    first = next(outcomes)
    pool.shutdown()
    rest = by_index([first, next(outcomes)])
    with pytest.raises(RuntimeError, match="shutdown"):
        next(outcomes)
    assert rest[1].unwrap().text == "up"
    assert isinstance(rest[0].error, ServerError)


# --- an input that takes its time


def test_outcomes_come_while_the_input_waits(hub_of):
    hub, _ = hub_of()
    questions = queue.SimpleQueue()
    outcomes = hub.complete_many(iter(questions.get, None))
    for text in ("a", "b", "c"):
        questions.put(ask(text))
        assert next(outcomes).completion.text == text
    questions.put(None)
    assert list(outcomes) == []


def test_a_waiting_row_is_tried_while_the_input_waits(hub_of):
    hub, _ = hub_of({"a": refused(times=3)})
    questions = queue.SimpleQueue()
    questions.put(ask("a"))
    outcomes = hub.complete_many(iter(questions.get, None), concurrency=1)
    assert next(outcomes).completion.text == "a"
    questions.put(None)
    assert list(outcomes) == []


def test_an_item_that_comes_while_waiting_rows_are_sent_is_sent_too(make_hub):
    questions, held, go = queue.SimpleQueue(), threading.Event(), threading.Event()
    errors = {"a": refused(times=3)}

    class Slow(Asked):
        def stream(self, request, call):
            if request.messages[-1]["content"] == "a" and not self.errors["a"]:
                held.set()
                assert go.wait(60)
            return super().stream(request, call)

    questions.put(ask("a"))
    outcomes = make_hub(a=Slow(errors)).complete_many(iter(questions.get, None), concurrency=1)
    found = []
    reader = threading.Thread(target=lambda: found.extend(outcomes))
    reader.start()
    assert held.wait(60)
    questions.put(ask("b"))
    go.set()
    questions.put(None)
    reader.join()
    assert sorted(outcome.unwrap().text for outcome in found) == ["a", "b"]


def test_leaving_does_not_wait_for_an_input_that_blocks(make_hub):
    blocked, go = threading.Event(), threading.Event()

    class AfterTheInput:
        def stream(self, request, call):
            assert blocked.wait(60)
            yield "x"

    def requests():
        yield ask("a")
        blocked.set()
        go.wait(60)

    outcomes = make_hub(a=AfterTheInput()).complete_many(requests())
    assert next(outcomes).index == 0
    (reader,) = [thread for thread in threading.enumerate() if thread.name == "providerhub-many-input"]
    outcomes.close()
    assert reader.is_alive()
    go.set()
    reader.join()


def test_one_thread_reads_a_generator_and_the_caller_a_list(hub_of):
    hub, _ = hub_of()
    threads = set()

    def requests():
        for n in range(50):
            threads.add(threading.current_thread())
            yield ask(str(n))

    assert len(list(hub.complete_many(requests()))) == 50
    assert len(threads) == 1
    assert threading.main_thread() not in threads
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        rows = [ask(text) for (text,) in database.execute("values ('a'), ('b')")]
    assert len(list(hub.complete_many(rows))) == 2


class Unreadable:
    def __iter__(self):
        raise OSError("the file is not there")


def exiting():
    yield ask("a")
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("requests", "error", "message", "count"),
    [(Unreadable(), OSError, "not there", 0), (exiting(), RuntimeError, "the input raised SystemExit: 3", 1)],
)
def test_an_input_that_cannot_be_read(hub_of, requests, error, message, count):
    outcomes = hub_of()[0].complete_many(requests)
    assert len(list(itertools.islice(outcomes, count))) == count
    with pytest.raises(error, match=message):
        next(outcomes)


# --- contextvars

user = contextvars.ContextVar("user", default="nobody")


class Seeing:
    def stream(self, request, call):
        yield user.get()


@pytest.mark.parametrize("own", [True, False])
def test_the_callers_context_reaches_the_calls_and_the_input(make_hub, own):
    hub = make_hub(a=Seeing())
    seen = []

    def requests():
        for _ in range(3):
            seen.append(user.get())
            yield ask("who?")

    token = user.set("ann")
    with ThreadPoolExecutor(2) as pool:
        outcomes = hub.complete_many(requests(), executor=None if own else pool)
        user.reset(token)
        assert [outcome.unwrap().text for outcome in outcomes] == ["ann"] * 3
    assert seen == ["ann"] * 3


# --- pauses


@pytest.fixture
def short_pause(monkeypatch):
    """The probe of a refused key comes soon."""
    monkeypatch.setattr(health, "KEY_PAUSE", 0.3)


@pytest.mark.parametrize("kind", [AuthenticationError, QuotaExceededError])
@pytest.mark.usefixtures("short_pause")
def test_a_refused_key_stops_the_rest_with_one_error(hub_of, kind):
    hub, provider = hub_of({str(n): refused(kind) for n in range(100)})
    outcomes = hub.complete_many((ask(str(n)) for n in range(100)), concurrency=4)
    with pytest.raises(kind):
        next(outcomes)
    assert len(provider.asked) <= 5  # the first ones, and a probe


def test_a_key_that_is_refused_once_fails_no_row(make_hub):
    pauses = []

    class Once(Asked):
        def stream(self, request, call):
            if not self.asked:
                self.asked.append("refused")
                pauses.append(0.05)
                raise AuthenticationError("not now")
            return super().stream(request, call)

    hub = make_hub(a=Once())

    def holds(**_):
        if pauses:
            return pauses.pop()
        hub._health.forgive("a")  # like the planner at the end of a pause
        return None

    hub._holds = holds
    outcomes = by_index(hub.complete_many([ask(str(n)) for n in range(20)], concurrency=2))
    assert sorted(outcomes) == list(range(20))
    assert all(outcome.error is None for outcome in outcomes.values())


@pytest.mark.usefixtures("short_pause")
def test_the_rows_of_another_model_are_sent_all_the_same(make_hub):
    class Refusing:
        def stream(self, request, call):
            raise AuthenticationError("no key")

    infos = [ProviderInfo(name=name, models=(ModelInfo(name),)) for name in ("good", "bad")]
    hub = make_hub(good=(infos[0], Asked()), bad=(infos[1], Refusing()))
    requests = [{"model": "bad" if n == 3 else "good", "messages": str(n)} for n in range(30)]
    found = []
    with pytest.raises(AuthenticationError):
        found.extend(outcome.index for outcome in hub.complete_many(requests, concurrency=2))
    assert sorted(found) == [n for n in range(30) if n != 3]


@pytest.mark.parametrize("how", ["said", "known"])
def test_a_wait_of_more_than_ten_minutes_stops_with_one_error(hub_of, how):
    hub, provider = hub_of({} if how == "known" else {str(n): refused(RateLimitError, retry_after=3600) for n in range(9)})
    if how == "known":
        hub._holds = lambda **_: 3600.0
    with pytest.raises(RateLimitError) as caught:
        list(hub.complete_many([ask(str(n)) for n in range(9)], concurrency=2))
    assert caught.value.retry_after == 3600
    assert len(provider.asked) <= (0 if how == "known" else 4)


def test_a_row_waits_for_the_end_of_a_pause(hub_of):
    hub, _ = hub_of()
    end = time.monotonic() + 0.1
    hub._holds = lambda **_: left if (left := end - time.monotonic()) > 0 else None
    (outcome,) = hub.complete_many([ask("x", timeout=0.05)])
    assert outcome.unwrap().text == "x"
    assert time.monotonic() >= end


def test_300_rows_against_50_a_window(monkeypatch):
    lock, window, refusals = threading.Lock(), [0.0, 0], []

    def answer(request):
        with lock:
            now = time.monotonic()
            if now - window[0] >= 0.5:
                window[:] = [now, 0]
            window[1] += 1
            late = window[1] > 50
        if late:
            refusals.append(request)
            headers = {"retry-after-ms": str(int(1000 * (window[0] + 0.5 - now)) + 1)}
            return http_response(429, {"error": {"message": "Rate limit reached"}}, headers=headers)
        text = request.json()["messages"][-1]["content"]
        return http_response(200, openai_completion(text))

    with FaultServer(answer) as server:
        config = ProviderConfig(url=server.url, models=["m"])
        with Hub(Settings(providers={"lockchat": config})) as hub:
            outcomes = by_index(hub.complete_many({"model": "gpt-4", "messages": str(n)} for n in range(300)))
    assert [outcomes[n].unwrap().text for n in range(300)] == [str(n) for n in range(300)]
    assert len(refusals) < 100


@pytest.mark.usefixtures("short_pause")
def test_two_providers_that_refuse_their_keys_are_one_refusal(make_hub):
    first, second = Asked({"x": refused(AuthenticationError)}), Asked({"x": refused(QuotaExceededError)})
    with pytest.raises((AuthenticationError, QuotaExceededError, AllProvidersFailedError)):
        list(make_hub(a=first, b=second).complete_many([ask("x")]))


# --- the hub tells of what has changed


def _held(hub, provider, requests=9):
    """A batch whose rows are held back: its thread, and the list of its outcomes."""
    found = []

    def run():
        try:
            found.extend(hub.complete_many([ask(str(n)) for n in range(requests)], concurrency=2))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert provider.refusing.wait(60)
    return thread, found


class RefusingUntilPaid(Asked):
    """Refuses until `paid` is set."""

    def __init__(self, error):
        super().__init__()
        self.error = error
        self.refusing, self.paid = threading.Event(), False

    def stream(self, request, call):
        if not self.paid:
            self.refusing.set()
            raise self.error
        return super().stream(request, call)


def test_a_held_batch_goes_on_when_its_provider_is_forgiven(make_hub):
    provider = RefusingUntilPaid(RateLimitError("not now", retry_after=500))
    hub = make_hub(a=provider)
    thread, found = _held(hub, provider)
    provider.paid = True
    while thread.is_alive():  # the first rows may be refused after the first look
        hub.forgive("a")
        thread.join(0.05)
    assert sorted(outcome.unwrap().text for outcome in found) == [str(n) for n in range(9)]


def test_a_held_batch_ends_when_its_hub_is_closed(make_hub):
    provider = RefusingUntilPaid(AuthenticationError("no key"))
    hub = make_hub(a=provider)
    thread, found = _held(hub, provider)
    hub.close()
    thread.join()
    assert isinstance(found[-1], RuntimeError)
    assert "the hub was closed before all requests were sent" in str(found[-1])
    assert len(found) <= 2  # a call that began at that moment has an outcome of its own
    assert provider.asked == []


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(
    ("wrong", "kind"),
    [({"temprature": 1}, TypeError), ({"temperature": "hot"}, InvalidRequestError), ({"stop": 5}, InvalidRequestError)],
)
def test_a_mistake_in_a_row_names_the_row(hub_of, wrong, kind, awaited):
    hub, provider = hub_of()
    requests = [ask("fine"), ask("wrong", **wrong)]
    outcomes = by_index(asyncio.run(_gathered(hub, requests)) if awaited else hub.complete_many(requests))
    assert type(outcomes[1].error) is kind
    assert str(outcomes[1].error).startswith("requests[1]: ")
    assert provider.asked == ["fine"]


async def _gathered(hub, requests):
    return [outcome async for outcome in hub.acomplete_many(requests)]


LISTING = """
import itertools, threading
from providerhub import ModelInfo, ProviderConnectionError, ProviderInfo, hookimpl

asked = itertools.count()

@hookimpl
def providerhub_provider():
    return ProviderInfo(name="late", factory="plug_late:Late", discover="plug_late:discover")

def discover(config):
    if next(asked) == 0:
        raise ProviderConnectionError("not up yet")
    return [ModelInfo("m")]

class Late:
    def __init__(self, config):
        pass
    def stream(self, request, call):
        yield request.messages[-1]["content"]
"""


def test_a_list_that_cannot_be_fetched_is_the_providers_failure(site):
    site.plugin("late", LISTING)
    out = site.run("""
        from providerhub import Hub, ProviderConnectionError
        from providerhub.testing import FakeClock

        request = {"model": "m", "messages": "x"}
        (outcome,) = Hub(clock=FakeClock()).complete_many([request], passes=0)
        assert type(outcome.error) is ProviderConnectionError, outcome
        assert outcome.error.provider == "late" and outcome.error.retryable
        import plug_late
        plug_late.asked = __import__("itertools").count()
        (outcome,) = Hub(clock=FakeClock()).complete_many([request])
        print(outcome.unwrap().text)
        """)
    assert out == "x\n"
