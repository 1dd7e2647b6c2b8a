"""An answer as Markdown in a terminal, while it comes."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

_FENCES = ("```", "~~~")


def show(console: Console, pieces: Iterable[str]) -> None:
    """Write each block, such as a paragraph or a list, when it has ended. Until then, show its last lines as plain text.

    Text that has scrolled out of a terminal cannot be changed, so a block is drawn once, at its end.
    """
    rest, first = "", True

    def end_of_block() -> Text:
        lines = Text(rest).wrap(console, console.width)[-max(console.height - 1, 1) :]
        return Text("\n").join(lines)

    def draw(block: str) -> None:
        nonlocal first
        if block.strip():
            console.print(*(() if first else ("",)), Markdown(block), sep="\n")
            first = False

    try:
        with Live(console=console, transient=True, get_renderable=end_of_block):
            for text in pieces:
                rest += text
                place = _end(rest) if "\n" in rest else 0
                if place:
                    done, rest = rest[:place], rest[place:]
                    draw(done)
    finally:
        draw(rest)


def _end(text: str) -> int:
    """The place after the last blank line that ends a block; else 0. An indented line belongs to the block before it."""
    place = found = 0
    fence, blank = "", False
    for line in text.splitlines(keepends=True):
        if blank and not fence and not line[0].isspace():
            found = place
        mark = line.strip()[:3]
        if mark in _FENCES and (not fence or mark == fence):
            fence = "" if fence else mark
        blank = not line.strip()
        place += len(line)
    return found
