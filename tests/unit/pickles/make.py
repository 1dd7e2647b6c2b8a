"""Write a pickle of every public value class and every error into this folder.

    python tests/unit/pickles/make.py          write the files that are missing
    python tests/unit/pickles/make.py NAME     write this file again

A release must read the pickles of earlier releases. So a new field of a class is no reason to write a file again.
"""

import pickle
import sys
from decimal import Decimal
from pathlib import Path

import providerhub as ph
from providerhub._settings.secrets import CommandKey, EnvironmentKey, KeyringKey

FOLDER = Path(__file__).resolve().parent
PROTOCOL = 4

USAGE = ph.Usage(input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2)
CALL = ph.ToolCall("call-1", "weather", '{"city": "Oslo"}')
MODEL = ph.ModelInfo(
    "acme-large", aliases=("acme",), supports_stream=True, supports_tools=False, context_window=8192, price_in=0.5, price_out=1.5
)
SETTING = ph.Setting("region", env="ACME_REGION", required=True, default="eu", help="Where it runs.")
SKIP = ph.Skip("beta", "m", "no stream", "declared by the plugin")
CANDIDATE = ph.Candidate("acme", "acme-large", "acme-*", match="prefix", context_window=8192, prefill=True, stream=False)
ATTEMPT = ph.Attempt(
    1, "acme", "m", outcome="error", error=ph.ServerError("down", provider="acme", model="m", status=503), waited=0.5,
    started=0.25, duration=1.5, first_token=0.75, notes=("wrong content type",),
)  # fmt: skip
ROUTE = ph.Route(attempts=(ATTEMPT,), skipped=(SKIP,), duration=2.5)
COMPLETION = ph.Completion(
    text="Hello", reasoning="Hm.", tool_calls=(CALL,), refusal="No.", finish_reason="stop", usage=USAGE, provider="acme",
    model="m", route=ROUTE,
)  # fmt: skip
CONFIG = ph.ProviderConfig(
    name="acme-eu", plugin="acme", url="https://api.acme.example", api_key="canary", options={"region": "eu"},
    proxies={"https": "http://proxy:3128"}, ca_bundle="/etc/ca.pem", models=("tiny", MODEL), priority=2, weight=0.5,
    origin="file",
)  # fmt: skip
# The file holds the defaults of its time: a pickle is read as it was written.
OLD_TIMEOUT = ph.Timeout(connect=5, first_token=60, byte_idle=30, token_idle=60, total=30)
OLD_RETRY = ph.RetryPolicy(attempts=2, retry_after_max=30)
OLD_BREAKER = ph.BreakerRules(calls=2, open_most=300)

