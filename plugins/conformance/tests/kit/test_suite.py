"""The base class of suites: its refusals, its waivers, and its outcomes in pytest."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import pytest

from providerhub_conformance import CHECKS, OpenAIChatWire, ProviderConformance, Wire
from providerhub_conformance._kit.session import Session

ESSENTIALS = {"provider": "good-openai", "wire": OpenAIChatWire()}


def _suite(**options):
    return type("Suite", (ProviderConformance,), {**ESSENTIALS, "patience": 3.0, **options})


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_cannot_be_overridden(name):
    with pytest.raises(TypeError, match=f"overrides the check '{name}'"):
        _suite(**{CHECKS[name].method: lambda self: None})


def test_a_check_cannot_be_overridden_by_a_class_beside():
    class Quiet:
        test_basic_call = None

    with pytest.raises(TypeError, match="Quiet overrides the check 'basic-call'"):
        type("Suite", (Quiet, ProviderConformance), ESSENTIALS)


@pytest.mark.parametrize("name", ["report", "subject"])
def test_the_kit_itself_cannot_be_overridden(name):
    with pytest.raises(TypeError, match=f"overrides '{name}', which belongs to the kit"):
        _suite(**{name: None})


def test_tests_of_ones_own_may_stand_beside():
    assert _suite(test_of_my_own=lambda self: None)


@pytest.mark.parametrize("reason", ["", "  ", None, True])
def test_a_waiver_needs_a_reason(reason):
    with pytest.raises(TypeError, match="without a reason"):
        _suite(waive={"unicode-intact": reason})


def test_a_waiver_needs_a_check():
    with pytest.raises(TypeError, match="waives the unknown check"):
        _suite(waive={"test_unicode_intact": "the service is American"})


@pytest.mark.parametrize("missing", ESSENTIALS)
def test_the_essentials_are_required(missing):
    rest = {name: value for name, value in ESSENTIALS.items() if name != missing}
    with pytest.raises(TypeError, match=r"must set provider to its name and wire to a Wire"):
        type("Suite", (ProviderConformance,), rest)


def _results(suite):
    return {result.check.name: result for result in suite.report().results}


def _result(suite, name):
    """The result of one check, without running all others."""
    return Session(suite.subject(), suite.waive).result(name)


def test_a_waived_check_that_fails_is_waived_and_those_that_require_it_are_tried():
    suite = _suite(provider="bad-unicode-intact", waive={"unicode-intact": "the service is American"})
    waived = _result(suite, "unicode-intact")
    assert waived.outcome == "waived"
    assert waived.detail.startswith("the service is American (")
    # The text of this check is not ASCII either: without its own waiver, the check fails.
    assert _result(suite, "every-byte-split").outcome == "failed"


def test_a_waived_check_that_passes_fails():
    result = _result(_suite(waive={"unicode-intact": "it was broken once"}), "unicode-intact")
    assert result.outcome == "failed"
    assert "it passes: remove the waiver" in result.detail


def test_a_waived_check_that_does_not_apply_fails():
    suite = _suite(provider="good-anthropic", model="large", waive={"models-listed": "there is no list"})
    result = _result(suite, "models-listed")
    assert result.outcome == "failed"
    assert "it is not applicable" in result.detail


def test_a_provider_that_is_not_installed():
    results = _results(_suite(provider="nobody"))
    assert results["entry-point-valid"].outcome == "failed"
    assert "no installed distribution" in results["entry-point-valid"].detail
    assert {result.outcome for result in results.values()} == {"failed", "blocked"}


def test_a_request_that_the_wire_cannot_read_is_named_as_the_reason():
    class Strange(OpenAIChatWire):
        def asked(self, request):
            return super().asked(request) if b"Hello" not in request.body else request.json()["conversation"]

    result = _result(_suite(wire=Strange()), "basic-call")
    assert result.outcome == "failed"
    assert "the wire cannot read the request: KeyError ('conversation')" in result.detail


def test_a_failure_says_what_it_means_how_to_mend_it_and_what_it_protects():
    result = _result(_suite(provider="bad-usage-reported"), "usage-reported")
    for text in (result.check.means, result.check.fix, result.check.promise, "the completion says None and None"):
        assert text in str(result)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_every_check_is_explained_and_comes_after_what_it_requires(check):
    names = list(CHECKS)
    assert check.means.endswith(".")
    assert check.fix.endswith(".")
    assert check.promise.endswith(".")
    assert set(check.requires) <= set(names)
    method = getattr(ProviderConformance, check.method)
    assert method.__doc__ == check.means


SUITE = """
from providerhub_conformance import OpenAIChatWire, ProviderConformance

class TestBad(ProviderConformance):
    provider = "bad-usage-reported"
    wire = OpenAIChatWire()
    model = "large"

class TestWaived(ProviderConformance):
    provider = "bad-usage-reported"
    wire = OpenAIChatWire()
    waive = {"usage-reported": "the service does not count"}

class TestStrict(ProviderConformance):
    provider = "good-openai"
    wire = OpenAIChatWire()
    waive = {"usage-reported": "the service did not count"}
"""


def test_pytest_runs_it(tmp_path, installed):
    (tmp_path / "test_it.py").write_text(SUITE, "utf-8")
    (tmp_path / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(installed)!r})\n", "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfx", "-k", "usage or basic"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^2 failed, 3 passed, \d+ deselected, 1 xfailed", done.stdout, re.MULTILINE), done.stdout
    assert "FAILED test_it.py::TestBad::test_usage_reported" in done.stdout
    assert "FAILED test_it.py::TestStrict::test_usage_reported" in done.stdout
    assert "XFAIL test_it.py::TestWaived::test_usage_reported - waived: the service does not count" in done.stdout


def test_it_runs_without_pytest(installed):
    code = f"""
        import sys
        sys.path.insert(0, {str(installed)!r})
        sys.modules["pytest"] = None
        import unittest
        from conformance_suites import TestInside
        assert TestInside.report().ok
        TestInside().test_basic_call()
        try:
            TestInside().test_reset()
        except unittest.SkipTest as skipped:
            assert str(skipped) == "not applicable: no wire", skipped
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_misspelt_feature_of_a_wire_is_refused():
    with pytest.raises(ValueError, match=r"Typo.carries names 'reasonning'; the known features are audio, "):
        type("Typo", (Wire,), {"carries": Wire.carries | {"reasonning"}})
