"""Reads one candidate of an answer as pieces. It does no I/O.

Reference: "Candidate", "Part" and "FinishReason" in the references of the Gemini API and of Vertex AI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from providerhub import BadRequestError, Detail, Finish, Media, ReasoningDelta, ServerError, ToolCallDelta, Turn
from providerhub_gemini._call import Call
from providerhub_gemini._sources import citations

Pieces = Iterator[Any]
Say = Callable[[Any], object]
"""Takes a piece. A generator for each of the parts of a chunk would cost more than the work."""

_FILTERED = {
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "JAILBREAK", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
}  # fmt: skip
"""Finish reasons of an answer that the service withholds."""

_REASONS = {"STOP": "stop", "MAX_TOKENS": "length", **dict.fromkeys(_FILTERED, "content_filter")}
_REASONS |= {"1": "stop", "2": "length", "3": "content_filter", "4": "content_filter"}  # the names in older versions of the API
_BROKEN = {"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE"}
"""Finish reasons of an answer that is not valid. Another attempt may give a valid one."""

_PLAIN = {"text", "thought", "functionCall"}
"""Keys of parts that a message in the OpenAI chat shape holds."""

_READ = ("groundingMetadata", "citationMetadata", "logprobsResult")
_OFTEN = frozenset({"content", "finishReason", "index"})
"""The keys of most candidates, which are read apart."""

_NO_DETAIL = {"thought", "thoughtSignature", "mediaResolution", "videoMetadata"}


class Candidate:
    """One candidate.

    Attributes:
        name: The service's identifier of the answer, for the identifiers of its calls.
    """

    def __init__(self) -> None:
        self.name = ""
        self._said = ""
        self._speaks = False
        self._texts: list[str] = []
        self._parts: list[Any] = []  # a call, or a part with the pieces of its text
        self._calls: list[Call] = []
        self._beside: dict[str, Any] = {}

    def take(self, candidate: Mapping[str, Any], say: Say) -> None:
        """Read the candidate, or the part of it in a chunk of the stream.

        Args:
            candidate: The object.
            say: Called with each piece. `Finish` is among them if the candidate has a finish reason.

        Raises:
            ProviderError: The answer is broken.
        """
        for part in (candidate.get("content") or {}).get("parts") or ():
            self._part(part, say)
        for name, value in () if _OFTEN.issuperset(candidate) else candidate.items():
            if value and name not in _OFTEN:
                new = {key: one for key, one in value.items() if one} if isinstance(value, dict) else None
                self._beside[name] = value if new is None else {**self._beside.get(name, {}), **new}
        said = candidate.get("finishReason")
        if said and (said := str(said)) != self._said:
            self._said = said
            say(self._finished(said, str(candidate.get("finishMessage") or "")))

    def end(self) -> Pieces:
        """End the candidate.

        Yields:
            The sources, the details, and the turn to send back, if a message in the OpenAI chat shape cannot hold all of it.
        """
        grounding, quoted, logprobs = (self._beside.get(name) or {} for name in _READ)
        yield from citations(grounding, quoted, "".join(self._texts))
        if grounding:
            yield Detail("grounding", grounding)
        tops = [top.get("candidates") for top in logprobs.get("topCandidates") or ()]
        for place, one in enumerate(logprobs.get("chosenCandidates") or ()):
            yield Detail("logprobs", [{**one, "topCandidates": tops[place] if place < len(tops) else None}])
        for name, value in self._beside.items():
            if name == "safetyRatings":
                yield Detail("safety", {name: value})
            elif name not in _READ:
                yield Detail("refusal" if name == "finishMessage" and self._said in _FILTERED else name, value)
        turn = [part.whole if isinstance(part, Call) else _joined(*part) for part in self._parts]
        if not all(part.keys() <= _PLAIN for part in turn) and not any(call.open for call in self._calls):
            yield Turn(turn)

    @property
    def choice(self) -> dict[str, Any]:
        """A further candidate in the chat shape."""
        calls = [{"id": call.name, "type": "function", "function": call.function} for call in self._calls]
        message = {"role": "assistant", "content": "".join(self._texts) or None, **({"tool_calls": calls} if calls else {})}
        return {"message": message, "finish_reason": _REASONS.get(self._said, self._said)}

    def _finished(self, said: str, message: str) -> Finish:
        known = _REASONS.get(said)
        if said in _BROKEN or (known is None and not self._speaks):
            kind = BadRequestError if said == "MISSING_THOUGHT_SIGNATURE" else ServerError
            raise kind(f"the model gave no valid answer: {said}{f': {message}' if message else ''}")
        if self._calls and known in {None, "stop"}:
            known = "tool_calls"
        return Finish(known or said, said if known else None)

    def _part(self, part: Mapping[str, Any], say: Say) -> None:
        text, thought = part.get("text"), part.get("thought")
        self._speaks = self._speaks or not thought
        if isinstance(part.get("functionCall"), dict):
            self._call(part, part["functionCall"], say)
            return
        last = self._parts[-1] if self._parts else None
        if isinstance(text, str) and isinstance(last, tuple) and part.keys() == last[0].keys() <= {"text", "thought"}:
            last[1].append(text)  # pieces of one text without a signature
        else:
            self._parts.append((part, [text] if isinstance(text, str) else []))
        if isinstance(text, str) and text:
            self._texts += [] if thought else [text]
            say(ReasoningDelta(text) if thought else text)
        elif not thought and text is None:  # drafts of images are a part of the thoughts
            _beside(part, say)

    def _call(self, part: Mapping[str, Any], call: Mapping[str, Any], say: Say) -> None:
        last = self._calls[-1] if self._calls else None
        if call.get("name"):
            _close(last, say)
            made = f"call_{self.name}_{len(self._calls)}" if self.name else None
            last = Call(len(self._calls), call.get("id") or made)
            self._calls.append(last)
            self._parts.append(last)
            say(ToolCallDelta(last.index, last.name, call["name"]))
        if last is not None and last.open:  # a further end of a call is ignored
            last.add(part)
            if not call.get("willContinue"):
                _close(last, say)


def _close(call: Call | None, say: Say) -> None:
    if call is not None and call.open:
        call.open = False
        say(ToolCallDelta(call.index, arguments=call.function["arguments"]))


def _joined(part: Mapping[str, Any], texts: list[str]) -> dict[str, Any]:
    return {**part, "text": "".join(texts)} if texts else dict(part)


def _beside(part: Mapping[str, Any], say: Say) -> None:
    """Pass on the pieces of a part other than text or a call of the caller's functions."""
    source = part.get("inlineData") or part.get("fileData")
    if not isinstance(source, dict):
        for name, value in part.items():
            if name not in _NO_DETAIL:
                say(Detail(name, [value]))
        return
    kind = str(source.get("mimeType") or "").partition("/")[0]
    identifier = "audio" if kind == "audio" and "data" in source else None  # sound comes in pieces
    kind = kind if kind in {"image", "audio", "video"} else "file"
    say(Media(kind, source.get("mimeType"), str(source.get("data") or ""), source.get("fileUri"), identifier))
