"""Run commands side by side, as many at a time as there are processors. Fail if one of them fails.

    python tools/side_by_side.py [--quiet] "mypy" "ruff check" ...

Each argument is one command line, without a shell. A line begins as soon as a processor is free, in the order given, so put
long ones first. The output of a command is printed whole, when the command ends; with `--quiet` only if it fails. All
commands run, also after a failure: a finding of one command must not hide the findings of the others.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed


def run(line: str, *, quiet: bool) -> tuple[str, int]:
    """Run a command line to its end, and print its output, with `quiet` only if it fails.

    Returns:
        The line and its exit status.
    """
    began = time.monotonic()
    command = line if os.name == "nt" else shlex.split(line)  # on Windows a process takes its arguments as one string
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        output, status = f"{error}\n".encode(), 127  # as a shell says it
    else:
        output, status = done.stdout, done.returncode
    text = output.decode("utf-8", "replace") * bool(status or not quiet)
    sys.stdout.write(f"{line}: {time.monotonic() - began:.1f} s, exit status {status}\n{text}")
    return line, status


def main(arguments: Sequence[str]) -> int:
    """Run all lines, and name the failed lines.

    Returns:
        The process's exit code: 1 if a line failed.
    """
    quiet = arguments[:1] == ["--quiet"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(run, line, quiet=quiet) for line in arguments[quiet:]]
        ended = [future.result() for future in as_completed(running)]
    failed = [line for line, status in ended if status]
    for line in failed:
        print(f"failed: {line}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
