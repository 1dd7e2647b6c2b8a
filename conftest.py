"""What the tests of the core and of the plugins share."""

import sys
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage in a test that is marked `once`: it is long, and shorter tests run the same lines."""
    coverage = sys.modules.get("coverage") if item.get_closest_marker("once") else None
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
