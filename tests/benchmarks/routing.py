"""The time of routing by an exact name must not grow with the number of providers: 1,000 against 10.

Run by hand, or by `tox -e bench`: `python tests/benchmarks/routing.py`. Both sizes take turns in small batches. Each batch asks
for every name once, so that no remembered plan helps. The figure is the ratio of the medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator

from providerhub import CallContext, Hub, ModelInfo, ProviderInfo, Request, Settings

SMALL, LARGE = 10, 1000
BATCHES = 60
CALLS = 100
TARGET = 1.5


class _Echo:
    def stream(self, request: Request, call: CallContext) -> Iterator[str]:
        yield "ok"


def _hub(size: int) -> Hub:
    hub = Hub(Settings(autoload=False))
    for number in range(size):
        hub.register(ProviderInfo(name=f"p{number}", models=(ModelInfo(f"model-{number}"),)), _Echo())
    hub.complete("model-0", "x")  # builds the index, once
    return hub


def _batch(hub: Hub, size: int, route: Callable[[Hub, str], object], *, remember: bool) -> float:
    names = [f"model-{number % size}" for number in range(CALLS)]
    start = time.perf_counter()
    for name in names:
        if not remember:
            hub._router._memory.clear()
        route(hub, name)
    return (time.perf_counter() - start) / CALLS * 1e6


def _compare(what: str, route: Callable[[Hub, str], object], *, remember: bool) -> bool:
    hubs = {size: _hub(size) for size in (SMALL, LARGE)}
    took: dict[int, list[float]] = {size: [] for size in hubs}
    for number in range(-3, BATCHES):
        for size, hub in hubs.items():
            micros = _batch(hub, size, route, remember=remember)
            if number >= 0:
                took[size].append(micros)
    small, large = (statistics.median(took[size]) for size in (SMALL, LARGE))
    ratio = large / small
    print(f"{what}: {SMALL} providers {small:.1f} µs, {LARGE} providers {large:.1f} µs a call")
    print(f"  ratio {ratio:.2f}; target at most {TARGET:g}: {'reached' if ratio <= TARGET else 'NOT reached'}")
    return ratio <= TARGET


if __name__ == "__main__":
    results = [
        _compare("explain, nothing remembered", lambda hub, name: hub.explain(name), remember=False),
        _compare("explain", lambda hub, name: hub.explain(name), remember=True),
        _compare("complete", lambda hub, name: hub.complete(name, "x"), remember=True),
    ]
    sys.exit(0 if all(results) else 1)
