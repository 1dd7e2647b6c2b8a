"""Providers that keep every promise pass, and other checks are reported as not applicable."""

from __future__ import annotations

import functools
import gc
import os
import threading
from pathlib import Path

import pytest

from providerhub_conformance import CHECKS

NEVER = {
    "models-listed", "claimed-json-schema", "claimed-audio", "claimed-files", "json-object-sent", "other-reason-kept",
}  # fmt: skip
TRANSLATION = {name for name, check in CHECKS.items() if check.group == "translation"}
EXPECTED = {
    "TestOpenAI": set(),
    "TestAlias": set(),
    "TestAsync": set(),
    "TestToken": {"models-listed"},
    "TestAnthropic": NEVER | TRANSLATION | {"sides-agree", "ended-loop-clean"},
    "TestSilent": {name for name, check in CHECKS.items() if check.group in {"streaming", "secrets"}}
    | {"claimed-tools", "tool-results-carried", "claimed-images", "claimed-json-schema", "claimed-audio", "claimed-files"}
    | {"tool-choice-sent"}
    | {"malformed-chunk", "error-event", "every-error", "every-garbage", "endless-line-capped", "stall-timeout"},
    "TestInside": {name for name, check in CHECKS.items() if check.wire} | {"key-not-in-repr"},
}


def _fresh(name):
    import conformance_suites

    return getattr(conformance_suites, name).report()


@pytest.fixture(scope="module")
def report():
    """Make a report, each once."""
    return functools.cache(_fresh)


@pytest.mark.parametrize("name", EXPECTED)
def test_passes_with_no_waiver(report, name):
    report = report(name)
    found = {result.check.name: f"{result.outcome}: {result.detail}" for result in report.results if result.outcome != "passed"}
    assert {check for check, text in found.items() if text.startswith("not applicable")} == EXPECTED[name], found
    assert set(found) == EXPECTED[name], found
    assert report.ok


def test_no_wire_is_named_as_what_keeps_a_check_from_applying(report):
    details = {result.detail for result in report("TestInside").results if result.check.wire}
    assert details == {"no wire"}


def test_the_kit_leaves_neither_threads_nor_descriptors_nor_settings_behind(monkeypatch, report):
    monkeypatch.setenv("CONFORMANCE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    report("TestOpenAI")  # objects that are made once, such as the watchdog, exist now
    gc.collect()
    threads, environment = {thread.name for thread in threading.enumerate()}, dict(os.environ)
    descriptors = _descriptors()
    assert _fresh("TestOpenAI").ok
    gc.collect()
    assert {thread.name for thread in threading.enumerate()} <= threads
    assert dict(os.environ) == environment
    assert _descriptors() <= descriptors


def _descriptors():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0
