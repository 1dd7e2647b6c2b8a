"""The promised shares of refused requests, in simulated time. `python refusals.py` prints the figures."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest

from providerhub._rules.limits import Limits

SCRIPT = Path(__file__).with_name("refusals.py")


@pytest.fixture(scope="module")
def refusals():
    spec = importlib.util.spec_from_file_location("refusals", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["refusals"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["refusals"]


SERVICES = ["100 per 2 s", "100 per 2 s, says the rest", "5 per 2 s", "20 a second", "20 a second, 100 at once", "300 a minute"]


@pytest.mark.parametrize("slowest", [0.006, 0.05, 0.5, 2.0])
@pytest.mark.parametrize("name", SERVICES)
def test_eight_workers_are_refused_at_most_one_time_in_twenty(refusals, name, slowest):
    for seed in range(3):
        world = refusals.World(refusals.SERVICES[name](), workers=8, slowest=slowest, seed=seed).run()
        assert world.answered == 500
        assert world.share <= 0.05


@pytest.mark.parametrize("name", SERVICES)
def test_many_workers_are_refused_in_their_first_wave_and_seldom_afterwards(refusals, name):
    for slowest in (0.05, 2.0):
        world = refusals.World(refusals.SERVICES[name](), workers=64, slowest=slowest).run()
        assert world.answered == 500
        assert sum(refusal > world.refusals[0] + 0.5 for refusal in world.refusals) <= 25


@pytest.mark.parametrize(
    ("name", "best"), [("100 per 2 s", 8.0), ("20 a second", 24.0), ("5 per 2 s", 198.0), ("300 a minute", 60.0)]
)
def test_the_service_is_kept_busy(refusals, name, best):
    world = refusals.World(refusals.SERVICES[name](), workers=8, slowest=0.05).run()
    assert world.seconds <= 2 * best


@pytest.mark.parametrize("workers", [8, 64])
@pytest.mark.parametrize(
    ("name", "rpm"), [("100 per 2 s", 3000), ("20 a second", 1200), ("5 per 2 s", 150), ("300 a minute", 300)]
)
def test_with_the_rate_configured_nothing_is_refused(refusals, name, rpm, workers):
    for slowest in (0.05, 2.0):
        world = refusals.World(refusals.SERVICES[name](), workers=workers, slowest=slowest, limits=Limits(rpm=rpm)).run()
        assert (world.answered, world.refused) == (500, 0)
        if slowest < 1:
            assert world.seconds <= 1.06 * 500 * 60 / rpm + 1


def test_five_thousand_rows_at_300_a_minute(refusals):
    for workers, exact in ((8, True), (8, False), (64, True)):
        world = refusals.World(refusals.Window(300, 60.0, exact=exact), workers=workers, rows=5000).run()
        assert world.answered == 5000
        assert world.refused <= workers + 30


class Short:
    """Refuses some calls at random, whatever their rate is."""

    def __init__(self, share, seed):
        self.share, self.rng = share, random.Random(seed)

    def asked(self, now):
        return 1.0 if self.rng.random() < self.share else None


@pytest.mark.parametrize(("share", "seconds"), [(0.02, 100), (0.1, 300), (0.3, 1500)])
def test_a_service_that_is_short_of_room_is_not_asked_ever_more_slowly(refusals, share, seconds):
    for seed in range(3):
        world = refusals.World(Short(share, seed), workers=8, slowest=0.5, seed=seed).run()
        assert world.answered == 500
        assert world.seconds <= seconds  # with a learned rate that only falls: 190, 1,400 and more than 10,000


class Closed:
    """Refuses everything until a moment."""

    def __init__(self, until):
        self.until = until

    def asked(self, now):
        return 45.0 if now < self.until else None


@pytest.mark.parametrize("until", [40.0, 60.0])
def test_a_hundred_calls_at_once_at_a_service_that_names_45_seconds(refusals, until):
    world = refusals.World(Closed(until), workers=100, rows=100).run()
    assert world.answered == 100
    assert world.refused <= 100 + (until > 45)
    assert world.seconds <= 100


def test_a_bucket_of_three_a_minute_is_learned(refusals):
    world = refusals.World(refusals.SERVICES["3 a minute"](), workers=8, rows=30).run()
    assert world.answered == 30
    assert world.refused <= 20
    assert world.seconds <= 1.2 * (30 - 3) * 20


def test_a_waiting_call_is_looked_at_about_twice(refusals):
    """No herd: what wakes is what starts, or what is next."""
    world = refusals.World(refusals.Window(300, 60.0, exact=True), workers=64, limits=Limits(rpm=300), rows=1000).run()
    assert world.looks <= 3 * world.rows
    assert world.wakes <= world.rows


def test_a_seed_gives_the_same_figures_in_every_process(refusals):
    script = [sys.executable, str(SCRIPT), "7"]
    table = subprocess.run(script, capture_output=True, text=True, check=True, timeout=100).stdout
    assert table == refusals.table(7) + "\n"
    assert all(service in table for service in refusals.SERVICES)
