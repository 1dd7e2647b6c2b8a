"""The ledger of budgets, for the plugin `providerhub-journal` with `[journal] ledger = "shared"`.

A budget is a hash with the spent and reserved amounts, and the amount of each reservation. A sorted set has the ends of the
reservations. Each method is one script, and so one atomic step. Times come from the server's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from providerhub_redis._server import client_of

KEPT = 40 * 86_400  # seconds for which the server keeps a budget with a period
EVER = "ever"


class RedisLedger:
    """Reserves and settles amounts of money. Thread-safe.

    A claim has a `name`, a `period`, a `currency`, and a `limit` and an `amount` in billionths of its unit. All methods raise
    `redis.RedisError` when the server does not answer, or refuses.

    Args:
        url: The address of the server.
        namespace: The processes with the same namespace share their budgets.
    """

    is_gone = False
    """Whether the store was removed while it was open. Only a file can be removed."""

    def __init__(self, url: str, namespace: str) -> None:
        self._client: Any = client_of(url)
        self._prefix = f"providerhub:{{{namespace}}}:budget:"
        self._reserve, self._settle = (
            self._client.register_script(files(__package__).joinpath(f"{name}.lua").read_text("utf-8"))
            for name in ("reserve", "settle")
        )

    def reserve(
        self, lease: str, claims: Sequence[Any], now: float, ends: float, _patience: float = 0.0
    ) -> tuple[Any, int, int] | None:
        """Reserve an amount of each of several budgets, or of none.

        Args:
            lease: The unique name of the reservation.
            claims: The budgets; at least one.
            now: Unix time, in seconds.
            ends: The expiry of the reservation, in seconds of Unix time.
            _patience: Not used: nothing is locked, and the server answers within a second or not at all.

        Returns:
            The claim on a budget without enough left, with the spent and reserved amounts of this budget; `None` if all is
            reserved.
        """
        numbers = [number for claim in claims for number in (claim.limit, claim.amount)]
        kept = 0 if any(claim.period == EVER for claim in claims) else KEPT
        place, spent, reserved = self._reserve(self._keys(claims), [lease, ends - now, kept, *numbers])
        return (claims[place - 1], int(spent), int(reserved)) if place else None

    def settle(self, lease: str, claims: Sequence[Any], spent: int, currency: str = "USD") -> None:
        """Replace a reservation by its cost, even if it has already ended.

        A second call does nothing.

        Args:
            lease: The name of the reservation.
            claims: The budgets that were given to `reserve`.
            spent: The amount; 0 gives the whole reservation back.
            currency: The currency of the amount. It counts only for budgets with this currency.
        """
        self._settle(self._keys(claims), [lease, *(spent if claim.currency == currency else 0 for claim in claims)])

    def close(self) -> None:
        """Close the connections. A later call opens others."""
        self._client.close()

    def _keys(self, claims: Sequence[Any]) -> list[str]:
        return [f"{self._prefix}{claim.name}:{claim.period}" for claim in claims]
