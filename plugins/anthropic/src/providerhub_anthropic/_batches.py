"""Batches of messages: answered within a day at half the price.

Reference: "Message Batches" in Anthropic's documentation of its API.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any

from providerhub import CallContext, ProtocolError, Request, VendorBatch
from providerhub.wire_provider import HttpAnswer, HttpRequest, Order, WireProvider

_STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "permission_error": 403, "not_found_error": 404,
    "request_too_large": 413, "rate_limit_error": 429, "overloaded_error": 529,
}  # fmt: skip
"""Type of an error → its status outside of a batch; 500 for the others."""

Steps = Generator[Order, Any, VendorBatch]


class Batches(WireProvider):
    """The batches of Anthropic itself."""

    prefix: str

    def batch_create(self, rows: Sequence[tuple[str, Request]], tag: str, call: CallContext) -> Steps:
        """Begin a batch. The service keeps no tag, so the identifiers of the requests begin with it.

        Args:
            rows: The requests of one model, each with its identifier.
            tag: The tag, which is sent only as a part of the identifiers.
            call: The call, for notes.
        """
        del tag
        requests: list[dict[str, Any]] = []
        headers: dict[str, str] = {}
        for custom, request in rows:
            sent = yield from self.asked(request, call)
            headers |= sent.headers
            requests.append({"custom_id": custom, "params": sent.body})
        answer = yield HttpRequest(self._path(), {"requests": requests}, headers=headers)
        return _state(answer.json())

    def batch_get(self, name: str) -> Steps:
        """Ask for the state of a batch.

        Args:
            name: The identifier of the batch.
        """
        return _state((yield HttpRequest(self._path(name), method="GET")).json())

    def batch_cancel(self, name: str) -> Steps:
        """Cancel a batch.

        Args:
            name: The identifier of the batch.
        """
        return _state((yield HttpRequest(self._path(name, "cancel"))).json())

    def batch_list(self) -> Generator[Order, Any, list[VendorBatch]]:
        """List the batches, the newest first."""
        request = HttpRequest(self._path(), method="GET", query={"limit": "100"})
        return list(map(_state, (yield from request.pages("data", "last_id", "after_id"))))

    def batch_results(self, batch: VendorBatch) -> Generator[Order, Any, list[tuple[str, int, bytes]]]:
        """Fetch the results: identifier, HTTP status (0 for a request that was not answered) and body of each.

        Args:
            batch: The batch, which has ended.
        """
        found = []
        answer: HttpAnswer = yield HttpRequest(self._path(batch.id, "results"), method="GET")
        for line in filter(None, answer.body.split(b"\n")):
            try:
                row = json.loads(line)
                found.append((str(row["custom_id"]), *_result(row["result"])))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                msg = f"a line of the results of batch {batch.id} cannot be read"
                raise ProtocolError(msg, excerpt=line[:200].decode("utf-8", "replace")) from error
        return found

    def _path(self, *parts: str) -> str:
        return "/".join([f"{self.prefix}/messages/batches", *parts])


def _result(result: Mapping[str, Any]) -> tuple[int, bytes]:
    if result["type"] == "succeeded":
        return 200, json.dumps(result["message"]).encode()
    if result["type"] == "errored":
        error = result["error"]
        return _STATUSES.get(error.get("error", error).get("type"), 500), json.dumps(error).encode()
    return 0, f"it is {result['type']}".encode()


def _state(entry: Mapping[str, Any]) -> VendorBatch:
    try:
        counts = entry.get("request_counts") or {}
        return VendorBatch(
            id=str(entry["id"]),
            state="ended" if entry["processing_status"] == "ended" else "running",
            created=datetime.fromisoformat(entry["created_at"]).timestamp(),
            rows=sum(map(int, counts.values())),
            answered=int(counts.get("succeeded") or 0),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError("the answer is not a batch; check the configured url") from error
