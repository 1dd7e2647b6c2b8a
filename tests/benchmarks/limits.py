"""Large input and many calls: one very long line, and 1,000 streams in one process.

Run by hand, or by `tox -e bench`: `python limits.py`. A decoder without limits reads a line of 1, 2, 4 and 8 MiB, in reads of the
transport's size. The time, with the system's time for the memory, must grow in proportion to the line. All streams are open at
once, and each is read to its end.
"""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
import time
from pathlib import Path

from providerhub import Hub, ProviderConfig, Settings
from providerhub.wire import SSEDecoder

READ = 65536
MIB = 1 << 20
SIZES = (1, 2, 4, 8)
ROUNDS = 7
M_MMAP_THRESHOLD = -3
STREAMS = 1000
CHUNKS = 200
TARGET = 3.0


def line(reads: list[bytes]) -> float:
    """Seconds for the one line that these reads bring."""
    decoder = SSEDecoder(max_line=None, max_event=None, max_stream=None)
    start = time.process_time()
    found = [event for read in reads for event in decoder.feed(read)]
    took = time.process_time() - start
    assert len(found) == 1
    return took


def lines() -> bool:
    """Print how the time grows: the best of each size, in turns."""
    # The blocks that were freed before decide whether glibc gives a large block back to the system. Without this setting,
    # only some sizes would pay for the first touch of every page.
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 128 * 1024)
    took = dict.fromkeys(SIZES, float("inf"))
    for _ in range(ROUNDS):
        for size in SIZES:
            raw = b"data: " + b"x" * (size * MIB) + b"\n\n"
            took[size] = min(took[size], line([raw[at : at + READ] for at in range(0, len(raw), READ)]))
    print("one line:", ", ".join(f"{size} MiB {seconds * 1000:.1f} ms" for size, seconds in took.items()))
    growth = took[8] / took[2]
    reached = growth <= 4 * TARGET / 2
    print(f"  8 MiB take {growth:.1f} times as long as 2 MiB; 4 is linear: {'reached' if reached else 'NOT reached'}")
    return reached


def memory() -> float:
    """Resident kilobytes of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e3


def streams() -> bool:
    """Open them all, then read them all."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    command = [sys.executable, Path(__file__).resolve().parent / "loopback.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/chunks={CHUNKS}"
        with Hub(Settings(providers={"lockchat": ProviderConfig(url=url)})) as hub:
            warm = hub.complete("gpt-4", "Hello", stream=True)
            text = "".join(warm)
            before, start = memory(), time.perf_counter()
            opened = [hub.complete("gpt-4", "Hello", stream=True) for _ in range(STREAMS)]
            each = (memory() - before) / STREAMS
            whole = sum("".join(stream) == text for stream in opened)
            took = time.perf_counter() - start
        server.stdin.close()
    said = "reached" if whole == STREAMS else "NOT reached"
    print(f"{STREAMS} streams at once: {each:.0f} KB each, {whole} complete, {took:.1f} s: {said}")
    return whole == STREAMS


if __name__ == "__main__":
    results = [streams(), lines()]  # in this order: the other function sets the allocator
    sys.exit(0 if all(results) else 1)
