"""One call, and its attempts as bars on a time line."""

from __future__ import annotations

import time
from typing import Any

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from providerhub_journal._commands import money, tokens
from providerhub_journal._config import Row

_COLORS = {"ok": "green", "error": "red", "abandoned": "yellow"}
_BAR = 24  # the least width of a bar, in characters


def draw(call: Row, tries: list[Row]) -> None:
    """Write a call and its attempts to standard output."""
    console = Console(soft_wrap=False)
    asked = f"{call['asked']}, {'streamed, ' if call['stream'] else ''}{call['outcome']} after {call['duration']:.3f} s"
    facts = {
        "call": f"{call['id']}  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(call['started']))}  {call['program'] or ''}",
        "asked": asked,
        "answered": " ".join(filter(None, (_name(call), call["served_model"], "from the cache" if call["cached"] else ""))),
        "tokens": tokens(call),
        "cost": money(call),
        "metadata": ", ".join(f"{name}={value}" for name, value in (call["metadata"] or {}).items()),
        "error": ": ".join(filter(None, (call["error"], call["message"]))),
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value.strip():
            grid.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    console.print(grid)
    if tries:
        console.print()
        console.print(_bars(call, tries, max(_BAR, console.width // 3)))
    for name in ("prompt", "answer"):
        if call[name]:
            console.print(Text(f"\n{name}", style="dim"))
            console.print(Text(_said(call[name]), overflow="fold"))


def _bars(call: Row, tries: list[Row], width: int) -> Table:
    end = max(call["duration"], *(one["started"] + one["duration"] for one in tries)) or 1.0
    grid = Table.grid(padding=(0, 1))
    for one in tries:
        begin, until = one["started"], one["started"] + one["duration"]
        until = max(until, begin + end / width / 2)  # at least half a character
        status = f" {one['status']}" if one["status"] else ""
        result = f"{one['error']}{status}" if one["error"] else one["outcome"]
        grid.add_row(
            Text(f"{one['number']}"),
            Text(_name(one), overflow="fold"),
            Bar(end, min(begin, end), min(until, end), width=width, color=_COLORS.get(one["outcome"], "default")),
            Text(f"{one['duration']:.3f} s", justify="right"),
            Text(" ".join(filter(None, (result, money(one)))), style=_COLORS.get(one["outcome"], ""), overflow="fold"),
        )
    return grid


def _said(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(f"{message.get('role')}: {message.get('content')}" for message in content)


def _name(row: Row) -> str:
    return "/".join(filter(None, (row["provider"], row["model"])))
