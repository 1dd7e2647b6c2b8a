"""Rows 49-56 of the fault matrix: the acts of callers, and the events of their process."""

import asyncio
import contextlib
import gc
import mmap
import os
import select
import signal
import threading
import time
from functools import partial
from pathlib import Path

import attrs
import pytest

from providerhub import DeadlineExceededError, ProviderTimeoutError, RetryPolicy, ServerError, StreamInterruptedError, Timeout
from providerhub.testing import (
    FakeClock,
    Gate,
    Hold,
    Mark,
    Pause,
    Repeat,
    Send,
    chunk,
    chunked,
    close_delimited,
    http_response,
    openai_chunk,
    openai_completion,
    openai_error,
    openai_stream,
    response_head,
    serve_in_process,
    sse,
)

HELLO = [openai_chunk("Hel"), openai_chunk("lo")]
STOP = openai_chunk(finish_reason="stop")
DOWN = http_response(503, openai_error("down"))
FAILURES = 5
"""In a row, they open a breaker."""


def fine(request):
    return openai_stream("fi", "ne") if request.json().get("stream") else http_response(body=openai_completion("fine"))


def begun(*then):
    """A stream that has begun, and then holds."""
    return [*chunked(sse(*HELLO, done=False), end=False), *(then or (Hold(),))]


# --- 49 --------------------------------------------------------------------------------------------------------------


def _close(stream):
    stream.close()
    stream.close()


async def _aclose(stream):
    await stream.aclose()
    await stream.aclose()


def _with(stream):
    with stream:
        pass


async def _awith(stream):
    async with stream:
        pass


def _error(stream):
    with contextlib.suppress(ZeroDivisionError), stream:
        next(stream)
        raise ZeroDivisionError


async def _aerror(stream):
    with contextlib.suppress(ZeroDivisionError):
        async with stream:
            await anext(stream)
            raise ZeroDivisionError


def _break(stream):
    for _ in stream:
        break


async def _abreak(stream):
    async for _ in stream:
        break


def _events(stream):
    for _ in stream.events():
        break


async def _aevents(stream):
    async for _ in stream.events():
        break


def _dropped(stream):
    """Only made, never read."""


async def _adropped(stream):
    """The same."""


def _begun_reading(stream):
    iter(stream)


async def _abegun_reading(stream):
    aiter(stream)


def _in_a_circle(stream):
    circle = [stream]
    circle.append(circle)


async def _ain_a_circle(stream):
    _in_a_circle(stream)


LEAVE = {
    "close": (_close, _aclose),
    "with": (_with, _awith),
    "an error in with": (_error, _aerror),
    "break": (_break, _abreak),
    "break out of events": (_events, _aevents),
    "dropped": (_dropped, _adropped),
    "begun and dropped": (_begun_reading, _abegun_reading),
    "garbage collected": (_in_a_circle, _ain_a_circle),
}


@pytest.fixture(params=LEAVE)
def leave(request, way):
    """`leave(stream)`: the stream is abandoned in one of the ways that there are."""

    def left(stream):
        way.leave(stream, *LEAVE[request.param])

    return left


def test_fault_49_stream_abandoned(way, hub_of, serve, good, row, leave):
    server = serve(begun())
    hub = hub_of(a=server, b=good)
    for number in range(6):
        leave(way.call(hub, stream=True))
        gc.collect()
        way.run(server.client_gone, number)
    # Six failures would have opened it.
    assert row.candidates(hub) == ["a", "b"]
    assert good.served == 0


def test_fault_49_stream_abandoned_is_no_success_either(way, hub_of, serve, row, good, leave):
    hub = hub_of(a=serve(*[DOWN] * 4, begun(), DOWN), b=good)
    for _ in range(4):
        assert way.answer(hub, stream=True).provider == "b"
    leave(way.call(hub, stream=True))
    gc.collect()
    assert row.candidates(hub) == ["a", "b"]
    # The fifth failure in a row: the calls in between did not interrupt the row.
    assert way.answer(hub, stream=True).provider == "b"
    assert row.skips(hub) == [("a", "breaker open")]


