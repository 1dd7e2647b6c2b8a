"""Each check finds the provider that breaks its promise, and no other check does."""

from __future__ import annotations

import functools

import pytest

from providerhub import Setting
from providerhub_conformance import CHECKS, OpenAIChatWire, ProviderConformance
from providerhub_conformance._kit.session import Session

PATIENCE = 3.0


def test_every_check_has_a_bad_provider():
    from bad_providers import BAD

    assert set(BAD) == set(CHECKS)


CONTROLS = ("basic-call", "usage-reported", "server-error-mapped")
"""Checks of other groups, which must not catch a provider that is bad in another way."""
ASYNC = (
    "first-token-early", "cancel-reaches-socket", "truncated-is-error", "stall-timeout", "redirect-not-followed",
    "no-own-retries", "key-not-in-errors", "nothing-left",
)  # fmt: skip


LONG = {"sides-agree", "every-split", "every-cut", "every-error", "every-garbage", "every-type"}
QUICK = [check for check in CHECKS if check not in LONG]
"""The checks without those that play hundreds of faults each: these take longer than all others together."""


def _session(provider):
    options = {"provider": provider, "wire": OpenAIChatWire(), "patience": PATIENCE}
    return Session(type("Suite", (ProviderConformance,), options).subject(), {})


def _failed(session, checks):
    """Run checks, and the checks that they require, in a session or on the named provider.

    Returns:
        The details of the failed checks, by name. A blocked check must be blocked by one of them.
    """
    session = _session(session) if isinstance(session, str) else session
    for check in checks:
        session.result(check)
    results = session.results
    failed = {result.check.name: result.detail for result in results if result.outcome == "failed"}
    assert {result.detail for result in results if result.outcome == "blocked"} <= set(failed)
    return failed


@pytest.fixture(scope="module")
def session_of():
    """The session of a provider. The two tests of a provider follow each other, and the second has the results of the first."""
    return functools.lru_cache(maxsize=1)(_session)


@pytest.fixture(scope="module", params=CHECKS)
def check(request):
    return request.param


@pytest.fixture(scope="module", params=ASYNC)
def async_check(request):
    return request.param


def test_caught_by_the_check_meant_for_it(check, session_of):
    assert set(_failed(session_of(f"bad-{check}"), (check, *CONTROLS))) == {check}


@pytest.mark.once
def test_caught_by_that_check_and_by_no_other(check, session_of):
    assert set(_failed(session_of(f"bad-{check}"), [*QUICK, check])) == {check}


def test_the_asynchronous_side_is_caught_where_it_alone_is_bad(async_check, session_of):
    failed = _failed(session_of(f"async-bad-{async_check}"), (async_check, *CONTROLS))
    assert set(failed) == {async_check}, failed
    assert failed[async_check].startswith("[through astream] ")


@pytest.mark.once
def test_the_asynchronous_side_is_caught_by_that_check_and_by_no_other(async_check, session_of):
    failed = _failed(session_of(f"async-bad-{async_check}"), QUICK)
    assert set(failed) == {async_check}, failed
    assert failed[async_check].startswith("[through astream] ")


def test_a_key_that_only_an_error_inside_a_stream_shows_is_found(monkeypatch):
    import bad_providers

    monkeypatch.setitem(bad_providers.BAD, "key-not-in-errors", bad_providers.PassesItOn)
    failed = _failed("bad-key-not-in-errors", ("key-not-in-errors", *CONTROLS))
    assert set(failed) == {"key-not-in-errors"}
    assert "the key is in the error of an error inside a stream" in failed["key-not-in-errors"]


def test_a_cancellation_that_the_provider_keeps_to_itself_is_found(monkeypatch):
    import bad_async

    monkeypatch.setitem(bad_async.BAD, "cancel-reaches-socket", bad_async.KeepsItToItself)
    failed = _failed("async-bad-cancel-reaches-socket", ("cancel-reaches-socket", *CONTROLS))
    assert set(failed) == {"cancel-reaches-socket"}
    assert "keeps CancelledError to itself" in failed["cancel-reaches-socket"]


def test_an_address_that_is_needed_and_not_required_is_found(monkeypatch):
    import conformance_light

    settings = (Setting("url", env="CONFORMANCE_URL"), conformance_light.KEY)
    monkeypatch.setitem(conformance_light.SPECIAL, "missing-key-named", {"settings": settings})
    failed = _failed("bad-missing-key-named", ("missing-key-named", *CONTROLS))
    assert set(failed) == {"missing-key-named"}
    assert "with its required settings alone it cannot be made: ConfigurationError" in failed["missing-key-named"]


@pytest.mark.parametrize("provider", ["bad-redirect-not-followed", "async-bad-redirect-not-followed"])
def test_a_redirect_followed_with_another_method_is_called_one(provider):
    """The target gets a request that the wire cannot read, and that is not what is wrong."""
    detail = _session(provider).result("redirect-not-followed").detail
    assert "a redirect (301) was followed: its target got 1 request(s)" in detail


@pytest.mark.parametrize(("knob", "value"), [("top_p", 0.75), ("parallel_tool_calls", False)])
def test_each_knob_that_is_dropped_is_named(knob, value, monkeypatch):
    import attrs
    import bad_providers

    kind = bad_providers.BAD["request-carried"]
    body = lambda self, request: super(kind, self).body(attrs.evolve(request, **{knob: None}))  # noqa: E731
    monkeypatch.setattr(kind, "body", body)
    assert _failed("bad-request-carried", ["request-carried"]) == {
        "request-carried": f"{knob}={value!r} reached the service as None"
    }
