"""Checks of the threads and connections that a provider leaves."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from providerhub import Hub
from providerhub.testing import Hold
from providerhub_conformance._faults.steps import Reset
from providerhub_conformance._kit.bench import Bench
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.outcome import NotApplicable, expect

GROUP = "resources"
_SHARED = ("providerhub-watchdog", "fault-server-", "conformance-", "pydevd")
"""The beginnings of the names of threads that may stay."""


@check(
    GROUP,
    wire=False,
    both=False,
    fix="Make close() do nothing when everything is closed.",
    promise="Hub.close(), `with` and the end of the process may close the provider in any order.",
)
def close_idempotent(bench: Bench) -> None:
    """The provider can be closed unused, used, and twice. A new provider then answers."""
    server = bench.service(bench.answering())
    for used in (False, True):
        hub = bench.hub(server.url + bench.wire.base if server else None)
        client = bench.client(server, hub=hub)
        if used:
            client.complete()
        close = getattr(bench.provider(hub), "close", None)
        if close is None:
            continue
        for time in ("first", "second"):
            try:
                close()
            except Exception as error:  # close() may raise any error
                bench.fail(f"the {time} close() raised {type(error).__name__}: {error}")
        hub.close()
    expect(bench.client(server).complete().text, "after a provider was closed, another one did not answer")


@check(
    GROUP,
    requires=("basic-call", "first-token-early", "reset"),
    fix="Close sessions and clients in close() and aclose(). End the threads that the provider started.",
    promise="An application can run for months without running out of descriptors.",
)
def nothing_left(bench: Bench) -> None:
    """After calls that succeed, fail and are closed early, closing the hub closes all connections and ends all threads."""
    before = set(threading.enumerate())
    frames = bench.frames()
    answering = bench.serve(bench.answering())
    failing = bench.serve(Reset())
    silent = bench.serve(bench.streamed(*frames.head, frames.pieces[0], Hold(), end=False))
    clients = []
    hubs = []
    for server in (answering, failing):
        hub = bench.hub(server.url + bench.wire.base)
        client = bench.client(server, hub=hub)
        hubs.append(hub)
        clients.append(client)
        for way in bench.ways(client):
            if server is failing:
                bench.fails_outright(way, "a reset")
            else:
                way()
    if bench.may_stream and bench.subject.model.supports_stream:
        hub = bench.hub(silent.url + bench.wire.base)
        client = bench.client(silent, hub=hub)
        hubs.append(hub)
        clients.append(client)
        client.read().close()
    for client in clients:
        client.close()
    for hub in hubs:
        hub.close()
    for server in (answering, failing, silent):
        try:
            server.wait_idle(timeout=bench.subject.patience)
        except TimeoutError:
            bench.fail(f"{server.open_connections} connection(s) are still open after Hub.close()")
    left = [t for t in set(threading.enumerate()) - before if not t.name.startswith(_SHARED)]
    for thread in left:
        thread.join(bench.subject.patience)
    alive = [thread.name for thread in left if thread.is_alive()]
    expect(not alive, f"threads are still running after Hub.close(): {', '.join(alive)}")


@check(
    GROUP,
    requires=("async-call", "nothing-left"),
    both=False,
    fix="Close in close() what belongs to a loop that has ended, such as a ClientSession of your own; AsyncHttpClient does.",
    promise="asyncio.run() may be called again and again, and no warning of an unclosed session is logged.",
)
def ended_loop_clean(bench: Bench) -> None:
    """After event loops that ended without `aclose()`, closing the hub leaves no unclosed session or transport."""
    server = bench.serve(bench.answering())
    hub = bench.hub(server.url + bench.wire.base)
    if not callable(getattr(bench.provider(hub), "astream", None)):
        raise NotApplicable("it has no astream of its own")
    with _complaints() as found:
        for _ in range(2):
            thread = threading.Thread(target=lambda: asyncio.run(_ask(bench, hub)), name="conformance-loop", daemon=True)
            thread.start()
            thread.join(bench.subject.patience)
            expect(not thread.is_alive(), f"an asynchronous call did not end within {bench.subject.patience:g} s")
        hub.close()
        gc.collect()
    expect(not found, f"after the loop had ended: {'; '.join(found)}")


async def _ask(bench: Bench, hub: Hub) -> None:
    await hub.acomplete(bench.subject.target, "Hello")


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect the errors that asyncio logs, and the warnings of resources that were not closed."""
    found: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
        found += [str(one.message) for one in caught if issubclass(one.category, ResourceWarning)]
    finally:
        logger.removeHandler(handler)
