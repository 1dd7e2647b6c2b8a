"""The base class of suites. pytest collects its checks, and `providerhub conformance` runs them."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from providerhub import ModelInfo
from providerhub_conformance._kit.catalogue import CHECKS
from providerhub_conformance._kit.check import Check
from providerhub_conformance._kit.outcome import CheckFailed
from providerhub_conformance._kit.report import Report
from providerhub_conformance._kit.session import Session
from providerhub_conformance._kit.subject import PATIENCE, Subject
from providerhub_conformance._kit.wire import Wire

OPTIONS = frozenset({"provider", "wire", "model", "settings", "waive", "patience"})
"""The attributes that a subclass may set."""


def _sessions_own(cls: type[ProviderConformance]) -> Session:
    """The session of a class. It runs each check once, also if other checks require it."""
    found = vars(cls).get("_session")
    if not isinstance(found, Session):
        found = Session(cls.subject(), cls.waive)
        cls._session = found
    return found


class ProviderConformance:
    """Checks of an installed provider. They need no network and no key.

    >>> from providerhub_conformance import OpenAIChatWire, ProviderConformance
    >>> class TestAcme(ProviderConformance):
    ...     provider = "acme"
    ...     wire = OpenAIChatWire()
    ...     model = "acme-large"

    The kit plays the service on loopback, correct and faulty. A subclass cannot override a check. It can waive a check by name,
    with a reason; the check must then fail.

    Attributes:
        provider: The name of the provider and of its entry point.
        wire: The protocol of its service.
        model: The model to ask for; default: the first declared model. Use a `ModelInfo` with capabilities for an undeclared
            model.
        settings: Values of settings, in place of the kit's own values. The kit sets `url` to its server and each secret to a
            canary; `""` leaves a setting unset.
        waive: The name of a check → the reason for the waiver.
        patience: Seconds after which a call counts as hanging.

    Raises:
        TypeError: A subclass overrides a check, waives an unknown check or without a reason, or lacks `provider` or `wire`.
    """

    provider: ClassVar[str]
    wire: ClassVar[Wire]
    model: ClassVar[str | ModelInfo | None] = None
    settings: ClassVar[Mapping[str, Any]] = {}
    waive: ClassVar[Mapping[str, str]] = {}
    patience: ClassVar[float] = PATIENCE
    _session: ClassVar[Session | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_overrides(cls)
        _refuse_waivers(cls.__name__, cls.waive)
        if not isinstance(getattr(cls, "provider", None), str) or not isinstance(getattr(cls, "wire", None), Wire):
            raise TypeError(
                f"{cls.__name__} must set provider to its name and wire to a Wire, such as OpenAIChatWire() or NoWire()"
            )

    @classmethod
    def subject(cls) -> Subject:
        """The provider under test."""
        return Subject(
            name=cls.provider, wire=cls.wire, chosen=cls.model, settings=cls.settings, patience=cls.patience
        )  # fmt: skip

    @classmethod
    def report(cls) -> Report:
        """Run all checks without a test runner."""
        session = Session(cls.subject(), cls.waive)
        results = tuple(session.result(name) for name in CHECKS)
        record = session.subject.record
        return Report(
            provider=cls.provider,
            distribution=f"{record.distribution} {record.version}".strip() if record else "not installed",
            model=session.subject.asked_name if record is not None and record.info is not None else "",
            wire=type(cls.wire).__name__,
            results=results,
        )


def _refuse_overrides(cls: type[ProviderConformance]) -> None:
    own = {name for name in vars(ProviderConformance) if name not in OPTIONS and not name.startswith("__")} - {"_session"}
    for base in cls.__mro__:
        if base is ProviderConformance:
            break
        for name in sorted(own & vars(base).keys()):
            check = name.removeprefix("test_").replace("_", "-")
            what = f"overrides the check {check!r}" if check in CHECKS else f"overrides {name!r}, which belongs to the kit"
            raise TypeError(f"{base.__name__} {what}; to expect its failure, set waive = {{{check!r}: 'why'}}")


def _refuse_waivers(where: str, waive: Mapping[str, str]) -> None:
    for name, reason in waive.items():
        if name not in CHECKS:
            raise TypeError(f"{where} waives the unknown check {name!r}; the checks are: {', '.join(CHECKS)}")
        if not isinstance(reason, str) or not reason.strip():
            raise TypeError(f"{where} waives {name!r} without a reason; give the reason why the provider may fail it")


def _method(check: Check) -> Callable[[ProviderConformance], None]:
    def test(self: ProviderConformance) -> None:
        result = _sessions_own(type(self)).result(check.name)
        if result.outcome == "failed":
            raise CheckFailed(str(result))
        if result.outcome == "waived":
            _expected_failure(result.detail)
        if result.outcome != "passed":
            shown = f"blocked: {result.detail} fails" if result.outcome == "blocked" else f"not applicable: {result.detail}"
            raise unittest.SkipTest(shown)

    test.__name__ = check.method
    test.__qualname__ = f"ProviderConformance.{check.method}"
    test.__doc__ = check.means
    return test


def _expected_failure(reason: str) -> None:
    """End a test as an expected failure in pytest, as a skipped one anywhere else."""
    pytest = sys.modules.get("pytest")
    if pytest is not None:
        pytest.xfail(f"waived: {reason}")
    raise unittest.SkipTest(f"waived: {reason}")


for _check in CHECKS.values():
    setattr(ProviderConformance, _check.method, _method(_check))
