"""A Dask cluster as an executor that never makes a call twice by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any
from uuid import uuid4

import distributed
from distributed.diagnostics.plugin import SchedulerPlugin

PREFIX = "providerhub-"


class WorkerLostError(BrokenExecutor):
    """The worker that made a call was killed, or left the cluster. It is unknown whether the provider was asked."""


class Once(SchedulerPlugin):  # type: ignore[misc]  # untyped
    """Lets the scheduler give each call to a worker only once. Dask would silently repeat a lost call up to three times."""

    name = "providerhub-once"
    idempotent = True  # another client may have registered the plugin
    _scheduler: Any = None

    async def start(self, scheduler: Any) -> None:
        """Keep the scheduler."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *_args: Any, **_kwargs: Any) -> None:  # noqa: ARG002 -- as in the base
        """Note a call that a worker gets, so that its loss is an error. A call with a lost result is never made again."""
        if isinstance(key, str) and key.startswith(PREFIX) and (task := self._scheduler.tasks.get(key)) is not None:
            if finish == "processing":
                task.suspicious = self._scheduler.allowed_failures
            elif finish == "memory":
                task.run_spec = None


class DaskExecutor(Executor):
    """The workers of a cluster. `client` is closed at the end.

    Each call has a unique, random key, so that two equal calls are two calls, and the key shows nothing of the call.
    """

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        client.register_plugin(Once())

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Make a call in any worker."""
        made: Future[Any] = Future()
        asked = self._client.submit(call, *args, key=f"{PREFIX}{uuid4().hex}", pure=False, **kwargs)
        made.add_done_callback(lambda made: asked.cancel() if made.cancelled() else asked.release())
        self._client.loop.add_callback(_settle, asked, made)
        return made

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002 -- as in the base
        """Close the connection, after which the scheduler forgets the calls."""
        self._client.close()


async def _settle(asked: distributed.Future, made: Future[Any]) -> None:
    error: BaseException | None = None
    result = None
    try:
        result = await asked
    except (distributed.scheduler.KilledWorker, CancelledError, asyncio.CancelledError) as lost:
        error = WorkerLostError(f"the worker of a call was lost: {type(lost).__name__}")
    except BaseException as raised:  # any error of the call is the outcome of this future
        error = raised
    if not made.set_running_or_notify_cancel():
        return
    if error is None:
        made.set_result(result)
    else:
        made.set_exception(error)
