"""The cost of shared state: for a call while the server is healthy; and the time until a 429 stops other processes.

Run by hand: `python plugins/redis/tests/figures.py redis://127.0.0.1:6379/0`.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time

from providerhub import Hub, ModelInfo, ProviderConfig, ProviderHubError, ProviderInfo, RateLimitError, Settings

ROUNDS, CALLS, REFUSALS = 15, 500, 5
MODELS = ("m", *(f"m{number}" for number in range(REFUSALS)))
INFO = ProviderInfo(name="acme", models=tuple(map(ModelInfo, MODELS)), needs_auth=True)


class Scripted:
    """Answers at once, or refuses."""

    error = None

    def stream(self, _request, _call):
        """Answer."""
        if self.error:
            raise self.error
        yield "fine"


def made(url, **limits):
    """A hub with one provider."""
    hub, provider = Hub(Settings(autoload=False), **({"shared": url} if url else {})), Scripted()
    hub.register(INFO, provider, config=ProviderConfig(url="https://api.acme.example", api_key="sk-1", **limits))
    hub.complete("acme/m", "?")
    return hub, provider


def seconds(hub):
    """Seconds of one call, and its processor time in this process, all threads included."""
    start, used = time.perf_counter(), time.process_time()
    for _ in range(CALLS):
        hub.complete("acme/m", "?")
    return (time.perf_counter() - start) / CALLS, (time.process_time() - used) / CALLS


def costs(url):
    """Print the median of what a call costs more with a store than without, in rounds that alternate."""
    every = {"rpm": 1e9, "concurrency": 100, "tpm": 1e12}
    for name, limits in (("without limits", {}), ("with a limit that all keep together", {"rpm": 1e9}), ("with three", every)):
        (alone, _), (shared, _) = made(None, **limits), made(url, **limits)
        time.sleep(0.3)  # until it is connected
        pairs = [(seconds(alone), seconds(shared)) for _ in range(ROUNDS)]
        for index, kind in enumerate(("elapsed", "processor")):
            more = statistics.median(two[index] - one[index] for one, two in pairs)
            base = statistics.median(one[index] for one, _ in pairs)
            sys.stdout.write(f"{name}: {more * 1e6:.1f} µs {kind} more for each call ({base * 1e6:.1f} µs without a store)\n")
        alone.close()
        shared.close()


def listener(url):
    """Print the time at which each refusal of another process is known here."""
    hub, _ = made(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for number in range(REFUSALS):
        while sum(bool(one.pause) for one in hub.health()) <= number:
            time.sleep(0.0002)
        sys.stdout.write(f"{time.monotonic()}\n")
        sys.stdout.flush()


def reaction(url):
    """Print how long after a 429 the other process knows of it. The time is that from the error to the pause."""
    child = subprocess.Popen([sys.executable, __file__, url, "--listen"], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    hub, provider = made(url)
    time.sleep(0.3)
    took = []
    for number in range(REFUSALS):
        provider.error = RateLimitError("slow", status=429, retry_after=30.0)
        start = time.monotonic()
        with contextlib.suppress(ProviderHubError):
            hub.complete(f"acme/m{number}", "?", timeout=0.1)
        took.append(json.loads(child.stdout.readline()) - start)
    child.wait()
    took.sort()
    middle, most = statistics.median(took) * 1e3, took[-1] * 1e3
    sys.stdout.write(f"the other process knows of a 429 after {middle:.1f} ms (median), {most:.1f} ms (most)\n")


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--listen", action="store_true")
    arguments = parser.parse_args()
    if arguments.listen:
        listener(arguments.url)
    else:
        costs(arguments.url)
        reaction(arguments.url)


if __name__ == "__main__":
    main()
