"""Gates: they decide, before an attempt is sent, whether it may be sent."""

import asyncio
import threading

import pytest

from providerhub import (
    BudgetExceededError,
    ConfigurationError,
    Finish,
    Hub,
    ModelInfo,
    ProviderInfo,
    RetryPolicy,
    ServerError,
    Settings,
    Usage,
    UsageDelta,
    hookimpl,
)


class Money:
    """A budget of some thousandths. It counts its open reservations, and keeps what it was told."""

    def __init__(self, left, *, unknown=0):
        self.left, self.unknown = left, unknown
        self.open = {}
        self.settled, self.released, self.bounds, self.threads = [], [], [], []
        self.lock = threading.Lock()

    @hookimpl
    def providerhub_gate(self):
        return self

    def reserve(self, call, candidate, bound):
        assert call.id
        self.bounds.append(bound)
        self.threads.append(threading.current_thread())
        cost = candidate.prices and candidate.prices.most(bound)
        amount = self.unknown if cost is None else float(cost.amount) * 1000
        with self.lock:
            if amount > self.left:
                raise BudgetExceededError(f"{candidate} may cost {amount:g}, {self.left:g} are left")
            self.left -= amount
            token = object()
            self.open[token] = amount
        return token

    def settle(self, token, attempt, used):
        self.settled.append((attempt, used))
        self._end(token)

    def release(self, token):
        self.released.append(token)
        self._end(token)

    def _end(self, token):
        with self.lock:
            self.left += self.open.pop(token)  # a second end of one reservation raises


def model(name, provider, price):
    return ProviderInfo(name=name, models=(ModelInfo("m", price_in=price, price_out=price),)), provider


@pytest.fixture
def guarded(make_hub):
    return lambda gate, settings=None, **providers: make_hub(settings, hub_options={"observers": [gate]}, **providers)


USED = UsageDelta(Usage(input_tokens=10, output_tokens=2))


@pytest.mark.parametrize("awaited", [False, True])
def test_an_attempt_is_reserved_before_and_settled_once_after(guarded, scripted, awaited):
    gate = Money(100)
    hub = guarded(gate, a=model("a", scripted(["Hi", USED]), 1.0))
    knobs = {"max_tokens": 50}
    answer = asyncio.run(hub.acomplete("m", "Hello", **knobs)) if awaited else hub.complete("m", "Hello", **knobs)
    assert answer.text == "Hi"
    assert (gate.bounds[0].input_tokens >= len("Hello"), gate.bounds[0].output_tokens) == (True, 50)
    ((attempt, used),) = gate.settled
    assert (attempt.outcome, attempt.cost.currency) == ("ok", "USD")
    assert used == USED.usage
    assert not gate.open
    assert (gate.threads[0] is threading.current_thread()) is not awaited


def test_over_the_budget_the_cheapest_other_candidate_is_next(guarded, scripted):
    gate = Money(1)
    dear, cheap, cheaper = scripted(["dear"]), scripted(["cheap"]), scripted(["cheaper"])
    hub = guarded(gate, a=model("a", dear, 1e6), b=model("b", cheap, 2.0), c=model("c", cheaper, 1.0))
    answer = hub.complete("m", "x", max_tokens=5)
    assert answer.text == "cheaper"
    assert [(skip.provider, skip.reason) for skip in answer.route.skipped] == [("a", "over budget")]
    assert [attempt.number for attempt in answer.route.attempts] == [1]
    assert not dear.calls
    assert not gate.open


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("awaited", [False, True])
def test_without_a_candidate_within_the_budget_nothing_is_sent(guarded, scripted, stream, awaited):
    gate, provider = Money(1), scripted(["no"])
    hub = guarded(gate, a=model("a", provider, 1e6), b=model("b", provider, 2e6))
    knobs = {"max_tokens": 5, "stream": stream}
    with pytest.raises(BudgetExceededError, match=r"may cost .* are left") as refused:
        asyncio.run(hub.acomplete("m", "x", **knobs)) if awaited else hub.complete("m", "x", **knobs)
    assert [skip.reason for skip in refused.value.route.skipped] == ["over budget"] * 2
    assert not provider.calls
    assert not gate.open
    assert not gate.settled


