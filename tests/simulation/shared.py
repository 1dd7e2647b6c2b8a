"""Many processes that share their state, in simulated time: their load on a failing or refusing provider, and on the store.

The hubs are real; the store passes a message on after a few simulated milliseconds. `python shared.py` prints the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from providerhub import Claim, Fact, ProviderError, RateLimitError

_spec = importlib.util.spec_from_file_location("outage", Path(__file__).with_name("outage.py"))
outage: Any = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("outage", outage)
_spec.loader.exec_module(outage)

DELAY = (0.001, 0.005)
"""Seconds from one process to another through the store, drawn evenly."""
PROCESSES = 33


class Store:
    """The store as one process sees it."""

    namespace, on_outage, answer = "simulated", "local", 0.005

    def __init__(self, stores: list[Store], rng: random.Random, clock: Any, messages: list[float]) -> None:
        self.stores, self.rng, self.clock, self.messages = stores, rng, clock, messages
        self.told: Callable[[Fact], object] = bool

    def start(self, told: Callable[[Fact], object]) -> None:
        """Hear from now on."""
        self.told = told
        self.stores.append(self)

    def tell(self, fact: Fact) -> None:
        """Pass a fact on after a while."""
        self.messages.append(self.clock.now)
        for other in self.stores:
            if other is not self:
                delay = self.rng.uniform(*DELAY)
                left = attrs.evolve(fact, seconds=fact.seconds - delay)
                asyncio.get_running_loop().call_later(delay, other.told, left)

    def claim(self, claim: Claim, answer: Callable[[str, float], object]) -> bool:
        """No limits are simulated."""
        return False

    def give_back(self, claim: Claim, used: float | None) -> None:
        """No limits are simulated."""

    def close(self) -> None:
        """Nothing is open."""


class World(outage.World):  # type: ignore[misc]
    """Processes with or without a store, and a provider that fails or names the time at which it will answer again."""

    def __init__(self, *, shares: bool, limits: bool, **how: Any) -> None:
        super().__init__(**how)
        self.shares, self.limits = shares, limits
        self.stores: list[Store] = []
        self.messages: list[float] = []

    def refusal(self, failing: Any) -> ProviderError:
        """Say when to come back, or only fail."""
        if not self.limits:
            return super().refusal(failing)  # type: ignore[no-any-return]
        return RateLimitError("slow down", status=429, retry_after=max(0.1, failing.end - self.clock.now))

    def options(self, client: int) -> Mapping[str, Any]:
        """The store of a process."""
        return {"shared": Store(self.stores, self.rng, self.clock, self.messages)} if self.shares else {}


@attrs.frozen(kw_only=True)
class Figures:
    """The result of one world.

    Args:
        calls: All calls.
        failed: Calls without an answer.
        refused: Attempts at the failing provider while it fails.
        amplification: These, for each call in that time.
        stampede: The most attempts at the provider in a tenth of a second, in the ten seconds after its return.
        back: Seconds from the return to the first answer of the provider, for the median process.
        all_back: The same for the last process.
        messages: The most messages to the store in one second.
    """

    calls: int
    failed: int
    refused: int
    amplification: float
    stampede: int
    back: float
    all_back: float
    messages: int


def busiest(times: Sequence[float], width: float) -> int:
    """The most moments in one slot of so many seconds."""
    slots: dict[int, int] = {}
    for moment in times:
        slots[int(moment / width)] = slots.get(int(moment / width), 0) + 1
    return max(slots.values(), default=0)


def figures(world: World) -> Figures:
    """Look at the outage of a world that has been run."""
    failing = world.outages[0]
    hits = [hit for hit in world.hits if hit.provider == failing.provider]
    within = [hit.start for hit in hits if failing.start <= hit.start < failing.end]
    after = [hit.start for hit in hits if failing.end <= hit.start < failing.end + 10]
    calls = sum(failing.start <= asked.start < failing.end for asked in world.asked)
    firsts = (
        min((hit.end for hit in hits if hit.client == one and hit.ok and hit.start >= failing.end), default=float("inf"))
        for one in range(world.clients)
    )
    back = sorted(first - failing.end for first in firsts)
    return Figures(
        calls=len(world.asked),
        failed=sum(not asked.ok for asked in world.asked),
        refused=len(within),
        amplification=len(within) / max(1, calls),
        stampede=busiest(after, 0.1),
        back=back[len(back) // 2],
        all_back=back[-1],
        messages=busiest(world.messages, 1.0),
    )


def world(seed: int, *, shares: bool, limits: bool, alone: bool = False) -> World:
    """33 processes with two calls a second each; the preferred of two providers, or the only one, fails for a minute."""
    names = ("a",) if alone else ("a", "b")
    outages = (outage.Outage("a", 30.0, 90.0),)
    return World(
        shares=shares, limits=limits, seed=seed, clients=PROCESSES, rate=2.0, seconds=150.0, providers=names, outages=outages
    )


SCENARIOS = {
    "down, one of two": {"limits": False},
    "down, the only one": {"limits": False, "alone": True},
    "429, one of two": {"limits": True},
    "429, the only one": {"limits": True, "alone": True},
}
"""The scenarios, by the names that the table gives them."""


def table(seed: int) -> str:
    """Run all scenarios with and without a store, and return the figures, a line each."""
    lines = [["", "store", *(field.name for field in attrs.fields(Figures))]]
    for name, how in SCENARIOS.items():
        for shares in (False, True):
            found = attrs.astuple(figures(world(seed, shares=shares, **how).run()))
            cells = (f"{value:.3f}" if isinstance(value, float) else str(value) for value in found)
            lines.append([name, "yes" if shares else "no", *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Simulate processes that share their state, and print the figures.")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn; the same one gives the same figures")
    sys.stdout.write(table(parser.parse_args().seed) + "\n")


if __name__ == "__main__":
    main()
