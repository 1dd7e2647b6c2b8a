"""Message batches: created once, matched by identifier in any order, with mixed outcomes, and found again after a crash."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from providerhub import BadRequestError, ConfigurationError, Hub, ModelInfo, ModelUnavailableError, ProviderConfig, Settings
from providerhub.testing import FakeClock, FaultServer, Reset, http_response


def message(text):
    usage = {"input_tokens": 3, "output_tokens": 4}
    return {
        "type": "succeeded",
        "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn", "stop_sequence": None, "usage": usage,
        },
    }  # fmt: skip


REFUSED = {"type": "errored", "error": {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}}


class Service:
    """The batches of the Messages API; `answers` gives the result of a request's text."""

    def __init__(self):
        self.batches, self.rows, self.asked = [], {}, []
        self.answers = lambda text: message(f"answer to {text}")
        self.lose = False
        self.doubled = 0

    def __call__(self, request):
        path = request.target.partition("?")[0]
        self.asked.append(f"{request.method} {path}")
        if path == "/v1/messages/batches" and request.method == "POST":
            for _ in range(1 + self.doubled):
                made = self._create(request.json()["requests"])
            return [Reset()] if self.lose else http_response(200, json.dumps(made))
        if path == "/v1/messages/batches":
            return http_response(200, json.dumps({"data": self.batches[::-1], "has_more": False}))
        name, _, act = path.removeprefix("/v1/messages/batches/").partition("/")
        [batch] = [batch for batch in self.batches if batch["id"] == name]
        if act == "results":
            lines = [
                {"custom_id": row["custom_id"], "result": self.answers(row["params"]["messages"][0]["content"][0]["text"])}
                for row in reversed(self.rows[name])
            ]
            return http_response(200, "\n".join(map(json.dumps, lines)))
        batch["processing_status"] = "canceling" if act == "cancel" else "ended"
        return http_response(200, json.dumps(batch))

    def _create(self, rows):
        name = f"msgbatch_{len(self.batches)}"
        self.rows[name] = rows
        counts = {"processing": len(rows), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        self.batches.append(
            {
                "id": name,
                "type": "message_batch",
                "processing_status": "in_progress",
                "request_counts": counts,
                "created_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
                "results_url": None,
            }
        )
        return self.batches[-1]


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def hub(service):
    with FaultServer(service, repeat=True) as server:
        config = ProviderConfig(url=server.url, api_key="sk-canary", models=["m"])
        with Hub(Settings(providers={"anthropic": config}, allow=("anthropic",)), clock=FakeClock()) as made:
            yield made


def rows(*texts):
    return [{"model": "anthropic/m", "messages": text, "max_tokens": 10} for text in texts]


def test_results_are_matched_by_their_identifiers(hub, service, tmp_path):
    outcomes = list(hub.batches.outcomes(rows("a", "b", "c"), tmp_path / "journal"))
    assert {outcome.index: outcome.unwrap().text for outcome in outcomes} == {n: f"answer to {t}" for n, t in enumerate("abc")}
    assert {outcome.completion.usage.output_tokens for outcome in outcomes} == {4}
    assert service.asked.count("POST /v1/messages/batches") == 1
    assert all("stream" not in row["params"] for row in service.rows["msgbatch_0"])


def test_an_answer_of_a_batch_costs_half(service, tmp_path):
    model = ModelInfo("m", price_in=2.0, price_out=10.0)
    with FaultServer(service, repeat=True) as server:
        config = ProviderConfig(url=server.url, api_key="sk-canary", models=[model])
        with Hub(Settings(providers={"anthropic": config}, allow=("anthropic",)), clock=FakeClock()) as hub:
            (outcome,) = hub.batches.outcomes(rows("a"), tmp_path / "journal")
    cost = outcome.unwrap().cost
    assert (cost.amount, cost.source) == (Decimal("0.000023"), "model, batch")  # half of 3 × 2.0 + 4 × 10.0, for a million
    assert outcome.unwrap().route.cost == cost


def test_outcomes_may_be_mixed(hub, service, tmp_path):
    service.answers = {"good": message("fine"), "bad": REFUSED, "late": {"type": "expired"}}.get
    found = {o.index: o for o in hub.batches.outcomes(rows("good", "bad", "late"), tmp_path / "journal")}
    assert found[0].unwrap().text == "fine"
    assert type(found[1].error) is BadRequestError
    assert type(found[2].error) is ModelUnavailableError
    assert "expired" in str(found[2].error)


def test_a_crash_before_the_identifier_was_recorded(hub, service, tmp_path):
    service.lose = True
    with pytest.raises(Exception, match=r"connection|reset|closed"):
        list(hub.batches.outcomes(rows("a", "b"), tmp_path / "journal"))
    service.lose = False
    outcomes = list(hub.batches.outcomes(rows("a", "b"), tmp_path / "journal"))
    assert sorted(outcome.unwrap().text for outcome in outcomes) == ["answer to a", "answer to b"]
    assert len(service.batches) == 1


def test_several_batches_that_may_be_the_lost_one_are_named(hub, service, tmp_path):
    service.lose, service.doubled = True, 1
    with pytest.raises(Exception, match=r"connection|reset|closed"):
        list(hub.batches.outcomes(rows("a"), tmp_path / "journal"))
    with pytest.raises(ConfigurationError, match="msgbatch_1, msgbatch_0"):
        list(hub.batches.outcomes(rows("a"), tmp_path / "journal"))
    assert len(service.batches) == 2


def test_a_batch_can_be_cancelled(hub, service, tmp_path):
    service.lose = True
    with pytest.raises(Exception, match=r"connection|reset|closed"):
        list(hub.batches.outcomes(rows("a"), tmp_path / "journal"))
    [state] = hub.batches.cancel(tmp_path / "journal")
    assert (state.id, state.state, state.rows) == ("msgbatch_0", "running", 1)
