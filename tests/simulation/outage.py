"""Outages in simulated time: the load of many clients on a failing provider, and the time until they use it again.

The hubs, their engines and their asynchronous driver are real. Only the event loop's clock is simulated: it jumps to the next
event. The same seed gives the same figures. `python outage.py --help` lists the options.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import selectors
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from providerhub import (
    Finish,
    Hub,
    ModelInfo,
    ProviderConfig,
    ProviderError,
    ProviderHubError,
    ProviderInfo,
    ServerError,
    Settings,
)

LATENCY = (0.05, 0.4)
"""Seconds that a provider takes to answer or to fail, drawn evenly."""


class Clock(selectors.DefaultSelector):
    """Simulated seconds: an event loop that has nothing to do but wait moves them on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Look for I/O without waiting, and let the time pass in which there is none."""
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found

    def monotonic(self) -> float:
        """The time in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Never used by an asynchronous call."""
        raise NotImplementedError(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let simulated time pass."""
        await asyncio.sleep(seconds)


class Loop(asyncio.SelectorEventLoop):
    """An event loop in simulated time."""

    def __init__(self, clock: Clock) -> None:
        self._simulated = clock
        super().__init__(clock)

    def time(self) -> float:
        """The time in seconds."""
        return self._simulated.now


@attrs.frozen
class Outage:
    """A stretch in which a provider fails every call.

    Args:
        provider: Which.
        start: Simulated seconds from the beginning.
        end: The same.
        hangs: Whether it is silent instead of failing.
    """

    provider: str
    start: float
    end: float
    hangs: bool = False


@attrs.define
class Hit:
    """One attempt as the provider sees it."""

    client: int
    provider: str
    start: float
    end: float = 0.0
    ok: bool = False


@attrs.define
class Asked:
    """One call as the client sees it."""

    client: int
    start: float
    end: float = 0.0
    ok: bool = False


class Service:
    """One provider, as one client reaches it."""

    def __init__(self, name: str, client: int, world: World) -> None:
        self.name = name
        self.client = client
        self.world = world

    def stream(self, request: object, call: object) -> None:
        """Never used by an asynchronous call."""
        raise NotImplementedError

    async def astream(self, request: object, call: object) -> Any:
        """Answer after a while, or fail after a while."""
        world = self.world
        hit = Hit(self.client, self.name, world.clock.now)
        world.hits.append(hit)
        failing = world.down(self.name, hit.start)
        try:
            if failing and failing.hangs:
                await asyncio.Event().wait()
            await asyncio.sleep(world.rng.uniform(*LATENCY))
            if failing:
                raise world.refusal(failing)
            hit.ok = True
            yield "fine"
            yield Finish()
        finally:
            hit.end = world.clock.now


class World:
    """Clients, providers and what happened.

    Args:
        seed: Of everything that is drawn.
        clients: How many, each with a hub of its own.
        rate: Calls a second of each client, at random moments.
        seconds: How long it goes on.
        providers: Their names, the preferred one first.
        outages: When they fail.
    """

    def __init__(
        self, *, seed: int, clients: int, rate: float, seconds: float, providers: Sequence[str], outages: Sequence[Outage]
    ) -> None:
        self.clock = Clock()
        self.rng = random.Random(seed)
        self.clients = clients
        self.rate = rate
        self.seconds = seconds
        self.providers = tuple(providers)
        self.outages = tuple(outages)
        self.hits: list[Hit] = []
        self.asked: list[Asked] = []

    def down(self, provider: str, now: float) -> Outage | None:
        """The outage of a provider at a moment; `None` when it works."""
        return next((one for one in self.outages if one.provider == provider and one.start <= now < one.end), None)

    def refusal(self, outage: Outage) -> ProviderError:
        """The error of a failing provider."""
        return ServerError("down", status=503)

    def options(self, client: int) -> Mapping[str, Any]:
        """Further arguments of a client's hub."""
        return {}

    def run(self) -> World:
        """Let it happen."""
        loop = Loop(self.clock)
        try:
            loop.run_until_complete(self._everybody())
        finally:
            loop.close()
        return self

    async def _everybody(self) -> None:
        await asyncio.gather(*map(self._client, range(self.clients)))

    async def _client(self, number: int) -> None:
        hub = Hub(Settings(autoload=False), clock=self.clock, rng=self.rng.random, **self.options(number))
        for place, name in enumerate(self.providers):
            info = ProviderInfo(name=name, models=(ModelInfo("m"),))
            hub.register(info, Service(name, number, self), config=ProviderConfig(priority=-place))
        calls = []
        while (pause := self.rng.expovariate(self.rate)) + self.clock.now < self.seconds:
            await asyncio.sleep(pause)
            calls.append(asyncio.ensure_future(self._call(hub, number)))
        await asyncio.gather(*calls)

    async def _call(self, hub: Hub, number: int) -> None:
        asked = Asked(number, self.clock.now)
        self.asked.append(asked)
        try:
            await hub.acomplete("m", "?", timeout=30)
            asked.ok = True
        except ProviderHubError:
            pass
        asked.end = self.clock.now


