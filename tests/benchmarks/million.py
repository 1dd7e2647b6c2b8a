"""The memory of many rows: `complete_many` in threads and in processes, and the command `batch`.

Run by hand: `python million.py [ROWS]`. Each way runs in its own process, and its resident memory is read while rows end. After
the first tenth of the rows, the memory may grow by 50 MB at most. The plugin `echo` answers at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, MOST = 1_000_000, 50.0
PRINTS = 20
MODEL = "echo/echo-1"

MANY = """
import sys
from providerhub import Hub
rows, executor = int(sys.argv[1]), sys.argv[2] or None
requests = ({"model": sys.argv[3], "messages": f"Row {number}"} for number in range(rows))
with Hub() as hub:
    for number, outcome in enumerate(hub.complete_many(requests, concurrency=8, executor=executor), 1):
        outcome.unwrap()
        if number % (rows // 20) == 0:
            print(number, flush=True)
"""


def resident(pid: int) -> float:
    """Resident megabytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def growth(name: str, samples: list[float], seconds: float, rows: int) -> bool:
    """Print how much memory grew after the first tenth."""
    after = samples[max(1, len(samples) // 10) :]
    more = max(after) - after[0]
    said = "reached" if more <= MOST else "NOT reached"
    print(f"{name}: {rows} rows in {seconds:.0f} s, {after[0]:.0f} MB after a tenth, later {more:+.1f} MB: {said}", flush=True)
    return more <= MOST


def in_python(rows: int, executor: str) -> bool:
    """Run `complete_many`."""
    command = [sys.executable, "-c", MANY, str(rows), executor, MODEL]
    start, samples = time.perf_counter(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        samples = [resident(child.pid) for line in child.stdout if int(line) < rows]
    assert child.returncode == 0
    return growth(f"complete_many, {executor or 'threads'}", samples, time.perf_counter() - start, rows)


def in_shell(rows: int, *options: str) -> bool:
    """Run the command."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        with source.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"messages": f"Row {number}"}) + "\n" for number in range(rows))
        command = [sys.executable, "-m", "providerhub", "batch", str(source), "-o", str(output), "-m", MODEL, *options]
        start, samples = time.perf_counter(), []
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "XDG_DATA_HOME": folder})
        with child:
            ended, size, last = 0, 0, 0
            while child.poll() is None:
                time.sleep(0.5)
                if output.exists():
                    with output.open("rb") as file:
                        file.seek(size)
                        data = file.read()
                    size, ended = size + len(data), ended + data.count(b"\n")
                if ended - last >= rows / PRINTS and ended < rows:
                    last = ended
                    samples.append(resident(child.pid))
        assert child.returncode == 0
        assert ended <= rows
    return growth(f"batch {' '.join(options)}".strip(), samples, time.perf_counter() - start, rows)


def main() -> None:
    """Run all ways."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    ways = sys.argv[2:] or ["", "processes:2", "batch", "batch processes:2"]
    found = []
    for way in ways:
        name, _, executor = way.partition(" ")
        if name == "batch":
            found.append(in_shell(rows, *(("--executor", executor) if executor else ())))
        else:
            found.append(in_python(rows, name))
    sys.exit(not all(found))


if __name__ == "__main__":
    main()
