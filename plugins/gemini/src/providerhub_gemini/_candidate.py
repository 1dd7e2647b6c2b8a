"""Reads one candidate of an answer as pieces. It does no I/O.

Reference: "Candidate", "Part" and "FinishReason" in the references of the Gemini API and of Vertex AI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import (
    BadRequestError,
    Detail,
    Finish,
    Media,
    ProtocolError,
    ReasoningDelta,
    ServerError,
    ToolCallDelta,
    Turn,
)
from providerhub_gemini._call import Call
from providerhub_gemini._sources import citations

Pieces = Iterator[Any]

FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "JAILBREAK", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
    }
)  # fmt: skip
"""Finish reasons of an answer that the service withholds."""

_REASONS = {"STOP": "stop", "MAX_TOKENS": "length", "1": "stop", "2": "length", **dict.fromkeys(FILTERED, "content_filter")}
_BROKEN = frozenset({"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE"})
"""Finish reasons of an answer that is not valid. Another attempt may give a valid one."""

_PLAIN = frozenset({"text", "thought", "functionCall"})
"""Keys of parts that a message in the OpenAI chat shape holds."""

_READ = frozenset(
    {"content", "finishReason", "index", "groundingMetadata", "citationMetadata", "logprobsResult", "safetyRatings"}
)
_NO_DETAIL = frozenset({"thought", "thoughtSignature", "mediaResolution", "videoMetadata"})
_KINDS = frozenset({"image", "audio", "video"})


class Candidate:
    """One candidate.

    Attributes:
        name: The service's identifier of the answer, for those of its calls.
    """

    def __init__(self) -> None:
        self.name = ""
        self._said: Any = None
        self._speaks = False
        self._texts: list[str] = []
        self._parts: list[tuple[dict[str, Any], list[str]]] = []
        self._calls: list[Call] = []
        self._open: Call | None = None
        self._beside: dict[str, Any] = {}

    def pieces(self, candidate: Mapping[str, Any]) -> Pieces:
        """Read the candidate, or what a chunk of the stream has of it.

        Args:
            candidate: The object.

        Yields:
            The pieces. `Finish` is among them if the candidate has a finish reason.

        Raises:
            ProviderError: The answer is broken, or has an unexpected shape.
        """
        content = candidate.get("content") or {}
        for part in content.get("parts") or ():
            if not isinstance(part, Mapping):
                msg = "a part of the answer is not an object"
                raise ProtocolError(msg, excerpt=repr(part))
            yield from self._part(part)
        for name, value in candidate.items():
            if value and name not in {"content", "finishReason", "index"}:
                known = self._beside.get(name)
                if isinstance(known, Mapping) and isinstance(value, Mapping):
                    value = {**known, **{key: one for key, one in value.items() if one}}
                self._beside[name] = value
        said = candidate.get("finishReason")
        if said and said != self._said:
            self._said = said
            yield self._finished(str(said), str(candidate.get("finishMessage") or ""))

    def end(self) -> Pieces:
        """End the candidate.

        Yields:
            The sources, the details, and the turn to send back if a message in the OpenAI chat shape would not say all of it.
        """
        grounding, quoted = (self._beside.get(name) or {} for name in ("groundingMetadata", "citationMetadata"))
        yield from citations(grounding, quoted, "".join(self._texts))
        if grounding:
            yield Detail("grounding", grounding)
        logprobs = self._beside.get("logprobsResult") or {}
        if chosen := logprobs.get("chosenCandidates"):
            tops = [top.get("candidates") for top in logprobs.get("topCandidates") or ()] + [None] * len(chosen)
            yield Detail("logprobs", [{**one, "topCandidates": top} for one, top in zip(chosen, tops, strict=False)])
        for name, value in self._beside.items():
            if name not in _READ:
                yield Detail("refusal" if name == "finishMessage" and self._said in FILTERED else name, value)
        if self._beside.get("safetyRatings"):
            yield Detail("safety", {"safetyRatings": self._beside["safetyRatings"]})
        turn = [{**part, "text": "".join(texts)} if texts else part for part, texts in self._kept()]
        if self._open is None and not all(part.keys() <= _PLAIN for part in turn):
            yield Turn(turn)

    @property
    def choice(self) -> dict[str, Any]:
        """A further candidate in the chat shape."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts) or None}
        if self._calls:
            called = [(call.whole["functionCall"], call.arguments) for call in self._calls]
            message["tool_calls"] = [
                {"id": one.get("id"), "type": "function", "function": {"name": one.get("name"), "arguments": arguments}}
                for one, arguments in called
            ]
        return {"message": message, "finish_reason": _REASONS.get(str(self._said), self._said)}

    def _finished(self, said: str, message: str) -> Finish:
        known = _REASONS.get(said)
        if said == "MISSING_THOUGHT_SIGNATURE":
            msg = f"the service refused the conversation: {said}: {message or 'a thought signature is missing'}"
            raise BadRequestError(msg)
        if said in _BROKEN or (known is None and not self._speaks):
            msg = f"the model gave no valid answer: {said}{f': {message}' if message else ''}"
            raise ServerError(msg, excerpt=message)
        if self._calls and known in {None, "stop"}:
            known = "tool_calls"
        reason = known or said
        return Finish(reason, said if said != reason else None)

    def _part(self, part: Mapping[str, Any]) -> Pieces:
        self._speaks = self._speaks or not part.get("thought")
        if isinstance(part.get("functionCall"), Mapping):
            yield from self._call(part, part["functionCall"])
            return
        text = part.get("text")
        self._keep(part, text)
        if isinstance(text, str):
            if text and part.get("thought"):
                yield ReasoningDelta(text)
            elif text:
                self._texts.append(text)
                yield text
        elif not part.get("thought"):  # drafts of images are a part of the thoughts
            yield from _beside(part)

    def _keep(self, part: Mapping[str, Any], text: Any) -> None:
        """Keep a part for the turn. Pieces of one text without a signature are joined."""
        last = self._parts[-1] if self._parts else None
        if last and last[1] and isinstance(text, str) and part.keys() == last[0].keys() and part.keys() <= {"text", "thought"}:
            last[1].append(text)
        else:
            self._parts.append((dict(part), [text] if isinstance(text, str) else []))

    def _kept(self) -> Iterator[tuple[dict[str, Any], list[str]]]:
        calls = iter(self._calls)
        for part, texts in self._parts:
            yield (next(calls).whole if "functionCall" in part else part), texts

    def _call(self, part: Mapping[str, Any], call: Mapping[str, Any]) -> Pieces:
        name = call.get("name")
        if name or self._open is None:
            if not name:  # the end of a call that has ended
                return
            yield from self._closed()
            self._open = Call(len(self._calls), part)
            self._calls.append(self._open)
            self._parts.append(({"functionCall": call}, []))
            made = f"call_{self.name}_{self._open.index}" if self.name else None
            yield ToolCallDelta(self._open.index, call.get("id") or made, name)
        self._open.add(part)
        if not call.get("willContinue"):
            yield from self._closed()

    def _closed(self) -> Pieces:
        if self._open is not None:
            yield ToolCallDelta(self._open.index, arguments=self._open.arguments)
            self._open = None


def _beside(part: Mapping[str, Any]) -> Pieces:
    """Give the pieces of a part that is neither text nor a call of the caller's functions."""
    blob, file = part.get("inlineData"), part.get("fileData")
    source = blob if isinstance(blob, Mapping) else file
    if isinstance(source, Mapping):
        kind = source.get("mimeType")
        major = str(kind).partition("/")[0]
        identifier = "audio" if major == "audio" and source is blob else None  # it comes in pieces
        yield Media(major if major in _KINDS else "file", kind, str(source.get("data") or ""), source.get("fileUri"), identifier)
        return
    for name, value in part.items():
        if name not in _NO_DETAIL:
            yield Detail(name, [value])
