"""HTTP under asyncio: one POST at a time, with the phases, limits and key hygiene of `providerhub.http`, over aiohttp.

aiohttp because it is well kept and its parser is compiled: a streamed piece costs a tenth of what the pure Python clients take.
It is imported by the first asynchronous call.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import weakref
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from providerhub import CallContext, InvalidRequestError, ProtocolError, ProviderConfig, ProviderError, error_from_status
from providerhub.http import BODY_LIMIT, ERROR_BODY_LIMIT
from providerhub_openai._async_answer import AsyncAnswer
from providerhub_openai._guard import Guard

if TYPE_CHECKING:  # slow to import, and imported already by whoever has a running loop
    from asyncio import AbstractEventLoop

_HEAD_LIMIT = 65536
"""Bytes of one header line."""
_LARGE = 1024 * 1024
"""Bytes from which on aiohttp wants a body as a file."""


class _Session:
    """The connections that one event loop keeps.

    Args:
        client: aiohttp's session.
        loop: The loop.

    Attributes:
        keeper: Closes them when it is closed.
        users: How many answers are under way on them.
    """

    def __init__(self, client: Any, loop: AbstractEventLoop) -> None:
        self.client = client
        self.users = 0
        self.keeper = self._kept()
        self._loop = loop
        self._is_given_up = False

    def give_up(self) -> None:
        """Close them as soon as nobody uses one; in the loop's own thread, as everything here."""
        self._is_given_up = True
        self._close_unused()

    def left(self) -> None:
        """One answer is over."""
        self.users -= 1
        self._close_unused()

    def _close_unused(self) -> None:
        if self._is_given_up and not self.users:
            task = self._loop.create_task(self._closed())
            _closing.add(task)  # a loop holds its tasks weakly
            task.add_done_callback(_closing.discard)

    async def _closed(self) -> None:
        await self.keeper.aclose()

    async def _kept(self) -> AsyncGenerator[None, None]:
        """Hold them until the loop ends: a loop closes the generators that are still open in it, and so the connections."""
        try:
            yield
        finally:
            await self.client.close()


_closing: set[Any] = set()


