"""HTTP under asyncio: one POST at a time, with the phases, limits and key hygiene of `providerhub.http`, over aiohttp.

aiohttp because it is well kept and its parser is compiled: a streamed piece costs a tenth of what the pure Python clients take.
It is imported by the first asynchronous call.
"""

from __future__ import annotations

import io
import json
import math
import weakref
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

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
        scheme = urlsplit(self._url).scheme
        self._proxy = config.proxies.get(scheme) or config.proxies.get("all")
        self._headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "providerhub",
            **headers,
        }
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        self._tls: Any = None
        self._sessions: weakref.WeakKeyDictionary[AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]]
        self._sessions = weakref.WeakKeyDictionary()

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
        phase = asyncio.timeout(None)
        due = min(call.started + (call.timeout.first_token if stream else call.timeout.total), call.deadline)
        guard = Guard(loop, call.clock, due, lambda: phase.reschedule(loop.time()))
        answer = AsyncAnswer(call, guard, call.on_cancel(guard.cancel), BODY_LIMIT, stream=stream)
        failure: Exception | None = None
        try:
            async with phase:
                answer.take(await self._send(session, path, body, call))
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
        """Have each event loop close the connections that it keeps."""
        for loop, (_, keeper) in list(self._sessions.items()):
            try:
                loop.call_soon_threadsafe(_close_soon, loop, keeper)
            except RuntimeError:  # the loop is closed, and has closed them before
                self._sessions.pop(loop, None)

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and have the others close theirs."""
        from asyncio import get_running_loop  # noqa: PLC0415 -- slow to import, and imported already by whoever is here

        found = self._sessions.pop(get_running_loop(), None)
        if found is not None:
            await found[1].aclose()
        self.close()

    async def _session(self, loop: AbstractEventLoop) -> Any:
        found = self._sessions.get(loop)
        if found is None:
            session = self._opened()
            found = self._sessions[loop] = (session, self._kept(session, loop))
            await anext(found[1])
        return found[0]

    def _opened(self) -> Any:
        import aiohttp  # noqa: PLC0415 -- slow to import; who never awaits does not pay for it

        from providerhub_openai._aiohttp import Connector, Response  # noqa: PLC0415 -- the same

        if self._tls is None and self._url.startswith("https:"):
            import ssl  # noqa: PLC0415 -- slow to import

            import certifi  # noqa: PLC0415 -- the same

            self._tls = ssl.create_default_context(cafile=self._bundle or certifi.where())
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

    async def _kept(self, session: Any, loop: AbstractEventLoop) -> AsyncGenerator[None, None]:
        """Hold a session until its loop ends: a loop closes the generators that are still open in it, and so the session."""
        try:
            yield
        finally:
            self._sessions.pop(loop, None)
            await session.close()

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
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"the request cannot be written as JSON: {error}"
        raise InvalidRequestError(msg) from error


_closing: set[Any] = set()


def _close_soon(loop: AbstractEventLoop, keeper: AsyncGenerator[None, None]) -> None:
    task = loop.create_task(_closed(keeper))
    _closing.add(task)  # a loop holds its tasks weakly
    task.add_done_callback(_closing.discard)


async def _closed(keeper: AsyncGenerator[None, None]) -> None:
    await keeper.aclose()
