"""Reads one answer in the chat shape, whole or in chunks, and keeps the state for later chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from providerhub._rules.status import error_from_status
from providerhub._values import Detail, Finish, Media, ReasoningDelta, RefusalDelta, TextDelta, Turn, UsageDelta
from providerhub._values.errors import ProtocolError, ProviderError
from providerhub._values.provider import Piece
from providerhub.wire._chat_beside import citations_of, detail_of, image_of, sound_type, thinking_of, usage_of
from providerhub.wire._halves import Halves
from providerhub.wire._shape import blocks_joined, joined, says, shape_error
from providerhub.wire._tool_calls import ToolCalls

FIRST = (None, 0, "0", "")
"""The values of `index` of the first choice."""

REASONING = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""The keys of a message with the reasoning as a text."""

PADDING = frozenset({"obfuscation", "p"})
"""Keys of random padding that hides the length of a chunk's text."""

IDENTITY: Mapping[str, str] = {
    "id": "id", "model": "model", "created": "created", "system_fingerprint": "fingerprint", "service_tier": "tier",
    "provider": "served_by",
}  # fmt: skip
"""The keys that identify the answer, repeated in every chunk → the names of their details."""

_ONCE = frozenset({"id", "created"})
_TEXTS = frozenset({"id", "model"})

TOP = frozenset({"choices", "usage", "object", "error", *PADDING})
CHOICE = frozenset({"index", "delta", "message", "finish_reason", "usage", "text", "token_id", "error"})
MESSAGE = frozenset({"role", "content", "refusal", "tool_calls", "function_call", "token_id", *REASONING})
"""The keys of an answer, a choice and a message that are read separately, or have no meaning."""

_NAMES = {"timings": "timings", "time_info": "timings", "grounding_metadata": "grounding", "groundingMetadata": "grounding"}
_SAFETY = frozenset({"prompt_filter_results", "content_filter_results", "content_filter_result", "prompt_annotations"})
_SOURCES = frozenset({"citations", "search_results", "annotations", "web_search"})
_RETURNED = frozenset({"reasoning_details", "thinking_blocks", "reasoning_opaque", "extra_content", "images"})
"""Keys of a message that the service requires in the next request."""
_THOUGHTS = frozenset({"text", "summary_text"})
_STOPS = frozenset({"stop_reason", "matched_stop"})
"""Keys of a choice in vLLM and SGLang with the text of `stop` that ended the answer."""
_REASONS = {
    "function_call": "tool_calls", "tool_use": "tool_calls", "eos": "stop", "eos_token": "stop", "end_turn": "stop",
    "stop_sequence": "stop", "complete": "stop", "max_tokens": "length", "max_output_tokens": "length", "model_length": "length",
    **dict.fromkeys(("stop", "length", "tool_calls", "content_filter")),
    **dict.fromkeys(("sensitive", "safety", "recitation", "prohibited_content", "refusal"), "content_filter"),
}  # fmt: skip
"""The reasons of services, in lower case → the finish reason; `None` for the same word."""
_FAILURES = frozenset({"error", "network_error", "insufficient_system_resource", "function_call_filter"})
"""Finish reasons that mean a failure: of Mistral and Z.AI, of DeepSeek, and of Google for a malformed call."""


