"""Measure the cost of the journal for a call, in the caller's own thread: `python plugins/journal/tests/figures.py`."""

import sys
import tempfile
import time

from providerhub import Hub, ModelInfo, ProviderInfo, Settings, Usage, UsageDelta
from providerhub_journal import flush
from providerhub_journal._config import Config
from providerhub_journal._joining import Journal

CALLS, ROUNDS = 100, 60


class Talker:
    def stream(self, request, call):
        yield "Hallo"
        yield UsageDelta(Usage(10, 20, cost=0.25))


def microseconds(hub):
    """The processor time of one call."""
    start = time.thread_time_ns()
    for _ in range(CALLS):
        hub.complete("m", "x")
    return (time.thread_time_ns() - start) / CALLS / 1000


def main():
    with tempfile.TemporaryDirectory() as folder:
        observers = {"off": [], "on": [Journal(Config(f"sqlite:///{folder}/calls.db"))]}
        provider = ProviderInfo(name="a", models=(ModelInfo("m"),)), Talker()
        alone = Settings(autoload=False)  # another plugin that observes calls would pay for the record too
        hubs = {name: Hub(alone, providers=[provider], observers=found) for name, found in observers.items()}
        best = dict.fromkeys(hubs, float("inf"))
        for _ in range(ROUNDS):
            for name, hub in hubs.items():
                best[name] = min(best[name], microseconds(hub))
                flush()
        more = best["on"] - best["off"]
        sys.stdout.write(f"a call: {best['off']:.1f} µs without a journal, {more:.1f} µs more with one (at most 25)\n")


if __name__ == "__main__":
    main()
