"""The threads of many calls."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor


class Threads(ThreadPoolExecutor):
    """At most so many threads. Where the system has fewer to give, the calls wait for those that there are."""

    def __init__(self, count: int) -> None:
        super().__init__(count, thread_name_prefix="providerhub-many")

    def grow(self) -> None:
        """Begin a first thread, if the system had none to give before."""
        if not self._threads:
            self._adjust_thread_count()

    def _adjust_thread_count(self) -> None:
        # `submit` calls this, in all versions of Python, when it has taken the call: a thread that is missing does not lose it.
        with contextlib.suppress(RuntimeError):
            super()._adjust_thread_count()