class ChatAnswer:
    """One answer. Call `pieces` for each chunk, or once for a `whole` answer, and then `end`."""

    __slots__ = (
        "_beside", "_by_delta", "_calls", "_choices", "_finish", "_goes_on", "_halves", "_known", "_name", "_safety", "_sound",
        "_sources", "_thought_key", "_turn", "_whole", "reasoned",
    )  # fmt: skip

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._halves = Halves()
        self._calls = ToolCalls(self._halves, whole=whole)
        self.reasoned: list[str] = []
        """The texts of reasoning. A reader that yields reasoning itself appends it here."""
        self._thought_key = ""
        self._name: Any = None  # the identifier in the last chunk
        self._goes_on = False  # a chunk without a role has continued the message
        self._by_delta = False
        self._finish: str | None = None
        self._known: dict[str, Any] = {}
        self._beside: dict[str, Any] = {}
        self._safety: dict[str, Any] = {}
        self._sources: dict[str, Any] = {}
        self._sound: str | None = None  # the identifier of the audio answer
        self._turn: dict[str, Any] = {}
        self._choices: dict[object, Any] = {}

    def pieces(self, chunk: Mapping[str, Any]) -> Iterator[Piece]:
        """Read a chunk or the whole answer. The pieces include `Finish` at the first finish reason."""
        try:
            refuse_error(chunk)
            choice = self._first(chunk.get("choices") or ())
            if choice is not None:
                if not self._whole:
                    self._refuse_another(chunk.get("id"), choice.get("delta"))
                yield from self._of_choice(choice)
            yield from self._of_answer(chunk)
            groq = chunk.get("x_groq")
            said = (chunk.get("usage"), groq.get("usage") if isinstance(groq, dict) else None, (choice or {}).get("usage"))
            usage = next((one for one in said if one and isinstance(one, dict)), None)
            if usage is not None:
                yield UsageDelta(usage_of(usage))
        except RecursionError:
            raise shape_error("a value that is nested too deeply", chunk.keys()) from None

    def end(self) -> Iterator[Piece]:
        """Yield the held-back pieces, citations, details, and the turn for the next request."""
        yield from self._halves.rest()
        if len(self._calls):
            yield from self._calls.flush()
        if self._sources:
            yield from citations_of(self._sources)
        if self._safety:
            self._beside["safety"] = self._safety
        if self._choices:
            self._beside["choices"] = list(self._choices.values())
        for name, value in self._beside.items():
            yield Detail(name, value)
        self._beside = {}
        turn = self._to_return()
        if turn:
            yield Turn({"role": "assistant", **turn})

    def _to_return(self) -> dict[str, Any]:
        """Return the special fields of the message for the next request."""
        turn = dict(self._turn)
        if not len(self._calls):
            return turn
        if extras := self._calls.extras:
            turn["tool_calls"] = extras
        if self.reasoned and not turn:
            # Within a loop of tool calls, DeepSeek, Moonshot and others require the reasoning in the next request.
            turn[self._thought_key] = "".join(self.reasoned)
        return turn

    def _refuse_another(self, name: Any, delta: Any) -> None:
        """Refuse a second answer in one stream. It has another identifier, and again a role."""
        delta = delta if isinstance(delta, dict) else {}
        role = delta.get("role")
        if role and self._goes_on and name and name != self._name:
            msg = f"a second message ({name!r}) began in the stream of the message {self._name!r}; their texts would be mixed"
            raise ProtocolError(msg)
        self._name = name or self._name
        self._goes_on = self._goes_on or (not role and _tells(delta))

    def _of_answer(self, chunk: Mapping[str, Any]) -> Iterator[Piece]:
        known = self._known
        for key, value in chunk.items():
            if key in TOP or value is None or value == "" or (key in known and (known[key] == value or key in _ONCE)):
                continue
            name = IDENTITY.get(key)
            if name is not None and value:  # not the time 0 in Azure's first chunk
                known[key] = value
                yield Detail(name, str(value) if key in _TEXTS else value)
            elif name is None and says(value):
                self._keep(key, value)

    def _keep(self, key: str, value: Any) -> None:
        """Keep a detail of the answer. A later value replaces an earlier one."""
        if key in _SAFETY:
            self._safety[key] = {**self._safety.get(key, {}), **value} if isinstance(value, dict) else value
        elif key in _SOURCES and not isinstance(value, dict):
            self._sources[key] = value
        else:
            self._beside[_NAMES.get(key, key)] = value

    def _first(self, choices: Any) -> Mapping[str, Any] | None:
        """Return the first choice, and keep the others."""
        if not isinstance(choices, list | tuple):
            raise shape_error("choices", choices)
        found: Mapping[str, Any] | None = None
        for choice in choices:
            if not isinstance(choice, dict):
                raise shape_error("choices[0]", choice)
            if found is None and choice.get("index") in FIRST:
                found = choice
            else:
                self._of_another(choice)
        if found is None and self._whole and choices:
            found = choices[0]
            self._choices.pop(found.get("index"), None)
        return found

    def _of_another(self, choice: Mapping[str, Any]) -> None:
        """Keep a further answer to the same request, as for the option `n`."""
        index = choice.get("index")
        index = index if isinstance(index, int | str) and index not in FIRST else len(self._choices) + 1
        known = self._choices.get(index, {"index": index})
        said = {name: value for name, value in choice.items() if name not in {"index", "delta", "message"}}
        self._choices[index] = {**joined(known, {**said, "message": choice.get("message") or choice.get("delta")})}

    def _of_choice(self, choice: Mapping[str, Any]) -> Iterator[Piece]:
        yield from self._of_message(self._message(choice))
        if not CHOICE.issuperset(choice):
            for key, value in choice.items():
                if key in CHOICE or value is None or not says(value):
                    continue
                if key == "logprobs":
                    yield from _logprobs(value)
                elif key in _STOPS and isinstance(value, str) and value not in _REASONS:
                    self._beside["stop_sequence"] = value
                else:
                    self._keep(key, value)
        reason = choice.get("finish_reason")
        if reason:
            yield from self._finished(str(reason))

    def _finished(self, said: str) -> Iterator[Piece]:
        word = said.partition(":")[0].lower()  # Google adds its own reason, as in "content_filter: RECITATION"
        if word in _FAILURES:
            raise error_from_status(200, {}, {"message": f"the model gave no valid answer (finish reason {said!r})"})
        reason = (_REASONS[word] or word) if word in _REASONS else said
        if len(self._calls) and reason == "stop":  # services use both words, and the loops of callers branch on this one
            reason = "tool_calls"
        if reason != self._finish:
            self._finish = reason
            yield from self._calls.flush()
            yield Finish(reason, None if said == reason else said)

    def _message(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the new part of a choice. A whole message after its pieces is not new."""
        delta, message = choice.get("delta") or {}, choice.get("message") or {}
        for part in (delta, message):
            if not isinstance(part, dict):
                raise shape_error("delta", part)
        if not message or not delta:
            if not message:
                self._by_delta = self._by_delta or _tells(delta)
                return delta
            return {} if self._by_delta else message
        if self._whole:
            return message if _tells(message) or not _tells(delta) else delta
        if _tells(delta) or self._by_delta or not choice.get("finish_reason"):
            self._by_delta = self._by_delta or _tells(delta)
            return delta
        return message

    def _of_message(self, message: Mapping[str, Any]) -> Iterator[Piece]:
        for key in REASONING:
            said = message.get(key)
            if said and isinstance(said, str):
                self._thought_key = self._thought_key or key
                yield from self._reasoning(said)
                break
        content = message.get("content")
        if isinstance(content, str):
            if content and (text := self._halves.text("text", content)):
                yield text
        elif content is not None:
            yield from self._parts(content)
        if content is None or len(message) > 1:
            yield from self._of_message_more(message)

    def _of_message_more(self, message: Mapping[str, Any]) -> Iterator[Piece]:
        if refusal := message.get("refusal"):
            yield RefusalDelta(self._halves.text("refusal", str(refusal)))
        called = message.get("tool_calls") or ()
        if not isinstance(called, list | tuple):
            raise shape_error("tool_calls", called)
        for entry in called:
            yield from self._calls.pieces(entry)
        if message.get("function_call") and not called:  # the older form, with a single call
            yield from self._calls.pieces({"index": 0, "function": message["function_call"]})
        if not MESSAGE.issuperset(message) or isinstance(message.get("reasoning"), dict):
            speaks, thinks = not message.get("content"), not any(map(message.get, REASONING))
            for key, value in message.items():
                if value and says(value) and (key not in MESSAGE or (key in REASONING and not isinstance(value, str))):
                    yield from self._of_message_beside(key, value, speaks=speaks, thinks=thinks)

    def _of_message_beside(self, key: str, value: Any, *, speaks: bool, thinks: bool) -> Iterator[Piece]:
        if key == "audio" and isinstance(value, dict):
            yield from self._audio(value, speaks=speaks)
            return
        if key == "images" and isinstance(value, list):
            yield from map(image_of, value)
        if key == "reasoning_details" and thinks and isinstance(value, list):
            for said in filter(None, map(detail_of, value)):
                yield from self._reasoning(said)
        if key == "context" and isinstance(value, dict) and isinstance(value.get("citations"), list):
            self._add(self._sources, "citations", value["citations"])  # Azure's citations of the caller's own data
        if key in _RETURNED:
            join = blocks_joined if isinstance(value, list) else joined
            self._turn[key] = join(self._turn[key], value) if key in self._turn else value
        elif key in _SOURCES and isinstance(value, list):
            self._add(self._sources, key, value)
        elif key in self._beside and isinstance(value, list | dict):
            self._beside[key] = joined(self._beside[key], value) if value != self._beside[key] else value
        else:
            self._keep(key, value)

    def _audio(self, audio: Mapping[str, Any], *, speaks: bool) -> Iterator[Piece]:
        if self._sound is None or audio.get("id"):
            self._sound = str(audio.get("id") or "")
        if self._sound:
            # In the next request, the identifier stands for the audio, and no text may stand beside it.
            self._turn.update(audio={"id": self._sound}, content=None)
        transcript, data = audio.get("transcript"), audio.get("data")
        if transcript and isinstance(transcript, str) and speaks and (text := self._halves.text("text", transcript)):
            yield text
        if data and isinstance(data, str):
            yield Media("audio", sound_type(data), data, id=self._sound)
        rest = {name: value for name, value in audio.items() if name not in {"id", "transcript", "data"} and says(value)}
        if rest:
            self._beside["audio"] = {**self._beside.get("audio", {}), **rest}

    def _parts(self, content: Any) -> Iterator[Piece]:
        if isinstance(content, dict):  # for a request for JSON, Cloudflare sends the parsed answer
            content = [json.dumps(content, ensure_ascii=False)]
        if not isinstance(content, list):
            raise shape_error("content", content)
        for part in content:
            if isinstance(part, str | dict):
                yield from self._of_part({"type": "text", "text": part} if isinstance(part, str) else part)
            else:
                raise shape_error("content[]", part)

    def _of_part(self, part: Mapping[str, Any]) -> Iterator[Piece]:
        text, thought = part.get("text"), thinking_of(part)
        if thought is not None:
            yield from self._reasoning(thought)
            self._returned_part(part)
        elif part.get("type") in {"image_url", "output_image"}:
            yield image_of(part)
            self._returned_part(part)
        elif isinstance(text, str):
            if text := self._halves.text("text", text):
                yield TextDelta(text)
            for name in _SOURCES.intersection(part):
                self._add(self._sources, name, part[name])
        elif part.get("type") == "reference":
            self._add(self._sources, "citations", [part])
        elif says(part):
            self._add(self._beside, "content", [part])

    @staticmethod
    def _add(place: dict[str, Any], name: str, value: Any) -> None:
        """Append the entries of a list that are not there yet."""
        known = place.get(name) or []
        place[name] = [*known, *(one for one in value or () if one not in known)] if isinstance(known, list) else value

    def _returned_part(self, part: Mapping[str, Any]) -> None:
        """Keep a part of the content that comes before the text in the next request."""
        *before, text = self._turn.get("content") or [{"type": "text"}]
        key = "summary" if "summary" in part else "thinking"
        inner = part.get(key)
        last = before[-1] if before else {}
        if isinstance(inner, list) and isinstance(last.get(key), list):
            before[-1] = {**last, **part, key: _thoughts([*last[key], *inner])}
        else:
            before.append(part)
        self._turn["content"] = [*before, text]

    def _reasoning(self, said: str) -> Iterator[Piece]:
        self._thought_key = self._thought_key or REASONING[0]
        if text := self._halves.text("reasoning", said):
            self.reasoned.append(text)
            yield ReasoningDelta(text)

    @property
    def waits(self) -> bool:
        """Whether half of a character is held back for the next text."""
        return bool(self._halves.held)


def refuse_error(chunk: Mapping[str, Any], refusal: Callable[[bytes], ProviderError] | None = None) -> None:
    """Raise an error if a chunk, an answer or its choice is an error. `refusal` makes the error from the chunk as JSON."""
    error = chunk.get("error")
    choices, groq = chunk.get("choices"), chunk.get("x_groq")
    for part in (groq, *(choices if isinstance(choices, list) else ())):
        if isinstance(part, dict) and part.get("error"):
            error = part["error"]
            chunk = {"error": error}
    # Web frameworks write an error as one field, without `error` and `choices`.
    bare = "choices" not in chunk and (
        any(isinstance(chunk.get(name), str) for name in ("message", "detail", "msg"))
        or str(chunk.get("type")).lower().endswith(("error", "exception"))
        or bool(chunk.get("errors"))
    )
    if error or bare or chunk.get("object") == "error":
        raise error_from_status(200, {}, chunk) if refusal is None else refusal(json.dumps(chunk).encode())


def _tells(message: Mapping[str, Any]) -> bool:
    """Return whether a message or a delta has more than its role."""
    return any(name not in {"role", "token_id"} and says(value) for name, value in message.items())


def _logprobs(value: Any) -> Iterator[Piece]:
    if isinstance(value, dict) and any(isinstance(value.get(name), list) for name in ("content", "refusal")):
        for name, key in (("logprobs", "content"), ("refusal_logprobs", "refusal")):
            if value.get(key):
                yield Detail(name, value[key])
    else:
        yield Detail("logprobs", value if isinstance(value, list) else [value])


def _thoughts(parts: list[Any]) -> list[Any]:
    found: list[Any] = []
    for part in parts:
        texts = [one.get("text") for one in (*found[-1:], part) if isinstance(one, dict) and one.get("type") in _THOUGHTS]
        if len(texts) == 2 and all(isinstance(text, str) for text in texts):
            found[-1] = {**found[-1], **part, "text": "".join(texts)}  # type: ignore[arg-type]
        else:
            found.append(part)
    return found
