"""A batch at a vendor: its requests are answered within a day, mostly at half the price."""

from __future__ import annotations

from providerhub._values.value import Value, frozen


@frozen(eq=False, repr=False)
class VendorBatch(Value):
    """The state of a batch at its vendor.

    Args:
        id: The vendor's identifier.
        state: `"running"`, `"ended"` or `"failed"`. An ended batch has results, even if it was cancelled or has expired; a failed
            batch has none.
        provider: The name of the provider instance that holds the batch; the hub fills it in.
        tag: The tag of the batch from its creation; empty, the default, if the vendor keeps no tags.
        created: The time of the batch's creation, in seconds since 1970; 0, the default, when unknown.
        rows: The number of requests; 0, the default, when unknown.
        answered: The number of answered requests; default 0.
        reason: The vendor's explanation for a failed batch; default empty.
        places: The addresses or identifiers of the results.
    """

    id: str
    state: str = "running"
    provider: str = ""
    tag: str = ""
    created: float = 0.0
    rows: int = 0
    answered: int = 0
    reason: str = ""
    places: tuple[str, ...] = ()
