"""Turns: limits, queues, pauses and learned rates, on a clock that the test turns."""

import asyncio
import functools
import gc
import math
import os
import threading
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from providerhub import Candidate
from providerhub._rules.limits import Limits
from providerhub._rules.pacing import FREE, Full, Pacer, Turn

ONE = Candidate("acme", "m", "m")
SIBLING = Candidate("acme", "n", "n")
OTHER = Candidate("beta", "m", "m")


def _pacer(*, model=None, **limits):
    pacer = Pacer(lambda: 0.0)
    if limits:
        pacer.set_limits(("acme", ""), Limits(**limits))
    if model:
        pacer.set_limits(("acme", "m"), model)
    return pacer


def _start_all(pacer, turns, now, until, candidate=ONE):
    """Let waiting calls look at their due times; return the start of each."""
    started = []
    while turns:
        now = min((turn.due for turn in turns), default=math.inf)
        if now > until:
            break
        for turn in turns:
            if turn.due <= now:
                pacer.look(turn, now)
        started += [now] * sum(turn.ready for turn in turns)
        turns = [turn for turn in turns if not turn.ready]
    return started


# --- no limit -----------------------------------------------------------------------------------------------------------


def test_without_limits_every_call_gets_the_same_turn():
    pacer = _pacer()
    assert {pacer.take(ONE, float(now)) for now in range(5)} == {FREE}
    assert pacer.join(ONE, 5.0) is FREE
    assert FREE.ready
    assert FREE.due == -math.inf
    FREE.wake = print
    assert FREE.wake is None
    pacer.settle(FREE, 6.0)
    pacer.release(FREE)
    pacer.accepted(FREE, 6.0)
    assert pacer.look(FREE, 6.0)
    assert pacer.snapshot(6.0) == {}
    assert pacer.when_full(ONE) is None
    assert pacer.take(ONE, 6.0, pytest.fail) is FREE  # no estimate is made, which takes time for a long conversation


def test_limits_of_another_provider_do_not_matter():
    pacer = _pacer(concurrency=1)
    assert isinstance(pacer.take(ONE, 0.0), Turn)
    assert pacer.take(OTHER, 0.0) is pacer.take(OTHER, 0.0) is FREE
    assert pacer.take(Candidate("beta", "n", "n"), 0.0) is FREE
    pacer.refused(FREE, OTHER, 0.0, 9.0)
    assert pacer.take(Candidate("beta", "n", "n"), 0.0).ready
    assert pacer.take(OTHER, 0.0) == Full("rate limited", 9.0)


# --- concurrency --------------------------------------------------------------------------------------------------------


def test_slots_are_counted_and_given_back_once():
    pacer = _pacer(concurrency=2)
    first, second = pacer.take(ONE, 0.0), pacer.take(ONE, 0.0)
    assert pacer.take(ONE, 0.0) == Full("concurrency", math.inf)
    pacer.settle(first, 1.0)
    pacer.settle(first, 1.0)
    pacer.release(first)
    third = pacer.take(ONE, 1.0)
    assert third.ready
    assert isinstance(pacer.take(ONE, 1.0), Full)
    pacer.release(second)
    pacer.refused(third, ONE, 1.0, 0.5)
    pacer.settle(third, 1.0)
    assert pacer.snapshot(1.0)["acme", ""].in_use == 0


def test_both_the_model_and_the_instance_hold():
    pacer = _pacer(concurrency=2, model=Limits(concurrency=1))
    turns = [pacer.take(ONE, 0.0)]
    assert pacer.take(ONE, 0.0).reason == "concurrency"
    turns.append(pacer.take(SIBLING, 0.0))
    assert pacer.take(SIBLING, 0.0).reason == "concurrency"
    assert [pacer.snapshot(0.0)[key].in_use for key in (("acme", ""), ("acme", "m"), ("acme", "n"))] == [2, 1, 1]


def test_waiting_calls_are_woken_in_their_order_and_only_as_many_as_there_is_room():
    pacer = _pacer(concurrency=2)
    held = [pacer.take(ONE, 0.0), pacer.take(ONE, 0.0)]
    woken = []
    waiting = [pacer.join(ONE, 0.0) for _ in range(5)]
    for number, turn in enumerate(waiting):
        turn.wake = functools.partial(woken.append, number)
        assert turn.due == math.inf
    pacer.settle(held[0], 1.0)
    assert woken == [0]
    assert [turn.ready for turn in waiting] == [True, False, False, False, False]
    assert pacer.take(ONE, 1.0).reason == "concurrency"
    pacer.settle(held[1], 2.0)
    pacer.settle(waiting[0], 2.0)
    assert woken == [0, 1, 2]


