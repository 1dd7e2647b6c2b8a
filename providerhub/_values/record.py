"""The record of one call, as observers get it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from providerhub._values.answer import Completion
from providerhub._values.cost import Cost, Usage
from providerhub._values.frozen import frozen
from providerhub._values.request import Model, Request
from providerhub._values.route import Route, RoutePlan
from providerhub._values.value import Value


@frozen(eq=False, repr=False)
class CallRecord(Value):
    """One call: what was asked for, what was tried, and how it ended. Observers get it at the start and at the end of a call.

    Args:
        id: The identifier of the call, which no other call has. The records of the start and of the end have the same one.
        parent: The `id` of the call that this one repeats: the earlier try of a request of `complete_many`. `None` for others.
        asked: The model or models, as the caller named them.
        request: The request, before a candidate is chosen.
        plan: The candidates, and what was left out; `None` when no plan could be made or none was needed.
        route: The attempts; empty at the start.
        completion: The answer, or the part of it that came before its reader left; `None` at the start, and without any content.
        error: The error of the call; `None` at the start, of a call that answered, and of one whose caller left.
        started: The start of the call in seconds of Unix time.
        timeout: The seconds that the call may take.
        metadata: The caller's keyword `metadata`.
    """

    id: str
    asked: str | Model | Sequence[str | Model]
    request: Request
    started: float
    timeout: float
    parent: str | None = None
    plan: RoutePlan | None = None
    route: Route = Route()
    completion: Completion | None = None
    error: BaseException | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def usage(self) -> Usage | None:
        """The token counts of the answer; each attempt of `route` has its own."""
        return self.completion.usage if self.completion is not None else None

    @property
    def cost(self) -> Cost | None:
        """The cost of all attempts; `None` when it is unknown. It is the same as `route.cost`."""
        return self.route.cost
