"""The common parts of the fault matrix: the ways to call, hubs over real sockets, and the proof that nothing is left behind.

The matrix is on the page of faults in the documentation. The tests named `test_fault_NN_…` check row NN.
"""

import asyncio
import contextlib
import gc
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from pathlib import Path

import attrs
import pytest

import providerhub.wire_provider
from providerhub import (
    DeadlineExceededError,
    Hub,
    ModelInfo,
    ModelNotFoundError,
    ModelUnavailableError,
    ProviderConfig,
    RetryPolicy,
    Route,
    Settings,
    StreamInterruptedError,
    Timeout,
)
from providerhub.testing import FaultServer, http_response, openai_completion, openai_stream

CANARY = "canary-key-5f2c"
WATCHDOG = "providerhub-watchdog"
BACKOFF = 0.02
QUICK = RetryPolicy(backoff=BACKOFF, throttle_backoff=BACKOFF)
"""Waits that a test can afford; everything else as by default."""
SHORT_SHARE = attrs.evolve(QUICK, beside_after=0.05)
"""A silent attempt is joined by the next candidate soon."""
PATIENT = Timeout(connect=10, first_token=20, byte_idle=20, token_idle=20, total=60)
"""Phases that no fault here outlasts, unless a test says otherwise."""
FAILURES_TO_OPEN = 5


# --- nothing is left behind ------------------------------------------------------------------------------------------


class Witness(logging.Handler):
    """Keeps all that could show a secret: log records as formatted, errors, routes, plans, settings."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.logged = []
        self.shown = []

    def emit(self, record):
        self.logged.append(self.format(record) + repr(record.__dict__))

    def note(self, *things):
        """Keep each thing as users and tools would show it."""
        for thing in things:
            if isinstance(thing, BaseException):
                self.shown += ["".join(traceback.format_exception(thing)), repr(vars(thing))]
                self.note(*filter(None, [getattr(thing, "route", None), getattr(thing, "cause", None)]))
            self.shown += [str(thing), repr(thing)]
            if isinstance(thing, BaseException | Route):  # the settings must hold the key, also after pickling
                self.shown.append(_pickled(thing))

    def check(self):
        for text in (*self.logged, *self.shown):
            assert CANARY not in text


def _pickled(thing):
    try:
        return pickle.dumps(thing).decode("latin-1")
    except (pickle.PicklingError, TypeError, AttributeError):
        return ""  # a cause that is a foreign exception


@pytest.fixture(scope="session")
def canary():
    """The value that stands for a key, and must show up nowhere."""
    return CANARY


@pytest.fixture(autouse=True)
def witness(monkeypatch, tmp_path_factory):
    """Whatever is said aloud in a test; the canary must not be in it."""
    for name in [name for name in os.environ if name.startswith(("PROVIDERHUB_", "LOCKCHAT_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PROVIDERHUB_CONFIG", os.devnull)
    monkeypatch.setenv("PROVIDERHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
    seen, root = Witness(), logging.getLogger()
    level = root.level
    root.addHandler(seen)
    root.setLevel(logging.DEBUG)
    yield seen
    root.removeHandler(seen)
    root.setLevel(level)
    seen.check()


def _descriptors():
    folder = Path("/dev/fd")  # absent on Windows
    return {path.name: _target(path) for path in list(folder.iterdir())} if folder.exists() else {}


def _target(path):
    try:
        return path.readlink()
    except OSError:  # the descriptor that listed them
        return None


def _new(threads):
    return {thread for thread in set(threading.enumerate()) - threads if thread.name != WATCHDOG}


@pytest.fixture(autouse=True)
def _nothing_leaks(witness):
    before, threads = _descriptors(), set(threading.enumerate())
    yield
    gc.collect()  # an object that is closed only now warns, and a warning is an error
    for thread in _new(threads):
        if thread.name.startswith("providerhub"):
            thread.join(60)
    assert _new(threads) == set()
    assert sum(thread.name == WATCHDOG for thread in threading.enumerate()) <= 1
    after = _descriptors()
    assert {name: after[name] for name in after.keys() - before.keys() if after[name] is not None} == {}


# --- the ways to call ------------------------------------------------------------------------------------------------

TRANSPORT_ROWS = {*range(1, 52), *range(66, 80), *range(81, 85)}
"""What happens on the wire, and to its reader: tried also without the asynchronous transport, with a thread for each stream."""
SYNCHRONOUS = {"test_fault_52_interrupts_at_any_moment": "asyncio turns an interrupt into a cancellation"}
"""Tests of what can only happen without an event loop, and why."""


def pytest_generate_tests(metafunc):
    if "way" in metafunc.fixturenames:
        name = metafunc.function.__name__
        ways = 1 if name in SYNCHRONOUS else 2 + (int(name[11:13]) in TRANSPORT_ROWS)
        metafunc.parametrize("way", ["complete", "acomplete", "pumped"][:ways], indirect=True)


class Complete:
    """The synchronous way."""

    name = "complete"
    is_async = False

    def __init__(self, witness):
        self._witness = witness

    def call(self, hub, model="m", messages="Hello", **knobs):
        """A `Completion`, or an open stream with `stream=True`."""
        return self._noted(lambda: hub.complete(model, messages, **knobs))

    def next(self, stream):
        """One text."""
        return self._noted(lambda: next(iter(stream)))

    def read(self, stream, *, events=False, into=None):
        """All the texts or events that are left; `into` a list, which then has what came before an error."""
        found = [] if into is None else into
        self._noted(lambda: self._read(stream.events() if events else stream, found))
        return found

    def close(self, stream):
        """Release the stream's connection."""
        stream.close()

    def answer(self, hub, model="m", *, stream, **knobs):
        """The whole answer, however it comes."""
        if not stream:
            return self.call(hub, model, **knobs)
        opened = self.call(hub, model, stream=True, **knobs)
        self.read(opened)
        return opened.completion

    def fails(self, hub, error, model="m", **knobs):
        """The error of a call that fails before anything was handed over."""
        with pytest.raises(error) as caught:
            self.call(hub, model, **knobs)
        assert type(caught.value) is error
        return caught.value

    def run(self, function, *arguments):
        """Do something blocking without holding the way's event loop up, if it has one."""
        return function(*arguments)

    def hold(self, seconds):
        """Be slow: that is the fault in some rows, never a way to wait for something."""
        time.sleep(seconds)

    def leave(self, stream, leaving, aleaving):
        """Leave a stream in one of the ways that there are here."""
        leaving(stream)

    def _read(self, pieces, found):
        for piece in pieces:
            found.append(piece)  # what came before an error counts

    def _noted(self, act):
        try:
            found = act()
        except BaseException as error:
            self._witness.note(error)
            raise
        if hasattr(found, "route"):
            self._witness.note(found.route)
        return found


