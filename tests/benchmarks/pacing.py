"""The cost of pacing for a call, and its gain for a batch at services that refuse requests beyond a rate.

Run by hand, or by `tox -e bench`: `python pacing.py`. The costs are the processor time of a turn and of a call without limits.
Then 500 rows go, 8 at once, to a service that accepts 100 requests in each 2 s, and to a service that accepts 20 a second; first
without configured limits, then with `rpm`. 5,000 rows go to a service that accepts 300 requests in each 0.6 s, which is 300 a
minute at 100 times the speed. 2,000 rows go to a service that fails at 30% of the requests. The services run in their own process
and count their refusals. All of this takes two minutes.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from providerhub import Candidate, Hub, ModelInfo, ProviderConfig, ProviderInfo, RetryPolicy, Settings
from providerhub._rules.pacing import FREE, Pacer

ROWS = 500
WORKERS = 8
SERVICES = {"100 per 2 s": ("window=100x2", 3000), "20 a second": ("bucket=20", 1200)}
OTHERS = {"300 per 0.6 s": ("window=300x0.6", 5000), "30% faults": ("faults=0.3", 2000)}
LONGEST = 120.0
TARGET_SHARE = 0.05
TARGET_TURN = 1.0
TARGET_CALL = 3.0
TURNS = 100_000


def turn() -> bool:
    """Print what a turn costs where no limit is set, and nothing was learned."""
    pacer, candidate = Pacer(lambda: 0.0), Candidate("acme", "m", "m")
    best = float("inf")
    for _ in range(7):
        start = time.process_time()
        for _ in range(TURNS):
            pacer.settle(pacer.take(candidate, 0.0), 0.0)  # type: ignore[arg-type]
        best = min(best, (time.process_time() - start) / TURNS * 1e6)
    reached = best <= TARGET_TURN
    print(f"a turn without limits: {best:.2f} µs; target at most {TARGET_TURN:g} µs: {'reached' if reached else 'NOT reached'}")
    return reached


class _Echo:
    def stream(self, request: object, call: object) -> Iterator[str]:
        yield "ok"


def call() -> bool:
    """Print what pacing costs a whole call where no limit is set: beside a hub whose pacer gives each call the free turn."""
    hubs = [Hub(Settings(autoload=False), providers=[(ProviderInfo(name="p", models=(ModelInfo("m"),)), _Echo())]) for _ in "ab"]
    hubs[1]._pacer.take = lambda *_: FREE  # type: ignore[method-assign]
    best = [float("inf")] * 2
    for number in range(120):
        hub = hubs[number % 2]
        start = time.thread_time()
        for _ in range(200):
            hub.complete("m", "x")
        best[number % 2] = min(best[number % 2], (time.thread_time() - start) / 200 * 1e6)
    cost = best[0] - best[1]
    reached = cost <= TARGET_CALL
    print(f"pacing costs a call {cost:.2f} µs; target at most {TARGET_CALL:g} µs: {'reached' if reached else 'NOT reached'}")
    return reached


def batch(port: int, name: str, kind: str, *, rows: int = ROWS, rpm: int | None = None) -> bool:
    """Send the rows, and print how many were lost and how many requests were refused."""
    run = f"run={kind.partition('=')[0]}{rpm}-{rows}"
    address = f"http://127.0.0.1:{port}"
    config = ProviderConfig(url=f"{address}/{kind},{run}/v1", models=["m"], rpm=rpm)
    start, errors = time.monotonic(), Counter[str]()
    with Hub(Settings(providers={"openai": config}, retry=RetryPolicy())) as hub:
        requests = ({"model": "m", "messages": f"question {number}", "timeout": LONGEST} for number in range(rows))
        for outcome in hub.complete_many(requests, concurrency=WORKERS):
            if outcome.error is not None:
                errors[type(outcome.error).__name__] += 1
    seconds = time.monotonic() - start
    with urllib.request.urlopen(f"{address}/{run}/refused", timeout=10) as answer:
        refused = int(answer.read())
    lost = errors.total()
    share = refused / max(1, refused + rows - lost)
    reached = not lost and share <= (TARGET_SHARE if rpm is None else 0.0)
    how = "no limit configured" if rpm is None else f"rpm {rpm}"
    print(
        f"{rows} rows at {name}, {how}: {lost} lost {dict(errors) or ''}, {refused} refused ({share:.1%}), {seconds:.1f} s: "
        f"{'reached' if reached else 'NOT reached'}"
    )
    return reached


def batches() -> list[bool]:
    """Run all batches, each at a fresh limit of one server."""
    command = [sys.executable, Path(__file__).resolve().parent / "loopback.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        port = int(server.stdout.readline())  # type: ignore[union-attr]
        results = [batch(port, name, kind, rpm=limit) for name, (kind, rpm) in SERVICES.items() for limit in (None, rpm)]
        results += [batch(port, name, kind, rows=rows) for name, (kind, rows) in OTHERS.items()]
        server.stdin.close()  # type: ignore[union-attr]
    return results


if __name__ == "__main__":
    results = [turn(), call(), *batches()]
    sys.exit(0 if all(results) else 1)
