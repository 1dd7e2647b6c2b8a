"""Checks of the error classes for refused requests."""

from __future__ import annotations

import pickle

from providerhub import (
    AuthenticationError,
    BadRequestError,
    ModelUnavailableError,
    ProviderError,
    ProviderHubError,
    RateLimitError,
    ServerError,
)
from providerhub_conformance._kit.bench import Bench
from providerhub_conformance._kit.check import check
from providerhub_conformance._kit.outcome import expect

GROUP = "refusals"
_FIX = "Raise error_from_status(status, headers, body), or {} with status= set."


def _refused(
    bench: Bench, status: int, expected: type[ProviderError], message: str = "no", **headers: str
) -> list[ProviderError]:
    """Refuse all ways of calling; return the errors, each of the expected class."""
    script = bench.refusing(status, headers, message)
    client = bench.client(bench.serve(script))
    found: list[ProviderError] = []
    for way in bench.ways(client):
        error = bench.fails(way, f"HTTP {status}")
        shown = f"HTTP {status}: raised {type(error).__name__} ({str(error)[:200]}), not {expected.__name__}"
        expect(isinstance(error, expected), shown)
        assert isinstance(error, ProviderError)  # noqa: S101 -- the expected class is derived from it
        expect(error.status in {None, status}, f"HTTP {status}: the error says status {error.status}")
        found.append(error)
    return found


@check(
    GROUP,
    fix=_FIX.format("RateLimitError(retry_after=seconds)"),
    promise="The core waits as long as the service asks, and calls another provider meanwhile.",
)
def rate_limit_mapped(bench: Bench) -> None:
    """429 with `Retry-After: 7` is a `RateLimitError` with `retry_after=7`."""
    for error in _refused(bench, 429, RateLimitError, "slow down", **{"Retry-After": "7"}):
        expect(error.retry_after == 7, f"429 with Retry-After: 7 gives retry_after={error.retry_after}")


@check(
    GROUP,
    fix=_FIX.format("ServerError"),
    promise="A failure of the service moves the call on, and the caller is not blamed.",
)
def server_error_mapped(bench: Bench) -> None:
    """500, 502, 503 and 529 are a `ServerError`."""
    for status in (500, 502, 503, 529):
        _refused(bench, status, ServerError, "internal failure")


@check(
    GROUP,
    fix=_FIX.format("AuthenticationError"),
    promise="A refused key is reported, and is not tried again and again.",
)
def key_refusal_mapped(bench: Bench) -> None:
    """401 and 403 are an `AuthenticationError`."""
    for status in (401, 403):
        _refused(bench, status, AuthenticationError, "this key is not welcome")


@check(
    GROUP,
    fix=_FIX.format("BadRequestError"),
    promise="A wrong request is not sent to all providers.",
)
def bad_request_mapped(bench: Bench) -> None:
    """400 is a `BadRequestError`."""
    _refused(bench, 400, BadRequestError, "temperature is out of range")


@check(
    GROUP,
    fix=_FIX.format("ModelUnavailableError"),
    promise="When one provider lacks a model, the call tries the next provider.",
)
def missing_model_mapped(bench: Bench) -> None:
    """404 for a model is a `ModelUnavailableError`."""
    _refused(bench, 404, ModelUnavailableError, "the model does not exist")


@check(
    GROUP,
    fix="Let the __init__ of your own error classes accept the message alone. Do not keep a response, a socket or a lock "
    "in an error.",
    promise="Errors can be sent between processes: pools, queues, test runners.",
)
def errors_pickle(bench: Bench) -> None:
    """The error of a failed call can be pickled and read again."""
    for status in (429, 400, 503):
        client = bench.client(bench.serve(bench.refusing(status)))
        for way in bench.ways(client):
            _pickles(bench, bench.fails_outright(way, f"HTTP {status}"), f"HTTP {status}")


def _pickles(bench: Bench, error: ProviderHubError, what: str) -> None:
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- pickled on the same line
    except Exception as raised:  # pickling may raise any error
        bench.fail(f"{what}: {type(error).__name__} cannot be pickled: {type(raised).__name__}: {raised}")
    expect(type(copy) is type(error) and str(copy) == str(error), f"{what}: pickled and read again, {error!r} became {copy!r}")
