"""HTTP under asyncio, over aiohttp, with the timeouts and limits of `providerhub.http`.

aiohttp is well maintained, and its parser is compiled: a streamed piece costs a tenth of the time that a client in pure Python
takes. The first asynchronous call imports it.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
import weakref
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from providerhub import (
    CallContext,
    InvalidRequestError,
    ProviderConfig,
    ProviderError,
)
from providerhub.http import BODY_LIMIT, ERROR_BODY_LIMIT, HttpClient
from providerhub_openai._async_answer import AsyncAnswer, first_timeout
from providerhub_openai._session import Session, drop_lost
from providerhub_openai._timer import LoopTimer

if TYPE_CHECKING:  # slow to import; a caller with a running loop has imported it
    from asyncio import AbstractEventLoop

_HEAD_LIMIT = 65536
"""The most bytes of one header line."""
_IDLE_LIMIT = 60.0
"""Seconds. A connection that was idle for longer is not used again: a gateway on the way may have forgotten it without a word."""
_LARGE = 1024 * 1024
"""Bytes. aiohttp warns about a larger body that is not a file."""


class AsyncClient:
    """Posts JSON to one service. Connections are kept open between calls, separately in each event loop.

    The client follows no redirect and retries nothing. It reads no `.netrc`, stores no cookies, and ignores the proxy variables
    of the environment. It asks for uncompressed bodies.

    Args:
        config: The instance's configuration.
        headers: Headers to add to every request. The headers of `config` outrank them.
        http: The synchronous client of the same configuration. It has checked it.
    """

    def __init__(self, config: ProviderConfig, headers: Mapping[str, str], http: HttpClient) -> None:
        self._http = http
        self._bundle = config.ca_bundle
        self._certificate = config.client_cert, config.client_key
        self._proxy = _proxy(http.address(""), config.proxies)
        key = config.api_key.reveal().strip() if config.api_key else ""
        self._headers = (
            {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "providerhub"},
            {"Authorization": f"Bearer {key}"} if key else {},
            headers,
            config.headers,
        )
        self._tls: Any = None
        self._sessions: weakref.WeakKeyDictionary[AbstractEventLoop, Session] = weakref.WeakKeyDictionary()

    async def post(
        self,
        path: str,
        payload: Mapping[str, Any],
        call: CallContext,
        *,
        stream: bool,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncAnswer:
        """Send a POST request and wait for the headers of the answer.

        Args:
            path: Appended to the configured url, in front of the url's query.
            payload: Sent as the JSON body.
            call: The call: its timeouts, its headers, and whether it is cancelled.
            stream: Whether the answer is a stream, so that the first-token and token-idle timeouts apply.
            headers: Headers for this request, which outrank those of the client. Default none.

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
        first = first_timeout(call, stream=stream)
        due = call.deadline if first is None else min(call.started + first, call.deadline)
        timer = LoopTimer(loop, call.clock, due, lambda: phase.reschedule(loop.time()))
        unsubscribe = call.on_cancel(timer.cancel)

        def closed() -> None:
            unsubscribe()
            session.release()

        answer = AsyncAnswer(call, timer, closed, BODY_LIMIT, stream=stream)
        failure: Exception | None = None
        try:
            async with phase:
                answer.take(await self._send(session.client, path, body, call, headers or {}))
            if not 200 <= answer.status < 300:  # noqa: PLR2004 -- an HTTP status is its own name
                failure = await self._refusal(answer, path)
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
        drop_lost()
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

    async def _session(self, loop: AbstractEventLoop) -> Session:
        found = self._sessions.get(loop)
        if found is None or found.is_lost or found.client.closed:  # a loop may close its generators and run again
            drop_lost()
            await self._prepared(loop)
            found = self._sessions.get(loop)  # another call may have opened it meanwhile
        if found is None or found.is_lost or found.client.closed:
            found = self._sessions[loop] = Session(self._opened(), loop)
            await anext(found.keeper)
        return found

    async def _prepared(self, loop: AbstractEventLoop) -> None:
        """Import aiohttp and read the certificates beside the event loop, which they would hold up."""
        needs_tls = self._tls is None and self._http.address("").startswith("https:")
        if needs_tls or "aiohttp" not in sys.modules:
            self._tls = await loop.run_in_executor(None, self._context if needs_tls else _imported) or self._tls

    def _context(self) -> Any:
        _imported()
        import ssl  # slow to import; only https needs it

        import certifi

        trusted = self._bundle or certifi.where()
        folder = Path(trusted).is_dir()
        context = ssl.create_default_context(cafile=None if folder else trusted, capath=trusted if folder else None)
        certificate, key = self._certificate
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        return context

    def _opened(self) -> Any:
        import aiohttp  # slow to import; only asynchronous calls need it
        from multidict import CIMultiDict

        from providerhub_openai._aiohttp import Connector, Response  # imports aiohttp

        headers: CIMultiDict[str] = CIMultiDict()
        for some in self._headers:
            headers.update(some)
        return aiohttp.ClientSession(
            connector=Connector(limit=0, ssl=self._tls if self._tls is not None else True, keepalive_timeout=_IDLE_LIMIT),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            response_class=Response,
            timeout=aiohttp.ClientTimeout(),
            trust_env=False,
            max_line_size=_HEAD_LIMIT,
            max_field_size=_HEAD_LIMIT,
        )

    async def _send(self, session: Any, path: str, body: bytes, call: CallContext, headers: Mapping[str, str]) -> Any:
        from aiohttp import ClientTimeout  # slow to import; the session has imported it
        from multidict import CIMultiDict

        connect = max(call.remaining(call.timeout.connect), 0.001)
        own = CIMultiDict(call.headers)
        own.update(headers)
        return await session.post(
            self._http.address(path),
            data=body if len(body) < _LARGE else io.BytesIO(body),
            headers=own,
            allow_redirects=False,
            proxy=self._proxy,
            timeout=ClientTimeout(connect=connect, ceil_threshold=math.inf),
        )

    async def _refusal(self, answer: AsyncAnswer, path: str) -> ProviderError:
        is_redirect = 300 <= answer.status < 400  # noqa: PLR2004 -- an HTTP status is its own name
        body = b"" if is_redirect else await answer.peek(ERROR_BODY_LIMIT)
        return self._http.refusal("POST", path, answer.status, answer.headers, body)


def _encoded(payload: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"the request cannot be written as JSON: {error}"
        raise InvalidRequestError(msg) from error


def _imported() -> None:
    """Import aiohttp, which takes some tenths of a second. By name: a linter takes an unused import statement away."""
    import_module("providerhub_openai._aiohttp")


def _proxy(url: str, proxies: Mapping[str, str]) -> str | None:
    """Return the proxy for an address, chosen as in `providerhub.http`; `None` for a direct connection."""
    if not proxies:
        return None
    from requests.utils import select_proxy  # slow to import; only proxies need it

    proxy = select_proxy(url, proxies)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
