"""Work that blocks, done in threads: each task once, for all calls that wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from providerhub._log import log as _log
from providerhub._threads import PromptThread, renewed_at_fork

if TYPE_CHECKING:  # slow to import; most calls need no task
    from concurrent.futures import Future


GRACE = 0.25  # seconds that a call that could go on still waits for tasks, so that its plan does not depend on a race
AGAIN = 0.05  # seconds until another try to start a thread, if the system could not start one


class Task:
    """Work that one daemon thread does once. Several calls may start the task and wait for it. Thread-safe.

    An exception of the work is logged. Any other `BaseException`, such as `KeyboardInterrupt`, is raised in the waiting callers.
    """

    __slots__ = ("__weakref__", "_lock", "_started", "_thread", "_work", "done", "ended", "interruption", "name")

    done: Future[None]  # has the result `None` after the work has ended or failed

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self._work = work
        self.ended = False
        self.interruption: BaseException | None = None
        self._begin()
        renewed_at_fork(self)

    def _begin(self) -> None:
        from concurrent.futures import Future  # slow to import; most calls need no task

        self._lock = threading.Lock()
        self._started = 0.0
        self._thread: threading.Thread | None = None
        self.done = Future()
        self.done.set_running_or_notify_cancel()  # a cancelled call cannot cancel it for the other calls

    def _at_fork_reinit(self) -> None:
        """Reset a task that a thread of the parent process has not finished, so that a forked process can do it."""
        if not (self.ended or self.is_own):
            self._begin()

    @property
    def age(self) -> float:
        """Seconds since the start; zero before it."""
        return time.monotonic() - self._started if self._thread else 0.0

    @property
    def is_own(self) -> bool:
        """Whether the calling thread itself does this work, so that waiting would never end."""
        return self._thread is threading.current_thread()

    def start(self) -> bool:
        """Begin the work in a new thread, unless it has begun; false if the system cannot start a thread."""
        with self._lock:
            if self._thread is None:
                thread = PromptThread(self._run, f"providerhub: {self.name}")
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

    def _run(self) -> None:
        try:
            self._work()
        except Exception:
            _log.warning("could not %s", self.name, exc_info=True)
        except BaseException as error:
            self.interruption = error
        self.ended = True
        self.done.set_result(None)
        # The callbacks of a future keep the event loops of the waiting calls, and this object lives as long as its hub.
        ended = type(self.done)()
        ended.set_result(None)
        self.done = ended


class Job(NamedTuple):
    """A task of one call, and the time that this call may wait for it."""

    task: Task  # the work, done in a thread of its own
    longest: float = float("inf")  # seconds that the call waits at most; zero starts the task and does not wait
    share: float = 1.0  # the part of the call's time that the wait may take; from 0 to 1
    # Returns whether the call can go on without this task. Called each time another task has ended.
    is_needless: Callable[[], object] = bool


def run_all(jobs: Sequence[Job], seconds: float) -> None:
    """Do jobs at once, each in a thread, and wait. A task that takes longer goes on by itself."""
    from concurrent import futures  # as above

    wait = _Wait(jobs, seconds)
    for job in jobs:
        if not job.task.start() and job.longest > 0:
            job.task.run()
    while left := wait.left():
        futures.wait(_pending(jobs), min(left, threading.TIMEOUT_MAX), futures.FIRST_COMPLETED)


async def arun_all(jobs: Sequence[Job], seconds: float) -> None:
    """`run_all` under asyncio, without blocking the event loop."""
    import asyncio  # slow to import; a running loop has imported it already

    wait = _Wait(jobs, seconds)
    while True:
        started = [job.task.start() for job in jobs]
        if not (all(started) or threading.main_thread().is_alive()):  # Python 3.12 gives no thread to a program that ends
            for job in (job for job in jobs if job.longest > 0):
                job.task.run()
        left = wait.left()
        if not left:
            return
        if not (pending := [asyncio.wrap_future(done) for done in _pending(jobs)]):
            continue
        seconds = left if all(started) else min(left, AGAIN)
        try:
            await asyncio.wait(pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in pending:
                future.cancel()  # the loop may have ended when the task ends


def _pending(jobs: Sequence[Job]) -> list[Future[None]]:
    return [job.task.done for job in jobs if not job.task.ended]


class _Wait:
    """The end of a call's wait for each of its jobs."""

    def __init__(self, jobs: Sequence[Job], seconds: float) -> None:
        now = time.monotonic()
        self._until = {job: now + min(job.longest, seconds * job.share) for job in jobs}

    def left(self) -> float:
        """Seconds until the call goes on without the running tasks; zero for now. Raises the exception of a stopped task."""
        now = time.monotonic()
        for job, until in self._until.items():
            if job.task.interruption is not None:
                raise job.task.interruption
            if until > now + GRACE and job.is_needless():
                self._until[job] = now + GRACE
        return max((until - now for job, until in self._until.items() if not job.task.ended and until > now), default=0.0)
