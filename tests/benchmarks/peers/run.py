"""providerhub beside the alternatives: writes a table and a chart to `docs/benchmarks.md`.

Run by `tox -e bench`, or by hand: `python run.py --cache FOLDER [--quick] [--write FOLDER]`. Every peer gets its own virtual
environment in the cache, with its latest release, and runs as `_worker.py` with a driver of a few lines. One loopback server, in
its own process, sends the same bytes to all peers. The peers take turns within every round, so that other work of the machine
affects all of them equally. A peer that cannot be installed or measured is named with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import socket
import statistics
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # tox takes the script's folder off the path

from chart import chart  # noqa: E402 -- after the line above
from imports import by_package  # noqa: E402 -- the same
from page import BASE, OURS, Figures, page  # noqa: E402 -- the same

SERVER = HERE.parent / "loopback.py"
CHUNKS = 300
PATIENCE = 90.0
INSTALL_PATIENCE = 300.0
INSTALL_TOTAL = 420.0
BY_HAND = "<!-- by hand from here on -->"


class Peer(NamedTuple):
    """Who is measured: how it is shown, its driver, what to install (nothing: this environment has it), what it can do."""

    title: str
    driver: str
    distribution: str
    requirement: str = ""
    stream: bool = True
    failover: bool = False


PEERS = (
    Peer("requests, by hand", "by_hand", "requests"),
    Peer("providerhub", "hub_json", "providerhub"),
    Peer("providerhub[fast]", "hub", "providerhub", failover=True),
    Peer("openai SDK", "openai_sdk", "openai", "openai"),
    Peer("aisuite", "aisuite_client", "aisuite", "aisuite[openai]", stream=False),
    Peer("langchain-openai", "langchain_chat", "langchain-openai", "langchain-openai"),
    Peer("pydantic-ai (direct)", "pydantic_direct", "pydantic-ai-slim", "pydantic-ai-slim[openai]", stream=False),
    Peer("litellm.completion", "litellm_completion", "litellm", "litellm"),
    Peer("litellm.Router", "litellm_router", "litellm", "litellm", failover=True),
    Peer("llm", "llm_model", "llm", "llm"),
    Peer("any-llm", "any_llm_completion", "any-llm-sdk", "any-llm-sdk[openai]"),
)


class PeerError(Exception):
    """A peer cannot be measured."""


class Worker:
    """A peer's process; its answers are waited for with a limit."""

    def __init__(self, peer: Peer, python: Path, url: str, log: Path) -> None:
        self._name = peer.title
        self._log = log.open("a+", encoding="utf-8")
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environ |= {"LLM_USER_PATH": str(log.parent), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
        self._process = subprocess.Popen(
            [python, HERE / "_worker.py", peer.driver, url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=log.parent, env=environ,
        )  # fmt: skip
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.answer()

    def ask(self, *command: object) -> Any:
        """Give a command and wait for its answer."""
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise PeerError(self._last_words()) from None
        return self.answer()

    def answer(self) -> Any:
        """The next answer."""
        try:
            line = self._answers.get(timeout=PATIENCE)
        except queue.Empty:
            self._process.kill()
            raise PeerError(f"gave no answer within {PATIENCE:g} s") from None
        if not line:
            raise PeerError(self._last_words())
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines() or ["ended without a word"]
        return lines[-1][:200]


class Bench:
    """All peers beside one server."""

    def __init__(self, cache: Path, port: int, *, quick: bool) -> None:
        self._cache = cache
        self._url = f"http://127.0.0.1:{port}"
        self._starts, self._rounds, self._calls = (2, 3, 10) if quick else (5, 12, 20)
        self._until = time.monotonic() + INSTALL_TOTAL
        self._pythons: dict[str, Path] = {}
        self.figures = {peer: Figures() for peer in PEERS}

    def run(self) -> None:
        """Install, start, call, stream, fail over."""
        for peer in PEERS:
            self._guarded(peer, self._installed)
        for number in range(self._starts + 1):  # the first start writes byte code
            for peer in PEERS:
                self._guarded(peer, self._start, keep=number > 0)
        for peer in PEERS:
            if peer.title in {BASE, OURS}:
                self.figures[peer].imports = by_package(self._pythons[peer.driver], peer.driver, self._url)
        workers = {peer: worker for peer in PEERS if (worker := self._guarded(peer, self._worker))}
        for number in range(self._rounds + 1):
            for peer, worker in workers.items():
                self._guarded(peer, self._round, worker, keep=number > 0)
        for peer, worker in workers.items():
            if peer.failover:
                self._guarded(peer, self._fail_over, worker)
            worker.close()

    def _guarded(self, peer: Peer, step: Any, *arguments: Any, **more: Any) -> Any:
        if self.figures[peer].problem:
            return None
        try:
            return step(peer, *arguments, **more)
        except PeerError as error:
            print(f"{peer.title}: {error}", flush=True)
            self.figures[peer].problem = str(error)
            return None

    def _installed(self, peer: Peer) -> None:
        if not peer.requirement:
            self._pythons[peer.driver] = Path(sys.executable)
            return
        home = self._cache / peer.distribution
        python = home / "bin" / "python"
        self._pythons[peer.driver] = python
        if any(other.requirement == peer.requirement for other in PEERS[: PEERS.index(peer)]):
            return
        left = min(INSTALL_PATIENCE, self._until - time.monotonic())
        if left <= 0:
            raise PeerError("not installed: the time for installing was over")
        print(f"installing {peer.requirement} ...", flush=True)
        if not python.exists():
            venv.create(home, with_pip=True)
        command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--upgrade", peer.requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            raise PeerError(f"not installed: pip took longer than {left:.0f} s") from None
        if done.returncode:
            raise PeerError(f"not installed: {(done.stderr.strip().splitlines() or ['pip failed'])[-1][:200]}")

    def _worker(self, peer: Peer) -> Worker:
        folder = self._cache / "work"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"{peer.driver}.log"
        log.unlink(missing_ok=True)
        return Worker(peer, self._pythons[peer.driver], self._url, log)

    def _start(self, peer: Peer, *, keep: bool) -> None:
        figures = self.figures[peer]
        start = time.perf_counter()
        worker = self._worker(peer)
        ready = time.perf_counter() - start
        try:
            first = worker.ask("first", self._url)
            whole = time.perf_counter() - start
            memory = worker.ask("memory")
            figures.version = worker.ask("version", peer.distribution)
        finally:
            worker.close()
        if keep:
            figures.ready.append(ready)
            figures.first.append(first)
            figures.whole.append(whole)
            figures.memory.append(memory)

    def _round(self, peer: Peer, worker: Worker, *, keep: bool) -> None:
        figures = self.figures[peer]
        calls = worker.ask("calls", self._url, self._calls)
        if keep:
            figures.calls += calls
        if peer.stream:
            for frame in ("each", "bulk"):
                used = worker.ask("stream", f"{self._url}/chunks={CHUNKS},frame={frame}", CHUNKS)
                if keep:
                    figures.chunks[frame].append(used)

    def _fail_over(self, peer: Peer, worker: Worker) -> None:
        with socket.socket() as held:  # bound and not listening, so it refuses connections
            held.bind(("127.0.0.1", 0))
            down = f"http://127.0.0.1:{held.getsockname()[1]}"
            for fault, address in (("refused", down), ("500", f"{self._url}/status=500")):
                self.figures[peer].failover[fault] = worker.ask("failover", address, self._url, self._calls)


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for the peers' virtual environments")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works, not to publish")
    parser.add_argument("--write", type=Path, help="folder for the page and its drawings")
    options = parser.parse_args()
    start = time.monotonic()
    command = [sys.executable, SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        bench = Bench(options.cache.resolve(), int(server.stdout.readline()), quick=options.quick)
        bench.run()
        server.stdin.close()
    measured = {peer.title: figures for peer, figures in bench.figures.items()}
    text = page(measured, seconds=time.monotonic() - start, quick=options.quick)
    print(text)
    if options.write:
        written = options.write / "benchmarks.md"
        kept = "".join(written.read_text(encoding="utf-8").partition(BY_HAND)[1:]) if written.exists() else ""
        written.write_text(f"{text}\n\n{kept}" if kept else text, encoding="utf-8")
        (options.write / "benchmarks.svg").write_text(chart(measured), encoding="utf-8")
        (options.write / "pictures" / "figures.svg").write_text(chart(measured, short=True), encoding="utf-8")
    base = measured["requests, by hand"]
    ours = measured["providerhub"]
    return 0 if ours.problem == base.problem == "" and statistics.median(ours.calls) <= 0.7 * statistics.median(base.calls) else 1


if __name__ == "__main__":
    sys.exit(main())
