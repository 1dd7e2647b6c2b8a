"""The asynchronous driver: the same answers as the synchronous one, and nothing left running."""

import asyncio
import copy
import gc
import re
import signal
import socket
import subprocess
import sys
import threading

import attrs
import pytest

import providerhub
from providerhub import (
    CallContext,
    Finish,
    Hub,
    ModelInfo,
    PluginError,
    ProviderConfig,
    ProviderHubError,
    ProviderInfo,
    RateLimitError,
    ReasoningDelta,
    RefusalDelta,
    ServerError,
    Settings,
    StreamInterruptedError,
    TextDelta,
    Timeout,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from providerhub._calling.pump import LIMIT, Pump
from providerhub.testing import FaultServer, Hold, http_response, openai_completion
from providerhub_lockchat.sandbox import serve

ASKED = [{"role": "user", "content": "?"}]


class Native:
    """The same scripts as `Scripted`, played asynchronously; its synchronous side must not be used by a task."""

    def __init__(self, scripted):
        self.scripted = scripted
        self.closed = 0

    def stream(self, request, call):
        raise AssertionError("a task awaits")

    async def astream(self, request, call):
        try:
            for piece in self.scripted.stream(request, call):
                await asyncio.sleep(0)
                yield piece
        finally:
            self.closed += 1


def streams():
    return {thread for thread in threading.enumerate() if thread.name.startswith("providerhub-stream")}


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = streams()
    yield
    gc.collect()
    for thread in streams() - before:
        thread.join(60)
    assert not streams() - before


def down():
    return ServerError("down", status=503)


def broken():
    return ["Hel", ConnectionResetError("gone")]


SCENARIOS = {
    "an answer": {"a": [["Hel", "lo", Finish("stop")]]},
    "every event": {
        "a": [
            [
                UsageDelta(Usage(input_tokens=1)),
                ReasoningDelta("hm"),
                TextDelta("x"),
                "",
                RefusalDelta("no"),
                ToolCallDelta(0, "i", "f", "{"),
                ToolCallDelta(0, "", "", "}"),
                UsageDelta(Usage(output_tokens=2)),
                Finish("length"),
            ]
        ]
    },
    "an answer without an end mark": {"a": [["x"]]},
    "an empty answer, then another provider": {"a": [[]], "b": [["b", Finish()]]},
    "only an end mark": {"a": [[Finish("stop")]]},
    "another provider": {"a": [[down()]], "b": [["b", Finish()]]},
    "the same provider again": {"a": [[down()], ["ok", Finish()]]},
    "raised before the iterator exists": {"a": [down()], "b": [["b"]]},
    "rate limited everywhere": {"a": [[RateLimitError("slow", status=429)]], "b": [[RateLimitError("slow", status=429)]]},
    "differing failures": {"a": [[down()]], "b": [[RateLimitError("slow", status=429)]]},
    "a plugin's own fault": {"a": [[ZeroDivisionError("x")]], "b": [["b"]]},
    "a strange piece": {"a": [[1]], "b": [["b"]]},
    "a strange piece later": {"a": [["x", 1]], "b": [["b"]]},
    "a text for an iterator": {"a": [lambda: "text"], "b": [["b"]]},
    "nothing for an iterator": {"a": [lambda: None], "b": [["b"]]},
    "broken off": {"a": [broken()], "b": [["b"]]},
}


def shape(error):
    if error is None:
        return None
    extra = (error.partial, shape(error.cause)) if isinstance(error, StreamInterruptedError) else ()
    return type(error), re.sub(r"[\d.]+ s\b", "_ s", str(error)), *extra


def way(route):
    return [(a.number, a.provider, a.model, a.outcome, shape(a.error), a.notes) for a in route.attempts], route.skipped


def whole(completion):
    return attrs.evolve(completion, route=providerhub.Route()), way(completion.route)


def told(event):
    return (event.provider, event.continued, shape(event.error)) if isinstance(event, providerhub.Restarted) else event


def synchronous(hub, read, **knobs):
    seen = []
    try:
        answer = hub.complete("m", "?", stream=read is not None, **knobs)
        if read is None:
            return seen, whole(answer), None
        with answer as stream:
            for piece in stream.events() if read == "events" else stream:
                seen.append(told(piece))  # noqa: PERF401 -- what came before an error counts
            return seen, whole(stream.completion), None
    except ProviderHubError as error:
        return seen, way(error.route), shape(error)


async def asynchronous(hub, read, **knobs):
    seen = []
    try:
        answer = await hub.acomplete("m", "?", stream=read is not None, **knobs)
        if read is None:
            return seen, whole(answer), None
        async with answer as stream:
            async for piece in stream.events() if read == "events" else stream:
                seen.append(told(piece))  # noqa: PERF401 -- as above
            return seen, whole(stream.completion), None
    except ProviderHubError as error:
        return seen, way(error.route), shape(error)


@pytest.mark.parametrize("interrupt", ["raise", "restart", "continue"])
@pytest.mark.parametrize("read", [None, "text", "events"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_both_drivers_do_the_same(name, read, interrupt, scripted, make_hub):
    # A fault and its object belong to one call, so each run has its own script.
    def hub_of(wrap):
        info = {who: ProviderInfo(name=who, models=(ModelInfo("m", supports_prefill=True),)) for who in "ab"}
        hub = make_hub()
        for place, (who, scripts) in enumerate(SCENARIOS[name].items()):
            hub.register(info[who], wrap(scripted(*copy.deepcopy(scripts))), config=ProviderConfig(priority=10 - place))
        return hub

    expected = synchronous(hub_of(lambda it: it), read, on_interrupt=interrupt)
    assert asyncio.run(asynchronous(hub_of(lambda it: it), read, on_interrupt=interrupt)) == expected
    if "iterator" not in name:  # other tests check the results of `astream`
        assert asyncio.run(asynchronous(hub_of(Native), read, on_interrupt=interrupt)) == expected


def test_a_provider_with_astream_is_native_and_has_an_object_for_each_loop(site, tmp_path, monkeypatch):
    (tmp_path / "made_async.py").write_text(
        "made = []\n"
        "class P:\n"
        "    def __init__(self): made.append(self)\n"
        "    def stream(self, request, call): yield 'sync'\n"
        "class A(P):\n"
        "    async def astream(self, request, call): yield 'async'\n"
        "def create(config): return A()\n"
        "def plain(config): return P()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import made_async

    from providerhub._finding.instance import Instance

    native = Instance(ProviderConfig(name="n"), ProviderInfo(name="n", factory="made_async:create"))
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        assert native.provider(one) is native.provider(one)
        assert len({id(native.provider(where)) for where in (one, two, None)}) == 3
        plain = Instance(ProviderConfig(name="p"), ProviderInfo(name="p", factory="made_async:plain"))
        assert len({id(plain.provider(where)) for where in (one, two, None)}) == 1
    finally:
        one.close()
        two.close()
    assert len(made_async.made) == 4


@pytest.mark.parametrize("kind", ["coroutine", "list"])
def test_an_astream_that_is_no_generator_is_the_plugins_fault(kind, make_hub):
    class Wrong:
        def stream(self, request, call):
            yield "x"

        async def coroutine(self, request, call):
            return ["x"]

        def list(self, request, call):
            return ["x"]

    wrong = Wrong()
    wrong.astream = getattr(wrong, kind)
    with pytest.raises(PluginError, match=rf"astream\(\) returned {kind}"):
        asyncio.run(make_hub(a=wrong).acomplete("m", "?"))


def test_a_stop_out_of_a_thread_does_not_pass_for_the_answers_end(scripted, make_hub):
    with pytest.raises(PluginError, match="raised StopAsyncIteration"):
        asyncio.run(make_hub(a=scripted(["x", StopAsyncIteration()])).acomplete("m", "?"))


def test_waits_leave_the_loop_free(scripted, make_hub):
    async def main():
        hub = make_hub(
            Settings(autoload=False, retry=providerhub.RetryPolicy(throttle_backoff=0)),
            a=scripted([RateLimitError("slow", status=429, retry_after=0.2)], ["ok"]),
        )
        call = asyncio.create_task(hub.acomplete("m", "?"))
        turns = 0
        while not call.done():
            await asyncio.sleep(0.01)
            turns += 1
        return turns, await call

    turns, answer = asyncio.run(main())
    assert answer.text == "ok"
    assert turns > 3


def test_the_modules_function_serves_through_the_default_hub(monkeypatch, scripted, make_hub):
    hub = make_hub(a=scripted(["x", "y"]))
    monkeypatch.setattr("providerhub._default._default", hub)

    async def main():
        async with await providerhub.acomplete("m", "?", stream=True) as stream:
            assert await anext(stream) == "x"
            with pytest.raises(RuntimeError, match="read already"):
                stream.events()
            assert [text async for text in stream] == ["y"]
        return stream.route, await providerhub.acomplete("m", "?")

    route, answer = asyncio.run(main())
    assert [attempt.outcome for attempt in route.attempts] == ["ok"]
    assert answer.text == "xy"


@pytest.fixture
def url():
    with serve(delay=0.0) as address:
        yield address


def lockchat(address):
    return Hub(Settings(providers={"lockchat": ProviderConfig(url=address)}, timeout=Timeout(token_idle=60, first_token=60)))


def test_the_sandbox_streams_through_a_thread(url):
    async def main():
        with lockchat(url) as hub:
            async with await hub.acomplete("gpt-4", "Hello", stream=True) as stream:
                tokens = [token async for token in stream]
            answers = await asyncio.gather(*(hub.acomplete("gpt-4", f"Hello {i}") for i in range(8)))
        return tokens, stream.completion, answers

    tokens, completion, answers = asyncio.run(main())
    assert len(tokens) > 5
    assert "".join(tokens) == completion.text
    assert completion.finish_reason == "stop"
    assert [answer.text[-7:] for answer in answers] == [f"Hello {i}" for i in range(8)]


class Listener:
    """A server that answers with some bytes, then holds the connection until its client closes it."""

    def __init__(self, data):
        self._data = data
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(20)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.asked, self.closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        connection, _ = self._server.accept()
        with connection:
            connection.settimeout(60)
            connection.recv(65536)
            connection.sendall(self._data)
            self.asked.set()
            try:
                while connection.recv(65536):
                    pass
            except ConnectionResetError:
                pass
            self.closed.set()

    def close(self):
        self._thread.join(60)
        self._server.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'


@pytest.fixture
def listener(request):
    made = Listener(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("listener", [b"", HEAD], indirect=True, ids=["before the headers", "before the first token"])
@pytest.mark.parametrize("stream", [False, True])
def test_cancelling_the_call_closes_the_socket_and_ends_the_thread(listener, stream):
    async def main():
        with lockchat(listener.url) as hub:
            call = asyncio.create_task(hub.acomplete("gpt-4", "Hello", stream=stream))
            await asyncio.to_thread(listener.asked.wait, 60)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(listener.closed.wait, 60)

    asyncio.run(main())


@pytest.mark.parametrize("listener", [HEAD + TOKEN], indirect=True, ids=["a token"])
@pytest.mark.parametrize("end", ["aclose", "break and aclose", "break and drop", "drop"])
def test_a_stream_that_is_given_up_closes_the_socket_and_ends_the_thread(listener, end):
    async def main():
        with lockchat(listener.url) as hub:
            stream = await hub.acomplete("gpt-4", "Hello", stream=True)
            if "break" in end:
                async for _ in stream:
                    break
            if "aclose" in end:
                await stream.aclose()
                await stream.aclose()
                assert not streams()
                assert [attempt.outcome for attempt in stream.route.attempts] == ["abandoned"]
            del stream
            gc.collect()
            assert await asyncio.to_thread(listener.closed.wait, 60)

    asyncio.run(main())


@pytest.mark.parametrize("listener", [HEAD + TOKEN], indirect=True, ids=["a token"])
@pytest.mark.parametrize("end", ["cancel", "aclose"])
def test_a_task_that_reads_is_stopped_from_another_task(listener, end):
    async def main():
        with lockchat(listener.url) as hub:
            stream = await hub.acomplete("gpt-4", "Hello", stream=True)
            first = asyncio.Event()

            async def read():
                async for _ in stream:
                    first.set()

            reader = asyncio.create_task(read())
            await first.wait()
            if end == "cancel":
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader
            else:
                await stream.aclose()
                await reader
            assert not streams()
            return stream

    stream = asyncio.run(main())
    assert listener.closed.wait(60)
    assert [attempt.outcome for attempt in stream.route.attempts] == ["abandoned"]


@pytest.mark.parametrize("listener", [HEAD + TOKEN], indirect=True, ids=["a token"])
def test_the_loops_end_gives_a_stream_up(listener):
    async def main():
        stream = await lockchat(listener.url).acomplete("gpt-4", "Hello", stream=True)
        async for _ in stream:
            break
        return stream

    stream = asyncio.run(main())
    assert listener.closed.wait(60)
    assert [attempt.outcome for attempt in stream.route.attempts] == ["abandoned"]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("events", [True, False])
def test_a_stream_is_not_taken_for_whole_where_another_loop_reads_it(scripted, make_hub, native, events):
    provider = scripted(["a", "b", Finish("stop")])
    hub = make_hub(a=Native(provider) if native else provider)
    stream = asyncio.run(hub.acomplete("m", "?", stream=True))  # its end closes the provider's generator

    async def read():
        return [piece async for piece in (stream.events() if events else stream)]

    with pytest.raises(RuntimeError, match="event loop"):
        asyncio.run(read())
    assert [attempt.outcome for attempt in stream.route.attempts] == ["abandoned"]
    asyncio.run(stream.aclose())


def test_a_stream_whose_reading_was_cancelled_is_not_taken_for_whole(make_hub):
    class Halting:
        async def astream(self, request, call):
            yield "a"
            await asyncio.Event().wait()

        def stream(self, request, call):
            raise AssertionError

    async def read():
        stream = await make_hub(a=Halting()).acomplete("m", "?", stream=True)
        first = await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(RuntimeError, match="cancelled"):
            [piece async for piece in stream]
        assert first == stream.completion.text == "a"
        await stream.aclose()
        assert [piece async for piece in stream] == []  # closed by its user

    asyncio.run(read())


def test_a_stream_whose_loop_has_ended_is_closed_in_another_loop(make_hub):
    go, over = threading.Event(), threading.Event()

    class Deaf:
        def stream(self, request, call):
            try:
                yield "a"
                go.wait(60)
            finally:
                over.set()

    stream = asyncio.run(make_hub(a=Deaf()).acomplete("m", "?", stream=True))
    threading.Timer(0.05, go.set).start()
    asyncio.run(asyncio.wait_for(stream.aclose(), 60))
    assert over.is_set()


def test_a_slow_reader_holds_the_provider_back(make_hub):
    taken = 0

    class Endless:
        def stream(self, request, call):
            nonlocal taken
            while True:
                taken += 1
                yield "x"

    async def main():
        async with await make_hub(a=Endless()).acomplete("m", "?", stream=True) as stream:
            reader = aiter(stream)
            for read in range(1, 21):
                await anext(reader)
                await asyncio.sleep(0.001)
                # One batch at the reader, one waiting batch, one piece at the thread, and the first content.
                assert taken <= read + 2 * LIMIT + 2
        assert not streams()

    asyncio.run(main())


def test_a_native_stream_is_closed_by_its_reader(scripted, make_hub):
    native = Native(scripted(["a", "b", "c"]))

    async def main():
        async with await make_hub(a=native).acomplete("m", "?", stream=True) as stream:
            async for _ in stream:
                break
        assert native.closed == 1
        assert [text async for text in stream] == []
        return stream

    assert asyncio.run(main()).route.attempts[0].outcome == "abandoned"


def test_cancelling_reaches_a_native_provider(make_hub):
    ended = []

    class Hanging:
        def stream(self, request, call):
            raise AssertionError

        async def astream(self, request, call):
            call.on_cancel(lambda: ended.append("told"))
            try:
                await asyncio.Event().wait()
                yield ""
            finally:
                ended.append("closed")

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await make_hub(a=Hanging()).acomplete("m", "?")
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert sorted(ended) == ["closed", "told"]


@pytest.mark.unix
@pytest.mark.parametrize("said", [[], ["Hel"]], ids=["before the first token", "later"])
def test_an_exception_of_a_signal_handler_is_the_callers(make_hub, said):
    class LimitError(Exception):
        pass

    class Signalled:
        def stream(self, request, call):
            raise AssertionError

        async def astream(self, request, call):
            for piece in said:
                yield piece
            signal.raise_signal(signal.SIGUSR1)

    def limit(*_):
        raise LimitError

    async def main(hub):
        return [text async for text in await hub.acomplete("m", "?", stream=True)]

    hub, before = make_hub(a=Signalled(), b=Signalled()), signal.signal(signal.SIGUSR1, limit)
    try:
        with pytest.raises(LimitError):
            asyncio.run(main(hub))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert all(record.state == "closed" for record in hub.health())


def test_a_provider_that_is_deaf_delays_nobodys_cancellation(make_hub):
    release = threading.Event()

    class Deaf:
        def stream(self, request, call):
            release.wait(60)
            yield "late"

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await make_hub(a=Deaf()).acomplete("m", "?")

    asyncio.run(main())
    assert streams()
    release.set()


def test_two_tasks_may_close_one_stream(make_hub):
    release = threading.Event()

    class Deaf:
        def stream(self, request, call):
            yield "x"
            release.wait(60)

    async def main():
        stream = await make_hub(a=Deaf()).acomplete("m", "?", stream=True)
        tasks = [asyncio.create_task(stream.aclose()) for _ in range(2)]
        await asyncio.sleep(0)  # both wait for the thread
        release.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_the_loop_does_not_wait_until_a_thread_has_begun():
    begun = []

    async def main():
        interval = sys.getswitchinterval()
        sys.setswitchinterval(60)  # a waiting thread gives the interpreter to the new thread, which keeps it
        try:
            pumps = [Pump(lambda: begun.append(1) or iter("x"), asyncio.get_running_loop(), CallContext(Timeout())) for _ in "ab"]
            early = len(begun)
        finally:
            sys.setswitchinterval(interval)
        assert [await anext(pump) for pump in pumps] == ["x", "x"]
        return early

    assert asyncio.run(main()) == 0
    assert begun == [1, 1]


def test_a_closed_loop_ends_the_thread():
    go, over = threading.Event(), threading.Event()

    def pieces():
        try:
            go.wait(60)
            while True:
                yield "x"
        finally:
            over.set()

    async def main():
        pump = Pump(pieces, asyncio.get_running_loop(), CallContext(Timeout()))
        task = asyncio.ensure_future(anext(pump))
        await asyncio.sleep(0)
        task.cancel()
        return pump

    pump = asyncio.run(main())
    go.set()
    pump.stop()
    assert over.wait(60)


def test_importing_the_package_does_not_import_asyncio():
    code = "import sys, providerhub; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_aclose_awaits_the_providers_of_this_loop(make_plugin_hub):
    import lifecycle_provider

    async def main():
        async with make_plugin_hub() as hub:
            await hub.acomplete("m", "Hello")
            assert lifecycle_provider.ENDS == []

    asyncio.run(main())
    assert lifecycle_provider.ENDS == ["awaited"]


@pytest.fixture
def make_plugin_hub(tmp_path, monkeypatch):
    """A hub with one installed plugin whose provider tells how it was closed."""
    (tmp_path / "lifecycle.py").write_text(
        "from providerhub import ModelInfo, ProviderInfo, hookimpl\n"
        "@hookimpl\n"
        "def providerhub_provider():\n"
        "    return ProviderInfo(name='lifecycle', models=(ModelInfo('m'),), factory='lifecycle_provider:Provider')\n"
    )
    (tmp_path / "lifecycle_provider.py").write_text(
        "ENDS = []\n"
        "class Provider:\n"
        "    def __init__(self, config):\n"
        "        pass\n"
        "    def stream(self, request, call):\n"
        "        yield 'sync'\n"
        "    async def astream(self, request, call):\n"
        "        yield 'awaited'\n"
        "    def close(self):\n"
        "        ENDS.append('closed')\n"
        "    async def aclose(self):\n"
        "        ENDS.append('awaited')\n"
    )
    info = tmp_path / "lifecycle-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lifecycle\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[providerhub]\nlifecycle = lifecycle\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda: Hub(Settings(allow={"lifecycle"}))
    for name in ("lifecycle", "lifecycle_provider"):
        sys.modules.pop(name, None)


AT_THE_END = """
import asyncio, atexit, sys, threading
from providerhub import *

hub = Hub(Settings(providers={"p": ProviderConfig(plugin="lockchat", url=sys.argv[1], api_key="k", models=("m",))}))

def told(call):
    try:
        return call()
    except (ProviderHubError, RuntimeError) as error:
        return error

def many(requests):
    (outcome,) = hub.complete_many(requests)
    return outcome.unwrap()

@atexit.register
def last():
    request = {"model": "p/m", "messages": "x"}
    print(told(lambda: asyncio.run(hub.acomplete("p/m", "Hello"))))
    print(told(lambda: many([request])))
    print(told(lambda: many(iter([request]))))
    print(told(lambda: hub.complete("p/m", "Hello")))
    try:
        threading.Thread(target=bool).start()
    except RuntimeError:
        print("no thread")
"""


def test_the_first_call_may_come_when_the_interpreter_ends():
    with FaultServer(*[http_response(body=openai_completion("fine"))] * 4) as server:
        python = [sys.executable, "-c", AT_THE_END, server.url]
        done = subprocess.run(python, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    told = done.stdout.splitlines()
    if told[-1] == "no thread":  # Python 3.12 starts no thread in a program that ends
        assert len(told) == 5
        assert all("this Python starts no thread when the program ends; make the call before that" in line for line in told[:-1])
    else:
        assert told == ["fine"] * 4


TOO_LATE = """
import sys
from providerhub import *

hub = Hub(Settings(providers={"p": ProviderConfig(plugin="lockchat", url=sys.argv[1], api_key="k", models=("m",))}))
print(hub.complete("p/m", "Hello"))

class Last:
    def __del__(self):
        try:
            hub.complete("p/m", "Hello")
        except Exception as error:
            print(error)

last = Last()
last.itself = last
"""


@pytest.mark.load
def test_a_call_after_the_end_of_the_interpreter_is_refused():
    """No timeout would hold: the thread that watches them has ended."""
    fine = http_response(body={"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]})
    with FaultServer(fine, [Hold()], repeat=True) as server:
        command = [sys.executable, "-c", TOO_LATE, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("fine\np/m: ")
