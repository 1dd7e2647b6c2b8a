"""Forks while other threads call: a thread of the parent holds a lock, a turn or a task, and does not exist in the child."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

BEGIN = """
import os, sys, threading
from providerhub import *
from providerhub import _threads

begun, let_go = threading.Event(), threading.Event()

class Slow:
    def stream(self, request, call):
        if request.messages[-1]["content"] == "slow":
            begun.set()
            let_go.wait(60)
        yield "fine"
        yield Finish("stop")

def hub_of(*, name="p", **knobs):
    hub = Hub(Settings(autoload=False, providers={}, breaker=BreakerRules(in_a_row=1, calls=1)))
    hub.register(ProviderInfo(name=name, models=(ModelInfo("m", supports_stream=True),)), Slow(), config=ProviderConfig(**knobs))
    return hub

def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert begun.wait(60)

def in_child(work):
    sys.stdout.flush()  # the child would write it once more
    child = os.fork()
    if not child:
        try:
            print(work(), flush=True)
        except Exception as error:
            print(type(error).__name__, error, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    let_go.set()
"""


def _said(script):
    # Python 3.12 and later warn of each fork beside threads, which these tests need.
    python = [sys.executable, "-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run([*python, "-c", BEGIN + script], capture_output=True, text=True, timeout=40, check=False)
    assert not done.stderr
    return done.stdout


def test_a_turn_of_the_parent_does_not_hold_the_child_up():
    assert (
        _said("""
hub = hub_of(concurrency=1)
in_thread(lambda: hub.complete("m", "slow"))
in_child(lambda: [str(hub.complete("m", "Hello", timeout=20)), hub.health()[0].concurrency, hub.health()[0].in_use])
""")
        == "['fine', 1, 0]\n"
    )


def test_a_pause_of_the_parent_holds_for_the_child():
    assert (
        _said("""
hub = hub_of()
hub._pacer.hold(("p", "m"), hub._clock.monotonic(), hub._clock.monotonic() + 600)
in_child(lambda: [record.pause for record in hub.health()])
""")
        == "['rate limited']\n"
    )


def test_a_lock_of_the_parent_does_not_hold_the_child_up():
    assert (
        _said("""
hub = hub_of(concurrency=4)
hub.complete("m", "Hello")
def hold():
    for lock in list(_threads._renewed):
        if isinstance(lock, (type(threading.Lock()), type(threading.RLock()))):
            lock.acquire()
    begun.set()
    let_go.wait(60)
in_thread(hold)
def work():
    with hub.complete("m", "Hello", stream=True, timeout=20) as stream:
        texts = list(stream)
    hub.register(ProviderInfo(name="q", models=("n",)), Slow())
    return [str(hub.complete("m", "Hello", timeout=20)), *texts, str(hub.complete("n", "Hello")), hub.close()]
in_child(work)
""")
        == "['fine', 'fine', 'fine', None]\n"
    )


def test_a_probe_of_the_parent_does_not_keep_the_child_from_probing():
    assert (
        _said("""
from providerhub._values import Candidate
hub = hub_of()
health, candidate = hub._health, Candidate(provider="p", model="m", entry="m")
health.pause(("p", ""), "key rejected", 0.0, 1.0)
assert health.acquire(candidate, 2.0).probes
in_child(lambda: [health.acquire(candidate, 2.0) is not None, health.acquire(candidate, 2.0) is None])
""")
        == "[True, True]\n"
    )


def test_a_task_of_the_parent_is_done_in_the_child_too():
    assert (
        _said("""
from providerhub._finding.jobs import Job, Task, run_all
def work():
    begun.set()
    let_go.wait(60)
task = Task("wait", work)
in_thread(task.run)
def again():
    let_go.set()
    run_all([Job(task)], 20)
    return task.ended
in_child(again)
""")
        == "True\n"
    )


def test_many_calls_of_the_parent_end_in_the_child_with_an_error():
    assert _said("""
hub = hub_of()
outcomes = hub.complete_many([{"model": "m", "messages": text} for text in ("Hello", "slow")], concurrency=2)
print(next(outcomes).completion)
assert begun.wait(60)
in_child(lambda: next(outcomes))
print(next(outcomes).completion)
""").splitlines() == [
        "fine", "RuntimeError the process was forked, and the parent makes these calls; begin complete_many() again in the child",
        "fine",
    ]  # fmt: skip


def test_a_child_leaves_the_processes_of_its_parent_alone():
    assert _said("""
from providerhub._calling.processes import Processes, _kill_all
from time import sleep
pool = Processes(1)
call = pool.submit(sleep, 3)
while not call.running():
    sleep(0.01)
in_child(lambda: (_kill_all(), pool.kill(), "left"))
print(call.result(60))
pool.shutdown()
""").splitlines() == ["(None, None, 'left')", "None"]
