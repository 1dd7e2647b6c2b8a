"""Draw the documentation's pictures from their text: every `docs/pictures/NAME.txt` becomes `docs/pictures/NAME.svg`.

    python tools/draw_pictures.py            draw
    python tools/draw_pictures.py --check    fail when a drawing does not match its text

A line of the text is one of

    title TEXT                                      a description of the picture, for readers who cannot see it
    grid WIDTH HEIGHT GAP_X GAP_Y                   the size of a cell and the distance between cells, in pixels
    box NAME COLUMN ROW SPAN KIND HEAD | LINE ...   a box; KIND chooses its colour, SPAN is its width in cells
    edge FROM TO LABEL | LINE                       an arrow from one box to another; the label is optional
    loop NAME LABEL | LINE                          an arrow from a box's left side back to it

The colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
MARGIN = 12
LINE_HEIGHT = 18
SHORTENED = 9
"""Pixels between the end of an arrow's line and its tip, for the head of the arrow."""

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2430; }
.head { font-weight: 600; }
.label { font-size: 12px; fill: #4f5867; }
rect { stroke-width: 1.25; }
.yours { fill: #e3eefb; stroke: #4b7fc0; }
.core { fill: #f3f4f6; stroke: #8a93a2; }
.plugin { fill: #e5f4e9; stroke: #4f9a68; }
.commit { fill: #fdf0d5; stroke: #c08a2b; }
.error { fill: #fbe6e4; stroke: #c2554a; }
.edge { fill: none; stroke: #6b7483; stroke-width: 1.5; }
.tip { fill: #6b7483; }
@media (prefers-color-scheme: dark) {
text { fill: #e6e8ec; }
.label { fill: #aeb6c2; }
.yours { fill: #1d314b; stroke: #5f93d3; }
.core { fill: #24272d; stroke: #7a8391; }
.plugin { fill: #1c3626; stroke: #5fae7a; }
.commit { fill: #3d3016; stroke: #cf9c42; }
.error { fill: #43211e; stroke: #d2695e; }
.edge { stroke: #98a1af; }
.tip { fill: #98a1af; }
}
""".strip()


class Grid(NamedTuple):
    """The size of a cell and the distance between cells, in pixels."""

    width: int = 200
    height: int = 64
    gap_x: int = 70
    gap_y: int = 56


class Box(NamedTuple):
    """The place and size of a box, in pixels, and its text."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    lines: tuple[str, ...]

    @property
    def middle(self) -> tuple[int, int]:
        """The centre of the box."""
        return self.x + self.width // 2, self.y + self.height // 2


class Picture:
    """A picture, read from its text.

    Args:
        text: The description.

    Raises:
        ValueError: The first word of a line is unknown.
    """

    def __init__(self, text: str) -> None:
        self.title = ""
        self.grid = Grid()
        self.boxes: dict[str, Box] = {}
        self.arrows: list[str] = []
        for line in text.splitlines():
            word, _, rest = line.strip().partition(" ")
            if word and not word.startswith("#"):
                self._take(word, rest.strip())

    def _take(self, word: str, rest: str) -> None:
        if word == "title":
            self.title = rest
        elif word == "grid":
            self.grid = Grid(*map(int, rest.split()))
        elif word == "box":
            name, column, row, span, kind, says = rest.split(maxsplit=5)
            self.boxes[name] = self._box(int(column), int(row), int(span), kind, says)
        elif word == "edge":
            start, end, *label = rest.split(maxsplit=2)
            self.arrows.extend(_edge(self.boxes[start], self.boxes[end], _lines(*label)))
        elif word == "loop":
            name, *label = rest.split(maxsplit=1)
            self.arrows.extend(_loop(self.boxes[name], _lines(*label)))
        else:
            msg = f"unknown word {word!r}; use title, grid, box, edge or loop"
            raise ValueError(msg)

    def _box(self, column: int, row: int, span: int, kind: str, says: str) -> Box:
        grid = self.grid
        x = MARGIN + column * (grid.width + grid.gap_x)
        y = MARGIN + row * (grid.height + grid.gap_y)
        return Box(x, y, grid.width * span + grid.gap_x * (span - 1), grid.height, kind, _lines(says))

    def svg(self) -> str:
        """Return the drawing as SVG."""
        width = max(box.x + box.width for box in self.boxes.values()) + MARGIN
        height = max(box.y + box.height for box in self.boxes.values()) + MARGIN
        size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        body = [part for box in self.boxes.values() for part in _drawn(box)]
        title = f"<title>{escape(self.title)}</title>"
        return "\n".join([head, title, f"<style>\n{STYLE}\n</style>", *self.arrows, *body, "</svg>", ""])


def _lines(*says: str) -> tuple[str, ...]:
    return tuple(line.strip() for part in says for line in part.split("|"))


def _drawn(box: Box) -> Iterator[str]:
    yield f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="7"/>'
    x, y = box.middle
    top = y - (len(box.lines) - 1) * LINE_HEIGHT // 2 + 4
    for number, line in enumerate(box.lines):
        style = ' class="head"' if number == 0 else ""
        yield f'<text{style} x="{x}" y="{top + number * LINE_HEIGHT}" text-anchor="middle">{escape(line)}</text>'


def _edge(start: Box, end: Box, label: tuple[str, ...]) -> Iterator[str]:
    (x1, y1), (x2, y2) = start.middle, end.middle
    if start.y == end.y:  # side by side
        forward = x1 < x2
        x1, x2 = (start.x + start.width, end.x) if forward else (start.x, end.x + end.width)
        yield from _arrow([(x1, y1), (x2, y2)], 1 if forward else -1, 0)
        yield from _label(label, (x1 + x2) // 2, y1 - 7, anchor="middle", upward=True)
    elif x1 == x2 or start.width != end.width:  # one below the other; the arrow is in the middle of the narrower box
        x = x1 if start.width <= end.width else x2
        down = y1 < y2
        y1, y2 = (start.y + start.height, end.y) if down else (start.y, end.y + end.height)
        yield from _arrow([(x, y1), (x, y2)], 0, 1 if down else -1)
        yield from _label(label, x + 8, (y1 + y2) // 2 + 4, anchor="start")
    else:  # down, across between the rows, and down
        x1 = start.x + start.width * (4 if x2 > x1 else 1) // 5
        y1, y2 = start.y + start.height, end.y
        between = (y1 + y2) // 2
        yield from _arrow([(x1, y1), (x1, between), (x2, between), (x2, y2)], 0, 1)
        yield from _label(label, (x1 + x2) // 2, between - 7, anchor="middle", upward=True)


def _loop(box: Box, label: tuple[str, ...]) -> Iterator[str]:
    x, y, out = box.x, box.middle[1], box.x - 26
    yield from _arrow([(x, y + 14), (out, y + 14), (out, y - 14), (x, y - 14)], 1, 0)
    yield from _label(label, out - 8, y + 4, anchor="end")


def _arrow(points: list[tuple[int, int]], along: int, down: int) -> Iterator[str]:
    x, y = points[-1]
    *corners, _ = points
    path = " ".join(f"{px},{py}" for px, py in [*corners, (x - SHORTENED * along, y - SHORTENED * down)])
    back_x, back_y = x - 10 * along, y - 10 * down
    left, right = (back_x - 5 * down, back_y - 5 * along), (back_x + 5 * down, back_y + 5 * along)
    yield f'<polyline class="edge" points="{path}"/>'
    yield f'<polygon class="tip" points="{x},{y} {left[0]},{left[1]} {right[0]},{right[1]}"/>'


def _label(lines: tuple[str, ...], x: int, y: int, *, anchor: str, upward: bool = False) -> Iterator[str]:
    top = y - (len(lines) - 1) * (LINE_HEIGHT - 2) // (1 if upward else 2)
    for number, line in enumerate(lines):
        yield f'<text class="label" x="{x}" y="{top + number * (LINE_HEIGHT - 2)}" text-anchor="{anchor}">{escape(line)}</text>'


def main() -> int:
    """Draw all pictures, or name the stale ones."""
    parser = argparse.ArgumentParser(description="Draw the documentation's pictures from their text.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a drawing is stale")
    check: bool = parser.parse_args().check
    stale = []
    for source in sorted(FOLDER.glob("*.txt")):
        target = source.with_suffix(".svg")
        drawn = Picture(source.read_text("utf-8")).svg()
        if not target.exists() or target.read_text("utf-8") != drawn:
            stale.append(target.name)
            if not check:
                target.write_text(drawn, "utf-8")
    if check and stale:
        print(f"stale: {', '.join(stale)}; run python tools/draw_pictures.py")
        return 1
    print("drawn:" if not check else "up to date:", ", ".join(stale) or "nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
