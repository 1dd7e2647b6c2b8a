"""The ways in which a check can end without passing."""

from __future__ import annotations


class CheckFailed(AssertionError):  # noqa: N818 -- test runners show it as a failed assertion
    """The provider does not pass a check."""


class NotApplicable(Exception):  # noqa: N818 -- not an error
    """The check does not apply to this provider. The message gives the reason."""


def expect(truth: object, otherwise: str) -> None:
    """Fail the check unless a condition holds. Unlike `assert`, it also works under `python -O`.

    Args:
        truth: The condition.
        otherwise: The finding when the condition does not hold.

    Raises:
        CheckFailed: The condition does not hold.
    """
    if not truth:
        raise CheckFailed(otherwise)
