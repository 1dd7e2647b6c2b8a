"""The callable around each call that answers equal requests from a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from providerhub import Completion, Request
from providerhub_cache._answers import is_worth_keeping, key_of, packed, unpacked
from providerhub_cache._config import store_of
from providerhub_cache._stores import Store


class Cache:
    """Answers equal requests from a store; `Hub(around=[Cache({"url": "memory"})])` uses one without the settings.

    Only whole answers are stored: no errors, no refusals, no cut or filtered answers. If the store does not work, no call fails,
    and the log has one line.

    Args:
        table: The keys of the table `[cache]`: `url`, `age`, `size`. Default: in memory, for a day.
        aliases: The aliases of the settings. If the targets of an alias change, its earlier answers are not used.

    Raises:
        ConfigurationError: A value is wrong.
    """

    def __init__(self, table: Mapping[str, Any] | None = None, *, aliases: Mapping[str, Any] | None = None) -> None:
        self._store: Store = store_of(table or {})
        self._aliases = aliases or {}
        self._is_logged = False

    def __call__(self, request: Request, go_on: Any) -> Any:
        """Answer from the store, or go on and keep the answer.

        Args:
            request: The request.
            go_on: Continues the call; it has `asked`, `options`, `cache` and `awaited`.

        Returns:
            The answer, or, if `go_on.awaited`, an awaitable.
        """
        key = None if go_on.cache is False else key_of(go_on.asked, request, go_on.options, self._aliases)
        if key is None:
            return go_on(request)
        if go_on.awaited:
            return self._awaited(key, request, go_on)
        found = self._found(key)
        return found if found is not None else self._kept(key, go_on(request), self._keep)

    def clear(self) -> None:
        """Remove all answers."""
        self._store.clear()

    def close(self) -> None:
        """Close files and connections of the store."""
        self._store.close()

    async def _awaited(self, key: str, request: Request, go_on: Any) -> Any:
        import asyncio  # slow to import; the caller has an event loop

        found = await asyncio.to_thread(self._found, key)
        if found is not None:
            return found
        tasks: set[Any] = set()

        def keep(key: str, answer: Completion) -> None:
            task = asyncio.ensure_future(asyncio.to_thread(self._keep, key, answer))
            tasks.add(task)  # the event loop itself does not keep a task alive
            task.add_done_callback(tasks.discard)

        answer = await go_on(request)
        if isinstance(answer, Completion):
            await asyncio.to_thread(self._keep, key, answer)
            return answer
        return self._kept(key, answer, keep)

    def _kept(self, key: str, answer: Any, keep: Callable[[str, Completion], None]) -> Any:
        """The answer, stored at once, or when its stream has been read to its end."""
        if isinstance(answer, Completion):
            keep(key, answer)
        else:
            answer.when_whole(lambda whole: keep(key, whole))
        return answer

    def _found(self, key: str) -> Completion | None:
        try:
            data = self._store.get(key)
        except Exception as error:  # the store is down, full or broken; the call goes on
            self._once("read", error)
            return None
        return None if data is None else unpacked(data)

    def _keep(self, key: str, answer: Completion) -> None:
        if not is_worth_keeping(answer):
            return
        try:
            self._store.set(key, packed(answer))
        except Exception as error:  # as above, or a detail that is not JSON
            self._once("written", error)

    def _once(self, what: str, error: Exception) -> None:
        if not self._is_logged:
            self._is_logged = True
            import logging  # slow to import; few programs log a problem

            log = logging.getLogger("providerhub.cache")
            log.warning("the cache cannot be %s, so calls go on without it: %s: %s", what, type(error).__name__, error)
