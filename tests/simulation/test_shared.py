"""The promised bounds of 33 processes that share their state, in simulated time. `python shared.py` prints the figures."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.load, pytest.mark.once]

SCRIPT = Path(__file__).with_name("shared.py")


@pytest.fixture(scope="module")
def shared():
    spec = importlib.util.spec_from_file_location("simulated_shared", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulated_shared"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["simulated_shared"], sys.modules["outage"]


def found(shared, name, *, shares, seed=1):
    return shared.figures(shared.world(seed, shares=shares, **shared.SCENARIOS[name]).run())


@pytest.mark.parametrize("name", ["down, one of two", "down, the only one"])
def test_a_store_changes_nothing_at_an_outage(shared, name):
    """Failures are statistics of one process: nothing is sent, and nobody stops because of another's network."""
    with_store = found(shared, name, shares=True)
    assert with_store == found(shared, name, shares=False)
    assert with_store.messages == 0
    assert with_store.amplification <= 1.2


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["429, one of two", "429, the only one"])
def test_a_pause_that_one_process_hears_of_stops_the_others(shared, name, seed):
    one = found(shared, name, shares=True, seed=seed)
    # The calls that are running when the first call is refused: 66 begin in a second, and a refusal takes up to 0.4 s.
    assert one.refused <= 0.4 * 66
    assert one.refused <= found(shared, name, shares=False, seed=seed).refused / 2
    assert one.messages <= 5
    # The usual load is 6.6 calls in a tenth of a second. Of a hundred such slots, the busiest slot has up to 16 calls.
    assert one.stampede <= 20
    assert one.all_back <= 0.1 * 60 + 3 + 1