def test_the_error_of_an_attempt_that_was_sent_is_raised_rather_than_a_later_refusal(guarded, scripted):
    gate = Money(1)
    hub = guarded(gate, a=model("a", scripted([ServerError("down")]), 1.0), b=model("b", scripted(["no"]), 1e6))
    with pytest.raises(ServerError) as failed:
        hub.complete(["a/m", "b/m"], "x", max_tokens=5, retry=RetryPolicy(attempts=3, backoff=0))
    assert {(skip.provider, skip.reason) for skip in failed.value.route.skipped} == {("b", "over budget")}
    assert len(gate.released) == len(failed.value.route.attempts) > 1
    assert not gate.open


def test_a_repeat_over_the_budget_ends_the_call(guarded, scripted):
    class Once(Money):
        def settle(self, token, attempt, used):
            super().settle(token, attempt, used)
            self.left = 0

        def release(self, token):
            super().release(token)
            self.left = 0

    gate = Once(100)
    hub = guarded(gate, a=model("a", scripted([ServerError("down")]), 1.0))
    with pytest.raises(ServerError) as failed:
        hub.complete("m", "x", max_tokens=5)
    assert len(failed.value.route.attempts) == 1


@pytest.mark.parametrize("awaited", [False, True])
def test_an_abandoned_stream_is_settled_at_what_was_seen(guarded, scripted, awaited):
    gate = Money(100)
    hub = guarded(gate, a=model("a", scripted(["Grüße", " more", Finish()]), 1.0))

    async def leave():
        async with await hub.acomplete("m", "x", max_tokens=5, stream=True) as stream:
            await anext(stream)

    if awaited:
        asyncio.run(leave())
    else:
        with hub.complete("m", "x", max_tokens=5, stream=True) as stream:
            next(stream)
    ((attempt, used),) = gate.settled
    assert attempt.outcome == "abandoned"
    assert (used.input_tokens, used.output_tokens) == (gate.bounds[0].input_tokens, len("Grüße".encode()))
    assert not gate.open


def test_the_loser_of_a_race_is_settled_too(guarded, scripted):
    release = threading.Event()

    def slow():
        release.wait(60)
        yield "late"

    def quick():
        yield "quick"
        release.set()

    gate = Money(100)
    settings = Settings(autoload=False, retry=RetryPolicy(beside_after=0.01))
    hub = guarded(gate, settings, a=model("a", scripted(slow), 1.0), b=model("b", scripted(quick), 1.0))
    assert hub.complete(["a/m", "b/m"], "x", max_tokens=5).text == "quick"
    assert sorted(attempt.outcome for attempt, _ in gate.settled) == ["abandoned", "ok"]
    assert not gate.open


def test_a_helper_over_the_budget_leaves_the_slow_attempt_alone(guarded, scripted):
    refused = threading.Event()

    class Told(Money):
        def reserve(self, call, candidate, bound):
            try:
                return super().reserve(call, candidate, bound)
            except BudgetExceededError:
                refused.set()
                raise

    def slow():
        refused.wait(60)
        yield "late"

    settings = Settings(autoload=False, retry=RetryPolicy(beside_after=0.01))
    gate = Told(1)
    hub = guarded(gate, settings, a=model("a", scripted(slow), 1.0), b=model("b", scripted(["no"]), 1e6))
    assert hub.complete(["a/m", "b/m"], "x", max_tokens=5).text == "late"
    assert not gate.open


def test_ctrl_c_gives_the_reservation_back(guarded, scripted):
    gate = Money(100)
    hub = guarded(gate, a=model("a", scripted([KeyboardInterrupt()]), 1.0))
    with pytest.raises(KeyboardInterrupt):
        hub.complete("m", "x", max_tokens=5)
    assert not gate.open


