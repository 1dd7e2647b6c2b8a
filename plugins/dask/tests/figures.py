"""The cost of a Dask cluster: the speed of two workers, the client's processor time for a row, and rows lost when one is killed.

Run by hand: `python plugins/dask/tests/figures.py [ROWS]`. The service runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from providerhub import Hub, ProviderConfig, Settings
from providerhub.testing import Pause, http_response, openai_completion, openai_error, serve_in_process

ROWS, FAULTS, LATENCY, THREADS = 20_000, 0.2, 0.2, 4
FINE = http_response(body=openai_completion("fine"))
DOWN = http_response(500, openai_error("down"))


CLUSTER = """
import logging, sys
from distributed import LocalCluster
if __name__ == "__main__":
    workers, threads = map(int, sys.argv[1:])
    with LocalCluster(
        n_workers=workers, threads_per_worker=threads, dashboard_address=None, silence_logs=logging.CRITICAL, host="127.0.0.1"
    ) as made:
        print(made.scheduler_address, next(iter(made.workers.values())).pid, flush=True)
        sys.stdin.read()
"""


@contextlib.contextmanager
def cluster(workers):
    """A cluster in processes of its own: its address, and the identifier of the process of one worker."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "cluster.py")
        script.write_text(CLUSTER, "utf-8")
        command = [sys.executable, script, str(workers), str(THREADS)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as child:
            address, pid = child.stdout.readline().split()
            yield f"dask:{address}", int(pid)
            child.stdin.close()


def hub_at(url):
    """A hub whose key is in the environment, as that of the workers is."""
    os.environ["OPENAI_BASE_URL"] = url
    return Hub(Settings(providers={"openai": ProviderConfig(models=["m"])}, allow=("openai",)))


def rows(number):
    """Equal requests."""
    return ({"model": "openai/m", "messages": "Hello"} for _ in range(number))


def speed():
    """Print how much faster two workers are than one."""
    took = []
    for workers in (1, 2):
        with (
            serve_in_process([Pause(LATENCY), *FINE], repeat=True) as server,
            cluster(workers) as made,
            hub_at(server.url) as hub,
        ):
            where, threads = made[0], workers * THREADS
            list(hub.complete_many(rows(threads), executor=where, concurrency=threads))  # each makes its hub
            took.append(min(_seconds(hub, where, threads) for _ in range(3)))
    sys.stdout.write(f"rows of {LATENCY:g} s: two workers are {took[0] / took[1]:.2f} times as fast as one\n")


def _seconds(hub, where, threads):
    start = time.perf_counter()
    list(hub.complete_many(rows(160), executor=where, concurrency=threads))
    return time.perf_counter() - start


def losses(number):
    """Print what a row costs the client, and what becomes of the rows when a worker is killed."""
    script = [FINE, FINE, DOWN, FINE, FINE]
    with serve_in_process(*script, repeat=True) as server, cluster(2) as made, hub_at(server.url) as hub:
        found, start, used = Counter(), time.perf_counter(), time.process_time()
        indices = set()
        outcomes = hub.complete_many(rows(number), executor=made[0], concurrency=2 * THREADS)
        for count, outcome in zip(itertools.count(1), outcomes):
            indices.add(outcome.index)
            found["failed" if outcome.error else "answered"] += 1
            found["resent"] += outcome.resent
            if count == number // 2:
                os.kill(made[1], signal.SIGKILL)
        each = (time.process_time() - used) / number
        took = time.perf_counter() - start
    lost = number - len(indices)
    sys.stdout.write(f"{number} rows, {FAULTS:.0%} faults, a worker killed, {took:.0f} s: {dict(found)}, {lost} lost\n")
    sys.stdout.write(f"{each * 1e3:.2f} ms of processor time a row in the client\n")


def main():
    """Print the figures."""
    os.environ["OPENAI_API_KEY"] = "sk-1"
    speed()
    losses(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)


if __name__ == "__main__":
    main()
