"""A check: its meaning, the fix of a failure and the promise to callers; and the table of all checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import attrs

from providerhub_conformance._kit.bench import Bench

Body = Callable[[Bench], None]
"""The function of a check. It returns when the provider passes; otherwise it raises `CheckFailed` or `NotApplicable`."""


@attrs.frozen
class Check:
    """A test of one promise to users.

    Args:
        name: The name of the check, as in reports and waivers.
        group: The heading of the check in reports and in the documentation.
        means: The behaviour that the check requires.
        fix: The change that makes a failed check pass.
        promise: The property that users lose when the check fails.
        run: The function that runs the check.
        requires: The names of checks that must pass first. While one of them fails, this check is blocked.
        wire: Whether the check plays the service, so that it needs a `Wire`.
        both: Whether the check is repeated through the provider's own `astream`.
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
        """The name of the test method of the check."""
        return f"test_{self.name.replace('-', '_')}"


REGISTERED: dict[str, Check] = {}
"""Each check by its name, in the order of imports. `CHECKS` has the order of reports."""


def check(
    group: str, *, fix: str, promise: str, requires: tuple[str, ...] = ("basic-call",), wire: bool = True, both: bool = True
) -> Callable[[Body], Body]:
    """Register a function as a check. Its name is the name of the check, its docstring the meaning.

    The arguments are as for `Check`.

    Returns:
        The decorator. It returns the function unchanged.
    """

    def decorate(body: Body) -> Body:
        name = body.__name__.replace("_", "-")
        means = " ".join(inspect.cleandoc(body.__doc__ or name).split())
        REGISTERED[name] = Check(name, group, means, fix, promise, body, requires, wire, both)
        return body

    return decorate
