"""Reads one answer of the Responses API, whole or as an event stream, and the errors in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providerhub import BadRequestError, CallContext, ContentPolicyError, Event, Refusal, ServerError
from providerhub.wire_provider import JsonReading
from providerhub_openai._responses_answer import ENDS, ResponsesAnswer

REFUSALS = (
    Refusal(
        error=ContentPolicyError,
        codes=("image_content_policy_violation", "bio_policy", "misalignment_policy_violation"),
        phrases=(r"flagged as (?:potentially )?violating", r"limited access to this content for safety reasons"),
    ),
    Refusal(error=ServerError, codes=("vector_store_timeout",)),
    Refusal(
        error=BadRequestError,
        codes=(
            "invalid_prompt", "data_residency_mismatch", "invalid_image", "invalid_image_format", "invalid_base64_image",
            "invalid_image_url", "image_too_large", "image_too_small", "image_parse_error", "invalid_image_mode",
            "image_file_too_large", "unsupported_image_media_type", "empty_image_file", "failed_to_download_image",
            "image_file_not_found",
        ),
    ),
    Refusal(
        error=BadRequestError,
        phrases=(r"verified to (?:generate|use) reasoning summar",),
        hint="; leave `summary` out of the option `reasoning`",
    ),
    Refusal(
        error=BadRequestError,
        phrases=(r"encrypted content is not supported",),
        hint="; pass the option include = None, or leave `reasoning` out",
    ),
)  # fmt: skip
"""The codes of `response.error`, and words of this API. They come before the lines for all services."""

_FAILED = frozenset({"failed", "cancelled"})


class ResponsesReading(JsonReading):
    """Reads one answer.

    Args:
        call: The call, for notes.
        headers: The headers of the answer.
    """

    def __init__(self, call: CallContext, headers: Mapping[str, str]) -> None:
        super().__init__(call, headers)
        self._answer = ResponsesAnswer()

    def event(self, data: dict[str, Any], name: str) -> Iterator[str | Event]:
        """Read one event; see `JsonReading.event`.

        Args:
            data: The event's data.
            name: The event's name.

        Yields:
            The pieces of the event.
        """
        yield from self._answer.event(data, name)
        self.done = (data.get("type") or name) in ENDS

    def whole(self, data: dict[str, Any]) -> Iterator[str | Event]:
        """Read an answer that is one object; see `JsonReading.whole`.

        Args:
            data: The answer.
        """
        return self._answer.whole(data)

    def refuse(self, data: dict[str, Any], name: str) -> None:
        """Raise an error if an object is an error: an event `error`, with or without a field `error`, or a failed answer.

        Args:
            data: The object of an event, or the whole answer.
            name: The event's name.
        """
        inner = data.get("response")
        answer = inner if isinstance(inner, dict) else data
        error = data.get("error") or answer.get("error")
        if error or "error" in {name, data.get("type")}:
            said = {"error": error} if error else data
            raise self.failure(said)
        if answer.get("status") in _FAILED:
            msg = f"the answer ended with the status {answer['status']!r}, and the service gives no reason"
            raise ServerError(msg, excerpt=repr(data)[:500])
        if "output" not in data and "response" not in data:
            super().refuse(data, name)