def test_fault_49_probe_abandoned(way, hub_of, serve, good, leave):
    hub = hub_of(a=serve(*[DOWN] * 5, begun(), fine), b=good)
    for _ in range(5):
        way.answer(hub, stream=True)
    leave(way.call(hub, "a/m", stream=True))  # pinned and open: tried all the same, as the breaker's probe
    gc.collect()
    assert "probe under way" not in str(hub.explain("m"))
    assert way.answer(hub, "a/m", stream=True).provider == "a"


def test_fault_49_route_of_an_abandoned_stream(way, hub_of, serve):
    stream = way.call(hub_of(a=serve(begun())), stream=True)
    assert way.next(stream) == "Hel"
    way.close(stream)
    assert way.read(stream) == []
    assert [(attempt.provider, attempt.outcome) for attempt in stream.route.attempts] == [("a", "abandoned")]
    assert stream.completion.text.startswith("Hel")


# --- 50 --------------------------------------------------------------------------------------------------------------

BIG = sse(openai_chunk("x" * 16384), done=False)


def test_fault_50_slow_consumer_holds_the_sender_back(way, hub_of, serve):
    server = serve(close_delimited([Repeat(b"".join(BIG))]))
    stream = way.call(hub_of(a=server), stream=True)
    for _ in range(20):
        way.next(stream)
        way.hold(0.01)
    # The pieces in the bounded buffer, and what the kernel's buffers on both sides hold.
    assert server.connections[0].sent < 24 * 1024 * 1024
    way.close(stream)


HASTY = Timeout(first_token=20, byte_idle=20, token_idle=0.2, total=60)


def test_fault_50_slow_consumer_stops_the_idle_clock(way, hub_of, serve):
    server = serve(chunked(sse(*HELLO, STOP)))
    stream = way.call(hub_of(a=server, timeout=HASTY), stream=True)
    texts = []
    for _ in range(2):
        texts.append(way.next(stream))
        way.hold(0.3)
    assert [*texts, *way.read(stream)] == ["Hel", "lo"]


def test_fault_50_slow_consumer_beside_a_quiet_sender(way, hub_of, serve):
    begin, rest = chunked(sse(HELLO[0], done=False), end=False), chunked(sse(HELLO[1], STOP))[1:]
    server = serve([*begin, Gate("held"), *rest, Mark("sent")])
    stream = way.call(hub_of(a=server, timeout=HASTY), stream=True)
    assert way.next(stream) == "Hel"
    way.hold(0.3)  # the consumer's own time, in which it does not wait for a token
    server.open("held")
    way.run(server.reached, "sent")
    assert way.read(stream) == ["lo"]


def test_fault_50_slow_consumer_beside_a_sender_of_comments(way, hub_of, serve):
    alive = Repeat((Send(chunk(b": still here\n\n")), Pause(0.05)), times=8)  # for longer than the clock allows
    server = serve([*chunked(sse(HELLO[0], done=False), end=False), alive, *chunked(sse(HELLO[1], STOP))[1:], Mark("sent")])
    stream = way.call(hub_of(a=server, timeout=HASTY), stream=True)
    assert way.next(stream) == "Hel"
    way.run(server.reached, "sent")
    assert way.read(stream) == ["lo"]


@pytest.mark.parametrize("idle", ["token_idle", "byte_idle"])
def test_fault_50_slow_consumer_beside_a_dead_sender(way, hub_of, serve, idle):
    """The idle clocks begin when the consumer waits, and end what stalls then."""
    timeout = attrs.evolve(HASTY, **{"token_idle": 20, idle: 0.2})
    stream = way.call(hub_of(a=serve(begun()), timeout=timeout), stream=True)
    assert [way.next(stream), way.next(stream)] == ["Hel", "lo"]
    way.hold(0.3)
    asked = time.monotonic()
    with pytest.raises(StreamInterruptedError) as caught:
        way.read(stream)
    assert type(caught.value.cause) is ProviderTimeoutError
    assert idle.replace("_", " ") in str(caught.value.cause)
    assert time.monotonic() - asked >= 0.2