def test_a_newcomer_does_not_overtake_one_that_waits():
    pacer = _pacer(model=Limits(tpm=100))
    held = pacer.take(ONE, 0.0, lambda: (60, 0))
    large = pacer.join(ONE, 0.0, lambda: (60, 0))
    assert not large.ready
    full = pacer.take(ONE, 0.0, lambda: (10, 0))
    assert full.reason == "others wait"
    assert full.until >= large.due == 61.0
    pacer.settle(held, 1.0, used=0)
    assert large.ready


def test_a_model_that_is_full_does_not_hold_up_the_others_of_its_instance():
    pacer = _pacer(concurrency=3, model=Limits(concurrency=1))
    held = pacer.take(ONE, 0.0)
    waits = pacer.join(ONE, 0.0)
    siblings = [pacer.take(SIBLING, 0.0), pacer.take(SIBLING, 0.0)]
    assert isinstance(pacer.take(SIBLING, 0.0), Full)
    later = pacer.join(SIBLING, 0.0)
    pacer.settle(siblings[0], 1.0)
    assert later.ready
    pacer.settle(held, 1.0)
    assert waits.ready


def test_the_instance_gives_its_slot_to_the_call_that_waited_longest():
    pacer = _pacer(concurrency=1)
    held = pacer.take(ONE, 0.0)
    turns = [pacer.join(candidate, 0.0) for candidate in (SIBLING, ONE, SIBLING)]
    for turn in turns:
        pacer.settle(held, 1.0)
        assert [t.ready for t in turns].count(True) == 1
        assert turn.ready
        held = turns[turns.index(turn)]
        turns = turns[1:]
        if turns:
            assert not turns[0].ready


@pytest.mark.parametrize("way", ["release", "garbage", "settle"])
def test_a_waiting_call_that_gives_up_frees_its_place(way):
    pacer = _pacer(concurrency=1)
    held = pacer.take(ONE, 0.0)
    first, second = pacer.join(ONE, 0.0), pacer.join(ONE, 0.0)
    if way == "garbage":
        del first
        gc.collect()
    else:
        pacer.release(first) if way == "release" else pacer.settle(first, 0.5)
        assert not first.ready
        assert not pacer.look(first, 0.5)
    assert pacer.snapshot(0.5)["acme", ""].in_use == 1
    assert pacer.snapshot(0.5)["acme", "m"].waiting == 1
    pacer.settle(held, 1.0)
    assert second.ready


@pytest.mark.parametrize("granted", [False, True])
def test_a_turn_that_is_garbage_collected_wakes_the_next_turn(granted):
    pacer = _pacer(concurrency=1)
    turns = [pacer.take(ONE, 0.0)] if granted else []
    woken = threading.Event()
    if not granted:
        turns = [pacer.take(ONE, 0.0), pacer.join(ONE, 0.0)]
    last = pacer.join(ONE, 0.0)
    last.wake = woken.set
    if not granted:
        pacer.settle(turns[0], 0.0)  # the waiting call has its turn, and never uses it
    turns.clear()
    gc.collect()
    assert woken.is_set()
    assert last.ready


def test_garbage_that_is_collected_under_the_lock_is_taken_in_afterwards():
    pacer = _pacer(concurrency=1)
    turn = pacer.take(ONE, 0.0)
    waiting = pacer.join(ONE, 0.0)
    with pacer._lock:
        del turn
        gc.collect()
        assert not waiting.ready
    assert isinstance(pacer.take(ONE, 0.0), Full)
    assert waiting.ready


def test_a_callback_may_use_the_pacer():
    pacer = _pacer(concurrency=1)
    held = pacer.take(ONE, 0.0)
    waiting = pacer.join(ONE, 0.0)
    seen = []
    waiting.wake = lambda: seen.append(pacer.snapshot(1.0)["acme", ""].in_use)
    pacer.settle(held, 1.0)
    assert seen == [1]


