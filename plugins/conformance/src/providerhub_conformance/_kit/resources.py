"""Checks of what a provider leaves behind."""

from __future__ import annotations

import threading

from providerhub.testing import Hold
from providerhub_conformance._faults.steps import Reset
from providerhub_conformance._kit.bench import Bench
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.outcome import expect

GROUP = "resources"
_SHARED = ("providerhub-watchdog", "fault-server-", "conformance-", "pydevd")
"""Names of threads that live on by right."""


@check(
    GROUP,
    wire=False,
    both=False,
    fix="Make close() look whether there is anything left to close.",
    promise="Hub.close(), `with` and the end of the process may each close, in any order.",
)
def close_idempotent(bench: Bench) -> None:
    """The provider can be closed before it was used, after, and twice; the hub answers again with a fresh one."""
    server = bench.service(bench.answering())
    hub = bench.hub(server.url + bench.wire.base if server else None)
    client = bench.client(server, hub=hub)
    for used in (False, True):
        if used:
            client.complete()
        close = getattr(bench.provider(hub), "close", None)
        if close is None:
            continue
        for time in ("first", "second"):
            try:
                close()
            except Exception as error:  # whatever it raises
                bench.fail(f"the {time} close() raised {type(error).__name__}: {error}")
        hub.close()
    expect(client.complete().text, "after the hub was closed, it did not answer again")


@check(
    GROUP,
    requires=("basic-call", "first-token-early", "reset"),
    fix="Close sessions and clients in close() (and aclose()); end threads that the provider started.",
    promise="An application that runs for months does not run out of descriptors.",
)
def nothing_left(bench: Bench) -> None:
    """After calls that succeed, fail and are given up, closing the hub closes every connection and ends every thread."""
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