def test_fault_50_slow_consumer_uses_up_the_total(way, hub_of, serve):
    clock = FakeClock(time.monotonic())
    stream = way.call(hub_of(a=serve(chunked(sse(*HELLO, STOP))), clock=clock), stream=True)
    assert way.next(stream) == "Hel"
    clock.advance(61)
    with pytest.raises(StreamInterruptedError) as caught:
        way.read(stream)
    assert type(caught.value.cause) is DeadlineExceededError


# --- 51 --------------------------------------------------------------------------------------------------------------

TRIES = 5
PHASES = {
    "before the headers": [Gate("here"), Hold()],
    "before the first token": [response_head(headers={"Content-Type": "text/event-stream"}), Gate("here"), Hold()],
}


def swift(server, moments):
    """The row asks for 100 ms. On a machine that others load, the best of several tries tells what the code does."""
    for number in range(len(moments)):
        server.client_gone(number)
    assert min(one.gone_at - moment for one, moment in zip(server.connections, moments, strict=True)) < 0.1


@pytest.mark.parametrize("phase", PHASES)
def test_fault_51_task_cancelled(hub_of, serve, good, stream, phase):
    """Another thread has no handle on a synchronous call that has not returned: only the asynchronous way can be tried."""
    server = serve([Mark("asked"), *(step for step in PHASES[phase] if not isinstance(step, Gate))])
    hub = hub_of(a=server, b=good)

    async def cancelled(number):
        task = asyncio.create_task(hub.acomplete("m", "Hello", stream=stream))
        await asyncio.to_thread(server.reached, "asked", times=number + 1)
        moment = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return moment

    swift(server, [asyncio.run(cancelled(number)) for number in range(TRIES)])
    assert [candidate.provider for candidate in hub.explain("m").candidates] == ["a", "b"]


def _reading_in_a_thread(hub, ended):
    stream = hub.complete("m", "Hello", stream=True)
    assert [next(stream), next(stream)] == ["Hel", "lo"]
    blocked = threading.Event()

    def read():
        blocked.set()
        try:
            ended.append(list(stream))
        except Exception as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    blocked.wait()
    moment = time.monotonic()
    stream.close()
    reader.join()
    return moment, stream.route


async def _reading_in_a_task(hub, ended):
    stream = await hub.acomplete("m", "Hello", stream=True)
    assert [await anext(stream), await anext(stream)] == ["Hel", "lo"]

    async def read():
        ended.append([text async for text in stream])

    reader = asyncio.create_task(read())
    await asyncio.sleep(0)
    moment = time.monotonic()
    await stream.aclose()
    await reader
    return moment, stream.route


def test_fault_51_reader_cancelled(way, hub_of, serve, good, row):
    server, ended, moments = serve(begun()), [], []
    hub = hub_of(a=server, b=good)
    for _ in range(TRIES):
        moment, route = way.runner.run(_reading_in_a_task(hub, ended)) if way.is_async else _reading_in_a_thread(hub, ended)
        moments.append(moment)
        assert [attempt.outcome for attempt in route.attempts] == ["abandoned"]
    # The reader's loop ends: this is not a failure.
    assert ended == [[]] * TRIES
    swift(server, moments)
    assert row.candidates(hub) == ["a", "b"]


def test_fault_51_reading_task_cancelled(hub_of, serve, good):
    server = serve(begun())
    hub = hub_of(a=server, b=good)

    async def cancelled():
        stream = await hub.acomplete("m", "Hello", stream=True)
        assert [await anext(stream), await anext(stream)] == ["Hel", "lo"]
        reader = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        moment = time.monotonic()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await stream.aclose()
        return moment

    swift(server, [asyncio.run(cancelled()) for _ in range(TRIES)])
    assert [candidate.provider for candidate in hub.explain("m").candidates] == ["a", "b"]


def _asking_in_a_thread(hub, stream, reached, close):
    ended = []

    def ask():
        try:
            ended.append(hub.complete("m", "Hello", stream=stream))
        except Exception as error:
            ended.append(error)

    caller = threading.Thread(target=ask)
    caller.start()
    reached()
    moment = time.monotonic()
    hub.close()
    caller.join()
    return moment, ended[0]


