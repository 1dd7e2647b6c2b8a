"""The cost of the retry chain: for a call, for a streamed chunk, and for the next provider after a provider that is down.

Run by hand, or by `tox -e bench`: `python tests/benchmarks/chain.py`. The first two figures compare the hub with a direct call of
the provider object, in processor time of one thread without I/O. The third figure is elapsed time, with servers on loopback in
their own processes. The compared sides take turns, and the figures are medians.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from providerhub import CallContext, Hub, ModelInfo, ProviderConfig, ProviderInfo, Request, Settings, Timeout
from providerhub.openai_provider import OpenAIChatProvider
from providerhub.testing import http_response, openai_completion, refusing_url, serve_in_process

ROUNDS = 60
CALLS = 200
CHUNKS = 5000
TARGET_CALL = 30.0
TARGET_CHUNK = 1.0
TARGET_FAILOVER = 3000.0
MESSAGES = ({"role": "user", "content": "x"},)


class _Echo:
    def stream(self, request: Request, call: CallContext) -> Iterator[str]:
        yield "ok"


class _Talker:
    def stream(self, request: Request, call: CallContext) -> Iterator[str]:
        for _ in range(CHUNKS):
            yield "token"


def _hub(provider: object) -> Hub:
    hub = Hub(Settings(autoload=False))
    hub.register(ProviderInfo(name="p", models=(ModelInfo("m", supports_stream=True),)), provider)  # type: ignore[arg-type]
    return hub


def _direct(provider: _Echo | _Talker, *, stream: bool) -> str:
    call = CallContext(Timeout())
    return "".join(provider.stream(Request("m", MESSAGES, stream), call))


def _micros(work: Callable[[], object], times: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(times):
        work()
    return (clock() - start) / times * 1e6


def _medians(works: Sequence[Callable[[], object]], times: int, clock: Callable[[], float] = time.thread_time) -> list[float]:
    took: list[list[float]] = [[] for _ in works]
    gc.disable()
    for number in range(-5, ROUNDS):
        for work, figures in zip(works, took, strict=True):
            micros = _micros(work, times, clock)
            if number >= 0:
                figures.append(micros)
    gc.enable()
    return [statistics.median(figures) for figures in took]


def _verdict(what: str, added: float, target: float) -> bool:
    reached = added <= target
    print(f"{what}: {added:.2f} µs; target at most {target:g} µs: {'reached' if reached else 'NOT reached'}")
    return reached


def _call() -> bool:
    provider = _Echo()
    hub = _hub(provider)
    direct, through = _medians([lambda: _direct(provider, stream=False), lambda: hub.complete("m", "x")], CALLS)
    return _verdict("the engine adds to a call that does not stream", through - direct, TARGET_CALL)


def _chunk() -> bool:
    provider = _Talker()
    hub = _hub(provider)
    works = [lambda: _direct(provider, stream=True), lambda: "".join(hub.complete("m", "x", stream=True))]
    direct, through = _medians(works, 1)
    return _verdict("the engine adds to a streamed chunk", (through - direct) / CHUNKS, TARGET_CHUNK)


def _delay(url: str, second: OpenAIChatProvider) -> float:
    """The microseconds by which the second provider's answer is later because the first provider is asked before."""
    own = _hub(second)
    took: dict[bool, list[float]] = {False: [], True: []}
    first = OpenAIChatProvider(ProviderConfig(name="a", url=url))
    for number in range(-5, ROUNDS):
        # A new hub each time: otherwise the breaker would exclude the first provider from the sixth call on.
        hub = Hub(Settings(autoload=False))
        hub.register(ProviderInfo(name="a", models=(ModelInfo("m"),)), first)
        hub.register(ProviderInfo(name="p", models=(ModelInfo("m"),)), second)
        hub.explain("m")
        for asked in (own, hub):
            start = time.perf_counter()
            answer = asked.complete("m", "x")
            seconds = time.perf_counter() - start
            if number >= 0:
                took[asked is hub].append(seconds)
            assert len(answer.route.attempts) == 1 + (asked is hub)
    first.close()
    return (statistics.median(took[True]) - statistics.median(took[False])) * 1e6


def _failover() -> bool:
    results: list[bool] = []
    with (
        serve_in_process(http_response(200, openai_completion("ok"))) as good,
        serve_in_process(http_response(500, b"{}")) as bad,
        refusing_url() as refusing,
    ):
        second = OpenAIChatProvider(ProviderConfig(name="p", url=good.url))
        for what, url in (("refuses", refusing), ("answers 500", bad.url)):
            delay = _delay(url, second)
            results.append(_verdict(f"a first provider that {what} delays the second one's answer by", delay, TARGET_FAILOVER))
        second.close()
    return all(results)


if __name__ == "__main__":
    results = [_call(), _chunk(), _failover()]
    sys.exit(not all(results))
