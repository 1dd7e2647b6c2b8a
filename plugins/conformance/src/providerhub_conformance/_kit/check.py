"""A check: what it means, how to mend a failure, which promise it protects; and the table of all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import attrs

from providerhub_conformance._kit.bench import Bench

Body = Callable[[Bench], None]
"""What a check does: it returns when all is well, and raises `CheckFailed` or `NotApplicable`."""


@attrs.frozen
class Check:
    """One promise that users rely on, as something that can be tried.

    Args:
        name: Its name, as in reports and waivers.
        group: What it is about; a heading of reports and of the documentation.
        means: What it finds out.
        fix: What to do when it fails.
        promise: What users lose when it fails.
        run: Tries it.
        requires: Checks without which this one says nothing: while one of them fails, it is not tried.
        wire: Whether it plays the service, so that it needs a `Wire`.
        both: Whether it is also tried through the provider's own `astream`, where it has one.
    """

    name: str
    group: str
    means: str
    fix: str
    promise: str
    run: Body = attrs.field(repr=False, eq=False)
    requires: tuple[str, ...] = ()
    wire: bool = True
    both: bool = True

    @property
    def method(self) -> str:
        """The name of the test method that runs it."""
        return f"test_{self.name.replace('-', '_')}"


REGISTERED: dict[str, Check] = {}
"""Every check by its name, as the modules that hold them are imported; `CHECKS` has them in the order of reports."""


def check(
    group: str, *, fix: str, promise: str, requires: tuple[str, ...] = ("basic-call",), wire: bool = True, both: bool = True
) -> Callable[[Body], Body]:
    """Make a function a check; its docstring says what it means, its name is the check's.

    Args:
        group: As for `Check`, like the others.
        fix: The same.
        promise: The same.
        requires: The same.
        wire: The same.
        both: The same.

    Returns:
        The decorator, which leaves the function as it is.
    """

    def decorate(body: Body) -> Body:
        name = body.__name__.replace("_", "-")
        means = " ".join(inspect.cleandoc(body.__doc__ or name).split())
        REGISTERED[name] = Check(name, group, means, fix, promise, body, requires, wire, both)
        return body

    return decorate