async def _asking_in_a_task(hub, stream, reached, close):
    task = asyncio.create_task(hub.acomplete("m", "Hello", stream=stream))
    await asyncio.to_thread(reached)
    moment = time.monotonic()
    if close == "aclose":
        await hub.aclose()
    else:
        hub.close()
    with pytest.raises(RuntimeError) as caught:
        await task
    return moment, caught.value


@pytest.mark.parametrize("close", ["close", "aclose"])
@pytest.mark.parametrize("phase", PHASES)
def test_fault_51_hub_closed_before_the_answer(way, hub_of, serve, good, stream, phase, close):
    server, moments = serve([Mark("asked"), *(step for step in PHASES[phase] if not isinstance(step, Gate))]), []
    for number in range(TRIES):
        hub = hub_of(a=server, b=good)
        asked = partial(server.reached, "asked", times=number + 1)
        if way.is_async:
            moment, error = way.runner.run(_asking_in_a_task(hub, stream, asked, close))
        else:
            moment, error = _asking_in_a_thread(hub, stream, asked, close)
        moments.append(moment)
        assert "this hub is closed" in str(error)
        assert type(error) is RuntimeError
        assert all(record.state == "closed" for record in hub.health())
    swift(server, moments)
    assert good.served == 0


def test_fault_51_hub_closed_while_a_task_reads(hub_of, serve):
    hub = hub_of(a=serve([*chunked(sse(HELLO[0], done=False), end=False), Hold()]))

    async def read():
        async with hub:
            stream = await hub.acomplete("m", "Hello", stream=True)
        return [text async for text in stream]

    with pytest.raises(StreamInterruptedError, match="the hub was closed while the answer came") as caught:
        asyncio.run(read())
    assert caught.value.partial == "Hel"


# --- 52 --------------------------------------------------------------------------------------------------------------

INTERRUPTED = """
before = sockets()
try:
    call()
except KeyboardInterrupt:
    pass
# Not before the traceback is gone: it holds what was being made when the interrupt came.
say("interrupted", sockets() - before)
sys.stdin.readline()
say(call())
"""


def ended(process):
    """What a child said till its end, which must have been a good one."""
    said, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    return said


SITUATIONS = {
    "waiting": [http_response(429, b"", {"Retry-After": "4"})],
    "before the headers": [Mark("here"), Hold()],
    "before the first token": [response_head(headers={"Content-Type": "text/event-stream"}), Mark("here"), Hold()],
    "reading": [*chunked(sse(*HELLO, done=False), end=False), Mark("here"), Hold()],
    "reading a whole answer": [
        response_head(headers={"Content-Type": "application/json", "Content-Length": "99"}), b"{", Mark("here"), Hold()
    ],
}  # fmt: skip


def told_when(process, number):
    """What a process says to an interrupt. One that comes between the interpreter's last look and a system call is noticed
    when the call ends, so that people press the keys again; so does this, when nothing is said for a while.
    """
    for _ in range(20):
        process.send_signal(number)
        if select.select([process.stdout], [], [], 3)[0]:
            break
    return process.stdout.readline()


@pytest.mark.unix
@pytest.mark.parametrize("situation", SITUATIONS)
def test_fault_52_keyboard_interrupt(serve, child, situation):
    server = serve(SITUATIONS[situation], fine)
    process = child(INTERRUPTED, server.url, "whole" if "whole" in situation else "stream", server.url, situation)
    if situation == "waiting":
        assert process.stdout.readline() == "waiting\n"
    else:
        server.reached("here")
    # The connection of a refused request is kept for the next try. Any other connection is closed, and the process lives on.
    kept = {"interrupted 0\n", "interrupted 1\n"} if situation == "waiting" else {"interrupted 0\n"}
    assert told_when(process, signal.SIGINT) in kept
    if situation != "waiting":
        server.client_gone()
    # The hub works as before: nothing is blocked, and nothing was counted. A wait that a provider named still continues.
    waits = "waiting\n" if situation == "waiting" else ""
    assert process.communicate("\n", timeout=60) == (f"{waits}fine\n", "")
    assert process.returncode == 0