@attrs.frozen(kw_only=True)
class Figures:
    """What came of it.

    Args:
        calls: All calls.
        failed: Calls without an answer.
        amplification: Attempts at the failing provider for each call, while it fails and once the budget is gone.
        early: The same from the first moment of the outage on.
        pressure: Attempts a second at the failing provider, by all clients, in that time.
        probes: The most attempts that one client had under way at a failing provider at once, once its breaker had opened.
        busiest: The most attempts at the failing provider in one second of that time, by all clients.
        back: Seconds from the outage's end to the first answer of the provider that had failed, for the median client.
        all_back: The same for the last client.
    """

    calls: int
    failed: int
    amplification: float
    early: float
    pressure: float
    probes: int
    busiest: int
    back: float
    all_back: float


SETTLED = 30.0
"""Seconds of an outage after which the first tokens of a busy client's budget are gone, and its breaker has opened."""


def figures(world: World) -> Figures:
    """Look at the first outage of a world that has been run."""
    outage = world.outages[0]
    settled = outage.start + SETTLED
    hits = [hit for hit in world.hits if hit.provider == outage.provider]
    within = [hit for hit in hits if settled <= hit.start < outage.end]
    seconds: dict[int, int] = {}
    for hit in within:
        seconds[int(hit.start)] = seconds.get(int(hit.start), 0) + 1
    back = sorted(_back(hits, client, outage) for client in range(world.clients))
    return Figures(
        calls=len(world.asked),
        failed=sum(not asked.ok for asked in world.asked),
        amplification=len(within) / max(1, _calls(world, settled, outage.end)),
        early=sum(outage.start <= hit.start < outage.end for hit in hits) / max(1, _calls(world, outage.start, outage.end)),
        pressure=len(within) / (outage.end - settled),
        probes=max((_at_once([hit for hit in within if hit.client == client]) for client in range(world.clients)), default=0),
        busiest=max(seconds.values(), default=0),
        back=back[len(back) // 2],
        all_back=back[-1],
    )


def asked_again(world: World) -> float:
    """Seconds from the first outage's end to the first attempt at the provider that had failed, of a world with one client."""
    outage = world.outages[0]
    return min(hit.start for hit in world.hits if hit.provider == outage.provider and hit.start >= outage.end) - outage.end


def longest_pause(world: World) -> float:
    """The longest time without an attempt at the failing provider, within the first outage of a world with one client."""
    outage = world.outages[0]
    hits = [hit for hit in world.hits if hit.provider == outage.provider and outage.start <= hit.start < outage.end]
    return max(after.start - before.end for before, after in itertools.pairwise(hits))


def _calls(world: World, start: float, end: float) -> int:
    return sum(start <= asked.start < end for asked in world.asked)


def _back(hits: Sequence[Hit], client: int, outage: Outage) -> float:
    """Seconds until a client has an answer from the provider again."""
    ends = [hit.end for hit in hits if hit.client == client and hit.ok and hit.start >= outage.end]
    return min(ends, default=float("inf")) - outage.end


def _at_once(hits: Sequence[Hit]) -> int:
    """The highest number of attempts at the same time."""
    changes = sorted([(hit.start, 1) for hit in hits] + [(hit.end, -1) for hit in hits])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def one_of_two(seed: int, clients: int = 10) -> World:
    """The preferred one of two providers fails for two minutes."""
    outage = Outage("a", 60.0, 180.0)
    return World(seed=seed, clients=clients, rate=2.0, seconds=480.0, providers=("a", "b"), outages=(outage,))


def short(seed: int, *, hangs: bool = False) -> World:
    """The preferred one of two providers fails for one minute, and one client makes a call a second."""
    return World(seed=seed, clients=1, rate=1.0, seconds=240.0, providers=("a", "b"), outages=(Outage("a", 60.0, 120.0, hangs),))


def long(seed: int, *, hangs: bool = False) -> World:
    """The preferred one of two providers fails for half an hour, and one client makes ten calls a second."""
    outage = Outage("a", 60.0, 1860.0, hangs)
    return World(seed=seed, clients=1, rate=10.0, seconds=1870.0, providers=("a", "b"), outages=(outage,))


def the_only_one(seed: int, clients: int = 10) -> World:
    """The only provider fails for two minutes."""
    return World(seed=seed, clients=clients, rate=2.0, seconds=240.0, providers=("a",), outages=(Outage("a", 60.0, 180.0),))


def both(seed: int, clients: int = 10) -> World:
    """Both of two providers fail for two minutes."""
    outages = (Outage("a", 60.0, 180.0), Outage("b", 60.0, 180.0))
    return World(seed=seed, clients=clients, rate=2.0, seconds=480.0, providers=("a", "b"), outages=outages)


SCENARIOS: Mapping[str, Callable[..., World]] = {"one of two": one_of_two, "the only one": the_only_one, "both of two": both}
"""What is simulated, by the name that the table gives it."""


def table(seed: int, clients: int) -> str:
    """Run all scenarios.

    Args:
        seed: Of everything that is drawn.
        clients: How many.

    Returns:
        Their figures, a line each.
    """
    names = [field.name for field in attrs.fields(Figures)]
    lines = [["outage", *names]]
    for name, scenario in SCENARIOS.items():
        found = attrs.astuple(figures(scenario(seed, clients).run()))
        lines.append([name, *(f"{value:.2f}" if isinstance(value, float) else str(value) for value in found)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Simulate outages of providers, and print what their clients do.")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn; the same one gives the same figures")
    parser.add_argument("--clients", type=int, default=10, help="how many, each with a hub of its own and two calls a second")
    arguments = parser.parse_args()
    sys.stdout.write(table(arguments.seed, arguments.clients) + "\n")


if __name__ == "__main__":
    main()
