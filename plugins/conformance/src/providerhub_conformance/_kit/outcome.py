"""How a check ends when it does not simply pass."""

from __future__ import annotations


class CheckFailed(AssertionError):  # noqa: N818 -- test runners show it as what it is: a failed assertion
    """The provider broke the promise that a check protects."""


class NotApplicable(Exception):  # noqa: N818 -- not an error
    """The check says nothing about this provider; the message says why."""


def expect(truth: object, otherwise: str) -> None:
    """Fail the check unless something is so. Unlike `assert`, it is there under `python -O` too.

    Args:
        truth: What must be so.
        otherwise: What was found instead.

    Raises:
        CheckFailed: It is not.
    """
    if not truth:
        raise CheckFailed(otherwise)
