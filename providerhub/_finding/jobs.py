"""Work that blocks, done in threads beside the callers: each piece once, however many calls wait for it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

_log = logging.getLogger("providerhub")

GRACE = 0.25
"""Seconds that a call waits for further tasks after it could go on, so that the order of its plan depends on no race."""

AGAIN = 0.05
"""Seconds until another try to start a thread, where the system has none to give."""


class Task:
    """Work that one daemon thread does once. Several calls may start the task and wait for it. Thread-safe.

    Args:
        name: The work in a few words, such as `"list the models of acme"`.
        work: The function that does it. An exception of it is logged; any other `BaseException`, such as `KeyboardInterrupt`,
            is raised in the callers that wait.
    """

    __slots__ = ("_lock", "_started", "_thread", "_watchers", "_work", "ended", "interruption", "name")

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self._work = work
        self._lock = threading.Lock()
        self._started = 0.0
        self._thread: threading.Thread | None = None
        self._watchers: list[Callable[[], object]] = []
        self.ended = False
        self.interruption: BaseException | None = None

    @property
    def age(self) -> float:
        """Seconds since the start; zero before it."""
        return time.monotonic() - self._started if self._thread else 0.0

    @property
    def is_own(self) -> bool:
        """Whether the calling thread does this work, so that waiting for it would never end."""
        return self._thread is threading.current_thread()

    def start(self) -> bool:
        """Begin the work in a thread of its own, unless it has begun.

        Returns:
            False when the system has no thread to give.
        """
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"providerhub: {self.name}", daemon=True)
                self._thread, self._started = thread, time.monotonic()
                try:
                    thread.start()
                except RuntimeError:
                    self._thread = None
                    return False
        return True

    def run(self) -> None:
        """Do the work in the calling thread, unless it has begun."""
        with self._lock:
            if self._thread is not None:
                return
            self._thread, self._started = threading.current_thread(), time.monotonic()
        self._run()

    def watch(self, watcher: Callable[[], object]) -> None:
        """Have a function called at the end of the work, from any thread; at once when the work has ended."""
        with self._lock:
            if not self.ended:
                self._watchers.append(watcher)
                return
        watcher()

    def unwatch(self, watcher: Callable[[], object]) -> None:
        """Take a function of `watch` back."""
        with self._lock, contextlib.suppress(ValueError):
            self._watchers.remove(watcher)

    def _run(self) -> None:
        try:
            self._work()
        except Exception:
            _log.warning("could not %s", self.name, exc_info=True)
        except BaseException as error:
            self.interruption = error
        with self._lock:
            self.ended = True
            watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher()


def _never() -> bool:
    return False


class Job(NamedTuple):
    """A task that one call starts, and the time that this call may wait for it.

    Args:
        task: The work, done in a thread of its own.
        longest: Seconds that the call waits at most; zero starts the task and does not wait.
        share: The part of the call's time that the wait may take; from 0 to 1.
        is_needless: Returns whether the call can go on without this task by now. It is asked whenever another task has ended.
    """

    task: Task
    longest: float = float("inf")
    share: float = 1.0
    is_needless: Callable[[], bool] = _never


def run_all(jobs: Sequence[Job], seconds: float) -> None:
    """Do jobs at once, each in a thread, and wait. A task that takes longer goes on by itself.

    Args:
        jobs: The jobs, whose tasks may have begun already.
        seconds: The time that all of them may take.
    """
    ended = threading.Semaphore(0)
    wait = _Wait(jobs, seconds)
    with _watched(jobs, ended.release):
        for job in jobs:
            if not job.task.start() and job.longest > 0:
                job.task.run()
        while left := wait.left():
            ended.acquire(timeout=min(left, threading.TIMEOUT_MAX))


async def arun_all(jobs: Sequence[Job], seconds: float) -> None:
    """`run_all` under asyncio: the event loop goes on meanwhile.

    Args:
        jobs: The jobs, whose tasks may have begun already.
        seconds: The time that all of them may take.
    """
    import asyncio  # slow to import; a running loop has imported it already

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop may have ended
            loop.call_soon_threadsafe(ended.set)

    wait = _Wait(jobs, seconds)
    with _watched(jobs, wake):
        while True:
            ended.clear()
            started = [job.task.start() for job in jobs]
            left = wait.left()
            if not left:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if all(started) else min(left, AGAIN)):
                    await ended.wait()


class _Wait:
    """The moments until which a call waits for its jobs."""

    def __init__(self, jobs: Sequence[Job], seconds: float) -> None:
        now = time.monotonic()
        self._until = {job: now + min(job.longest, seconds * job.share) for job in jobs}

    def left(self) -> float:
        """Seconds until the call goes on although tasks are under way; zero when it goes on now.

        Raises:
            BaseException: A task was interrupted.
        """
        now = time.monotonic()
        for job, until in self._until.items():
            if job.task.interruption is not None:
                raise job.task.interruption
            if until > now + GRACE and job.is_needless():
                self._until[job] = now + GRACE
        return max((until - now for job, until in self._until.items() if not job.task.ended and until > now), default=0.0)


@contextlib.contextmanager
def _watched(jobs: Sequence[Job], watcher: Callable[[], object]) -> Iterator[None]:
    for job in jobs:
        job.task.watch(watcher)
    try:
        yield
    finally:
        for job in jobs:
            job.task.unwatch(watcher)