class AsyncClient:
    """Posts JSON to one service. Connections are kept and used again, separately in each event loop.

    No redirect is followed, nothing is retried, no `.netrc`, cookie or proxy variable of the environment is read, and bodies are
    asked for without compression.

    Args:
        config: The instance's settings, which `HttpClient` has found usable.
        headers: Further headers of every request.
    """

    def __init__(self, config: ProviderConfig, headers: Mapping[str, str]) -> None:
        self._url = (config.url or "").rstrip("/")
        self._key = config.api_key.reveal().strip() if config.api_key else ""
        self._bundle = config.ca_bundle
        self._proxy = _proxy(self._url, config.proxies)
        self._headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "providerhub",
            **headers,
        }
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        self._tls: Any = None
        self._sessions: weakref.WeakKeyDictionary[AbstractEventLoop, _Session] = weakref.WeakKeyDictionary()

    async def post(self, path: str, payload: Mapping[str, Any], call: CallContext, *, stream: bool) -> AsyncAnswer:
        """Send a request and wait for its headers.

        Args:
            path: Appended to the configured address.
            payload: Becomes the JSON body.
            call: How long there is, and whether the answer is still wanted.
            stream: Whether the wire answer streams, so that the first-token and token-idle clocks apply.

        Returns:
            The answer, to be closed by whoever asked.

        Raises:
            ProviderError: Any refusal or failure, classed; keys are taken out of what it says.
        """
        import asyncio  # noqa: PLC0415 -- slow to import, and imported already by whoever has a running loop

        body = _encoded(payload)
        loop = asyncio.get_running_loop()
        session = await self._session(loop)
        session.users += 1
        phase = asyncio.timeout(None)
        due = min(call.started + (call.timeout.first_token if stream else call.timeout.total), call.deadline)
        guard = Guard(loop, call.clock, due, lambda: phase.reschedule(loop.time()))
        forget = call.on_cancel(guard.cancel)

        def left() -> None:
            forget()
            session.left()

        answer = AsyncAnswer(call, guard, left, BODY_LIMIT, stream=stream)
        failure: Exception | None = None
        try:
            async with phase:
                answer.take(await self._send(session.client, path, body, call))
            if not 200 <= answer.status < 300:  # noqa: PLR2004 -- an HTTP status is its own name
                failure = await self._refusal(answer)
        except Exception as error:  # noqa: BLE001 -- whatever the layers below raise is classed
            # Raised below: aiohttp's errors carry the request's headers, and what is raised here would carry aiohttp's.
            failure = answer.classed(error)
        except BaseException:
            answer.close()
            raise
        if failure is not None:
            answer.close()
            raise failure
        return answer

    def close(self) -> None:
        """Have each event loop close the connections that it keeps, once no answer is under way on one of them."""
        for loop in list(self._sessions):
            session = self._sessions.pop(loop, None)
            if session is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed, and has closed them before
                    loop.call_soon_threadsafe(session.give_up)

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and have the others close theirs."""
        from asyncio import get_running_loop  # noqa: PLC0415 -- slow to import, and imported already by whoever is here

        found = self._sessions.pop(get_running_loop(), None)
        if found is not None:
            await found.keeper.aclose()
        self.close()

    async def _session(self, loop: AbstractEventLoop) -> _Session:
        found = self._sessions.get(loop)
        if found is None or found.client.closed:  # a loop may have closed its generators, and go on
            found = self._sessions[loop] = _Session(self._opened(), loop)
            await anext(found.keeper)
        return found

    def _opened(self) -> Any:
        import aiohttp  # noqa: PLC0415 -- slow to import; who never awaits does not pay for it

        from providerhub_openai._aiohttp import Connector, Response  # noqa: PLC0415 -- the same

        if self._tls is None and self._url.startswith("https:"):
            import ssl  # noqa: PLC0415 -- slow to import

            import certifi  # noqa: PLC0415 -- the same

            trusted = self._bundle or certifi.where()
            folder = Path(trusted).is_dir()
            self._tls = ssl.create_default_context(cafile=None if folder else trusted, capath=trusted if folder else None)
        return aiohttp.ClientSession(
            connector=Connector(limit=0, ssl=self._tls if self._tls is not None else True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            response_class=Response,
            timeout=aiohttp.ClientTimeout(),
            trust_env=False,
            max_line_size=_HEAD_LIMIT,
            max_field_size=_HEAD_LIMIT,
        )

    async def _send(self, session: Any, path: str, body: bytes, call: CallContext) -> Any:
        from aiohttp import ClientTimeout  # noqa: PLC0415 -- slow to import, and imported already for the session

        connect = max(call.remaining(call.timeout.connect), 0.001)
        return await session.post(
            self._url + path,
            data=body if len(body) < _LARGE else io.BytesIO(body),
            allow_redirects=False,
            proxy=self._proxy,
            timeout=ClientTimeout(connect=connect, ceil_threshold=math.inf),
        )

    async def _refusal(self, answer: AsyncAnswer) -> ProviderError:
        if 300 <= answer.status < 400:  # noqa: PLR2004 -- an HTTP status is its own name
            return ProtocolError(
                f"HTTP {answer.status}: a redirect, which is not followed; correct the configured address", status=answer.status
            )
        body = await answer.peek(ERROR_BODY_LIMIT)
        return error_from_status(answer.status, answer.headers, body)


def _encoded(payload: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"the request cannot be written as JSON: {error}"
        raise InvalidRequestError(msg) from error


def _proxy(url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy for an address, chosen and completed as in `providerhub.http`."""
    if not proxies:
        return None
    from requests.utils import select_proxy  # noqa: PLC0415 -- slow to import; needed where there are proxies only

    proxy = select_proxy(url, proxies)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
