"""The next candidate is asked beside a slow attempt, and asyncio ends providers that ignore their context at the deadline."""

import asyncio
import threading

import pytest

from providerhub import (
    DeadlineExceededError,
    Finish,
    PluginError,
    ProviderConnectionError,
    ProviderTimeoutError,
    RetryPolicy,
    Settings,
    StreamInterruptedError,
)

SOON = Settings(autoload=False, retry=RetryPolicy(backoff=0, beside_after=0.05))


class Silent:
    """Says nothing until it is released, cancelled, or 60 s are over."""

    def __init__(self):
        self.go = threading.Event()
        self.asked = threading.Event()
        self.ended = threading.Event()

    def stream(self, request, call):
        try:
            call.on_cancel(self.go.set)
            self.asked.set()
            self.go.wait(60)
            if call.cancelled:
                raise ConnectionError("the line was cut")
            yield "late"
            yield Finish("stop")
        finally:
            self.ended.set()


class SilentTask(Silent):
    """The same, awaited, and deaf to its context."""

    async def astream(self, request, call):
        try:
            self.asked.set()
            while not self.go.is_set():  # noqa: ASYNC110 -- another thread sets it
                await asyncio.sleep(0.01)
            yield "late"
            yield Finish("stop")
        finally:
            self.ended.set()


class Quick:
    def __init__(self, text="quick"):
        self.text = text

    def stream(self, request, call):
        yield self.text
        yield Finish("stop")


class Deaf(Silent):
    def stream(self, request, call):
        self.go.wait(60)
        yield from ()


class Releases(Quick):
    """Lets another provider end, and answers."""

    def __init__(self, other):
        super().__init__()
        self.other = other

    def stream(self, request, call):
        self.other.go.set()
        yield from super().stream(request, call)


def _ask(hub, way, *, stream=False, **knobs):
    if way == "complete":
        reply = hub.complete("m", "x", stream=stream, **knobs)
        return "".join(reply) if stream else reply.text, (reply.completion if stream else reply)

    async def main():
        reply = await hub.acomplete("m", "x", stream=stream, **knobs)
        text = "".join([token async for token in reply]) if stream else reply.text
        return text, (reply.completion if stream else reply)

    return asyncio.run(main())


@pytest.fixture(params=["complete", "acomplete", "native"])
def way(request):
    return request.param


@pytest.fixture
def silent(way):
    provider = SilentTask() if way == "native" else Silent()
    yield provider
    provider.go.set()


@pytest.mark.parametrize("stream", [False, True])
def test_beside_a_silent_provider_the_next_provider_is_asked(way, silent, make_hub, stream):
    text, completion = _ask(make_hub(SOON, a=silent, b=Quick()), way, stream=stream)
    assert (text, completion.provider) == ("quick", "b")
    assert [(a.provider, a.outcome) for a in completion.route.attempts] == [("a", "abandoned"), ("b", "ok")]
    assert silent.ended.wait(60)


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_answer_is_not_lost_when_the_next_provider_is_slower(way, silent, make_hub, stream):
    class Slower(Silent):
        def stream(self, request, call):
            silent.go.set()
            yield from super().stream(request, call)

    text, completion = _ask(make_hub(SOON, a=silent, b=Slower()), way, stream=stream)
    assert (text, completion.provider) == ("late", "a")


def test_the_next_one_is_asked_at_once_when_the_companion_fails(way, silent, make_hub, scripted):
    hub = make_hub(SOON, a=silent, b=scripted([ProviderConnectionError("down")]), c=Quick())
    text, completion = _ask(hub, way)
    assert (text, [a.provider for a in completion.route.attempts]) == ("quick", ["a", "b", "c"])


def test_a_policy_without_company_ends_the_slow_attempt(way, silent, make_hub):
    policy = RetryPolicy(backoff=0, beside=False, beside_after=0.05)
    text, completion = _ask(make_hub(SOON, a=silent, b=Quick()), way, retry=policy)
    first, second = completion.route.attempts
    assert (text, first.outcome, second.outcome) == ("quick", "error", "ok")
    assert isinstance(first.error, ProviderTimeoutError)