class Acomplete(Complete):
    """The asynchronous way, on an event loop that lives as long as the test."""

    name = "acomplete"
    is_async = True

    def __init__(self, witness):
        super().__init__(witness)
        self.runner = asyncio.Runner(debug=False)

    def call(self, hub, model="m", messages="Hello", **knobs):
        return self._noted(lambda: self.runner.run(hub.acomplete(model, messages, **knobs)))

    def next(self, stream):
        return self._noted(lambda: self.runner.run(_next(stream)))

    def close(self, stream):
        self.runner.run(stream.aclose())

    def run(self, function, *arguments):
        return self.runner.run(_apart(function, *arguments))

    def hold(self, seconds):
        self.runner.run(asyncio.sleep(seconds))

    def leave(self, stream, leaving, aleaving):
        self.runner.run(aleaving(stream))
        del stream
        gc.collect()
        self.runner.run(asyncio.sleep(0))  # the loop ends the dropped generators

    def _read(self, pieces, found):
        self.runner.run(_rest(pieces, found))

    def end(self):
        """Nothing of the test may be running; then close the loop."""
        try:
            assert self.runner.run(_left_over()) == set()
        finally:
            self.runner.close()


async def _left_over():
    """The tasks that do not end by themselves. The last tasks of dropped objects do end."""
    await asyncio.sleep(0)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return (await asyncio.wait(tasks, timeout=60))[1] if tasks else tasks


async def _next(stream):
    return await anext(aiter(stream))


async def _rest(pieces, found):
    async for piece in pieces:
        found.append(piece)  # what came before an error counts


async def _apart(function, *arguments):
    return await asyncio.to_thread(function, *arguments)


@pytest.fixture
def way(request, witness, monkeypatch):
    """The ways to call, one after the other."""
    if request.param == "complete":
        yield Complete(witness)
        return
    if request.param == "pumped":  # like a provider without `astream`
        monkeypatch.setattr(providerhub.wire_provider.WireProvider, "astream", None)
    made = Acomplete(witness)
    yield made
    made.end()


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request):
    """Both kinds of answer."""
    return request.param


# --- servers and hubs ------------------------------------------------------------------------------------------------


@pytest.fixture
def serve():
    """`serve(*scripts, **options)` is a running `FaultServer`, closed at the test's end; a lone script answers every request."""
    with contextlib.ExitStack() as stack:

        def start(*scripts, **options):
            options.setdefault("repeat", len(scripts) == 1)
            return stack.enter_context(FaultServer(*scripts, **options))

        yield start


