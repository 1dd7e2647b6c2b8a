"""Reads a chunk without parsing it, if it differs from an earlier chunk in its text only.

A service writes all chunks of an answer with the same keys, the same identifier and the same model. After one chunk has been
parsed, the bytes before and after its text form a template. A later chunk that begins and ends with these bytes, and whose middle
stays inside one JSON string, means the same with another text. Three rules make this exact:

- A template is accepted only after its bytes around a made-up text have been parsed as JSON and gave exactly that text. The
  made-up text is a syntax error outside a string, so the middle is the inside of that string.
- The middle is accepted if it has no quotation mark, backslash or control character, or if it is valid as the inside of a JSON
  string.
- A second place, whose text is dropped, is proved in the same way. It is looked for only behind a key that is never read.

The reason for it: without templates and without the extra `fast`, a stream of 300 chunks over loopback takes 1.62 times the
processor time (framed as HTTP chunks; 1.78 times unframed, 1.29 times with a network segment for each chunk). These are medians
of 12 paired rounds with `tests/benchmarks/peers/hub_json.py`. With the extra `fast`, templates read only the chunks that the
typed reader does not, such as reasoning, and the figures are the same with and without them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Final

PROBE: Final = "ProbeOfTheTemplate"
"""The made-up text that a template is tried with; letters only."""

PADDING: Final = (b'"obfuscation":"', b'"obfuscation": "', b'"p":"', b'"p": "')
"""Stands before random padding, which OpenAI and Mistral add to each chunk to hide the length of its text."""

OnlyText = Callable[[bytes], str | None]
"""Parses a chunk. Returns its text, or `None` if the chunk has no text or something beside it."""

_PROBE = PROBE.encode()


class Template:
    """The bytes around the text of a chunk.

    Args:
        before: The bytes up to the text, its opening quotation mark included.
        after: The bytes from the text's closing quotation mark on. With padding, up to its opening quotation mark.
        end: The bytes from the padding's closing quotation mark on; empty without padding.
    """

    __slots__ = ("_after", "_before", "_end", "_start")

    def __init__(self, before: bytes, after: bytes, end: bytes = b"") -> None:
        self._before = before
        self._after = after
        self._end = end
        self._start = len(before)

    def text(self, payload: bytes) -> str | None:
        """Return the text of a chunk in valid UTF-8 that matches; `None` if it has to be parsed."""
        start = self._start
        if not payload.startswith(self._before):
            return None
        # Each part must stand behind the one before it: in a chunk that is cut short, the same bytes could pass for two parts.
        if self._end:
            at = payload.find(self._after, start)
            padding = at + len(self._after)
            if at < 0 or not payload.endswith(self._end, padding) or not _plain(payload[padding : -len(self._end)]):
                return None
        elif payload.endswith(self._after, start):
            at = -len(self._after)
        else:
            return None
        text = payload[start:at].decode()
        if text.isprintable() and '"' not in text and "\\" not in text:
            return text
        try:
            found: str = json.loads(f'"{text}"')
            found.encode()  # half a character, whose other half stands in another chunk, has no encoding
        except ValueError:
            return None
        return found

    def texts(self, payloads: Sequence[bytes]) -> list[str]:
        """Return the texts of the chunks, in valid UTF-8, that match from the first one on and have a plain text.

        The look for signs that JSON escapes, which each chunk alone would need, is done once for all.
        """
        before, after, start, stop = self._before, self._after, self._start, -len(self._after)
        found: list[bytes] = []
        for payload in () if self._end else payloads:
            if type(payload) is not bytes or not payload.startswith(before) or not payload.endswith(after, start):
                break  # an error is a class of its own
            found.append(payload[start:stop])
        if all(found) and _plain(b"".join(found)):
            return list(map(bytes.decode, found))
        return [text.decode() for text in takewhile(lambda raw: raw and _plain(raw), found)]


def learned(payload: bytes, text: str, only_text: OnlyText) -> Template | None:
    """Make a template of a chunk that gave a text alone; `None` if none can be proved.

    `only_text` parses the chunk with a made-up text.
    """
    raw = text.encode(errors="replace")
    if not _plain(raw) or _PROBE in payload:
        return None
    quoted = b'"%b"' % raw
    # If the same text stands elsewhere too, the last place is the text's own: all services write the content last.
    at = payload.rfind(quoted)
    if at < 0:
        return None
    before, after = payload[: at + 1], payload[at + 1 + len(raw) :]
    if only_text(before + _PROBE + after) != PROBE:
        return None
    return _with_padding(before, after, only_text) or Template(before, after)


def _with_padding(before: bytes, after: bytes, only_text: OnlyText) -> Template | None:
    key = next((key for key in PADDING if after.count(key) == 1), None)
    if key is None:
        return None
    start = after.index(key) + len(key)
    end = after.find(b'"', start)
    if only_text(before + _PROBE + after[:start] + _PROBE + after[end:]) != PROBE:
        return None
    return Template(before, after[:start], after[end:])


def _plain(raw: bytes) -> bool:
    """Return whether bytes, valid UTF-8, mean themselves inside a JSON string."""
    return b'"' not in raw and b"\\" not in raw and raw.decode().isprintable()
