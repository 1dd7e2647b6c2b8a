"""Each check catches the provider that is bad in its way, and no other check does."""

from __future__ import annotations

import pytest

from providerhub.testing import CHECKS, OpenAIChatWire, ProviderConformance

PATIENCE = 3.0


def test_every_check_has_a_bad_provider():
    from bad_providers import BAD

    assert set(BAD) == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_caught_by_exactly_the_check_meant_for_it(check):
    suite = type("Suite", (ProviderConformance,), {"provider": f"bad-{check}", "wire": OpenAIChatWire(), "patience": PATIENCE})
    report = suite.report()
    failed = {result.check.name: result.detail for result in report.results if result.outcome == "failed"}
    assert set(failed) == {check}, failed
    assert not report.ok
    # Whatever was not tried is not tried because of this one.
    assert {result.detail for result in report.results if result.outcome == "blocked"} <= {check}