def _fine(request):
    if request.json().get("stream"):
        return openai_stream("fi", "ne")
    return http_response(body=openai_completion("fine"))


@pytest.fixture
def good(serve):
    """A server that answers `fine`."""
    return serve(_fine)


@pytest.fixture
def hub_of(request, witness):
    """`hub_of(a=url, b=server)`: a hub with an instance of the installed plugin for each, in that order of priority.

    Each has the model `m`, those in `more`, and the canary for its key. `windows` gives context windows by instance, `model`
    and `config` further fields of the model and of the instance, `settings` of the settings.
    """
    hubs = []

    def make(
        *,
        retry=QUICK,
        timeout=PATIENT,
        windows=None,
        config=None,
        clock=None,
        plugin="lockchat",
        more=(),
        model=None,
        settings=None,
        **places,
    ):
        providers = {
            name: ProviderConfig(
                plugin=plugin,
                url=getattr(place, "url", place),
                priority=-turn,
                models=(
                    ModelInfo("m", supports_stream=True, context_window=(windows or {}).get(name), **(model or {})),
                    *map(ModelInfo, more),
                ),
                **{"api_key": CANARY, **(config or {})},
            )
            for turn, (name, place) in enumerate(places.items())
        }
        made = Settings(providers=providers, allow={plugin}, retry=retry, timeout=timeout, **(settings or {}))
        hubs.append(Hub(made, clock=clock))
        return hubs[-1]

    yield make
    for hub in hubs:
        witness.note(hub, hub.settings, *hub.settings.providers.values())
        hub.close()


CHILD = """
import asyncio, os, signal, stat, sys, time
from providerhub import Hub, Settings

def say(*words):
    print(*words, flush=True)

class Loud:
    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds):
        say("waiting")
        time.sleep(seconds)

    async def asleep(self, seconds):
        say("waiting")
        await asyncio.sleep(seconds)

def sockets():
    found = 0
    for name in os.listdir("/dev/fd"):
        try:
            found += stat.S_ISSOCK(os.fstat(int(name)).st_mode)
        except OSError:
            pass
    return found

signal.signal(signal.SIGINT, signal.default_int_handler)
hub = Hub(clock=Loud())
way, streaming, url = sys.argv[1], sys.argv[2] == "stream", sys.argv[3]

def complete():
    answer = hub.complete("gpt-4", "Hello", stream=streaming)
    return "".join(answer) if streaming else answer.text

async def acomplete():
    answer = await hub.acomplete("gpt-4", "Hello", stream=streaming)
    return "".join([text async for text in answer]) if streaming else answer.text

def call():
    return complete() if way == "complete" else asyncio.run(acomplete())
"""


