"""Reads answers of the Gemini API: one object, server-sent events, or one array of objects. It does no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from providerhub import CallContext, Detail, Finish, ProviderError, UsageDelta
from providerhub.wire import ArrayDecoder
from providerhub.wire_provider import JsonReading
from providerhub_gemini._candidate import Candidate, Say
from providerhub_gemini._usage import usage_of

Pieces = Iterator[Any]

_BARE = re.compile(rb"[\r\n](?=[{\[])")
"""The place before a bare error: JSON without `data:` in the middle of a stream."""

_NAMES = {"responseId": "id", "modelVersion": "model", "createTime": "created", "serviceTier": "tier"}
"""Fields that say who answers, and their names in `Completion.details`."""

_READ = frozenset({"candidates", "usageMetadata", "promptFeedback"})


class GeminiReading(JsonReading):
    """Reads one answer.

    Args:
        call: The call, for notes.
        headers: The headers of the answer.
    """

    trailing = 2.0

    def __init__(self, call: CallContext, headers: Mapping[str, str]) -> None:
        super().__init__(call, headers)
        self._lines: bool | None = None  # whether the answer is a stream of events
        self._last = b""
        self._error = b""
        self._candidates: dict[int, Candidate] = {}
        self._known: dict[str, Any] = {}

    def feed(self, data: bytes) -> Pieces:
        """Take the next bytes; see `JsonReading.feed`. An array comes from gateways that leave `alt=sse` out.

        Args:
            data: Bytes from the transport.

        Yields:
            The complete pieces.

        Raises:
            ProviderError: The answer contains an error, or cannot be read.
        """
        if self._lines is None and (begin := data.lstrip()):
            self._lines = not begin.startswith((b"{", b"["))
            if begin.startswith(b"["):
                self._framing = ArrayDecoder()
        if self._error:
            data, self._error = b"", self._error + data
        elif self._lines:
            found = _BARE.search(self._last + data)
            at = found.end() - len(self._last) if found else len(data)
            data, self._error = data[:at], data[at:]
            self._last = data[-1:]
        yield from super().feed(data)
        if self._error:
            self.refuse_first(self._error, "error")

    def end(self) -> Pieces:
        """End the input; see `JsonReading.end`.

        Yields:
            The remaining pieces.

        Raises:
            ProviderError: The answer was cut, or ended with a bare error.
        """
        if self._error:
            raise self.failure(self._error)
        yield from super().end()
        for index, candidate in self._candidates.items():
            yield from [Detail("choices", [{"index": index, **candidate.choice}])] if index else candidate.end()

    def event(self, data: dict[str, Any], name: str) -> Iterable[Any]:
        """Read one object; see `JsonReading.event`.

        Args:
            data: The object.
            name: The event's name, which the API does not use.

        Returns:
            The pieces of the object. The pieces before a failure come first.
        """
        del name
        found: list[Any] = []
        try:
            self._take(data, found.append)
        except (ProviderError, AttributeError, KeyError, TypeError) as error:
            return _broken(found, error)
        return found

    def _take(self, data: dict[str, Any], say: Say) -> None:
        counts, feedback = data.get("usageMetadata") or {}, data.get("promptFeedback") or {}
        known = self._known
        for key, value in data.items():
            if key not in _READ and value and known.get(key) != value:
                known[key] = value
                say(Detail(_NAMES.get(key, key), value))
        for key, value in counts.items():
            if isinstance(value, str) and value and known.get(key) != value:
                known[key] = value
                say(Detail(_NAMES.get(key, key), value))
        if (usage := usage_of(counts)) is not None:
            say(UsageDelta(usage))
        for candidate in data.get("candidates") or ():
            index = candidate.get("index") or 0
            one = self._candidates.get(index) or self._candidates.setdefault(index, Candidate())
            one.name = one.name or str(data.get("responseId") or "")
            if index:
                with suppress(ProviderError):  # a broken further answer does not affect the first answer
                    one.take(candidate, _unsaid)
            else:
                one.take(candidate, say)
        if feedback:
            say(Detail("safety", {"promptFeedback": feedback}))
        if reason := feedback.get("blockReason"):
            say(Detail("refusal", feedback.get("blockReasonMessage") or reason))
            say(Finish("content_filter", str(reason)))


def _unsaid(_piece: Any) -> None:
    """Take a piece of a further answer, which is not yielded separately."""


def _broken(pieces: list[Any], error: Exception) -> Pieces:
    yield from pieces
    raise error
