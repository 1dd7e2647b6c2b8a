"""Calls that Ctrl-C ends at once, on every system.

A thread makes the call, and the main thread waits for its pieces in short waits. A read in the main thread would not do: Python
notices a signal that comes in the instant before a blocking read after it, and under Windows no signal ends a read.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from providerhub import Completion, Hub, Stream
from providerhub._calling.many import POLL
from providerhub._calling.running import Running

_GRACE = 0.5  # seconds that an interrupted call has to end; a provider that does not look at its context is left alone after them


@contextlib.contextmanager
def answering(hub: Hub, *, stream: bool, **call: Any) -> Iterator[tuple[Completion | Stream, Iterator[str]]]:
    """Make a call for the length of a `with` block. Yields the answer and its texts, as they come."""
    running = Running()
    answers: list[Completion | Stream] = []

    def made() -> Iterator[str]:
        answers.append(hub._stoppable(running, stream=stream, patient=False, **call))  # noqa: SLF001 -- it can be stopped
        yield ""
        yield from answers[0] if isinstance(answers[0], Stream) else [answers[0].text]

    def stop() -> None:
        running.stop()
        for answer in answers:
            if isinstance(answer, Stream):
                answer.close()

    with contextlib.closing(_from_thread(made, stop)) as texts:
        next(texts)
        yield answers[0], texts


def _from_thread(made: Callable[[], Iterator[str]], stop: Callable[[], None]) -> Generator[str, None, None]:
    """Yield what an iterator yields in a thread of its own. Every way out calls `stop`."""
    results: SimpleQueue[tuple[str | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        error: BaseException | None = None
        try:
            for text in made():
                results.put((text, None))
        except BaseException as raised:  # raised in the main thread
            error = raised
        results.put((None, error))

    # A daemon: a call that does not end must not keep the process from its end.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="providerhub-call", daemon=True)
    try:
        thread.start()  # a signal may come before it returns
        while True:
            with contextlib.suppress(Empty):
                text, error = results.get(timeout=POLL)
                if error is not None:
                    raise error
                if text is None:
                    return
                yield text
    finally:
        stop()
        if thread.ident is not None:
            thread.join(_GRACE)
