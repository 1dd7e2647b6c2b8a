"""One hub in many threads: each thread gets its own results, and nothing is made twice."""

import queue
import random
import sys
import threading

import pytest

import providerhub
from providerhub import (
    Candidate,
    Hub,
    ModelInfo,
    ModelNotFoundError,
    ProviderInfo,
    RetryPolicy,
    ServerError,
    Settings,
    StreamInterruptedError,
)
from providerhub._rules.health import Health
from providerhub.testing import FakeClock, FakeProvider, Gate, Mark, fake_hub

THREADS = 16


@pytest.fixture(autouse=True)
def _switching_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(*jobs):
    """Run the jobs at the same moment, each in a thread of its own; what one raises is raised."""
    start = threading.Barrier(len(jobs))
    ends = queue.SimpleQueue()

    def run(job):
        try:
            start.wait(60)
            ends.put((job(), None))
        except BaseException as error:
            ends.put((None, error))

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [ends.get_nowait() for _ in jobs]
    errors = [error for _, error in found if error is not None]
    if errors:
        raise errors[0]
    return [result for result, _ in found]


def said(request):
    return request.messages[-1]["content"]


def test_everything_at_once():
    hub = fake_hub(FakeProvider(said, name="a", models=["m"]), FakeProvider(said, name="b", models=["m"]))

    def calls(number):
        for n in range(30):
            text = f"{number} {n}"
            assert hub.complete("m", text).text == text
            assert "".join(hub.complete("m", text, stream=True)) == text
            with hub.complete("m", text, stream=True) as stream:
                next(stream)

    def registers(number):
        for n in range(30):
            name = f"own-{number}-{n}"
            hub.register(ProviderInfo(name=name, models=(ModelInfo(f"model-{name}"),)), FakeProvider(name))
            # A thread that has registered a provider finds it from then on, whatever other threads do.
            assert hub.complete(f"model-{name}", "?").text == name
            assert hub.complete(f"{name}/model-{name}", "?").text == name

    def looks(number):
        for _ in range(30):
            assert [candidate.provider for candidate in hub.explain("m").candidates] == ["a", "b"]
            assert hub.plugins() == ()
            with pytest.raises(ModelNotFoundError):
                hub.explain("absent")

    def closes(number):
        for _ in range(30):
            hub._registry.close()

    jobs = (calls, calls, registers, registers, looks, closes)
    at_once(*(lambda job=job, n=n: job(n) for n, job in enumerate(jobs * 2)))
    assert len(hub.explain("own-2-29/model-own-2-29").candidates) == 1


def test_failures_at_once_stay_with_their_callers():
    def fails_sometimes(request):
        return ServerError(said(request), retryable=False) if random.random() < 0.3 else said(request)

    hub = fake_hub(FakeProvider(fails_sometimes, name="a"), FakeProvider(fails_sometimes, name="b"))

    def calls(number):
        for n in range(50):
            text = f"{number} {n}"
            try:
                answer = hub.complete("m", text)
            except ServerError as error:
                yield text, str(error), error.route
            else:
                yield text, answer.text, answer.route

    ends = at_once(*(lambda n=n: list(calls(n)) for n in range(THREADS)))
    for text, told, route in (end for calls in ends for end in calls):
        assert text in told
        assert all(attempt.error is None or text in str(attempt.error) for attempt in route.attempts)
        assert route.attempts


def test_round_robin_gives_each_its_turn():
    providers = [FakeProvider(name=name) for name in "abcd"]
    hub = Hub(
        Settings(autoload=False, strategy="round_robin"),
        providers=[(ProviderInfo(name=p.info.name, models=("m",)), p) for p in providers],
    )
    at_once(*(lambda: [hub.complete("m", "?") for _ in range(25)] for _ in range(THREADS)))
    counts = [len(provider.calls) for provider in providers]
    assert sum(counts) == 25 * THREADS
    assert min(counts) > 0


class Watched(FakeClock):
    """Does something, in another thread, when it is read for the time that was said."""

    left, act = 0, None

    def monotonic(self):
        self.left -= 1
        if self.left == 0:
            at_once(self.act)
        return super().monotonic()


@pytest.mark.parametrize("read", [iter, lambda stream: stream.events()], ids=["text", "events"])
@pytest.mark.parametrize("reading", range(1, 8))
def test_a_stream_that_is_closed_from_another_thread_ends_whatever_it_was_about_to_do(read, reading):
    clock = Watched()
    hub = fake_hub(FakeProvider("Hello", name="a", models=["m"]), clock=clock)
    stream = hub.complete("m", "?", stream=True)
    clock.left, clock.act = reading, stream.close
    list(read(stream))
    assert stream.route.attempts[0].outcome in {"ok", "abandoned"}


def test_the_default_hub_is_made_once(monkeypatch):
    monkeypatch.setenv("PROVIDERHUB_DISABLE_AUTOLOAD", "1")
    for _ in range(20):
        monkeypatch.setattr("providerhub._default._default", None)
        assert len(set(map(id, at_once(*[providerhub._default.default_hub] * THREADS)))) == 1


