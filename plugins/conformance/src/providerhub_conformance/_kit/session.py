"""Runs the checks of one provider, each once and after its required checks."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator, Mapping

from providerhub_conformance._kit.bench import Bench
from providerhub_conformance._kit.check import REGISTERED, Check
from providerhub_conformance._kit.outcome import CheckFailed, NotApplicable
from providerhub_conformance._kit.report import Result
from providerhub_conformance._kit.subject import Subject

_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


class Session:
    """The results of one provider.

    Args:
        subject: The provider under test.
        waive: The name of a check → the reason why it may fail.
    """

    def __init__(self, subject: Subject, waive: Mapping[str, str]) -> None:
        self.subject = subject
        self._waive = waive
        self._results: dict[str, Result] = {}

    @property
    def results(self) -> tuple[Result, ...]:
        """The results so far, in the order of the runs."""
        return tuple(self._results.values())

    def result(self, name: str) -> Result:
        """The result of a check. The first use runs it and the checks that it requires.

        Args:
            name: The name of the check.
        """
        if name not in self._results:
            self._results[name] = self._judged(REGISTERED[name])
        return self._results[name]

    def _judged(self, check: Check) -> Result:
        if check.wire and not self.subject.has_wire:
            return self._waivable(check, "not applicable", "no wire", 0.0)
        for required in check.requires:
            found = self.result(required)
            if found.outcome == "failed" or (found.outcome == "blocked" and required not in self._waive):
                root = required if found.outcome == "failed" else found.detail
                return Result(check, "blocked", root)
        start = time.perf_counter()
        outcome, detail = self._tried(check)
        return self._waivable(check, outcome, detail, time.perf_counter() - start)

    def _waivable(self, check: Check, outcome: str, detail: str, seconds: float) -> Result:
        """The result after the waiver, if the check has one."""
        reason = self._waive.get(check.name)
        if reason is None:
            return Result(check, outcome, detail, seconds)
        if outcome == "failed":
            return Result(check, "waived", f"{reason} ({detail})", seconds)
        why = "it passes" if outcome == "passed" else f"it is not applicable ({detail})"
        return Result(check, "failed", f"the check is waived ({reason!r}), but {why}: remove the waiver", seconds)

    def _tried(self, check: Check) -> tuple[str, str]:
        try:
            for native in self._modes(check):
                with _undisturbed(self.subject), Bench(self.subject, native=native) as bench:
                    self._run(check, bench)
        except NotApplicable as reason:
            return "not applicable", str(reason)
        except CheckFailed as failure:
            return "failed", str(failure)
        except Exception as error:  # closing the bench is a part of the check
            return "failed", f"after the check, closing failed: {type(error).__name__}: {error}"
        return "passed", ""

    def _run(self, check: Check, bench: Bench) -> None:
        try:
            check.run(bench)
        except NotApplicable:
            raise
        except CheckFailed as failure:
            raise CheckFailed(f"[through astream] {failure}" if bench.native else str(failure)) from failure
        except Exception as error:
            where = "[through astream] " if bench.native else ""
            raise CheckFailed(f"{where}{type(error).__name__}: {error}") from error

    def _modes(self, check: Check) -> tuple[bool, ...]:
        if not check.both or not self._native:
            return (False,)
        # If the asynchronous side does not work, only `async-call` reports it.
        return (False, True) if self.result("async-call").outcome == "passed" else (False,)

    @functools.cached_property
    def _native(self) -> bool:
        """Whether the provider has its own `astream`."""
        try:
            with _undisturbed(self.subject), Bench(self.subject) as bench:
                return callable(getattr(bench.provider(bench.hub("http://127.0.0.1:9")), "astream", None))
        except Exception:  # the checks of the factory report it
            return False


@contextlib.contextmanager
def _undisturbed(subject: Subject) -> Iterator[None]:
    """Remove the variables of the provider, of the core and of proxies from the environment."""
    record = subject.record
    settings = record.info.all_settings if record is not None and record.info is not None else ()
    own = {variable for setting in settings for variable in setting.variables}
    taken = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name in own or name.startswith("PROVIDERHUB_") or name.lower() in _PROXIES
    }
    try:
        yield
    finally:
        os.environ.update(taken)
