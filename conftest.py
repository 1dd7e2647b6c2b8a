"""What the tests of the core and of the plugins share."""

import gc
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

if not Path(os.devnull).is_absolute():  # on Windows
    os.devnull = r"\\.\NUL"  # the same file by a path that may be that of a settings file
os.environ["PROVIDERHUB_CONFIG"] = os.devnull


TRANSLATION = {"test_every_split", "test_every_cut", "test_every_error", "test_every_garbage", "test_every_type"}
"""Checks of the conformance kit that need no socket, and take longer than all others together."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long checks of the kit `once`, and begin with the modules that have long tests.

    These checks depend on no other distribution, but for the chat's chunks, which msgspec reads: the suite with that wire keeps
    them everywhere. A long test at the end would leave the other workers without work.
    """
    for item in items:
        wire = type(getattr(getattr(item, "cls", None), "wire", None)).__name__
        if item.name in TRANSLATION and wire != "OpenAIChatWire":
            item.add_marker("once")
    longest: dict[Path, float] = {}
    for item in items:
        if item.get_closest_marker("once"):
            allowed = item.get_closest_marker("timeout")
            longest[item.path] = max(longest.get(item.path, 1), allowed.args[0] if allowed else 1)
    items.sort(key=lambda item: -longest.get(item.path, 0))


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> None:
    """Leave what earlier modules have left, such as the tests themselves, out of the searches for garbage that many tests make.

    What earlier tests have not closed complains now, before it is left out.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip on Windows what it cannot do."""
    if item.get_closest_marker("unix") and sys.platform == "win32":
        pytest.skip("needs what Windows lacks")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test fail that lacks a server, where `PROVIDERHUB_ALL_SERVERS` says that all are here."""
    report = yield
    if report.skipped and os.environ.get("PROVIDERHUB_ALL_SERVERS") and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped, although all servers should be here: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage in a test that is marked `once` or `load`: it is long, and shorter tests run the same lines."""
    coverage = sys.modules.get("coverage") if {"once", "load"} & {mark.name for mark in item.iter_markers()} else None
    running = coverage and coverage.Coverage.current()
    if not running:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # by which a child process measures itself
        running.stop()
        try:
            return (yield)
        finally:
            running.start()
