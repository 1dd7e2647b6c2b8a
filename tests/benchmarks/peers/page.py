"""The page of figures: medians, and their ratios to requests by hand."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BASE = "requests, by hand"
OURS = "providerhub"
FAST = "providerhub[fast]"


@dataclass
class Figures:
    """The measurements of one peer, in seconds and megabytes: one value for each round."""

    version: str = ""
    problem: str = ""
    ready: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    chunks: dict[str, list[float]] = field(default_factory=lambda: {"each": [], "bulk": []})
    failover: dict[str, float] = field(default_factory=dict)
    imports: dict[str, float] = field(default_factory=dict)


def middle(values: Sequence[float]) -> float | None:
    """The median; `None` without values."""
    return statistics.median(values) if values else None


def _number(value: float) -> str:
    return (
        f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
    )


def _cell(value: float | None, base: float | None, scale: float = 1.0) -> str:
    if value is None:
        return "–"
    times = f" ({value / base:.2f}×)" if base else ""
    return f"{_number(value * scale)}{times}"


COLUMNS = (
    ("ready to call, s", lambda f: middle(f.ready), 1.0),
    ("first call, s", lambda f: middle(f.first), 1.0),
    ("call, p50, µs", lambda f: middle(f.calls), 1e6),
    ("CPU per chunk, µs", lambda f: middle(f.chunks["each"]), 1e6),
    ("CPU per chunk, unframed, µs", lambda f: middle(f.chunks["bulk"]), 1e6),
    ("RSS, MB", lambda f: middle(f.memory), 1.0),
)


def table(measured: Mapping[str, Figures]) -> list[str]:
    """The table's lines."""
    base = measured[BASE]
    lines = [
        f"| | version | {' | '.join(title for title, _, _ in COLUMNS)} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for title, figures in measured.items():
        if figures.problem:
            told = f"not measured: {figures.problem.replace('|', '/')}"
            lines.append(f"| {title} | {figures.version or '–'} | {told} |{' |' * (len(COLUMNS) - 1)}")
            continue
        cells = [_cell(of(figures), of(base), scale) for _, of, scale in COLUMNS]
        lines.append(f"| {title} | {figures.version} | {' | '.join(cells)} |")
    return lines


def _held(figure: float | None, most: float, unit: str) -> str:
    if figure is None:
        return "not measured"
    return f"{figure:.2f}{unit}, {'reached' if figure <= most else '**not reached**'}"


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


TARGETS = (
    ("a call", lambda f: f.calls, 0.7),
    ("processor time of a chunk", lambda f: f.chunks["each"], 1.0),
    ("processor time of a chunk, unframed", lambda f: f.chunks["bulk"], 1.0),
    ("the start of the process and the first call", lambda f: f.whole, 1.2),
)
MOST_MEMORY, MOST_FAILOVER = 5.0, 3.0


def targets(measured: Mapping[str, Figures]) -> list[str]:
    """The table of targets: each as a ratio to requests by hand, and the memory in megabytes."""
    base = measured[BASE]
    lines = [f"| | at most | {OURS} | {FAST} |", "|---|---|---|---|"]
    for what, of, most in TARGETS:
        cells = [_held(_ratio(middle(of(measured[name])), middle(of(base))), most, "×") for name in (OURS, FAST)]
        lines.append(f"| {what} | {most:g}× | {' | '.join(cells)} |")
    memory = [(middle(measured[name].memory), middle(base.memory)) for name in (OURS, FAST)]
    cells = [_held(ours - by_hand if ours and by_hand else None, MOST_MEMORY, " MB") for ours, by_hand in memory]
    return [*lines, f"| memory above requests by hand | {MOST_MEMORY:g} MB | {' | '.join(cells)} |"]


def failovers(measured: Mapping[str, Figures]) -> list[str]:
    """The table of the time that a call takes longer when the first deployment is down."""
    shown = [title for title, figures in measured.items() if figures.failover]
    lines = [f"| the first deployment | at most | {' | '.join(shown)} |", f"|---|---|{'---|' * len(shown)}"]
    for fault, what in (("refused", "refuses connections"), ("500", "answers with status 500")):
        added = [measured[title].failover.get(fault) for title in shown]
        cells = ["not measured" if seconds is None else f"{seconds * 1000:.2f} ms" for seconds in added]
        lines.append(f"| {what} | {MOST_FAILOVER:g} ms | {' | '.join(cells)} |")
    return lines


def imports(measured: Mapping[str, Figures]) -> list[str]:
    """The milliseconds that the modules of each package take to import, by hand and with this project."""
    shown = [name for name in (BASE, OURS) if measured[name].imports]
    packages = sorted({package for name in shown for package in measured[name].imports if measured[name].imports[package] >= 1})
    lines = [f"| | {' | '.join(shown)} |", f"|---|{'---|' * len(shown)}"]
    for package in packages:
        cells = [f"{measured[name].imports.get(package, 0.0):.1f}" for name in shown]
        lines.append(f"| {package} | {' | '.join(cells)} |")
    return [*lines, f"| all | {' | '.join(f'{sum(measured[name].imports.values()):.1f}' for name in shown)} |"]


def _machine() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = next(line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.machine()
    return f"{model}, {os.cpu_count()} processors, {platform.system()}, Python {platform.python_version()}"


PAGE = """\
# Benchmarks

The benchmarks compare the cost of a call on the client's side with other libraries. Each figure is a median. The figure in
brackets is the ratio to *{base}*, which is a `requests.Session` in a loop with `json.loads`. Compare the ratios, because the
absolute figures depend on the machine.

![Ratios to requests by hand, on a logarithmic scale](benchmarks.svg)

{table}

Measured {day} in {minutes:.0f} minutes{quick}; {machine}{load}.

## Targets

Each target is a ratio to *{base}*, except the memory:

{targets}

A call takes longer when the first deployment is down and another deployment answers. The target is for {ours}:

{failovers}

## Where the start goes

The table lists the milliseconds that the modules of each package take to import, up to the end of the first call.
`python -X importtime` measures them, and makes all imports slower:

{imports}

## Method

- *Ready to call*: the time from the start of the process until the library is imported and its client exists.
- *First call*: the time of the first answer after that. providerhub imports most modules for it, so compare the whole start:
  *ready to call* and *first call* together.
- *Call*: the time for one question and one whole answer, over an open connection.
- *CPU per chunk*: the processor time of the client alone, per content chunk of a streamed answer. The body has one HTTP chunk
  for each event, and many chunks in one TCP segment. *Unframed* is the same for a body that ends with the connection.
- *RSS*: the resident memory after the first call.
- One server on loopback, in its own process, sends the same bytes to all libraries. The libraries take turns in every round,
  so other work of the machine affects all of them equally. Each library is the latest release, in a virtual environment of
  its own.

## Repeat the measurement

`tox -e bench` installs the libraries, measures them, and writes this page. `tox -e bench -- --quick` makes only a few rounds.
The code for each library is a few lines in `tests/benchmarks/peers`."""


def page(measured: Mapping[str, Figures], *, seconds: float, quick: bool) -> str:
    """The whole page, in Markdown."""
    return PAGE.format(
        base=BASE,
        table="\n".join(table(measured)),
        day=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        minutes=seconds / 60,
        quick=" (quick: too few rounds to publish)" if quick else "",
        machine=_machine(),
        load=f"; load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else "",
        targets="\n".join(targets(measured)),
        ours=FAST,
        failovers="\n".join(failovers(measured)),
        imports="\n".join(imports(measured)),
    )