VALUES = {
    "Attempt": ATTEMPT,
    "BreakerRules": ph.BreakerRules(window=1, calls=2, share=0.25, in_a_row=3, open_first=4, open_most=5),
    "BudgetRules": ph.BudgetRules(capacity=1, per_success=0.5, interval=2),
    "Candidate": CANDIDATE,
    "CallRecord": ph.CallRecord(
        id="0a-1-1", asked=["m", ph.Model("m", "acme")], request=ph.Request("m", ({"role": "user", "content": "Hello"},)),
        started=1.5, timeout=60, plan=ph.RoutePlan((CANDIDATE,)), route=ROUTE, completion=COMPLETION, metadata={"user": "u1"},
    ),
    "Citation": ph.Citation("https://a.example", "A", "quoted", 1, 5, {"document": 1}),
    "Completion": COMPLETION,
    "Cost": ph.Cost(Decimal("0.25"), "EUR", "acme", "2026-05-01"),
    "Detail": ph.Detail("tier", "flex"),
    "EmbeddingRequest": ph.EmbeddingRequest("m", (), options={"a": 1}, texts=("x",), dimensions=3),
    "Embeddings": ph.Embeddings([[0.5, -0.5]], USAGE, "m", "acme", ROUTE),
    "Finish": ph.Finish("length"),
    "HealthRecord": ph.HealthRecord(
        provider="acme", model="tiny", state="open", retry_in=3.5, first_token=0.4, whole=2.0, budget=9.5, rpm=60, in_use=1,
        learned_rpm=42.0,
    ),
    "InstanceView": ph.InstanceView(name="acme", plugin="acme", models=(MODEL,), settings=(SETTING,)),
    "Media": ph.Media("image", "image/png", base64="UE5H", id="m1"),
    "Model": ph.Model("meta/x", "acme"),
    "ModelInfo": MODEL,
    "Outcome": ph.Outcome(index=3, completion=COMPLETION),
    "VendorBatch": ph.VendorBatch("b-1", "ended", "acme", "t", 5.0, 2, 1, "why", ("f-1",)),
    "Prices": ph.Prices(1, 2, cache_read=0.5, tiers=((10, ph.Prices(2, 3)),)),
    "ProviderConfig": CONFIG,
    "ProviderInfo": ph.ProviderInfo(
        name="acme", models=(MODEL, "tiny"), factory="acme.provider:create", settings=(SETTING,), needs_auth=True,
        discover="acme.provider:discover", description="For tests.",
    ),
    "ReasoningDelta": ph.ReasoningDelta("Hm."),
    "Refusal": ph.Refusal(
        error=ph.CapabilityError, codes=["no_moon"], phrases=["moon is full"], capability="moon", hint="; wait", also=[500],
    ),
    "RefusalDelta": ph.RefusalDelta("No."),
    "Request": ph.Request(
        "m", ({"role": "user", "content": "Hello"},), stream=True, temperature=0.5, max_tokens=7, stop=("END",),
        tools=({"type": "function"},), tool_choice="auto", response_format={"type": "json_object"}, seed=1, options={"a": 1},
    ),
    "Restarted": ph.Restarted("acme", "m", continued=True, error=ph.ServerError("down")),
    "RetryPolicy": ph.RetryPolicy(
        attempts=1, attempts_per_provider=1, backoff=2, backoff_max=3, throttle_backoff=4, retry_after_max=5, pause_max=6,
        hedge_quantile=0.5, hedge_samples=7,
    ),
    "Claim": ph.Claim("a-1", (("api.acme.example:0f:m", 4, 0.1, None),), 100.0),
    "Fact": ph.Fact("api.acme.example:0f", "m", "rate limited", 60.0),
    "Route": ROUTE,
    "Shared": ph.Shared("redis://127.0.0.1/0", namespace="shop", on_outage="refuse"),
    "RoutePlan": ph.RoutePlan((CANDIDATE,), (SKIP,)),
    "Secret": ph.Secret("canary"),
    "Setting": SETTING,
    "Settings": ph.Settings(
        providers={
            "acme-eu": CONFIG,
            "b": ph.ProviderConfig(api_key=ph.Secret.later(EnvironmentKey("B_KEY"))),
            "c": ph.ProviderConfig(api_key=ph.Secret.later(CommandKey(("pass", "show", "c"), 5.0))),
            "d": ph.ProviderConfig(api_key=ph.Secret.later(KeyringKey("d", "me"))),
        },
        aliases={"fast": "m", "best": ["a", ph.Model("y/z")]}, timeout=OLD_TIMEOUT, retry=OLD_RETRY, breaker=OLD_BREAKER,
        budget=ph.BudgetRules(capacity=1), strategy="fastest", on_interrupt="restart",
        hedge=True, emulate_stream=True, allow="acme", block=["beta"], autoload=False, prefer={"acme": "acme-official"},
        origins={"hedge": "settings.toml:3"},
    ),
    "Skip": SKIP,
    "TextDelta": ph.TextDelta("Hello"),
    "Timeout": ph.Timeout(connect=1, first_token=2, byte_idle=3, token_idle=4, total=5),
    "TokenCount": ph.TokenCount(7, "m", "acme", ROUTE),
    "ToolCall": CALL,
    "ToolCallDelta": ph.ToolCallDelta(1, "call-1", "weather", "{"),
    "Turn": ph.Turn([{"type": "thinking", "signature": "c2ln"}], plugin="providerhub-acme", name="acme", host="api.acme.example"),
    "Usage": USAGE,
    "UsageDelta": ph.UsageDelta(USAGE),
}  # fmt: skip


def _error(cls):
    if cls is ph.PluginError:
        error = cls("broken", plugin="acme", model="m")
    elif cls is ph.StreamInterruptedError:
        error = cls("broke", partial="Hel", completion=COMPLETION, provider="acme", cause=ph.ServerError("down", status=503))
    elif cls is ph.AllProvidersFailedError:
        error = cls("1 attempt failed", attempts=(ATTEMPT,))
    elif cls is ph.CapabilityError:
        error = cls("no", provider="acme", model="m", status=400, capability="images", request_id="req-7")
    elif cls is ph.InvalidOutputError:
        error = cls("no", provider="acme", model="m", text="{")
    elif issubclass(cls, ph.ProviderError):
        error = cls("no", provider="acme", model="m", status=499, retryable=True, retry_after=3.5, excerpt="{}")
    else:
        error = cls("what happened")
    error.route = ROUTE
    return error


PUBLIC = {name: getattr(ph, name) for name in ph.__all__}
ERRORS = {name: _error(cls) for name, cls in PUBLIC.items() if isinstance(cls, type) and issubclass(cls, ph.ProviderHubError)}
OBJECTS = VALUES | ERRORS


def main():
    """Write the files."""
    for name, value in OBJECTS.items():
        path = FOLDER / f"{name}.pickle"
        if name in sys.argv[1:] or not path.exists():
            path.write_bytes(pickle.dumps(value, PROTOCOL))


if __name__ == "__main__":
    main()
