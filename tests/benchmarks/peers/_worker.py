"""One peer in its own process: it reads one command per line from standard input, and answers with a line of JSON.

`python _worker.py PEER URL`. Standard output is only for answers: the prints of a peer go to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

Peer = Any


def memory() -> float:
    """Resident megabytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as source:  # noqa: PTH123 -- pathlib is memory as well
        return int(source.read().split()[1]) * resource.getpagesize() / 1e6


def first(peer: Peer, url: str) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    assert peer.call(url).startswith("Hello")
    return time.perf_counter() - start


def calls(peer: Peer, url: str, count: int) -> list[float]:
    """Seconds of each of some calls."""
    took = []
    for _ in range(count):
        start = time.perf_counter()
        peer.call(url)
        took.append(time.perf_counter() - start)
    return took


def stream(peer: Peer, url: str, chunks: int) -> float:
    """Processor seconds per chunk of one streamed answer; the server's are its own process's."""
    start = time.process_time()
    pieces = peer.stream(url)
    used = time.process_time() - start
    assert pieces == chunks, f"{pieces} pieces of {chunks}"
    return used / chunks


def failover(peer: Peer, down: str, url: str, rounds: int) -> float:
    """Median seconds that a first deployment which is down adds to a call; each with a client of its own, which knows nothing."""
    both, alone = [], []
    for _ in range(rounds + 1):
        for took, addresses in ((both, (down, url)), (alone, (url,))):
            ask: Callable[[], str] = peer.deployments(addresses)
            start = time.perf_counter()
            assert ask().startswith("Hello")
            took.append(time.perf_counter() - start)
    middle = (rounds + 1) // 2
    return sorted(both[1:])[middle] - sorted(alone[1:])[middle]


def version(name: str) -> str:
    """The installed version of a distribution."""
    return metadata.version(name)


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 -- pathlib is memory as well
    peer: Peer = importlib.import_module(sys.argv[1])
    peer.prepare(sys.argv[2])
    commands: dict[str, Callable[..., Any]] = {
        "first": lambda url: first(peer, url),
        "calls": lambda url, count: calls(peer, url, count),
        "stream": lambda url, chunks: stream(peer, url, chunks),
        "failover": lambda down, url, rounds: failover(peer, down, url, rounds),
        "memory": memory,
        "version": version,
    }
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(commands[name](*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
