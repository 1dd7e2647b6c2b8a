"""The cost of a call, of a streamed chunk and of many streams at once, beside the same code written by hand.

Run by hand, or by `tox -e bench`: `python transports.py`. "By hand" means requests, or aiohttp for an asynchronous row. Each row
is measured in its own process, in which the two sides take turns; the server is in another process. The figures are processor
time of the client, unless the row names another measure. The ratio is the median of the ratios of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MESSAGES = [{"role": "user", "content": "Hello"}]
BODY = {"model": "gpt-4", "messages": MESSAGES, "temperature": 0.7}
STREAMED = {**BODY, "stream": True}
PATH = "/v1/chat/completions"
CHUNKS = 300
STREAMS, CHUNKS_EACH = 2000, 20
CALLS_AT_ONCE = 200

ROWS = {
    # row: (target of the ratio, whether msgspec may be used)
    "call": (0.45, True),
    "chunk-framed": (0.50, False),
    "chunk-unframed": (0.42, False),
    "chunk-framed-fast": (0.45, True),
    "chunk-unframed-fast": (0.36, True),
    "calls-at-once": (1.25, True),
    "calls-at-once/AsyncOpenAI": (0.15, True),
    "loop-held": (1.0, True),
    "streams-at-once": (1.15, True),
    **{f"streams-at-once/{plugin}": (1.15, True) for plugin in ("mistral", "anthropic", "gemini", "cohere", "ollama")},
}
RUNS = 10
"""How often the streams at once are run. A single one that fails ends the row."""
KILOBYTES_EACH = 30.0
FAILOVER_MS = 1.0
MOST_THREADS = 3
LONGEST = 600
"""Seconds that a row may take."""
START = 1.2

Pair = tuple[Callable[[], object], Callable[[], object]]


# --- by hand ----------------------------------------------------------------------------------------------------------


def call_by_hand(session: Any, url: str) -> str:
    """One call with requests."""
    found: str = session.post(url + PATH, json=BODY).json()["choices"][0]["message"]["content"]
    return found


def stream_by_hand(session: Any, url: str) -> int:
    """One stream with requests."""
    pieces = 0
    with session.post(url + PATH, json=STREAMED, stream=True) as answer:
        for line in answer.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                pieces += bool(json.loads(line[6:])["choices"][0]["delta"].get("content"))
    return pieces


async def acall_by_hand(session: Any, url: str) -> str:
    """One call with aiohttp."""
    async with session.post(url + PATH, json=BODY) as answer:
        found: str = (await answer.json())["choices"][0]["message"]["content"]
        return found


async def astream_by_hand(session: Any, url: str) -> int:
    """One stream with aiohttp."""
    pieces = 0
    async with session.post(url + PATH, json=STREAMED) as answer:
        async for line in answer.content:
            if (text := line.removeprefix(b"data: ")).startswith(b"{"):
                pieces += b" word" in line and bool(json.loads(text))
    return pieces


# --- through the hub --------------------------------------------------------------------------------------------------


def hub_at(url: str, plugin: str = "openai") -> Any:
    """A hub with one provider."""
    from providerhub import Hub, ProviderConfig, Settings

    config = ProviderConfig(plugin=plugin, url=url, models=["gpt-4"], api_key="benchmark", allow_http=True)
    return Hub(Settings(providers={"p": config}, allow=(plugin,)))


def streamed(hub: Any) -> int:
    """One stream through a hub."""
    return sum(1 for _ in hub.complete("gpt-4", MESSAGES, stream=True, temperature=0.7))


async def astreamed(hub: Any) -> int:
    """One stream through a hub, under asyncio."""
    pieces = 0
    async with await hub.acomplete("gpt-4", MESSAGES, stream=True, temperature=0.7) as stream:
        async for _ in stream:
            pieces += 1
    return pieces


# --- measuring --------------------------------------------------------------------------------------------------------


def ratios(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> dict[str, float]:
    """Let two sides take turns, and compare the processor time of each round."""
    took: list[tuple[float, float]] = []
    for number in range(-2, rounds):
        pair = []
        for work in (ours, theirs):
            gc.collect()
            start = time.process_time()
            work()
            pair.append(time.process_time() - start)
        if number >= 0:
            took.append((pair[0], pair[1]))
    return {
        "ratio": statistics.median(our / their for our, their in took),
        "ours": statistics.median(our for our, _ in took),
        "theirs": statistics.median(their for _, their in took),
    }


def sync_row(row: str, url: str, rounds: int) -> dict[str, float]:
    """Measure a synchronous row."""
    import requests

    session = requests.Session()
    if row == "call":
        hub = hub_at(url)
        times = 100
        return ratios(
            lambda: [hub.complete("gpt-4", MESSAGES, temperature=0.7).text for _ in range(times)],
            lambda: [call_by_hand(session, url) for _ in range(times)],
            rounds,
        )
    place = f"{url}/chunks={CHUNKS},frame={'bulk' if 'unframed' in row else 'each'}"
    hub = hub_at(place)

    def ours() -> None:
        for _ in range(5):
            assert streamed(hub) == CHUNKS

    def theirs() -> None:
        for _ in range(5):
            assert stream_by_hand(session, place) == CHUNKS

    return ratios(ours, theirs, rounds)


def async_row(row: str, url: str, rounds: int) -> dict[str, float]:
    """Measure an asynchronous row."""
    kind, _, other = row.partition("/")
    is_call = kind == "calls-at-once"
    count = CALLS_AT_ONCE if is_call else STREAMS
    wire = f",wire={other}" if other in {"anthropic", "gemini", "cohere", "ollama"} else ""
    place = url if is_call else f"{url}/chunks={CHUNKS_EACH},frame=each{wire}"
    lags: dict[bool, list[float]] = {True: [], False: []}

    async def at_once(work: Callable[[], Awaitable[object]], *, ours: bool) -> None:
        watching = asyncio.ensure_future(_longest_turn(lags[ours])) if kind == "loop-held" else None
        found = await asyncio.gather(*(_awaited(work) for _ in range(count)))
        if watching is not None:
            watching.cancel()
        assert all(piece == CHUNKS_EACH or str(piece).startswith("Hello") for piece in found), found[:3]

    with asyncio.Runner() as runner:
        hub = hub_at(place, other if other and not is_call else "openai")
        peer = runner.run(_peer(other, url))
        mine = (lambda: _text(hub)) if is_call else (lambda: astreamed(hub))
        by_hand = _call_of(other) if is_call else astream_by_hand
        found = ratios(
            lambda: runner.run(at_once(mine, ours=True)),
            lambda: runner.run(at_once(lambda: by_hand(peer, place), ours=False)),
            rounds,
        )
        found["threads"] = threading.active_count()
        runner.run(peer.close())
        runner.run(hub.aclose())
    if kind == "loop-held":
        ours, theirs = (statistics.median(lags[side]) for side in (True, False))
        found.update(ratio=ours / theirs, ours=ours, theirs=theirs)
    return found


async def _peer(name: str, url: str) -> Any:
    if name == "AsyncOpenAI":
        from openai import AsyncOpenAI

        return AsyncOpenAI(api_key="benchmark", base_url=f"{url}/v1", max_retries=0)
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


def _call_of(name: str) -> Callable[[Any, str], Awaitable[object]]:
    async def asked(client: Any, _url: str) -> object:
        return (await client.chat.completions.create(**BODY)).choices[0].message.content

    return asked if name == "AsyncOpenAI" else acall_by_hand


async def _longest_turn(lags: list[float]) -> None:
    """Note the longest time, in seconds, of one turn of the event loop."""
    longest = 0.0
    try:
        while True:
            since = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - since)
    finally:
        lags.append(longest)


async def _awaited(work: Callable[[], Awaitable[object]]) -> object:
    return await work()


async def _text(hub: Any) -> str:
    return str((await hub.acomplete("gpt-4", MESSAGES, temperature=0.7)).text)


def memory(url: str, side: str) -> dict[str, float]:
    """Kilobytes that an open stream takes."""
    import aiohttp

    place = f"{url}/chunks={CHUNKS_EACH},frame=held"

    async def hold(open_one: Callable[[], Coroutine[Any, Any, Any]]) -> float:
        kept = [await open_one()]
        gc.collect()
        before = _resident()
        kept += await asyncio.gather(*(open_one() for _ in range(STREAMS)))
        gc.collect()
        return (_resident() - before) / STREAMS / 1e3

    async def main() -> dict[str, float]:
        if side == "hub":
            hub = hub_at(place)

            async def ours() -> Any:
                stream = await hub.acomplete("gpt-4", MESSAGES, stream=True)
                assert await anext(aiter(stream)) == " word0"
                return stream

            return {"kilobytes": await hold(ours), "threads": threading.active_count()}
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

        async def theirs() -> Any:
            answer = await session.post(place + PATH, json=STREAMED)
            await answer.content.readline()
            return answer

        return {"kilobytes": await hold(theirs), "threads": threading.active_count()}

    return asyncio.run(main())


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as source:  # noqa: PTH123 -- as in `_worker.py`
        return int(source.read().split()[1]) * resource.getpagesize()


def failover(url: str, rounds: int) -> dict[str, float]:
    """Milliseconds that a first provider which answers 500 adds to a call under asyncio, in elapsed time."""
    from providerhub import Hub, ProviderConfig, Settings

    def make(*places: str) -> Any:
        configs = {
            f"p{n}": ProviderConfig(plugin="openai", url=place, models=["gpt-4"], priority=-n) for n, place in enumerate(places)
        }
        return Hub(Settings(providers=configs, allow=("openai",)))

    async def main() -> dict[str, float]:
        took: dict[bool, list[float]] = {True: [], False: []}
        for number in range(-3, rounds * 5):
            for down in (False, True):
                hub = make(f"{url}/status=500", url) if down else make(url, f"{url}/status=500")
                for provider in ("p0", "p1"):  # the connections are open
                    with contextlib.suppress(Exception):
                        await hub.acomplete(f"{provider}/gpt-4", MESSAGES)
                hub.forgive("p0")
                hub.forgive("p1")
                start = time.perf_counter()
                await hub.acomplete("gpt-4", MESSAGES)
                if number >= 0:
                    took[down].append(time.perf_counter() - start)
                await hub.aclose()
        return {"milliseconds": (statistics.median(took[True]) - statistics.median(took[False])) * 1e3}

    return asyncio.run(main())


# --- the parent -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The server of all benchmarks."""
    with subprocess.Popen(
        [sys.executable, HERE / "loopback.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


def _child(url: str, row: str, rounds: int, *, fast: bool = True) -> dict[str, float]:
    code = "" if fast else "import sys; sys.modules['msgspec'] = None\n"
    code += f"import runpy, sys; sys.argv = ['transports.py', '--child', {row!r}, '--url', {url!r}, '--rounds', '{rounds}']\n"
    code += f"runpy.run_path({str(HERE / 'transports.py')!r}, run_name='__main__')"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ, timeout=LONGEST)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


STARTS = {
    "hub": "import os, providerhub; os.environ['LOCKCHAT_URL'] = {url!r}; print(providerhub.complete('gpt-4', 'Hello').text)",
    "by hand": (
        "import requests; print(requests.post({url!r} + '/v1/chat/completions', json={body!r})"
        ".json()['choices'][0]['message']['content'])"
    ),
}


def start(url: str, rounds: int) -> float:
    """A new process that makes one call, beside the same with requests: the ratio of the processor times."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PROVIDERHUB_CONFIG"] = os.devnull
    found = []
    for number in range(-2, rounds * 2):
        pair = []
        for code in STARTS.values():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code.format(url=url, body=BODY)], check=True, capture_output=True, env=environ)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            pair.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if number >= 0:
            found.append(pair[0] / pair[1])
    return statistics.median(found)


def _say(what: str, figure: float, target: float, detail: str = "") -> bool:
    reached = figure <= target
    print(f"{what}: {figure:.3g}{detail}; target at most {target:g}: {'reached' if reached else 'NOT reached'}", flush=True)
    return reached


def main() -> int:
    """Measure all rows, or those that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--child")
    parser.add_argument("--url")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * STREAMS)), hard))
    if asked.child:
        row = asked.child
        if row.startswith("memory"):
            found = memory(asked.url, row.partition("-")[2])
        elif row == "failover":
            found = failover(asked.url, asked.rounds)
        else:
            found = (async_row if "at-once" in row or row == "loop-held" else sync_row)(row, asked.url, asked.rounds)
        print(json.dumps(found))
        return 0
    good = True
    with server() as url:
        for row, (target, fast) in ROWS.items():
            if not asked.rows or row in asked.rows:
                rounds = RUNS if row.startswith(("streams", "loop")) else asked.rounds
                found = _child(url, row, rounds, fast=fast)
                if row.startswith("streams") and found["threads"] > MOST_THREADS:
                    good = _say(f"{row}: threads", found["threads"], MOST_THREADS)
                good &= _say(f"{row} over by hand", found["ratio"], target, f" ({found['ours']:.3f} s / {found['theirs']:.3f} s)")
        if not asked.rows or "start" in asked.rows:
            good &= _say("start and first call over by hand", start(url, asked.rounds), START)
        if not asked.rows or "memory" in asked.rows:
            by_hand, ours = (_child(url, f"memory-{side}", 1)["kilobytes"] for side in ("hand", "hub"))
            good &= _say("kilobytes of an open stream", ours, KILOBYTES_EACH, f" (aiohttp by hand {by_hand:.1f})")
        if not asked.rows or "failover" in asked.rows:
            good &= _say("failover adds, in ms", _child(url, "failover", asked.rounds)["milliseconds"], FAILOVER_MS)
    return not good


if __name__ == "__main__":
    sys.exit(main())