OFTEN = """
def interrupt(*_):
    raise KeyboardInterrupt

import random, warnings
warnings.simplefilter("ignore", ResourceWarning)  # a socket that is interrupted while it is made, nobody but its end can close
random.seed(52)
signal.signal(signal.SIGALRM, interrupt)
before = sockets()
for number in range(1000):
    try:
        # The first call imports. Again after a while: an interrupt right before a system call is noticed when that ends.
        signal.setitimer(signal.ITIMER_REAL, 0.5 if number == 0 else random.uniform(1e-4, 2e-3), 2.0)
        call()
    except KeyboardInterrupt:
        pass
    except Exception as error:
        say(repr(error))
    signal.setitimer(signal.ITIMER_REAL, 0)
say(sockets() - before)
sys.stdin.readline()
say(call())
"""


@pytest.mark.unix
@pytest.mark.parametrize("end", ["chunked", "close"])
def test_fault_52_interrupts_at_any_moment(serve, child, end):
    """Wherever an interrupt comes, no lock stays locked, and nothing stays open."""
    head = {"Content-Type": "text/event-stream", **({"Transfer-Encoding": "chunked"} if end == "chunked" else {})}
    enough = threading.Event()
    server = serve(lambda request: fine(request) if enough.is_set() else [response_head(headers=head), Hold()])
    process = child(OFTEN, server.url, "stream", server.url)
    assert process.stdout.readline() == "0\n"
    enough.set()
    assert process.communicate("\n", timeout=60) == ("fine\n", "")


LIMITED = """
import logging
# asyncio logs and drops what comes while it runs one of its own callbacks; then the next signal is the one that counts.
logging.getLogger("asyncio").disabled = True

class Limit(Exception):
    pass

def limit(*_):
    raise Limit("over")

signal.signal(signal.SIGUSR1, limit)
try:
    call()
except Limit as error:
    say(repr(error), [record for record in hub.health() if record.state != "closed"])
sys.stdin.readline()
say(call())
"""


@pytest.mark.unix
@pytest.mark.parametrize("situation", SITUATIONS)
def test_fault_52_an_exception_of_a_signal_handler_is_the_callers(serve, child, situation):
    """A time limit such as Celery's is one: it is no failure of the provider, and does not go on to the next try."""
    server = serve(SITUATIONS[situation], fine)
    process = child(LIMITED, server.url, "whole" if "whole" in situation else "stream", server.url, situation)
    if situation == "waiting":
        assert process.stdout.readline() == "waiting\n"
    else:
        server.reached("here")
    assert told_when(process, signal.SIGUSR1) == "Limit('over') []\n"
    waits = "waiting\n" if situation == "waiting" else ""
    assert process.communicate("\n", timeout=60) == (f"{waits}fine\n", "")
    assert len(server.requests) == 2


# --- 53 --------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[86400.0, -86400.0], ids=["forth", "back"])
def jump(request, monkeypatch):
    """`jump()` puts the wall clock a day forth or back."""
    real = time.time

    def jumped():
        monkeypatch.setattr(time, "time", lambda: real() + request.param)

    return jumped


def test_fault_53_wall_clock_jumps_in_mid_stream(way, hub_of, serve, jump):
    server = serve([*chunked(sse(HELLO[0], done=False), end=False), Gate("jumped"), *chunked(sse(HELLO[1], STOP))[1:]])
    stream = way.call(hub_of(a=server), stream=True)
    assert way.next(stream) == "Hel"
    jump()
    server.open("jumped")
    assert way.read(stream) == ["lo"]
    assert 0 < stream.route.duration < 60


def test_fault_53_wall_clock_jumps_and_timeouts_hold(row, hub_of, serve, jump):
    hub = hub_of(a=serve(begun()), timeout=HASTY)
    jump()
    row.interrupted(hub, ProviderTimeoutError, "Hello")


def test_fault_53_wall_clock_jumps_during_a_wait(way, hub_of, serve, jump):
    def refuse(request):
        jump()
        return http_response(429, b"", {"Retry-After": "0.2"})

    server = serve(refuse, fine)
    answer = way.answer(hub_of(a=server), stream=True)
    assert 0.1 < answer.route.attempts[1].waited < 60  # a jump is of a day