def test_a_cancelled_task_gives_back_what_a_thread_reserves_meanwhile(guarded, scripted):
    entered, leave, ended = threading.Event(), threading.Event(), threading.Event()

    class Slow(Money):
        def reserve(self, call, candidate, bound):
            entered.set()
            leave.wait(60)
            return super().reserve(call, candidate, bound)

        def release(self, token):
            super().release(token)
            ended.set()

    gate = Slow(100)
    hub = guarded(gate, a=model("a", scripted(["Hi"]), 1.0))

    async def cancelled():
        task = asyncio.create_task(hub.acomplete("m", "x", max_tokens=5))
        await asyncio.to_thread(entered.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        leave.set()

    asyncio.run(cancelled())
    assert ended.wait(60)
    assert not gate.open


def test_a_gate_that_fails_lets_nothing_be_sent_and_one_that_cannot_settle_is_logged(guarded, scripted, caplog):
    class Broken(Money):
        def reserve(self, call, candidate, bound):
            raise OSError("no disk")

    provider = scripted(["Hi"])
    with pytest.raises(BudgetExceededError, match=r"Broken could not decide, so nothing was sent: OSError\('no disk'\)"):
        guarded(Broken(1), a=model("a", provider, 1.0)).complete("m", "x")
    assert not provider.calls

    class Unsettled(Money):
        def settle(self, token, attempt, used):
            raise OSError("no disk")

    assert guarded(Unsettled(100), a=model("a", provider, 1.0)).complete("m", "x", max_tokens=5).text == "Hi"
    assert "a gate could not end a reservation" in caplog.text


def test_the_second_gate_that_refuses_gives_the_first_ones_reservation_back(make_hub, scripted):
    first, second = Money(100), Money(0, unknown=1)
    hub = make_hub(hub_options={"observers": [first, second]}, a=model("a", scripted(["Hi"]), 1.0))
    with pytest.raises(BudgetExceededError):
        hub.complete("m", "x", max_tokens=5)
    assert not first.open
    assert len(first.released) <= 1


def test_a_gate_may_have_nothing_to_reserve_and_a_plugin_no_gate(make_hub, scripted):
    class Free(Money):
        def reserve(self, call, candidate, bound):
            return None

    class NoGate:
        @hookimpl
        def providerhub_gate(self, settings):
            assert isinstance(settings, Settings)

    gate = Free(0)
    hub = make_hub(hub_options={"observers": [gate, NoGate()]}, a=scripted(["Hi"]))
    assert hub.complete("m", "x").text == "Hi"
    assert (gate.settled, gate.released) == ([], [])


@pytest.mark.parametrize(
    ("hook", "wanted"),
    [("providerhub_gate", "an object with the methods of AttemptGate, not str"), ("providerhub_around", "a callable, not str")],
)
def test_an_object_of_a_plugin_that_cannot_be_used_is_refused_when_the_hub_is_made(hook, wanted):
    def offer(self, settings):
        return "x"

    wrong = type("Wrong", (), {hook: hookimpl(offer)})()
    with pytest.raises(ConfigurationError, match=f"what a plugin returns from {hook} must be {wanted}"):
        Hub(Settings(autoload=False), observers=[wrong])


def test_the_bound_counts_bytes_parts_tools_and_the_context_window(guarded, scripted):
    gate = Money(100)
    info = ProviderInfo(name="a", models=(ModelInfo("m", context_window=9000, supports_images=True),))
    hub = guarded(gate, a=(info, scripted(["Hi"])))
    picture = {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}}
    hub.complete("m", [{"role": "user", "content": [{"type": "text", "text": "é" * 500}, picture]}])
    (bound,) = gate.bounds
    assert 1000 + 5000 <= bound.input_tokens < 7000
    assert bound.output_tokens == 9000