def test_a_call_whose_event_loop_is_closed_loses_its_turn():
    pacer = _pacer(concurrency=1)
    held = pacer.take(ONE, 0.0)
    dead, alive = pacer.join(ONE, 0.0), pacer.join(ONE, 0.0)
    loop = asyncio.new_event_loop()
    loop.close()
    dead.wake = lambda: loop.call_soon_threadsafe(print)
    pacer.settle(held, 1.0)
    assert not dead.ready
    assert alive.ready


def test_a_wider_limit_lets_waiting_calls_go():
    pacer = _pacer(concurrency=1)
    held = pacer.take(ONE, 0.0)
    waiting = [pacer.join(ONE, 0.0) for _ in range(3)]
    pacer.set_limits(("acme", ""), Limits(concurrency=3))
    assert [turn.ready for turn in waiting] == [True, True, False]
    pacer.set_limits(("acme", ""), Limits())
    assert waiting[2].ready
    assert pacer.take(ONE, 1.0) is FREE
    pacer.settle(held, 1.0)


def test_the_word_of_the_model_goes_before_that_of_its_instance():
    pacer = _pacer(when_full="wait", model=Limits(concurrency=1, when_full="elsewhere"))
    assert [pacer.when_full(candidate) for candidate in (ONE, SIBLING, OTHER)] == ["elsewhere", "wait", None]


def test_the_same_limits_again_keep_what_was_counted():
    pacer = _pacer(tpm=100)
    assert pacer.take(ONE, 0.0, lambda: (100, 0)).ready
    pacer.set_limits(("acme", ""), Limits(tpm=100))
    assert pacer.take(ONE, 0.0, lambda: (100, 0)).reason == "tpm"
    pacer.set_limits(("acme", ""), Limits(tpm=200))
    assert pacer.take(ONE, 0.0, lambda: (100, 0)).ready


# --- rpm ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=int(os.environ.get("PACING_EXAMPLES", "60")), deadline=None)
@given(
    rpm=st.one_of(st.integers(1, 40), st.floats(1, 300)),
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 1.0, 7.0, 30.0, 59.9, 60.0]), min_size=1, max_size=120),
)
def test_never_more_than_rpm_calls_start_in_a_minute(rpm, gaps):
    pacer = _pacer(rpm=rpm)
    now, turns, starts = 0.0, [], []
    for gap in gaps:
        now += gap
        turn = pacer.join(ONE, now)
        if turn.ready:
            starts.append(now)
        else:
            turns.append(turn)
        for waiting in tuple(turns):
            if waiting.due <= now and pacer.look(waiting, now):
                starts.append(now)
                turns.remove(waiting)
    starts += _start_all(pacer, turns, now, math.inf)
    assert len(starts) == len(gaps)
    for index, start in enumerate(starts):
        assert sum(start <= other < start + 60 for other in starts[index:]) <= math.ceil(rpm)


def test_the_rate_is_used_and_a_late_look_is_made_up_for():
    pacer = _pacer(rpm=600)
    turns = [pacer.join(ONE, 0.0) for _ in range(571)]
    late, now = 0.0, 0.0
    while any(not turn.ready for turn in turns):
        now = min(turn.due for turn in turns if not turn.ready) + 0.04
        late = max(late, 0.04)
        for turn in turns:
            if not turn.ready and turn.due <= now:
                pacer.look(turn, now)
    assert now <= 60.1


def test_each_waiting_call_knows_its_own_time():
    pacer = _pacer(rpm=60)
    assert pacer.take(ONE, 0.0).ready
    turns = [pacer.join(ONE, 0.0) for _ in range(3)]
    seconds = 60 / 57
    assert [turn.due for turn in turns] == pytest.approx([n * seconds - 0.05 for n in (1, 2, 3)])
    assert pacer.take(ONE, 0.0).reason == "rpm"
    woken = []
    for turn in turns:
        turn.wake = functools.partial(woken.append, turn)
    assert _start_all(pacer, turns, 0.0, math.inf) == pytest.approx([n * seconds - 0.05 for n in (1, 2, 3)], abs=0.01)