def test_fault_53_wall_clock_jumps_and_nothing_is_forgotten(way, hub_of, serve, good, row, jump):
    hub = hub_of(a=serve(http_response(429, b"", {"Retry-After": "60"})), b=serve(DOWN), c=good)
    for _ in range(5):
        assert way.answer(hub, stream=True).provider == "c"
    assert row.skips(hub) == [("a", "rate limited"), ("b", "breaker open")]
    jump()
    assert row.skips(hub) == [("a", "rate limited"), ("b", "breaker open")]
    (skip,) = (skip for skip in hub.explain("m").skipped if skip.provider == "a")
    assert 50 < float(skip.detail.split()[1]) <= 60


# --- 54 --------------------------------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORKED = """
say(call())
if not os.fork():
    say("child", call(), call())
    hub.close()
    os._exit(0)
os.wait()
say("parent", call())
hub.close()
"""


@needs_fork
def test_fault_54_fork_after_use(way, serve, child, stream):
    server = serve(fine)
    said = ended(child(FORKED, server.url, "stream" if stream else "whole", server.url))
    assert said == "fine\nchild fine fine\nparent fine\n"
    # Only the parent used its connection. The child made and kept its own connection. A connection of an event loop ends with
    # its loop, and each of these calls has its own loop.
    assert [request.connection for request in server.requests] == ([0, 1, 2, 3] if way.is_async else [0, 1, 1, 0])


TIMED = """
from providerhub import ProviderTimeoutError, Timeout
say(call())
if not os.fork():
    hub = Hub(Settings(timeout=Timeout(first_token=0.05)))
    try:
        call()
    except ProviderTimeoutError as error:
        say("in time", len(error.route.attempts))
    os._exit(0)
os.wait()
"""


@needs_fork
def test_fault_54_fork_and_timeouts_hold_in_the_child(serve, child):
    server = serve(fine, Hold(), Hold())
    assert ended(child(TIMED, server.url, "stream", server.url)) == "fine\nin time 2\n"


IN_MID_STREAM = """
async def opened():
    stream = await hub.acomplete("gpt-4", "Hello", stream=True)
    return stream, await anext(stream)

async def rest(stream):
    return "".join([text async for text in stream])

if way == "complete":
    stream = hub.complete("gpt-4", "Hello", stream=True)
    first = next(stream)
else:
    runner = asyncio.Runner()
    stream, first = runner.run(opened())
child = os.fork()
if not child:
    stream.close() if way == "complete" else None
    del stream
    hub.close()
    os._exit(0)
os.waitpid(child, 0)
say("forked")
say(first + ("".join(stream) if way == "complete" else runner.run(rest(stream))))
hub.close()
runner.close() if way != "complete" else None
"""


@needs_fork
def test_fault_54_fork_leaves_the_parents_stream_alone(serve, child):
    server = serve([*chunked(sse(HELLO[0], done=False), end=False), Gate("forked"), *chunked(sse(HELLO[1], STOP))[1:]])
    process = child(IN_MID_STREAM, server.url, "stream", server.url)
    assert process.stdout.readline() == "forked\n"
    server.open("forked")
    assert ended(process) == "Hello\n"
    assert server.connected == 1


READ_IN_BOTH = """
stream = hub.complete("gpt-4", "Hello", stream=True)
first = next(stream)
child = os.fork()
if not child:
    try:
        next(stream)
    except StreamInterruptedError as error:
        say("forked" if "forked" in str(error) else error)
    os._exit(0)
