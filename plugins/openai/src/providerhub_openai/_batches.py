"""Batches of OpenAI and Azure: a file of requests, answered within a day at half the price.

Reference: "Batch API" in the documentation of OpenAI, and "Azure OpenAI batch" in Microsoft's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from providerhub import CallContext, ConfigurationError, ProtocolError, Request, VendorBatch
from providerhub.wire_provider import HttpAnswer, HttpRequest, Order, WireProvider

_ENDED = frozenset({"completed", "expired", "cancelled"})
_PAGE = 100
"""Batches of one page of the list; the API's maximum."""

_PAGES = 20
"""The maximum number of pages to read from the list, with the newest first."""

Steps = Generator[Order, Any, VendorBatch]


class Batches(WireProvider):
    """The batches of a service with OpenAI's protocol."""

    resources: str

    def authorized(self) -> Generator[Order, Any, dict[str, str]]:
        """Return headers that every request needs beside the key.

        Yields:
            Nothing; Azure yields the work that fetches a token.
        """
        yield from ()
        return {}

    def batch_create(self, rows: Sequence[tuple[str, Request]], tag: str, call: CallContext) -> Steps:
        """Upload requests and begin their batch.

        Args:
            rows: The requests of one model, each with its identifier.
            tag: The mark that identifies the batch in the list.
            call: The call, for notes.
        """
        lines, path = [], ""
        for custom, request in rows:
            sent = yield from self.asked(request, call)
            path = sent.path
            lines.append(json.dumps({"custom_id": custom, "method": "POST", "url": _endpoint(path), "body": sent.body}))
        boundary, name = uuid4().hex, f"providerhub-{tag}.jsonl"
        file = "\n".join(lines)
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            f"Content-Type: application/jsonl\r\n\r\n{file}\n\r\n--{boundary}--\r\n"
        )
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        uploaded = yield from self._asked_for("files", body.encode(), headers=kind)
        wanted = {"endpoint": _endpoint(path), "completion_window": "24h", "metadata": {"providerhub": tag}}
        return _state((yield from self._asked_for("batches", {"input_file_id": uploaded.json()["id"], **wanted})).json())

    def batch_get(self, name: str) -> Steps:
        """Ask for the state of a batch.

        Args:
            name: The identifier of the batch.
        """
        return _state((yield from self._asked_for(f"batches/{name}", method="GET")).json())

    def batch_cancel(self, name: str) -> Steps:
        """Cancel a batch.

        Args:
            name: The identifier of the batch.
        """
        return _state((yield from self._asked_for(f"batches/{name}/cancel")).json())

    def batch_list(self) -> Generator[Order, Any, list[VendorBatch]]:
        """List the batches, the newest first."""
        found: list[VendorBatch] = []
        query = {"limit": str(_PAGE)}
        for _ in range(_PAGES):
            answer = yield from self._asked_for("batches", method="GET", query=query)
            found += map(_state, answer.entries())
            if not found or not answer.json().get("has_more"):
                break
            query["after"] = found[-1].id
        return found

    def batch_results(self, batch: VendorBatch) -> Generator[Order, Any, list[tuple[str, int, bytes]]]:
        """Fetch the results: identifier, HTTP status (0 for a request that was not answered) and body of each.

        Args:
            batch: The batch, which has ended.
        """
        found = []
        for place in batch.places:
            answer = yield from self._asked_for(f"files/{place}/content", method="GET")
            for line in filter(None, answer.body.split(b"\n")):
                try:
                    row = json.loads(line)
                    response = row.get("response") or {}
                    body = response["body"] if response else (row.get("error") or {}).get("message") or ""
                    text = body if isinstance(body, str) else json.dumps(body)
                    found.append((str(row["custom_id"]), int(response.get("status_code") or 0), text.encode()))
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    msg = f"a line of the results of batch {batch.id} cannot be read"
                    raise ProtocolError(msg, excerpt=line[:200].decode("utf-8", "replace")) from error
        return found

    def _asked_for(
        self, path: str, body: Mapping[str, Any] | bytes | None = None, *, headers: Mapping[str, str] | None = None, **how: Any
    ) -> Generator[Order, Any, HttpAnswer]:
        if not self.resources and "/v1" not in (self.config.url or ""):
            msg = f'provider {self.config.name!r}: batches need the newer addresses; set api_version = "v1"'
            raise ConfigurationError(msg)
        own = yield from self.authorized()
        answer: HttpAnswer = yield HttpRequest(f"{self.resources}/{path}", body, headers={**own, **(headers or {})}, **how)
        return answer


def _endpoint(path: str) -> str:
    """The path in the form of a batch."""
    return f"/v1{path[path.index('/responses') if path.endswith('/responses') else path.index('/chat/') :]}"


def _state(entry: Mapping[str, Any]) -> VendorBatch:
    try:
        status = entry["status"]
        counts, errors = entry.get("request_counts") or {}, (entry.get("errors") or {}).get("data") or []
        return VendorBatch(
            id=str(entry["id"]),
            state="ended" if status in _ENDED else "failed" if status == "failed" else "running",
            tag=str((entry.get("metadata") or {}).get("providerhub", "")),
            created=float(entry.get("created_at") or 0),
            rows=int(counts.get("total") or 0),
            answered=int(counts.get("completed") or 0),
            reason="; ".join(str(error.get("message")) for error in errors),
            places=tuple(filter(None, (entry.get("output_file_id"), entry.get("error_file_id")))),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError("the answer is not a batch; check the configured url") from error