def test_the_next_turn_is_told_its_time_when_the_first_turn_gives_up():
    pacer = _pacer(rpm=6)
    pacer.take(ONE, 0.0)
    first, second = pacer.join(ONE, 0.0), pacer.join(ONE, 0.0)
    woken = []
    second.wake = lambda: woken.append(second.due)
    due = first.due
    assert second.due > due + 10
    pacer.release(first)
    assert woken == [due]


def test_a_look_of_the_second_turn_makes_the_late_first_turn_ready():
    pacer = _pacer(rpm=60)
    pacer.take(ONE, 0.0)
    first, second = pacer.join(ONE, 0.0), pacer.join(ONE, 0.0)
    due = second.due
    assert not pacer.look(second, due)  # the first one has its turn late, and the second one follows it
    assert first.ready
    assert second.due > due


def test_a_turn_that_was_not_used_costs_no_time():
    pacer = _pacer(rpm=3)
    pacer.release(pacer.take(ONE, 0.0))
    turn = pacer.take(ONE, 0.0)
    assert turn.ready
    pacer.settle(turn, 0.0)
    assert pacer.take(ONE, 0.1).reason == "rpm"


# --- tpm ----------------------------------------------------------------------------------------------------------------


def test_tokens_are_reserved_and_the_usage_settles_them():
    pacer = _pacer(tpm=1000)
    first = pacer.take(ONE, 0.0, lambda: (100, 700))
    full = pacer.take(ONE, 0.5, lambda: (100, 200))
    assert full == Full("tpm", 61.0)
    pacer.settle(first, 1.0, used=150, output=50)
    second = pacer.take(ONE, 1.0, lambda: (100, 700))
    assert second.ready
    assert pacer.take(ONE, 1.0, lambda: (100, 0)).reason == "tpm"
    pacer.settle(second, 2.0)  # the usage is not known: the reservation stays
    assert pacer.take(ONE, 2.0, lambda: (100, 0)).reason == "tpm"
    assert pacer.take(ONE, 61.0, lambda: (100, 100)).ready


def test_a_call_that_needs_more_than_the_whole_gets_the_whole():
    pacer = _pacer(tpm=1000)
    turn = pacer.take(ONE, 0.0, lambda: (5000, 5000))
    assert turn.ready
    assert pacer.take(ONE, 0.0, lambda: (1, 0)).until == 61.0
    pacer.settle(turn, 1.0, used=900)
    assert pacer.take(ONE, 1.0, lambda: (100, 0)).ready


def test_the_mean_output_is_reserved_without_a_limit_of_it():
    pacer = _pacer(tpm=1100)
    turn = pacer.take(ONE, 0.0)  # 1,024
    assert pacer.take(ONE, 0.0, lambda: (77, 0)).reason == "tpm"
    pacer.settle(turn, 0.0, used=100, output=100)
    turns = [pacer.take(ONE, 1.0) for _ in range(10)]
    assert all(turn.ready for turn in turns)
    assert pacer.take(ONE, 1.0, lambda: (0, 1)).reason == "tpm"
    for turn in turns:
        pacer.settle(turn, 2.0, used=0, output=200)
    assert pacer.snapshot(2.0)["acme", ""].in_use == 0
    assert pacer.take(ONE, 2.0, lambda: (0, 1000)).ready


def test_a_call_that_was_refused_or_not_sent_uses_no_tokens():
    pacer = _pacer(tpm=1000)
    pacer.release(pacer.take(ONE, 0.0, lambda: (1000, 0)))
    turn = pacer.take(ONE, 0.0, lambda: (1000, 0))
    pacer.refused(turn, ONE, 0.0, 0.1)
    assert pacer.take(ONE, 1.0, lambda: (1000, 0)).ready


def test_a_usage_that_comes_after_its_minute_is_ignored():
    pacer = _pacer(tpm=1000)
    old = pacer.take(ONE, 0.0, lambda: (1000, 0))
    new = pacer.take(ONE, 61.0, lambda: (1000, 0))
    pacer.settle(old, 100.0, used=0)
    assert pacer.take(ONE, 100.0, lambda: (1, 0)).reason == "tpm"
    pacer.settle(new, 100.0)
    pacer.settle(pacer.take(ONE, 122.0, lambda: (500, 0)), 300.0, used=0)
    assert pacer.take(ONE, 300.0, lambda: (1000, 0)).ready


# --- refusals -----------------------------------------------------------------------------------------------------------