os.waitpid(child, 0)
say(first + "".join(stream))
hub.close()
"""


@needs_fork
def test_fault_54_fork_a_child_takes_nothing_of_the_parents_stream(serve, child):
    server = serve([*chunked(sse(HELLO[0], done=False), end=False), Gate("forked"), *chunked(sse(HELLO[1], STOP))[1:]])
    process = child("from providerhub import StreamInterruptedError\n" + READ_IN_BOTH, server.url, "stream", server.url)
    assert process.stdout.readline() == "forked\n"
    server.open("forked")
    assert ended(process) == "Hello\n"


# --- 55 --------------------------------------------------------------------------------------------------------------

STREAMS = 1000
EACH = [openai_chunk(text) for text in ("a", "b", "c", "d")]
MANY = [*chunked(sse(EACH[0], done=False), end=False), Gate("all"), *chunked(sse(*EACH[1:], STOP))[1:]]


@pytest.fixture
def _room():
    """As many descriptors as the streams need, and small stacks."""
    resource = pytest.importorskip("resource", reason="absent on Windows")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = STREAMS * 2 + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the system allows {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    stack = threading.stack_size(256 * 1024)
    yield
    threading.stack_size(stack)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _in_threads(hub, all_open):
    texts = []

    def read():
        with hub.complete("m", "Hello", stream=True) as stream:
            texts.append("".join(stream))

    threads = [threading.Thread(target=read) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    found = all_open()
    for thread in threads:
        thread.join()
    return texts, found


async def _in_tasks(hub, all_open):
    async def read():
        async with await hub.acomplete("m", "Hello", stream=True) as stream:
            return "".join([text async for text in stream])

    tasks = [asyncio.create_task(read()) for _ in range(STREAMS)]
    found = await asyncio.to_thread(all_open)
    return await asyncio.gather(*tasks), found


def _memory():
    """The memory of the process in KiB; 0 if the system does not show it."""
    told = Path("/proc/self/statm")
    return int(told.read_text("ascii").split()[1]) * mmap.PAGESIZE / 1024 if told.exists() else 0.0


@pytest.mark.load
@pytest.mark.usefixtures("_room")
def test_fault_55_a_thousand_streams_at_once(way, hub_of, capsys):
    start = _memory()
    began = time.monotonic()
    with serve_in_process(MANY) as server:

        def all_open():
            server.reached("all", times=STREAMS, timeout=60)
            found = server.stats(), _memory()
            server.open("all")
            return found

        hub = hub_of(a=server, timeout=Timeout(connect=60, first_token=60, token_idle=60, total=100))
        texts, (stats, memory) = way.runner.run(_in_tasks(hub, all_open)) if way.is_async else _in_threads(hub, all_open)
        hub.close()
    took = time.monotonic() - began
    assert texts == ["abcd"] * STREAMS
    assert stats.peak == stats.open == STREAMS
    with capsys.disabled():
        print(f"\n[{way.name}: {STREAMS} streams at once: {took:.1f} s in all, {(memory - start) / STREAMS:.0f} KiB each]")  # noqa: T201


# --- 56 --------------------------------------------------------------------------------------------------------------


def test_fault_56_all_breakers_open(way, hub_of, serve, row):
    first, second, clock = serve(*[DOWN] * FAILURES, fine, repeat=True), serve(DOWN), FakeClock(time.monotonic())
    hub = hub_of(b=second, a=first, clock=clock)

    def fail(provider, times):
        for _ in range(times):
            way.fails(hub, ServerError, f"{provider}/m", stream=True, retry=RetryPolicy(attempts=1))

    fail("b", FAILURES)
    clock.advance(5.1)
    fail("b", 1)  # the probe: its failure doubles the time, so that b stays open for 5 to 10 s
    fail("a", FAILURES)  # and a for 2.5 to 5 s
    plan = hub.explain("m", stream=True)
    assert [candidate.provider for candidate in plan.candidates] == ["a"]
    assert [(skip.provider, skip.reason) for skip in plan.skipped if skip.model] == [("b", "breaker open")]
    asked = second.served
    answer = way.answer(hub, stream=True)
    assert [(attempt.provider, attempt.outcome) for attempt in answer.route.attempts] == [("a", "ok")]
    assert (answer.text, second.served) == ("fine", asked)
    assert row.candidates(hub) == ["a"]


def test_fault_56_all_breakers_open_and_the_soonest_fails_too(way, hub_of, serve):
    server = serve(DOWN)
    hub = hub_of(a=server, b=server)
    for _ in range(FAILURES):
        for provider in "ab":
            way.fails(hub, ServerError, f"{provider}/m", stream=True, retry=RetryPolicy(attempts=1))
    error = way.fails(hub, ServerError, stream=True)
    # The caller gets the reason. Only the provider that is available first is asked.
    assert len({attempt.provider for attempt in error.route.attempts}) == 1
    assert [skip.reason for skip in error.route.skipped if skip.model] == ["breaker open"]
