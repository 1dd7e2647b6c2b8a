"""The promised bounds of an outage, in simulated time. `python outage.py` prints the figures."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("outage.py")


@pytest.fixture(scope="module")
def outage():
    spec = importlib.util.spec_from_file_location("outage", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["outage"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["outage"]


@pytest.fixture(params=[1, 2])
def seed(request):
    return request.param


def test_an_outage_of_one_provider_of_two(outage, seed):
    world = outage.one_of_two(seed, clients=5).run()
    found = outage.figures(world)
    assert found.failed == 0
    assert found.probes == 1
    # Probes only: each open time is at least half of 5, 10, 20 ... seconds.
    assert found.amplification <= 0.05
    assert found.busiest <= 5
    # The last open time began within the outage, and is at most twice as long as the open times before it together.
    (failing,) = world.outages
    assert found.all_back <= 2 * (failing.end - failing.start) + 5 + outage.LATENCY[1]


@pytest.mark.parametrize("number", range(30))
@pytest.mark.parametrize("hangs", [False, True])
def test_an_outage_of_a_minute_costs_no_call_and_ends_within_half_a_minute(outage, number, hangs):
    world = outage.short(number, hangs=hangs).run()
    assert all(asked.ok for asked in world.asked)
    assert outage.asked_again(world) <= 30
    if hangs:
        share = 30 / 2
        assert max(asked.end - asked.start for asked in world.asked) <= share + outage.LATENCY[1] + 1e-6


@pytest.mark.parametrize(("hangs", "most"), [(False, 20), (True, 300)])
def test_the_pauses_of_a_long_outage_have_a_limit(outage, hangs, most):
    world = outage.long(1, hangs=hangs).run()
    assert all(asked.ok for asked in world.asked)
    assert most / 2 < outage.longest_pause(world) <= most + 2  # and the time to the next call


def test_an_outage_of_the_only_provider(outage, seed):
    found = outage.figures(outage.the_only_one(seed, clients=5).run())
    assert found.amplification <= 1.1
    # Without another choice, no call waits for a breaker: the first call after the outage is answered.
    assert found.all_back <= 10


def test_an_outage_of_both_providers(outage, seed):
    world = outage.both(seed, clients=5).run()
    found = outage.figures(world)
    assert found.amplification <= 1.1
    assert found.all_back <= 2 * 120 + 5 + outage.LATENCY[1]
    for provider in world.providers:
        hits = [hit for hit in world.hits if hit.provider == provider and 90 <= hit.start < 180]
        assert len(hits) <= 1.1 * sum(90 <= asked.start < 180 for asked in world.asked)
    # The provider whose breaker allows the first probe answers again at once.
    after = [asked for asked in world.asked if asked.start >= 180]
    assert sum(not asked.ok for asked in after) <= 0.01 * len(after)


def test_a_seed_gives_the_same_figures_in_every_process(outage):
    runs = [
        subprocess.run(
            [sys.executable, str(SCRIPT), "--seed", "7", "--clients", "1"],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] == outage.table(7, 1) + "\n"
    assert [line.split("  ")[0] for line in map(str.strip, runs[0].splitlines())] == ["outage", *outage.SCENARIOS]
