"""HTTP for plugin authors: requests that obey all timeouts, cancellation and limits, and errors without the key.

>>> from providerhub import CallContext, ProviderConfig, Timeout
>>> from providerhub.http import HttpClient
>>> from providerhub.testing import FaultServer, http_response
>>> with FaultServer(http_response(body={"answer": 42})) as server:
...     client = HttpClient(ProviderConfig(url=server.url))
...     with client.post("/ask", {"question": "?"}, CallContext(Timeout(total=10)), stream=False) as answer:
...         body = b"".join(answer)  # iterating yields the bytes as they come
...     client.close()
>>> body
b'{"answer":42}'

The client follows no redirect, since a redirect would carry the conversation, and some keys, to another host. It retries nothing.
It reads no `.netrc`, stores no cookies, and ignores the proxy variables of the environment. It asks for uncompressed bodies.
"""

from collections.abc import Callable as Callable
from collections.abc import Iterable as Iterable
from collections.abc import Mapping as Mapping
from typing import Any as Any

from providerhub._settings.address import is_loopback
from providerhub._values.config import Secret as Secret
from providerhub._values.refusal import Refusal as Refusal
from providerhub._values.value import publish
from providerhub.http._answer import Answer
from providerhub.http._async_answer import AsyncAnswer
from providerhub.http._async_client import AsyncHttpClient
from providerhub.http._base import BODY_LIMIT as BODY_LIMIT
from providerhub.http._base import ERROR_BODY_LIMIT as ERROR_BODY_LIMIT
from providerhub.http._client import HttpClient
from providerhub.http._request import HttpAnswer, HttpRequest, Wire

__all__ = ["Answer", "AsyncAnswer", "AsyncHttpClient", "HttpAnswer", "HttpClient", "HttpRequest", "Wire", "is_loopback"]

publish(globals(), __name__)
