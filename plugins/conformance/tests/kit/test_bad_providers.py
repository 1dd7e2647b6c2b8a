"""Each check catches the provider that is bad in its way, and no other check does."""

from __future__ import annotations

import pytest

from providerhub import Setting
from providerhub_conformance import CHECKS, OpenAIChatWire, ProviderConformance

PATIENCE = 3.0


def test_every_check_has_a_bad_provider():
    from bad_providers import BAD

    assert set(BAD) == set(CHECKS)


def _report(provider):
    options = {"provider": provider, "wire": OpenAIChatWire(), "patience": PATIENCE}
    return type("Suite", (ProviderConformance,), options).report()


@pytest.mark.parametrize("check", CHECKS)
def test_caught_by_exactly_the_check_meant_for_it(check):
    report = _report(f"bad-{check}")
    failed = {result.check.name: result.detail for result in report.results if result.outcome == "failed"}
    assert set(failed) == {check}, failed
    assert not report.ok
    # Whatever was not tried is not tried because of this one.
    assert {result.detail for result in report.results if result.outcome == "blocked"} <= {check}


ASYNC = (
    "first-token-early", "cancel-reaches-socket", "truncated-is-error", "stall-timeout", "redirect-not-followed",
    "no-own-retries", "key-not-in-errors", "nothing-left",
)  # fmt: skip


@pytest.mark.parametrize("check", ASYNC)
def test_the_asynchronous_side_is_caught_where_it_alone_is_bad(check):
    failed = {result.check.name: result.detail for result in _report(f"async-bad-{check}").results if result.outcome == "failed"}
    assert set(failed) == {check}, failed
    assert failed[check].startswith("[through astream] ")


def test_a_key_that_only_an_error_inside_a_stream_shows_is_found(monkeypatch):
    import bad_providers

    monkeypatch.setitem(bad_providers.BAD, "key-not-in-errors", bad_providers.PassesItOn)
    failed = {
        result.check.name: result.detail for result in _report("bad-key-not-in-errors").results if result.outcome == "failed"
    }
    assert set(failed) == {"key-not-in-errors"}
    assert "the key is in the error of an error inside a stream" in failed["key-not-in-errors"]


def test_a_cancellation_that_the_provider_keeps_to_itself_is_found(monkeypatch):
    import bad_async

    monkeypatch.setitem(bad_async.BAD, "cancel-reaches-socket", bad_async.KeepsItToItself)
    report = _report("async-bad-cancel-reaches-socket")
    failed = {result.check.name: result.detail for result in report.results if result.outcome == "failed"}
    assert set(failed) == {"cancel-reaches-socket"}
    assert "keeps CancelledError to itself" in failed["cancel-reaches-socket"]


def test_an_address_that_is_needed_and_not_required_is_found(monkeypatch):
    import conformance_light

    settings = (Setting("url", env="CONFORMANCE_URL"), conformance_light.KEY)
    monkeypatch.setitem(conformance_light.SPECIAL, "missing-key-named", {"settings": settings})
    report = _report("bad-missing-key-named")
    failed = {result.check.name: result.detail for result in report.results if result.outcome == "failed"}
    assert set(failed) == {"missing-key-named"}
    assert "with only its required settings it cannot be made: ConfigurationError" in failed["missing-key-named"]


@pytest.mark.parametrize("provider", ["bad-redirect-not-followed", "async-bad-redirect-not-followed"])
def test_a_redirect_followed_with_another_method_is_called_one(provider):
    """The target gets a request that the wire cannot read, and that is not what is wrong."""
    details = [result.detail for result in _report(provider).results if result.check.name == "redirect-not-followed"]
    assert "a redirect (301) was followed: its target got 1 request(s)" in details[0]
