"""HTTP under asyncio, over aiohttp, with the timeouts and limits of `providerhub.http`.

aiohttp is well maintained, and its parser is compiled: a streamed piece costs a tenth of the time that a client in pure Python
takes. The first asynchronous call imports it.
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
from providerhub_openai._timer import LoopTimer

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop

_HEAD_LIMIT = 65536
"""The most bytes of one header line."""
_LARGE = 1024 * 1024
"""Bytes. aiohttp warns about a larger body that is not a file."""


class _Session:
    """The connections that one event loop keeps open between calls.

    Args:
        client: aiohttp's session.
        loop: The event loop of the session.

    Attributes:
        keeper: A generator that closes the session when it is closed itself.
        users: How many answers are being read on the session.
    """

    def __init__(self, client: Any, loop: AbstractEventLoop) -> None:
        self.client = client
        self.users = 0
        self.keeper = self._kept()
        self._loop = loop
        self._closing = False

    def close_when_unused(self) -> None:
        """Close the session after its last answer. Like all methods, call this in the loop's thread."""
        self._closing = True
        self._close_unused()

    def release(self) -> None:
        """End the use by one answer."""
        self.users -= 1
        self._close_unused()

    def _close_unused(self) -> None:
        if self._closing and not self.users:
            task = self._loop.create_task(self._closed())
            _closing_tasks.add(task)  # a loop refers to its tasks weakly
            task.add_done_callback(_closing_tasks.discard)

    async def _closed(self) -> None:
        await self.keeper.aclose()

    async def _kept(self) -> AsyncGenerator[None, None]:
        """Keep the session until the loop ends: a loop that ends closes its open generators, and this one closes the session."""
        try:
            yield
        finally:
            await self.client.close()


_closing_tasks: set[Any] = set()


class AsyncClient:
    """Posts JSON to one service. Connections are kept open between calls, separately in each event loop.

    The client follows no redirect and retries nothing. It reads no `.netrc`, stores no cookies, and ignores the proxy variables
    of the environment. It asks for uncompressed bodies.

    Args:
        config: The instance's configuration, which `HttpClient` has checked.
        headers: Headers to add to every request.
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
        """Send a POST request and wait for the headers of the answer.

        Args:
            path: Appended to the configured url.
            payload: Sent as the JSON body.
            call: The call: its timeouts and whether it is cancelled.
            stream: Whether the answer is a stream, so that the first-token and token-idle timeouts apply.

        Returns:
            The answer. The caller closes it.

        Raises:
            ProviderError: The service refused or the exchange failed.
            InvalidRequestError: `payload` cannot be written as JSON.
        """
        import asyncio  # slow to import; a caller with a running loop has imported it

        body = _encoded(payload)
        loop = asyncio.get_running_loop()
        session = await self._session(loop)
        session.users += 1
        phase = asyncio.timeout(None)
        due = min(call.started + (call.timeout.first_token if stream else call.timeout.total), call.deadline)
        timer = LoopTimer(loop, call.clock, due, lambda: phase.reschedule(loop.time()))
        unsubscribe = call.on_cancel(timer.cancel)

        def closed() -> None:
            unsubscribe()
            session.release()

        answer = AsyncAnswer(call, timer, closed, BODY_LIMIT, stream=stream)
        failure: Exception | None = None
        try:
            async with phase:
                answer.take(await self._send(session.client, path, body, call))
            if not 200 <= answer.status < 300:  # noqa: PLR2004 -- an HTTP status is its own name
                failure = await self._refusal(answer)
        except Exception as error:  # every exception of aiohttp is translated
            # Raised below, outside of this block: as its context, aiohttp's error would show the request's headers.
            failure = answer.classed(error)
        except BaseException:
            answer.close()
            raise
        if failure is not None:
            answer.close()
            raise failure
        return answer

    def close(self) -> None:
        """Make each event loop close its connections, as soon as no answer uses them."""
        for loop in list(self._sessions):
            session = self._sessions.pop(loop, None)
            if session is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed, and has closed its connections
                    loop.call_soon_threadsafe(session.close_when_unused)

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and make other loops close theirs."""
        from asyncio import get_running_loop  # slow to import; a caller with a running loop has imported it

        found = self._sessions.pop(get_running_loop(), None)
        if found is not None:
            await found.keeper.aclose()
        self.close()

    async def _session(self, loop: AbstractEventLoop) -> _Session:
        found = self._sessions.get(loop)
        if found is None or found.client.closed:  # a loop may close its generators and run again
            found = self._sessions[loop] = _Session(self._opened(), loop)
            await anext(found.keeper)
        return found

    def _opened(self) -> Any:
        import aiohttp  # slow to import; only asynchronous calls need it

        from providerhub_openai._aiohttp import Connector, Response  # imports aiohttp

        if self._tls is None and self._url.startswith("https:"):
            import ssl  # slow to import; only https needs it

            import certifi

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
        from aiohttp import ClientTimeout  # slow to import; the session has imported it

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
                f"HTTP {answer.status}: a redirect, which is not followed; correct the configured url", status=answer.status
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
    """Return the proxy for an address, chosen as in `providerhub.http`; `None` for a direct connection."""
    if not proxies:
        return None
    from requests.utils import select_proxy  # slow to import; only proxies need it

    proxy = select_proxy(url, proxies)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