def _refuse_all(pacer, now, after, count=1):
    turns = [pacer.take(ONE, now) for _ in range(count)]
    for turn in turns:
        pacer.refused(turn, ONE, now, after)


def test_after_a_pause_one_call_goes_first_and_the_others_when_it_was_not_refused():
    pacer = _pacer()
    _refuse_all(pacer, 0.0, 45.0, count=100)
    turns = [pacer.join(ONE, 0.0) for _ in range(100)]
    assert turns[0].due == 45.0
    assert pacer.take(ONE, 1.0).until >= 45.0
    assert not pacer.look(turns[0], 44.9)
    sent = []
    while not all(turn.ready for turn in turns):
        now = 45.0 + len(sent) * 0.01
        pacer.look(turns[0], now)
        ready = [turn for turn in turns if turn.ready and turn not in sent]
        assert len(ready) <= 1 if not sent else len(ready) <= 2 * len(sent)
        sent += ready
        for turn in ready:
            pacer.accepted(turn, now + 0.01)
    assert pacer.snapshot(50.0)["acme", "m"].learned_rpm is None


def test_a_first_call_that_is_refused_lets_nobody_follow():
    pacer = _pacer()
    _refuse_all(pacer, 0.0, 2.0, count=5)
    turns = [pacer.join(ONE, 0.0) for _ in range(5)]
    assert pacer.look(turns[0], 2.0)
    assert pacer.refused(turns[0], ONE, 2.1, 3.0) == pytest.approx(5.1)
    assert not any(pacer.look(turn, 5.0) for turn in turns[1:])
    assert pacer.look(turns[1], 5.2)
    assert not turns[2].ready
    pacer.settle(turns[1], 5.3)
    assert turns[2].ready


def test_a_first_call_that_takes_long_counts_as_not_refused():
    pacer = _pacer()
    _refuse_all(pacer, 0.0, 2.0)
    first, second = pacer.join(ONE, 0.0), pacer.join(ONE, 0.0)
    assert pacer.look(first, 2.0)
    assert not pacer.look(second, 2.5)
    assert second.due == 3.0
    assert pacer.look(second, 3.0)


def test_a_service_that_is_slow_to_refuse_is_given_more_time():
    pacer = _pacer(concurrency=9)
    pacer.refused(pacer.take(ONE, 0.0), ONE, 2.0, 2.0)
    first, second = pacer.join(ONE, 2.0), pacer.join(ONE, 2.0)
    assert pacer.look(first, 4.0)
    assert not pacer.look(second, 7.9)
    assert pacer.look(second, 8.0)


def test_a_first_call_that_was_given_up_leaves_its_place_to_the_next():
    pacer = _pacer()
    _refuse_all(pacer, 0.0, 2.0)
    first, second = pacer.join(ONE, 0.0), pacer.join(ONE, 0.0)
    assert pacer.look(first, 2.0)
    pacer.release(first)
    assert second.ready


def test_a_refusal_without_a_time_pauses_for_a_second_and_longer_each_time():
    pacer = _pacer()
    now, pauses = 0.0, []
    for _ in range(9):
        turn = pacer.join(ONE, now)
        assert pacer.look(turn, now)
        until = pacer.refused(turn, ONE, now, None)
        pauses.append(until - now)
        now = until
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("first", "pauses"), [(0.0, [0, 0, 0]), (0.25, [0.25, 0.5, 1]), (50.0, [50, 60, 60])])
def test_the_policy_sets_the_first_pause_after_a_refusal_without_a_time(first, pauses):
    pacer = _pacer()
    now, seen = 0.0, []
    for _ in pauses:
        turn = pacer.join(ONE, now)
        assert pacer.look(turn, now)
        seen.append(pacer.refused(turn, ONE, now, None, first=first) - now)
        now += seen[-1]
    assert seen == pauses


def test_a_pause_has_jitter():
    pacer = Pacer(lambda: 0.5)
    assert pacer.refused(pacer.take(ONE, 0.0), ONE, 0.0, 20.0) == 21.0


