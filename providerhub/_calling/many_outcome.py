"""The outcome of one of many calls."""

from __future__ import annotations

from providerhub._values import Completion
from providerhub._values.value import Value, frozen

PASSES = 3  # the default of `passes`


@frozen(eq=False, repr=False)
class Outcome(Value):
    """The outcome of one of many calls.

    Args:
        index: The request's place in the input, from 0.
        completion: The answer; `None` when the call failed.
        error: The exception of the call; `None` when it succeeded.
        resent: Whether the request was sent again after the process that made the call was killed, so that it may have been
            answered, and paid for, twice. Default false.

    Raises:
        ValueError: Both are given, or neither.
    """

    index: int
    completion: Completion | None = None
    error: Exception | None = None
    resent: bool = False

    def __attrs_post_init__(self) -> None:
        if (self.completion is None) is (self.error is None):
            raise ValueError("an outcome has either a completion or an error")

    def unwrap(self) -> Completion:
        """Return the answer.

        Raises:
            Exception: The exception of the call, when it failed.
        """
        if self.error is not None:
            raise self.error
        return self.completion  # type: ignore[return-value]  # one of the two is there
