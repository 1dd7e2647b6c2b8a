"""A batch at a vendor, which answers its requests within a day, and mostly at half the price."""

from __future__ import annotations

from providerhub._values.value import Value, frozen


@frozen(eq=False, repr=False)
class VendorBatch(Value):
    """A batch of requests as its vendor states it.

    Args:
        id: The vendor's identifier.
        state: `"running"`; `"ended"`, when the results can be fetched, also those of a batch that was cancelled or is too old; or
            `"failed"`, when there are none.
        provider: The name of the provider instance that holds the batch; the hub fills it in.
        tag: The mark that the batch was created with; empty, the default, where the vendor keeps none.
        created: The time of its creation, in seconds since 1970; 0, the default, when unknown.
        rows: The number of its requests; 0, the default, when unknown.
        answered: The number of requests that were answered so far; 0 by default.
        reason: The explanation of the vendor for a failed batch; empty, the default, without one.
        places: The addresses or identifiers of its results.
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
