"""Rows 57-65 of the fault matrix: the faults of plugins, as installed distributions and as objects."""

import http.client
import json

import pytest

from providerhub import (
    EmptyAnswerError,
    Finish,
    Hub,
    ModelInfo,
    PluginError,
    ProviderInfo,
    ReasoningDelta,
    Restarted,
    RetryPolicy,
    ServerError,
    Settings,
    StreamInterruptedError,
    Usage,
    UsageDelta,
)
from providerhub.testing import http_response, openai_completion, openai_error, openai_stream

ASK = """
import asyncio, sys
from providerhub import Hub

def ask(model, **knobs):
    if way == "complete":
        return hub.complete(model, "Hello", **knobs)
    return asyncio.run(hub.acomplete(model, "Hello", **knobs))

way = {way!r}
hub = Hub()
"""
TELL = """
print(ask("good-model"))
for record in hub.plugins():
    print(f"{record.name}|{record.state}|{record.distribution}|{record.reason}")
for broken in hub.malformed():
    print(f"malformed|{broken.distribution}|{broken.reason}")
"""


@pytest.fixture
def ask(site, way):
    """`ask(code)` runs code that calls in one of the two ways, in a Python that sees the distributions of `site`."""
    return lambda code=TELL: site.run(ASK.replace("{way!r}", repr(way.name)) + code)


def _records(out):
    rows = (line.split("|") for line in out.splitlines() if line.count("|") >= 3)
    return {row[0]: tuple(row[1:]) for row in rows}


# --- 57 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    ["raise RuntimeError('no luck')", "raise SystemExit(3)", "import sys; sys.exit()", "import not_there_at_all", "def ("],
)
def test_fault_57_plugin_raises_at_import(site, ask, statement):
    site.plugin("good")
    site.plugin("bad", statement)
    out = ask()
    assert out.startswith("good says: Hello\n")
    records = _records(out)
    assert records["good"][0] == "ready"
    assert records["bad"][0] == "broken"
    assert "plug_bad" in records["bad"][2]


@pytest.mark.parametrize("statement", ["raise ValueError('odd')", "raise SystemExit", "return None", "return 'good'"])
def test_fault_57_plugin_raises_in_its_hook(site, ask, statement):
    site.plugin("good")
    site.plugin("bad", f"from providerhub import hookimpl\n@hookimpl\ndef providerhub_provider():\n    {statement}\n")
    records = _records(ask())
    assert records["bad"][0] == "broken"
    assert "providerhub_provider" in records["bad"][2]


@pytest.mark.parametrize("statement", ["raise ValueError('odd')", "raise SystemExit(3)", "import not_there_at_all"])
def test_fault_57_plugin_raises_when_it_is_first_used(site, ask, statement):
    site.plugin("a-bad", model="shared")
    site.plugin("good", model="shared")
    site.write("plug_a_bad_heavy.py", statement)
    out = ask('answer = ask("shared")\nprint(answer)\nprint(type(answer.route.attempts[0].error).__name__)')
    assert out == "good says: Hello\nPluginError\n"


