"""HTTP for plugin authors: one request at a time, with every phase of the timeout, cancellation, limits and key hygiene handled.

>>> from providerhub import CallContext, ProviderConfig, Timeout
>>> from providerhub.http import HttpClient
>>> from providerhub.testing import FaultServer, http_response
>>> with FaultServer(http_response(body={"answer": 42})) as server:
...     client = HttpClient(ProviderConfig(url=server.url))
...     with client.post("/ask", {"question": "?"}, CallContext(Timeout(total=10)), stream=False) as answer:
...         body = b"".join(answer)  # iterating gives the bytes as they come
...     client.close()
>>> body
b'{"answer":42}'

No redirect is followed (a redirect would carry the conversation, and some keys, to another host), nothing is retried, no
`.netrc`, cookie or proxy variable of the environment is read, and bodies are asked for without compression.
"""

from providerhub._values.value import publish
from providerhub.http._address import is_loopback
from providerhub.http._answer import BODY_LIMIT as BODY_LIMIT
from providerhub.http._answer import ERROR_BODY_LIMIT as ERROR_BODY_LIMIT
from providerhub.http._answer import Answer
from providerhub.http._client import HttpClient

__all__ = ["Answer", "HttpClient", "is_loopback"]

publish(globals(), __name__)