CREATED = """
import threading, sys
import providerhub

sys.setswitchinterval(1e-6)
start = threading.Barrier(16)
answers = []

def ask():
    start.wait()
    answers.append(str(providerhub.complete("counted-model", "x")))

threads = [threading.Thread(target=ask) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import plug_counted_heavy
print(len(answers), set(answers), plug_counted_heavy.created)
"""

COUNTED = """
import time
created = 0

class Counted:
    def __init__(self, config):
        global created
        count = created
        time.sleep(0)  # lets another thread in
        created = count + 1

    def stream(self, request, call):
        yield "answer"

create = Counted
"""


def test_a_provider_is_made_once(site):
    site.plugin("counted")
    site.write("plug_counted_heavy.py", COUNTED)
    assert site.run(CREATED) == "16 {'answer'} 1\n"


def test_one_probe_among_many_threads():
    health = Health(lambda: 0.0)
    candidate = Candidate("a", "m", "m")
    for _ in range(5):
        health.failed(candidate, health.acquire(candidate, 0.0), 0.0, ServerError("x"), RetryPolicy())
    for now in (3.0, 4.0, 5.0):
        permits = [p for p in at_once(*[lambda now=now: health.acquire(candidate, now)] * THREADS) if p is not None]
        assert len(permits) == 1
        health.released(permits[0])


def test_a_budget_is_spent_once():
    health = Health(lambda: 0.0)
    found = at_once(*[lambda: sum(health.take_budget("a", 0.0) for _ in range(5))] * THREADS)
    assert sum(found) == 10


def test_calls_in_threads_open_the_breaker_once():
    provider = FakeProvider(ServerError("down", retryable=False))
    hub = provider.hub(settings=Settings(autoload=False))

    def fails():
        with pytest.raises(ServerError):
            hub.complete("m", "?")

    at_once(*[fails] * THREADS)
    hub.register(ProviderInfo(name="z", models=("m",)), FakeProvider("fine"))
    (skip,) = [skip for skip in hub.explain("m").skipped if skip.provider == "fake"]
    assert skip.reason == "breaker open"
    seconds = float(skip.detail.split()[1])
    assert 2.5 <= seconds <= 5  # late calls did not extend it


def test_closing_a_stream_from_another_thread_ends_its_reading():
    provider = FakeProvider(["Hel", Mark("silent"), Gate("never")])
    stream = provider.hub().complete("m", "?", stream=True)

    def read():
        found = []
        try:
            found.extend(stream)
        except StreamInterruptedError as error:
            return error.partial
        return "".join(found)

    def close():
        provider.reached("silent")
        stream.close()

    assert at_once(read, close)[0] in {"Hel", None}
    assert provider.calls[0].call.cancelled


def test_many_at_once_from_several_threads():
    hub = FakeProvider(said).hub()

    def many(number):
        requests = ({"model": "m", "messages": f"{number} {n}"} for n in range(40))
        outcomes = sorted(hub.complete_many(requests, concurrency=4), key=lambda outcome: outcome.index)
        return [outcome.unwrap().text for outcome in outcomes] == [f"{number} {n}" for n in range(40)]

    assert all(at_once(*(lambda n=n: many(n) for n in range(4))))


def test_a_plugin_is_loaded_once_by_however_many_threads(tmp_path, monkeypatch):
    # An entry point may name an attribute that a module makes again at each access.
    (tmp_path / "made_anew.py").write_text(
        "from providerhub import ModelInfo, ProviderInfo, hookimpl\n"
        "MADE = []\n"
        "class Plugin:\n"
        "    @hookimpl\n"
        "    def providerhub_provider(self):\n"
        "        return ProviderInfo(name='anew', models=(ModelInfo('m'),), factory='made_anew:Provider')\n"
        "class Provider:\n"
        "    def __init__(self, config):\n"
        "        pass\n"
        "    def stream(self, request, call):\n"
        "        yield 'ok'\n"
        "def __getattr__(name):\n"
        "    if name != 'plugin':\n"
        "        raise AttributeError(name)\n"
        "    MADE.append(Plugin())\n"
        "    return MADE[-1]\n"
    )
    info = tmp_path / "anew-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: anew\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[providerhub]\nanew = made_anew:plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        for hubs in range(1, 21):
            hub = Hub(Settings(allow={"anew"}))
            answers = at_once(*[lambda hub=hub: hub.complete("anew/m", "Hello").text] * THREADS)
            assert answers == ["ok"] * THREADS
            assert len(sys.modules["made_anew"].MADE) == hubs
    finally:
        sys.modules.pop("made_anew", None)


def test_a_second_thread_at_a_stream_is_refused_and_the_first_reads_on():
    began, may_end = threading.Event(), threading.Event()

    class Slow:
        def stream(self, request, call):
            yield "a"
            began.set()
            may_end.wait(60)
            yield "b"

    hub, found = Hub(Settings(autoload=False)), []
    hub.register(ProviderInfo(name="a", models=("m",)), Slow())
    stream = hub.complete("m", "x", stream=True)
    reader = threading.Thread(target=lambda: found.extend(stream))
    reader.start()
    assert began.wait(60)
    with pytest.raises(RuntimeError, match="another thread is reading this stream"):
        list(stream)
    may_end.set()
    reader.join()
    assert found == ["a", "b"]