def test_late_refusals_make_the_lesson_exact():
    pacer = _pacer()
    turns = [pacer.take(ONE, n / 100) for n in range(50)]
    turns += [pacer.take(ONE, 0.5) for _ in range(8)]
    for turn in turns[50:]:
        pacer.refused(turn, ONE, 0.6, 2.0)
    pace = pacer.snapshot(0.6)["acme", "m"]
    assert pace.learned_rpm == pytest.approx(0.95 * 60 * 50 / 2.6)
    assert pace.retry_in == 2.0


def _learned(pacer=None):
    """20 calls were accepted and the next ones refused at 0.1 s: 20 in 1.1 s."""
    pacer = pacer or _pacer()
    turns = [pacer.take(ONE, 0.1) for _ in range(24)]
    for turn in turns[20:]:
        pacer.refused(turn, ONE, 0.1, 1.0)
    return pacer


def test_calls_start_at_the_learned_rate():
    pacer = _learned()
    turns = [pacer.join(ONE, 0.2) for _ in range(60)]
    assert pacer.look(turns[0], 1.1)
    pacer.settle(turns[0], 1.11)
    rest = _start_all(pacer, turns[1:], 1.11, math.inf)
    assert len(rest) == 59
    assert rest[-1] - rest[0] == pytest.approx(59 / 19, rel=0.05)
    assert pacer.take(ONE, rest[-1]).reason == "rate limited"


def test_the_learned_rate_rises_slowly_and_is_forgotten():
    pacer = _learned()
    turn = pacer.join(ONE, 1.2)
    pacer.settle(turn, 1.2)
    rates = [pacer.snapshot(now)["acme", "m"].learned_rpm for now in (2.0, 11.0, 31.1, 51.1)]
    assert rates[0] == rates[1] == pytest.approx(0.95 * 60 * 20)
    assert rates[2:] == pytest.approx([2 * rates[0], 4 * rates[0]])
    assert pacer.take(ONE, 301.0) is not FREE
    assert pacer.take(ONE, 301.2) is FREE
    assert pacer.take(ONE, 301.2) is FREE


def test_a_further_refusal_lowers_the_rate():
    pacer = _learned()
    before = pacer.snapshot(1.0)["acme", "m"].learned_rpm
    now, started = 1.1, 0
    while started < 10:
        turn = pacer.take(ONE, now)
        if isinstance(turn, Turn):
            started += 1
            if started < 10:
                pacer.settle(turn, now)
        now += 0.01
    pacer.refused(turn, ONE, now, 1.0)
    after = pacer.snapshot(now)["acme", "m"].learned_rpm
    assert after == pytest.approx(0.95 * 60 * 9 / (now + 1.0 - 1.1), rel=0.02)
    assert after < before


def test_a_service_that_takes_one_call_each_time_is_believed_after_three_times():
    pacer = _pacer()
    now = 0.0
    for _ in range(3):
        accepted, refused = pacer.take(ONE, now), None
        pacer.settle(accepted, now)
        refused = pacer.take(ONE, now + 0.1)
        now = pacer.refused(refused, ONE, now + 0.1, 20.0)
    assert pacer.snapshot(now)["acme", "m"].learned_rpm == pytest.approx(0.95 * 60 / 20.1, rel=0.01)


def test_the_lower_of_the_learned_and_the_configured_rate_holds():
    pacer = _pacer(model=Limits(rpm=60_000))
    now, started = 0.0, []
    while len(started) < 20:
        if isinstance(turn := pacer.take(ONE, now), Turn):
            started.append(turn)
        now += 0.001
    while not isinstance(turn := pacer.take(ONE, now), Turn):
        now += 0.001
    pacer.refused(turn, ONE, now, 1.0)
    pacer.settle(pacer.take(ONE, now + 1.0), now + 1.0)
    times, later = [], now + 1.0
    while len(times) < 10:
        if isinstance(pacer.take(ONE, later), Turn):
            times.append(later)
        later += 0.001
    assert (times[-1] - times[0]) / 9 == pytest.approx(1.02 / 19, rel=0.15)


def test_forgiving_an_instance_lets_its_calls_go():
    pacer = _pacer()
    _refuse_all(pacer, 0.0, 45.0, count=3)
    woken = []
    turns = [pacer.join(ONE, 0.0) for _ in range(3)]
    for turn in turns:
        turn.wake = functools.partial(woken.append, turn)
    pacer.forgive("beta")
    assert not woken
    pacer.forgive("acme")
    assert woken == turns
    assert pacer.take(ONE, 0.0) is FREE