def test_a_slow_attempt_that_ends_after_it_was_given_up_is_no_answer(way, make_hub):
    """The first provider ignores its context, and its thread ends while the second one is asked."""
    deaf = Deaf()
    policy = RetryPolicy(backoff=0, beside=False, beside_after=0.05)
    text, completion = _ask(make_hub(SOON, a=deaf, b=Releases(deaf)), way, retry=policy)
    assert (text, [a.outcome for a in completion.route.attempts]) == ("quick", ["error", "ok"])


def test_one_provider_alone_has_all_the_time(way, silent, make_hub):
    hub = make_hub(SOON, a=silent)
    threading.Thread(target=lambda: (silent.asked.wait(60), silent.go.set())).start()
    assert _ask(hub, way)[0] == "late"


def test_a_hang_of_all_ends_at_the_deadline(way, make_hub):
    kind = SilentTask if way == "native" else Silent
    both = kind(), kind()
    with pytest.raises(DeadlineExceededError):
        _ask(make_hub(SOON, a=both[0], b=both[1]), way, timeout=0.3)
    assert all(provider.ended.wait(60) for provider in both)


@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline_holds_for_a_provider_that_ignores_its_context(make_hub, stream):
    deaf = SilentTask()
    with pytest.raises(DeadlineExceededError):
        _ask(make_hub(a=deaf), "native", stream=stream, timeout=0.1)
    assert deaf.ended.is_set()


class _Talker:
    """Yields a word, then does `then`."""

    def __init__(self, then):
        self.then = then

    async def astream(self, request, call):
        yield "word"
        await self.then()

    def stream(self, request, call):
        raise NotImplementedError


def test_the_deadline_holds_while_a_stream_is_read(make_hub):
    with pytest.raises(StreamInterruptedError) as caught:
        _ask(make_hub(a=_Talker(asyncio.Event().wait)), "native", stream=True, timeout=0.1)
    assert caught.value.partial == "word"


async def _let_out():
    raise asyncio.CancelledError


def test_a_cancellation_that_was_not_asked_for_is_the_providers_failure(make_hub):
    class Odd(_Talker):
        async def astream(self, request, call):
            await self.then()
            yield ""

    text, completion = _ask(make_hub(a=Odd(_let_out), b=Quick()), "native")
    assert text == "quick"
    assert isinstance(completion.route.attempts[0].error, PluginError)


def test_a_cancellation_in_the_middle_of_a_stream_interrupts_it(make_hub):
    with pytest.raises(StreamInterruptedError):
        _ask(make_hub(a=_Talker(_let_out)), "native", stream=True)


def test_a_cancelled_caller_is_cancelled_while_two_are_asked(make_hub):
    first, second = SilentTask(), SilentTask()

    async def main():
        task = asyncio.create_task(make_hub(SOON, a=first, b=second).acomplete("m", "x"))
        await asyncio.to_thread(second.asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert first.ended.is_set()
    assert second.ended.is_set()


def test_until_it_is_slow_a_call_has_no_thread_of_its_own(make_hub):
    before = threading.active_count()

    class Counting(Quick):
        def stream(self, request, call):
            self.threads = threading.active_count()
            yield from super().stream(request, call)

    counting = Counting()
    hub = make_hub(a=counting, b=Quick())
    hub.complete("m", "x")  # the watchdog of the process may begin here
    hub.complete("m", "x")
    assert counting.threads <= before + 1


@pytest.mark.parametrize("read", ["texts", "events"])
def test_a_cancellation_that_a_provider_in_a_thread_lets_out_interrupts_its_stream(make_hub, read):
    class Odd:
        def stream(self, request, call):
            yield "word"
            raise asyncio.CancelledError

    stream = make_hub(a=Odd()).complete("m", "x", stream=True)
    with pytest.raises(StreamInterruptedError) as caught:
        list(stream if read == "texts" else stream.events())
    assert caught.value.partial == "word"
    assert isinstance(stream.route.attempts[0].error, PluginError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("read", ["texts", "events"])
def test_other_exceptions_of_that_kind_end_the_reader(make_hub, kind, read):
    class Odd:
        def stream(self, request, call):
            yield "word"
            raise kind

    stream = make_hub(a=Odd()).complete("m", "x", stream=True)
    with pytest.raises(kind):
        list(stream if read == "texts" else stream.events())
    assert stream.route.attempts[0].outcome == "abandoned"