def test_fault_57_plugin_is_interrupted_at_import(site, ask):
    site.plugin("bad", "raise KeyboardInterrupt")
    out = ask(
        """
try:
    ask("good-model")
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    assert out == "interrupted\n"


# --- 58 --------------------------------------------------------------------------------------------------------------


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


ODD = [
    KeyError("odd"),
    RecursionError("deep"),
    MemoryError("full"),
    AssertionError(),
    LookupError("odd"),
    UnprintableError(),
    NotImplementedError(),
]


class _OwnInterrupt(BaseException):
    pass


class Native:
    """The same scripts, played asynchronously by the provider itself."""

    def __init__(self, scripted):
        self.scripted = scripted

    def stream(self, request, call):
        raise AssertionError("a task awaits")

    async def astream(self, request, call):
        for piece in self.scripted.stream(request, call):
            yield piece


@pytest.fixture
def hub_with(way):
    """`hub_with(a=provider, b=provider)`: each serves `m`; no wait is longer than 0."""

    def make(**providers):
        hub = Hub(Settings(autoload=False, retry=RetryPolicy(backoff=0, throttle_backoff=0)))
        for name, provider in providers.items():
            hub.register(ProviderInfo(name=name, models=(ModelInfo("m"),)), provider)
        return hub

    return make


@pytest.fixture
def forms(way):
    """How a scripted provider may come: as it is and, in the asynchronous way, also with an `astream` of its own."""
    return [lambda provider: provider, Native] if way.is_async else [lambda provider: provider]


@pytest.mark.parametrize("when", ["at once", "at the first piece"])
@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
def test_fault_58_something_odd(way, hub_with, scripted, forms, error, when, stream):
    for form in forms:
        hub = hub_with(a=form(scripted(error if when == "at once" else [error])), b=scripted(["fine"]))
        answer = way.answer(hub, stream=stream)
        assert (answer.text, answer.provider) == ("fine", "b")
        first = answer.route.attempts[0].error
        assert type(first) is PluginError
        assert first.plugin == "a"
        assert first.__cause__ is error
        assert type(error).__name__ in str(first)


def test_fault_58_something_odd_counts_and_is_not_repeated(way, hub_with, scripted, stream):
    provider = scripted([KeyError("odd")])
    hub = hub_with(a=provider, b=scripted(["fine"]))
    alone = way.fails(hub, PluginError, "a/m", stream=stream)
    assert len(alone.route.attempts) == len(provider.requests) == 1
    for _ in range(4):
        assert [candidate.provider for candidate in hub.explain("m").candidates] == ["a", "b"]
        way.answer(hub, stream=stream)
    assert [(skip.provider, skip.reason) for skip in hub.explain("m").skipped] == [("a", "breaker open")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, _OwnInterrupt, GeneratorExit])
@pytest.mark.parametrize("before", [[], ["a"]], ids=["before", "after the first token"])
def test_fault_58_what_is_no_exception_propagates(way, hub_with, scripted, error, stream, before):
    provider, second = scripted([*before, error()]), scripted()
    hub = hub_with(a=provider, b=second)
    with pytest.raises(error):
        way.answer(hub, stream=stream)
    assert second.requests == []
    assert provider.closed == 1
    assert provider.calls[0].cancelled
    assert [candidate.provider for candidate in hub.explain("m").candidates] == ["a", "b"]


# --- 59, 60, 64: what comes out of stream() ---------------------------------------------------------------------------

NO_PIECES = [None, b"bytes", 5, object(), ["a"], Restarted("a", "m", False, ServerError())]


def _kind(thing):
    return type(thing).__name__


@pytest.mark.parametrize("piece", NO_PIECES, ids=_kind)
def test_fault_59_what_is_no_piece(way, hub_with, scripted, forms, piece, stream):
    for form in forms:
        hub = hub_with(a=form(scripted([piece])), b=scripted(["fine"]))
        error = way.fails(hub, PluginError, "a/m", stream=stream)
        assert error.plugin == "a"
        assert _kind(piece) in str(error)
        assert len(error.route.attempts) == 1
        assert way.answer(hub, stream=stream).provider == "b"


@pytest.mark.parametrize("piece", [None, b"bytes", 5], ids=_kind)
@pytest.mark.parametrize("events", [False, True], ids=["texts", "events"])
def test_fault_59_what_is_no_piece_after_the_first_token(way, hub_with, scripted, forms, piece, events):
    for form in forms:
        stream = way.call(hub_with(a=form(scripted(["a", piece]))), stream=True)
        with pytest.raises(StreamInterruptedError) as caught:
            way.read(stream, events=events)
        assert caught.value.partial == "a"
        assert type(caught.value.cause) is PluginError
        assert caught.value.cause.plugin == "a"


@pytest.mark.parametrize("returned", [None, 5, object(), "text", b"bytes", {"text": "hi"}], ids=_kind)
def test_fault_60_what_is_not_iterable(way, hub_with, scripted, returned, stream):
    hub = hub_with(a=scripted(lambda: returned), b=scripted(["fine"]))
    answer = way.answer(hub, stream=stream)
    assert answer.provider == "b"
    first = answer.route.attempts[0].error
    assert type(first) is PluginError
    assert first.plugin == "a"
    assert _kind(returned) in str(first)


@pytest.mark.parametrize("when", ["at once", "in the generator"])
def test_fault_64_leaked_stop_iteration(way, hub_with, scripted, forms, when, stream):
    for form in forms:
        script = StopIteration() if when == "at once" else [StopIteration()]
        answer = way.answer(hub_with(a=form(scripted(script)), b=scripted(["fine"])), stream=stream)
        assert answer.provider == "b"
        assert type(answer.route.attempts[0].error) is PluginError


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
def test_fault_64_leaked_stop_iteration_after_the_first_token(way, hub_with, scripted, forms, error):
    for form in forms:
        stream = way.call(hub_with(a=form(scripted(["a", error()]))), stream=True)
        with pytest.raises(StreamInterruptedError) as caught:
            way.read(stream)
        assert type(caught.value.cause) is PluginError


class Iterator:
    """An iterator by hand, whose `__next__` may raise whatever it likes."""

    def __init__(self):
        self._pieces = iter(["a"])

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._pieces)


def test_fault_64_stop_iteration_of_an_iterator_is_its_end(way, hub_with, scripted, stream):
    assert way.answer(hub_with(a=scripted(Iterator)), stream=stream).text == "a"


@pytest.mark.parametrize(
    "script", [[], ["", ReasoningDelta("")], [UsageDelta(Usage(1, 0))]], ids=["nothing", "no content", "counts"]
)
def test_fault_30_empty_answer_of_a_plugin(way, hub_with, scripted, forms, script, stream):
    for form in forms:
        hub = hub_with(a=form(scripted(script)), b=scripted(["fine"]))
        way.fails(hub, EmptyAnswerError, "a/m", stream=stream)
        assert way.answer(hub, stream=stream).provider == "b"


# --- 61, 62, 63: what is installed ------------------------------------------------------------------------------------

TWINS = (
    TELL
    + """
from providerhub import AmbiguousProviderError
try:
    ask("twin/twin-model")
except AmbiguousProviderError as error:
    print("refused", error)
print("imported", [name for name in sys.modules if name.startswith("twin_")])
"""
)


def test_fault_61_two_distributions_with_one_name(site, ask):
    site.plugin("good")
    site.plugin("twin", distribution="dist-one", module="twin_one", model="twin-model")
    site.plugin("twin", distribution="dist-two", module="twin_two", model="twin-model")
    out = ask(TWINS)
    record = _records(out)["twin"]
    assert record[0] == "conflict"
    assert all(name in record[2] for name in ("dist-one", "dist-two", "prefer"))
    refused = out.partition("refused")[2]
    assert "dist-one" in refused
    assert "dist-two" in refused
    assert "imported []" in out


@pytest.mark.parametrize("which", ["one", "two"])
def test_fault_61_prefer_says_which_is_meant(site, ask, which):
    site.plugin("twin", distribution="dist-one", module="twin_one")
    site.plugin("twin", distribution="dist-two", module="twin_two")
    out = ask(
        f"""
from providerhub import Settings
hub = Hub(Settings(prefer={{"twin": "dist-{which}"}}))
print(ask("twin-model"))
print([name for name in sys.modules if name.startswith("twin_")])
"""
    )
    assert out.splitlines() == ["twin says: Hello", f"['twin_{which}', 'twin_{which}_heavy']"]


@pytest.mark.parametrize("broken", ["[providerhub\nx = y", "providerhub\n", "[providerhub]\nno equals sign\n"])
def test_fault_62_malformed_entry_points_elsewhere(site, ask, broken):
    site.plugin("good")
    site.distribution("unrelated", broken)
    out = ask()
    assert out.startswith("good says: Hello\n")
    assert _records(out)["good"][0] == "ready"


def test_fault_62_malformed_distribution_is_named(site, ask):
    site.plugin("good")
    site.distribution("unrelated", "[providerhub]\nno equals sign\n")
    assert "malformed|unrelated|" in ask()


def test_fault_62_doctor_names_the_malformed_distribution(site):
    """A command has no asynchronous way."""
    site.plugin("good")
    site.distribution("unrelated", "[providerhub]\nno equals sign\n")
    out = site.run(
        """
        import sys
        from providerhub.cli import main
        sys.argv = ["providerhub", "doctor"]
        try:
            main()
        except SystemExit:
            pass
        """
    )
    assert "unrelated" in out
    assert "good" in out


def test_fault_62_metadata_that_cannot_be_decoded(site, ask):
    site.plugin("good")
    site.distribution("unrelated", "[providerhub]\nx = y\n")
    (site.path / "unrelated-1.0.dist-info" / "entry_points.txt").write_bytes(b"[providerhub]\n\xff\xfe = x\n")
    out = ask()
    assert out.startswith("good says: Hello\n")
    assert "malformed|unrelated|" in out


def test_fault_63_hook_argument_from_a_newer_core(site, ask):
    site.plugin("good")
    site.plugin(
        "bad",
        """
        from providerhub import ProviderInfo, hookimpl
        @hookimpl
        def providerhub_provider(from_a_newer_core):
            return ProviderInfo(name="bad", models=("good-model",))
        """,
    )
    out = ask()
    assert out.startswith("good says: Hello\n")
    record = _records(out)["bad"]
    assert record[0] == "incompatible"
    assert "from_a_newer_core" in record[2]


def test_fault_63_observer_with_an_argument_from_a_newer_core(site, ask):
    site.plugin("good")
    hook = "from providerhub import hookimpl\n@hookimpl\ndef providerhub_attempt_started({}):\n    print('told')\n"
    site.write("newer.py", hook.format("attempt, from_a_newer_core"))
    site.write("ours.py", hook.format("attempt"))
    site.distribution("watch", "[providerhub.hooks]\nnewer = newer\nours = ours\n")
    out = ask()
    assert out.startswith("told\ngood says: Hello\n")
    assert out.count("told") == 1
    assert "newer" in out


# --- 65 --------------------------------------------------------------------------------------------------------------


class Stubborn:
    """What an SDK does underneath a careless plugin: it asks three times, and tells nobody."""

    def __init__(self, server):
        self._port = server.port

    def stream(self, request, call):
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                connection.request("POST", "/", json.dumps({"stream": request.stream}))
                response = connection.getresponse()
                found = json.loads(response.read())
            finally:
                connection.close()
            if response.status == 200:
                yield found["choices"][0]["message"]["content"]
                yield Finish("stop")
                return
        raise ServerError("down", status=503)


def test_fault_65_plugin_retries_by_itself(way, hub_with, serve, stream):
    """That the wire saw more than the route tells is what the conformance kit's check goes by."""
    down = http_response(503, openai_error("down"))
    server = serve(down, down, http_response(body=openai_completion("late")))
    answer = way.answer(hub_with(a=Stubborn(server)), stream=stream)
    assert answer.text == "late"
    assert (len(answer.route.attempts), server.served) == (1, 3)
    server = serve(down)
    error = way.fails(hub_with(a=Stubborn(server)), ServerError, stream=stream)
    assert (len(error.route.attempts), server.served) == (2, 6)


def test_fault_65_toolkit_does_not_retry_by_itself(way, hub_of, serve, stream):
    down = http_response(503, openai_error("down"))
    server = serve(down, down, openai_stream("never"))
    error = way.fails(hub_of(a=server), ServerError, stream=stream)
    assert len(error.route.attempts) == server.served == 2
