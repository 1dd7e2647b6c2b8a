"""The chunk that all of a stream's chunks look like, as bytes before and behind the one text that changes.

A service writes every chunk of an answer with the same keys, the same identifier and the same model; only the text differs.
Once one chunk has been parsed, the next need not be: when it begins and ends with the same bytes, and what is between them
stays inside one JSON string, then it means the same with another text. That is no guess. What makes it exact:

- A template is accepted only after the same bytes around a made-up text were parsed as JSON and gave just that text. The
  made-up text is a syntax error anywhere but in a string, so the place between the bytes is the inside of that string.
- A text that is taken from between them has no quotation mark, backslash or control character, so that it ends nothing and
  changes nothing; or it is valid as the whole inside of a JSON string, which comes to the same.
- A second place, whose text is thrown away, is proved in the same way, and only for a key that nobody reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

PROBE: Final = "ProbeOfTheTemplate"
"""Stands in for the text when a template is tried; letters only."""

PADDING: Final = (b'"obfuscation":"', b'"obfuscation": "')
"""What stands before random padding, which OpenAI puts into every chunk to hide the lengths of the texts."""

Only = Callable[[bytes], str | None]
"""Parses a chunk; gives the text that is all it holds, or `None`."""

_PROBE = PROBE.encode()


class Template:
    """Bytes around a text.

    Args:
        before: Up to the text, its quotation mark included.
        behind: From the text's closing quotation mark on; up to the padding, its quotation mark included, if there is any.
        end: From the padding's closing quotation mark on; empty without padding.
    """

    __slots__ = ("_before", "_behind", "_end", "_start")

    def __init__(self, before: bytes, behind: bytes, end: bytes = b"") -> None:
        self._before = before
        self._behind = behind
        self._end = end
        self._start = len(before)

    def text(self, payload: bytes) -> str | None:
        """The text of a chunk that the template fits.

        Args:
            payload: The chunk, valid UTF-8.

        Returns:
            The text; `None` when the template does not fit, which is no verdict on the chunk.
        """
        start = self._start
        if not payload.startswith(self._before):
            return None
        # Each part is looked for behind the one before: bytes that serve as two of them would be a chunk that is cut short.
        if self._end:
            at = payload.find(self._behind, start)
            padding = at + len(self._behind)
            if at < 0 or not payload.endswith(self._end, padding) or not _plain(payload[padding : -len(self._end)]):
                return None
        elif payload.endswith(self._behind, start):
            at = -len(self._behind)
        else:
            return None
        text = payload[start:at].decode()
        if text.isprintable() and '"' not in text and "\\" not in text:
            return text
        try:
            found: str = json.loads(f'"{text}"')
        except ValueError:
            return None
        return found


def learned(payload: bytes, text: str, only: Only) -> Template | None:
    """The template of a chunk that was parsed.

    Args:
        payload: The chunk, valid UTF-8.
        text: The text that is all it gave.
        only: Proves the template.

    Returns:
        The template; `None` when none could be proved.
    """
    raw = text.encode(errors="replace")
    if not _plain(raw) or _PROBE in payload:
        return None
    quoted = b'"%b"' % raw
    # The text may stand elsewhere as well; its own place is the last one in every service's order of keys.
    at = payload.rfind(quoted)
    if at < 0:
        return None
    before, behind = payload[: at + 1], payload[at + 1 + len(raw) :]
    if only(before + _PROBE + behind) != PROBE:
        return None
    return _padded(before, behind, only) or Template(before, behind)


def _padded(before: bytes, behind: bytes, only: Only) -> Template | None:
    key = next((key for key in PADDING if behind.count(key) == 1), None)
    if key is None:
        return None
    start = behind.index(key) + len(key)
    end = behind.find(b'"', start)
    if only(before + _PROBE + behind[:start] + _PROBE + behind[end:]) != PROBE:
        return None
    return Template(before, behind[:start], behind[end:])


def _plain(raw: bytes) -> bool:
    """Whether bytes, valid UTF-8, stand for themselves inside a JSON string."""
    return b'"' not in raw and b"\\" not in raw and raw.decode().isprintable()