def test_a_late_refusal_after_the_pause_begins_another_one():
    pacer = _learned(_pacer(concurrency=1000))
    slow = pacer.join(ONE, 1.1)
    pacer.accepted(slow, 1.2)
    pacer.refused(pacer.take(ONE, 1.3), ONE, 1.3, 1.0)
    rate = pacer.snapshot(1.3)["acme", "m"].learned_rpm
    assert pacer.take(ONE, 2.4).ready
    pacer.refused(slow, ONE, 2.5, 7.0)
    pace = pacer.snapshot(2.5)["acme", "m"]
    assert pace.retry_in == 7.0
    assert pace.learned_rpm <= rate


def test_models_are_forgotten_when_there_are_too_many():
    pacer = Pacer(lambda: 0.0, size=2)
    pacer.set_limits(("acme", "keep"), Limits(concurrency=1))
    for name in "abcdef":
        pacer.settle(pacer.take(Candidate("acme", name, name), 0.0), 0.0)
    assert list(pacer._desks["acme"].models) == ["keep", "f"]
    busy = Pacer(lambda: 0.0, size=1)
    busy.set_limits(("acme", "keep"), Limits(concurrency=1))
    assert busy.take(ONE, 0.0).ready


# --- threads and event loops --------------------------------------------------------------------------------------------


def test_threads_wait_for_their_turns():
    pacer = _pacer(concurrency=3, model=Limits(concurrency=2))
    guard, running, most, finished = threading.Lock(), [0], [0], []

    def call(number):
        for step in range(20):
            candidate = ONE if (number + step) % 2 else SIBLING
            turn = pacer.join(candidate, 0.0)
            event = threading.Event()
            turn.wake = event.set
            while not turn.ready:
                assert event.wait(60)
                event.clear()
                pacer.look(turn, 0.0)
            with guard:
                running[0] += 1
                most[0] = max(most[0], running[0])
            with guard:
                running[0] -= 1
            pacer.settle(turn, 0.0)
        finished.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(finished) == list(range(12))
    assert most[0] <= 3
    assert {pace.in_use for pace in pacer.snapshot(0.0).values()} == {0}
    assert not any(pace.waiting for pace in pacer.snapshot(0.0).values())


def test_tasks_of_two_event_loops_wait_for_their_turns():
    pacer = _pacer(concurrency=2)
    finished = []

    async def call(number):
        loop = asyncio.get_running_loop()
        turn = pacer.join(ONE, 0.0)
        changed = asyncio.Event()
        turn.wake = functools.partial(loop.call_soon_threadsafe, changed.set)
        try:
            while not turn.ready:
                await asyncio.wait_for(changed.wait(), 20)
                changed.clear()
                pacer.look(turn, 0.0)
            if number % 5 == 0:
                raise asyncio.CancelledError
            await asyncio.sleep(0)
            finished.append(number)
        finally:
            pacer.settle(turn, 0.0)

    async def main():
        await asyncio.gather(*map(call, range(50)), return_exceptions=True)

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(finished) == 80
    assert pacer.snapshot(0.0)["acme", ""].in_use == 0


# --- random histories ---------------------------------------------------------------------------------------------------

STEPS = st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0, 5.0, 20.0, 61.0])
CONCURRENCY, RPM, TPM = 3, 30.0, 500


