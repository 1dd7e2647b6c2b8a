"""The most frequent chunk as a type, for a parser that skips what nobody reads. Needs the extra `fast`.

The type says what an ordinary chunk of text may hold. Whatever it does not allow is an error of the parser's, and the chunk
goes to the general reader: the type never decides what a chunk means, it only recognises the ones whose meaning is plain.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Nothing = Literal[""] | None
"""What a field may say that says nothing."""


class _Delta(msgspec.Struct):
    content: str
    reasoning_content: Nothing = None
    reasoning: Nothing = None
    refusal: Nothing = None
    tool_calls: None = None
    function_call: None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    index: Literal[0] | None = 0
    finish_reason: Nothing = None


class _Chunk(msgspec.Struct):
    choices: tuple[_Choice]
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: None = None
    error: Nothing = None


_decode = msgspec.json.Decoder(_Chunk).decode


def typed_text(payload: bytes) -> str | None:
    """The text of a chunk that holds nothing else.

    Args:
        payload: The chunk, valid UTF-8.

    Returns:
        The text; `None` when the chunk holds something else, or is none.
    """
    try:
        return _decode(payload).choices[0].delta.content
    except (msgspec.DecodeError, RecursionError):
        return None
