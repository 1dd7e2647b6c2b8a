"""Run the commands that the reference shows, against the Lockchat sandbox, and write their output to files.

    python tools/cli_examples.py            write docs/reference/cli-examples/
    python tools/cli_examples.py --check    fail if the output differs from a file

The installed script and all plugins of this repository are needed, as in the tox environment `docs`. Ports, times and versions
differ from run to run, so they are replaced.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from providerhub import __version__
from providerhub_lockchat.sandbox import serve

EXAMPLES_DIR = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli-examples"

EXAMPLES = {
    "ask": [
        'providerhub ask -m gpt-4 "Hello"',
        'echo "Hello from a pipe" | providerhub ask -m gpt-4 --trace',
        'providerhub ask -m gpt-4 "Hello" --json',
        'providerhub ask -m gpt-44 "Hello"',
    ],
    "chat": [
        "printf '%s\\n' 'Hello' '/model gpt-3.5-turbo' '/route' 'Goodbye' | providerhub chat -m gpt-4",
    ],
    "batch": [
        "cat requests.jsonl",
        "providerhub batch requests.jsonl -o results.jsonl -m gpt-4 --concurrency 1",
        "cut -c 1-132 results.jsonl",
        'sed -i.old \'s/not json/{"messages": "Three"}/\' requests.jsonl',
        "providerhub batch requests.jsonl -o results.jsonl -m gpt-4 --concurrency 1 --retry-failed --json",
    ],
    "demo": ["providerhub demo"],
    "plugins": ["providerhub plugins"],
    "doctor": ["providerhub doctor"],
    "models": ["providerhub models 'gpt-*'"],
    "route": ["providerhub route gpt-4 --stream", "providerhub route echo/echo-1 gpt-4", "providerhub route gpt-44"],
}
"""Command → lines for a shell, which run one after the other in a folder of their own."""

FILES = {
    "requests.jsonl": '{"id": "a", "messages": "One"}\nnot json\n{"id": "b", "model": "gpt-3.5-turbo", "messages": "Two"}\n',
}

VARYING = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:8080"),
    (re.compile(r"\b(after|waited) \d+\.\d+ s"), r"\1 0.012 s"),
    (re.compile(r'"(duration|started|first_token|seconds)": \d+\.\d+(e-\d+)?'), r'"\1": 0.012'),
    (re.compile(r'"call_id": "[^"]+"'), '"call_id": "0123456789ab-1-1"'),
    (re.compile(r"\b\d+\.\d s, \d+\.\d/s"), "0.1 s, 20.0/s"),
    (re.compile(r"\b\d+\.\d ms *"), "1.2 ms  "),
    (re.compile(r"\bimport {2,}"), "import  "),
    (re.compile(re.escape(__version__)), "1.2.3"),
)


def environment(url: str, folder: str) -> dict[str, str]:
    """An environment without the settings of the user."""
    foreign = re.compile(r"PROVIDERHUB_|LOCKCHAT_|OPENAI_|.*_PROXY$|NO_COLOR|FORCE_COLOR|COLUMNS|COVERAGE_", re.IGNORECASE)
    return {
        **{name: value for name, value in os.environ.items() if not foreign.match(name)},
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]),
        "HOME": folder,
        "XDG_CONFIG_HOME": folder,
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "LOCKCHAT_URL": url,
    }


def run(line: str, folder: str, environ: dict[str, str]) -> str:
    """A line and its output, standard error included, and its exit code unless that is 0."""
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env=environ, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    text = done.stdout
    for pattern, stable in VARYING:
        text = pattern.sub(stable, text)
    shown = "".join(f"{part.rstrip()}\n" for part in text.splitlines())
    return f"$ {line}\n{shown}" + (f"$ echo $?\n{done.returncode}\n" if done.returncode else "")


def example(lines: list[str], url: str) -> str:
    """The examples of a command as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            (Path(folder) / name).write_text(text, "utf-8")
        environ = environment(url, folder)
        printed = [run(line, folder, environ) for line in lines]
    return "```console\n" + "\n".join(printed) + "```\n"


def stale(path: Path, fresh: str) -> bool:
    """Whether a file differs from the present output; print the difference."""
    kept = path.read_text("utf-8") if path.exists() else ""
    sys.stdout.writelines(
        difflib.unified_diff(kept.splitlines(keepends=True), fresh.splitlines(keepends=True), str(path), "printed now")
    )
    return kept != fresh


def main() -> int:
    """Write or check the examples.

    Returns:
        The process's exit code.
    """
    parser = argparse.ArgumentParser(description="Run the examples of the command line's reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    check: bool = parser.parse_args().check
    with serve(delay=0.0) as url:
        fresh = {EXAMPLES_DIR / f"{name}.md": example(lines, url) for name, lines in EXAMPLES.items()}
    if check:
        found = [stale(path, text) for path, text in fresh.items()]
        if any(found):
            print("stale: run `python tools/cli_examples.py` and commit the files that it writes")
        return int(any(found))
    EXAMPLES_DIR.mkdir(parents=True, exist_ok=True)
    for path, text in fresh.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
