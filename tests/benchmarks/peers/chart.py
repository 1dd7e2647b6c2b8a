"""The figures as a drawing: the ratio of each peer to requests by hand, on a logarithmic scale. No library is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape

from page import BASE, Figures, middle

PANELS: tuple[tuple[str, Callable[[Figures], float | None]], ...] = (
    ("time of a call", lambda figures: middle(figures.calls)),
    ("processor time per streamed chunk", lambda figures: middle(figures.chunks["each"])),
    ("start to first answer", lambda figures: middle(figures.whole)),
)
SHORT = ("providerhub", "openai SDK", "llm", "litellm.completion")
"""The peers of the small drawing, which the README shows."""
WIDTH, LABELS, ROW, HEAD, GAP = 560, 150, 20, 34, 18
# Colours of medium lightness are readable on white and on black. The text has the colour of the page, if possible.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #555 }
.title { font-weight: 600 }
.value { font-size: 11px }
.bar { fill: #8a93a6 }
.ours { fill: #2b8a57 }
.line { stroke: #8a93a6; stroke-opacity: .5 }
.one { stroke: #c2571a; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { text { fill: #c8c8c8 } .ours { fill: #4cc38a } }
"""


def chart(measured: Mapping[str, Figures], *, short: bool = False) -> str:
    """Draw the ratios.

    Args:
        measured: The figures by peer.
        short: Draw the time of a call and of a chunk alone, for the peers of `SHORT`.

    Returns:
        The drawing, as SVG. It has no size of its own, so it takes the width of its page.
    """
    parts: list[str] = []
    top = 0
    for title, of in PANELS[:2] if short else PANELS:
        base = of(measured[BASE])
        ratios = {
            name: value / base
            for name, figures in measured.items()
            if base and (value := of(figures)) and (not short or name in SHORT)
        }
        panel, height = _panel(title, ratios, top)
        parts += panel
        top += height + GAP
    name = "Ratios to requests by hand"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="{name}">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(title: str, ratios: Mapping[str, float], top: int) -> tuple[list[str], int]:
    low = math.floor(math.log10(min([*ratios.values(), 0.5])))
    high = math.ceil(math.log10(max([*ratios.values(), 2.0])))
    scale = (WIDTH - LABELS - 60) / (high - low)

    def x(ratio: float) -> float:
        return LABELS + (math.log10(ratio) - low) * scale

    one = x(1.0)
    height = HEAD + ROW * len(ratios)
    parts = [f'<text class="title" x="0" y="{top + 14}">{escape(title)}, times {escape(BASE)}</text>']
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(f'<line class="line" x1="{at:.1f}" x2="{at:.1f}" y1="{top + HEAD - 6}" y2="{top + height}"/>')
        parts.append(f'<text class="value" x="{at:.1f}" y="{top + HEAD - 8}" text-anchor="middle">{10.0**power:g}</text>')
    for number, (name, ratio) in enumerate(ratios.items()):
        y = top + HEAD + ROW * number
        ours = " ours" if name.startswith("providerhub") else ""
        beside = x(ratio) + 5
        beside = one + 4 if beside < one < beside + 34 else beside  # the line does not cross the figure
        bar = f'class="bar{ours}" width="{max(1.0, x(ratio) - LABELS):.1f}" height="{ROW - 6}" rx="2"'
        # From the left edge of the scale: the length shows the order, and the figure beside it the ratio.
        parts += [
            f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect {bar} x="{LABELS}" y="{y + 3}"/>',
            f'<text class="value" x="{beside:.1f}" y="{y + 14}">{ratio:.2f}×</text>',
        ]
    parts.append(f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="{top + HEAD}" y2="{top + height}"/>')
    return parts, height
