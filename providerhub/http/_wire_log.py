"""The wire log: each request and answer as lines of JSON in a file, without secrets."""

from __future__ import annotations

import codecs
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from providerhub._values.errors import ConfigurationError

_SECRET_HEADERS = frozenset({
    "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-goog-api-key",
    "x-amz-security-token",
})  # fmt: skip

_NAMES = ("access_token", "refresh_token", "id_token", "client_secret", "assertion")
"""Fields of OAuth 2.0 (RFC 6749, RFC 7521) with credentials, some of which are known only after the read."""

_NAMED = "(?:{})".format("|".join(_NAMES))
_FIELD = re.compile(rf"""({_NAMED}"\s*:\s*")(?:[^"\\]|\\.)*|({_NAMED}=)[^&\s"]+""")
_OPEN = re.compile(rf"""{_NAMED}(?:"\s*(?::\s*(?:"(?:[^"\\]|\\.)*\\?)?)?|=[^&\s"]*)?\Z""")
"""Such a field of JSON or of a form; and a field with a possibly incomplete value."""

_numbers = itertools.count(1)

_files: dict[str, int] = {}
"""Path → the descriptor of the open file, which all clients of the process share."""


def opened(path: str, provider: str) -> int:
    """Open a log for appending; `"-"` stands for standard error."""
    if path == "-":
        return 2
    if path not in _files:
        try:
            _files[path] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # it holds conversations
        except OSError as error:
            msg = f"provider {provider!r}: wire_log {path} cannot be written ({error.strerror}); name another file"
            raise ConfigurationError(msg) from error
    return _files[path]


def written(secrets: Iterable[str]) -> list[str]:
    """Return secrets in all forms of a body or an address, the longest first."""
    ways: tuple[Callable[[str], str], ...] = (
        str,
        quote_plus,
        lambda text: quote(text, safe=""),
        lambda text: json.dumps(text)[1:-1],
    )
    return sorted({way(secret) for secret in secrets for way in ways}, key=len, reverse=True)


def unnamed(text: str) -> str:
    """Return a text without the credentials in fields of OAuth."""
    return _FIELD.sub(r"\1\2***", text)


class ExchangeLog:
    """The lines of one request and its answer. `secrets` returns the texts to leave out; `key_header` is left out too."""

    def __init__(self, file: int, provider: str, secrets: Callable[[], Iterable[str]], key_header: str) -> None:
        self._file = file
        self._secrets = written(secrets())
        self._hidden = _SECRET_HEADERS | {key_header.lower()}
        self._of = {"provider": provider, "exchange": next(_numbers)}
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> None:
        """Write the request."""
        text = self._cleared((body or b"").decode("utf-8", "replace"))
        self._write("request", method=method, url=self._cleared(url), headers=self._shown(headers), body=text)

    def answer(self, status: int, headers: Mapping[str, str]) -> None:
        """Write the head of the answer."""
        self._write("answer", status=status, headers=self._shown(headers))

    def read(self, data: bytes) -> None:
        """Write one read of the body. A text that may be the beginning of a secret waits for the next read."""
        text = self._held + self._decode(data)
        if found := _OPEN.search(text):
            text, self._held = self._cleared(text[: found.start()]), found[0]
        else:
            text = self._cleared(text)
            hidden = (*self._secrets, *_NAMES)
            begun = (size for secret in hidden for size in range(1, len(secret)) if text.endswith(secret[:size]))
            kept = len(text) - max(begun, default=0)
            text, self._held = text[:kept], text[kept:]
        self._write("read", data=text)

    def failed(self, error: BaseException) -> None:
        """Write the error of the transport."""
        self._write("error", error=self._cleared(f"{type(error).__name__}: {error}"))

    def end(self) -> None:
        """Write the end of the answer."""
        self._write("end", **({"data": self._cleared(self._held)} if self._held else {}))

    def _shown(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: "***" if name.lower() in self._hidden else self._cleared(value) for name, value in headers.items()}

    def _cleared(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return unnamed(text)

    def _write(self, what: str, **fields: Any) -> None:
        record = {"at": f"{time.time():.6f}", **self._of, "what": what, **fields}
        os.write(self._file, f"{json.dumps(record, ensure_ascii=False)}\n".encode("utf-8", "replace"))