class Turns(RuleBasedStateMachine):
    """Calls at two models of one provider, which come, wait, look, start, end, and give up."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.waiting = {ONE: deque(), SIBLING: deque()}
        self.running = []
        self.starts = []
        self.woken = set()

    @initialize(whole=st.booleans(), model=st.booleans(), rpm=st.booleans(), tpm=st.booleans())
    def begin(self, whole, model, rpm, tpm):
        self.pacer = Pacer(lambda: 0.0)
        self.whole = Limits(CONCURRENCY if whole else None, RPM if rpm else None, TPM if tpm else None)
        self.model = Limits(CONCURRENCY - 1 if model else None)
        self.pacer.set_limits(("acme", ""), self.whole)
        self.pacer.set_limits(("acme", "m"), self.model)

    def _started(self):
        """Move the calls that have their turns. They must be at the heads of their queues."""
        for candidate, queue in self.waiting.items():
            while queue and queue[0][0].ready:
                turn, tokens = queue.popleft()
                self.running.append((turn, candidate, tokens))
                self.starts.append((self.now, tokens))
            assert not any(turn.ready for turn, _ in queue)

    @rule(seconds=STEPS)
    def wait(self, seconds):
        """Let time pass; calls look when they are due or were woken."""
        until = self.now + seconds
        for _ in range(10_000):
            turns = [turn for queue in self.waiting.values() for turn, _ in queue]
            due = min((turn.due for turn in turns), default=math.inf)
            if due > until:
                break
            self.now = max(self.now, due)
            for turn in turns:
                if turn.due <= self.now:
                    self.pacer.look(turn, self.now)
            self._started()
        else:
            pytest.fail("the calls look without end")
        self.now = until

    @rule(candidate=st.sampled_from([ONE, SIBLING]), tokens=st.integers(0, 600), stay=st.booleans())
    def come(self, candidate, tokens, stay):
        earlier = len(self.waiting[candidate])
        if stay:
            turn = self.pacer.join(candidate, self.now, lambda: (tokens, 0))
        elif isinstance(turn := self.pacer.take(candidate, self.now, lambda: (tokens, 0)), Full):
            self._started()
            return
        if turn is FREE:
            return
        assert stay or turn.ready
        self._started()
        if turn.ready:
            assert not self.waiting[candidate], earlier
            self.running.append((turn, candidate, min(tokens, TPM)))
            self.starts.append((self.now, min(tokens, TPM)))
        else:
            turn.wake = functools.partial(self.woken.add, id(turn))
            self.waiting[candidate].append((turn, min(tokens, TPM)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["settle", "twice", "refused", "release", "garbage"]))
    def end(self, data, how):
        turn, candidate, _ = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        if how == "refused":
            self.pacer.refused(turn, candidate, self.now, data.draw(st.sampled_from([None, 0.5, 30.0])))
        elif how == "release":
            self.pacer.release(turn)
        elif how == "garbage":
            del turn
        else:
            for _ in range(1 + (how == "twice")):
                self.pacer.settle(turn, self.now)
        self._started()

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def give_up(self, data):
        queue = data.draw(st.sampled_from([queue for queue in self.waiting.values() if queue]))
        index = data.draw(st.integers(0, len(queue) - 1))
        turn, _ = queue[index]
        del queue[index]
        self.pacer.release(turn)
        self._started()

    @rule()
    def forgive(self):
        self.pacer.forgive("acme")
        self._started()

    @invariant()
    def limits_hold(self):
        if self.whole.concurrency:
            assert len(self.running) <= CONCURRENCY
        if self.model.concurrency:
            assert sum(candidate is ONE for _, candidate, _ in self.running) < CONCURRENCY
        minute = [tokens for start, tokens in self.starts if start > self.now - 60]
        if self.whole.rpm:
            assert len(minute) <= RPM

    @invariant()
    def counts_are_right(self):
        for (_, entry), pace in self.pacer.snapshot(self.now).items():
            mine = [candidate for _, candidate, _ in self.running if not entry or candidate.entry == entry]
            assert pace.in_use == len(mine)
            if entry:
                assert pace.waiting == len(self.waiting[ONE if entry == "m" else SIBLING])

    @invariant()
    def every_waiting_call_is_woken_or_has_a_time(self):
        self._started()
        heads = [queue[0][0] for queue in self.waiting.values() if queue]
        if heads and all(turn.due == math.inf for turn in heads):
            assert self.running  # its end will wake a waiting call

    def teardown(self):
        """In the end everybody gets a turn."""
        if not hasattr(self, "pacer"):
            return
        for _ in range(10_000):
            self._started()
            turns = [turn for queue in self.waiting.values() for turn, _ in queue]
            if not turns:
                return
            for turn, _, _ in self.running:
                self.pacer.settle(turn, self.now)
            self.running.clear()
            self._started()
            self.now = max(
                self.now, min((turn.due for turn in turns if not turn.ready and turn.due < math.inf), default=self.now)
            )
            for turn in turns:
                self.pacer.look(turn, self.now)
        pytest.fail(f"{len(turns)} calls wait for ever")


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=int(os.environ.get("PACING_EXAMPLES", "60")), stateful_step_count=40, deadline=None)