@pytest.fixture
def child(way, canary):
    """`child(code, url, *words)` runs in a Python of its own, behind `CHILD`; gives the process."""
    started = []

    def start(code, url, *words):
        # Python 3.12 and later warn of every fork beside threads. These tests check that the hub survives a fork.
        python = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
        process = subprocess.Popen(
            [*python, "-c", CHILD + textwrap.dedent(code), way.name, *words],
            env={**os.environ, "LOCKCHAT_URL": url, "LOCKCHAT_API_KEY": canary},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        said, complaints = process.communicate()
        assert canary not in said + complaints


# --- what a row says -------------------------------------------------------------------------------------------------


class Row:
    """Checks what a fault means for the chain: the columns R, N, X and I, and what health remembers."""

    def __init__(self, way, hub_of, serve):
        self._way, self._hub_of, self._serve = way, hub_of, serve

    def fails_over(self, fault, error, *, again, counts=True, pause="", stream=True, **hub):
        """N, with or without R, before anything was handed over.

        Args:
            fault: The address or server that has it.
            error: The exact class of the attempt's error.
            again: R: whether the same provider is asked once more, after all others.
            counts: Whether the breaker counts it.
            pause: What the plan says of it afterwards, where it is left alone at once.
            stream: Which kind of answer is asked for.
            hub: Timeouts and other options of the hub.

        Returns:
            The first attempt's error.
        """
        good = self._serve(_fine)
        made = self._hub_of(a=fault, b=good, **hub)
        answer = self._way.answer(made, stream=stream, timeout=_lax(made.settings.timeout))
        assert (answer.text, answer.provider) == ("fine", "b")
        first, second = answer.route.attempts
        assert (first.provider, first.outcome, type(first.error)) == ("a", "error", error)
        # There is no wait before a different provider.
        assert (second.provider, second.outcome, second.waited) == ("b", "ok", 0.0)
        self._remembers(made, error, counts=counts, pause=pause, stream=stream)
        self._again(fault, error, again=again, stream=stream, **hub)
        return first.error

    def stops(self, fault, error, *, stream=True, **hub):
        """X: nobody else is asked, nothing is asked twice, and the breaker does not move. Gives the error."""
        good = self._serve(_fine)
        made = self._hub_of(a=fault, b=good, **hub)
        for _ in range(FAILURES_TO_OPEN):
            found = self._way.fails(made, error, stream=stream)
            assert [attempt.provider for attempt in found.route.attempts] == ["a"]
        assert good.served == 0
        assert self.candidates(made) == ["a", "b"]
        return found

    def interrupts(self, fault, error, partial, *, counts=True, **hub):
        """I: what came is handed over, then `StreamInterruptedError` has it; nobody else is asked. Gives the error."""
        good = self._serve(_fine)
        made = self._hub_of(a=fault, b=good, **hub)
        for number in range(1, FAILURES_TO_OPEN + 1):
            assert self.candidates(made) == ["a", "b"], number
            found = self.interrupted(made, error, partial)
            assert [(attempt.provider, attempt.outcome) for attempt in found.route.attempts] == [("a", "error")]
        assert good.served == 0
        assert self.candidates(made) == (["b"] if counts else ["a", "b"])
        if counts:
            assert self.skips(made) == [("a", "breaker open")]
        return found

    def interrupted(self, hub, error, partial, **knobs):
        """One stream that breaks; gives its error."""
        stream = self._way.call(hub, stream=True, **knobs)
        handed = []
        with pytest.raises(StreamInterruptedError) as caught:
            self._way.read(stream, into=handed)
        found = caught.value
        assert type(found.cause) is error
        assert "".join(handed) == found.partial == found.completion.text == partial
        assert found.provider == "a"
        return found

    def out_of_time(self, fault, *, stream=True, **hub):
        """The whole call's time is over, and there is no candidate left: X. Gives the error."""
        found = self._way.fails(self._hub_of(a=fault, **hub), DeadlineExceededError, stream=stream)
        assert [(attempt.provider, attempt.outcome) for attempt in found.route.attempts] == [("a", "error")]
        return found

    def joined(self, fault, *, stream=True, **hub):
        """N beside it at the share: the first attempt goes on, and the second one is first to have content. Gives the hub."""
        made = self._hub_of(a=fault, b=self._serve(_fine), retry=SHORT_SHARE, **hub)
        answer = self._way.answer(made, stream=stream)
        assert (answer.text, answer.provider) == ("fine", "b")
        first, second = answer.route.attempts
        assert [(one.provider, one.outcome, one.error) for one in (first, second)] == [
            ("a", "abandoned", None),
            ("b", "ok", None),
        ]
        assert first.started + first.duration >= second.started
        return made

    def candidates(self, hub):
        """Who would be tried now."""
        return [candidate.provider for candidate in hub.explain("m", stream=True).candidates]

    def skips(self, hub):
        """Who would be left out now, and for which reason."""
        return [(skip.provider, skip.reason) for skip in hub.explain("m", stream=True).skipped if skip.model]

    def _remembers(self, hub, error, *, counts, pause, stream):
        """One failure has happened. The breaker opens at the fifth failure, if it counts."""
        if pause:
            assert self.skips(hub) == [("a", pause)]
            return
        for number in range(1, FAILURES_TO_OPEN):
            assert self.candidates(hub) == ["a", "b"], number
            self._way.fails(hub, _raised(error), "a/m", stream=stream, retry=RetryPolicy(attempts=1))
        assert self.skips(hub) == ([("a", "breaker open")] if counts else [])

    def _again(self, fault, error, *, again, stream, **hub):
        alone = self._way.fails(self._hub_of(a=fault, **hub), _raised(error), stream=stream)
        assert [type(attempt.error) for attempt in alone.route.attempts] == [error] * (2 if again else 1)
        if again:
            assert 0 <= alone.route.attempts[1].waited <= BACKOFF
        both = self._way.fails(self._hub_of(a=fault, b=fault, **hub), _raised(error), stream=stream)
        assert [attempt.provider for attempt in both.route.attempts] == (list("abab") if again else list("ab"))


def _lax(timeout):
    """Timeouts that the good provider meets even on a busy machine. A provider that never answers exceeds them anyway."""
    short = {name: value for name, value in attrs.asdict(timeout).items() if value is not None and value < 1}
    return attrs.evolve(timeout, **{name: 4 * value for name, value in short.items()})


def _raised(error):
    """The error of the call when every attempt failed in the same way."""
    return ModelNotFoundError if error is ModelUnavailableError else error


@pytest.fixture
def row(way, hub_of, serve):
    """Checks of what a fault means for the chain."""
    return Row(way, hub_of, serve)
