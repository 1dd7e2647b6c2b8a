"""A page with charts of the calls: one file that needs no server and no network."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import pygal
import sqlalchemy as sa
from pygal.style import Style

from providerhub_journal._config import Row
from providerhub_journal._queries import Filter, sums

# pygal leaves an old import finder, about which Python would warn at each later import.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

# The page's style sheet gives these variables their values, in light and in dark.
_INK, _FAINT = "var(--ink)", "var(--faint)"
_COLORS = tuple(f"c{number}" for number in range(1, 9))
_MOST = 8  # the most series of a chart; smaller series are combined
_OTHERS = "others"

_CSS = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5a6577; --faint: #d5dae3; --page: #f6f7f9; --card: #fff;
  --c1: #2f6fde; --c2: #e07a1f; --c3: #2f9e62; --c4: #c2413b; --c5: #8257c9; --c6: #0f97a6; --c7: #b0649b; --c8: #7d8597; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --faint: #394151; --page: #14171d; --card: #1d222b;
  --c1: #6ea3ff; --c2: #f2a057; --c3: #5fcf92; --c4: #f07b74; --c5: #b394f0; --c6: #4fc8d6; --c7: #e09aca; --c8: #a3acbd; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(.75rem, 3vw, 2.5rem); max-width: 90rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1rem; margin: 0 0 .5rem; } p { color: var(--soft); margin: .25rem 0 1.25rem; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; margin-bottom: .75rem; padding: 0; list-style: none; }
.facts li, section { background: var(--card); border: 1px solid var(--faint); border-radius: .6rem; padding: .8rem 1rem; }
.facts b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; } .facts span { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: .75rem; }
section { min-width: 0; overflow-x: auto; } .wide { grid-column: 1 / -1; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .4rem 0 0; padding: 0; list-style: none;
  color: var(--soft); font-size: .85rem; }
.legend li::before { content: ""; display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin-right: .4rem;
  background: var(--mark); }
svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-top: 1px solid var(--faint); white-space: nowrap; }
th { border: 0; color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
"""


def page(engine: sa.Engine, wanted: Filter, since: str) -> str:
    """Make the page.

    Returns:
        HTML.
    """
    by = {name: sums(engine, wanted, names) for name, names in _VIEWS.items()}
    spent = _spent(by["model"])
    currency = next(iter(spent), "")
    for row in (*by["provider"], *by["model"]):
        row["cost"] = row["costs"].get(currency)
    days = sorted({row["day"] for row in by["day"]})
    charts = [
        ("Calls by day", _stacked(days, _calls(by["day"], days), colors=("c1", "c2", "c4"))),
        (f"Cost by day and provider, {currency}", _stacked(days, _series(by["provider"], days, "provider", "cost"), _money)),
        ("Calls by day and provider", _stacked(days, _series(by["provider"], days, "provider", "calls"))),
        ("Mean seconds of a call by day and provider", _lines(days, _series(by["provider"], days, "provider", "duration"))),
        (f"Cost by model, {currency}", _bars(by["model"], "cost", _money)),
        ("Mean seconds of a call by model", _bars(by["model"], "duration", "{:.2f} s".format)),
    ]
    sections = "".join(f"<section><h2>{title.removesuffix(', ')}</h2>{chart}</section>" for title, chart in charts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Calls of providerhub</title><style>{_CSS}</style></head><body><h1>Calls of providerhub</h1>"
        f"<p>The latest {escape(since)}, until {time.strftime('%Y-%m-%d %H:%M')}. Days are those of UTC.</p>"
        f'<ul class="facts">{_facts(by["model"])}</ul><div class="charts">{sections}'
        f'<section class="wide"><h2>Models</h2>{_table(by["model"])}</section></div></body></html>\n'
    )


_VIEWS = {"day": ("day",), "provider": ("day", "provider"), "model": ("provider", "model")}


def _facts(rows: Sequence[Row]) -> str:
    calls, failures = _sum(rows, "calls"), _sum(rows, "failures")
    unknown, spent = _sum(rows, "unknown"), _spent(rows)
    cost = _amounts(spent) if calls else "0"
    facts = {
        "calls": f"{calls:,}",
        "failures": f"{failures:,} ({failures / calls:.1%})" if calls else "0",
        "fallbacks and repeats": f"{_sum(rows, 'fallbacks'):,}",
        "tokens in": f"{_sum(rows, 'input_tokens'):,}",
        "tokens out": f"{_sum(rows, 'output_tokens'):,}",
        "cost" + (f", and {unknown:,} calls without a known price" if unknown and spent else ""): cost,
    }
    return "".join(f"<li><b>{escape(value)}</b><span>{escape(name)}</span></li>" for name, value in facts.items())


def _spent(rows: Sequence[Row]) -> dict[str, float]:
    """The cost of all calls in each currency, the largest amount first."""
    currencies = {currency for row in rows for currency in row["costs"]}
    found = {currency: sum(row["costs"].get(currency, 0.0) for row in rows) for currency in currencies}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _amounts(costs: dict[str, float]) -> str:
    return " + ".join(f"{_money(amount)} {currency}" for currency, amount in costs.items()) or "unknown"


def _sum(rows: Sequence[Row], name: str) -> int:
    return sum(row[name] or 0 for row in rows)


def _calls(rows: Sequence[Row], days: Sequence[str]) -> dict[str, list[float | None]]:
    """Calls in three parts: the failed calls, the calls with more than one attempt, and the others."""
    found = {day: [row for row in rows if row["day"] == day] for day in days}
    failed, fallen = ([_sum(found[day], name) for day in days] for name in ("failures", "fallbacks"))
    plain = [max(0, _sum(found[day], "calls") - bad - more) for day, bad, more in zip(days, failed, fallen, strict=True)]
    return {"first attempt": plain, "more attempts": fallen, "failed": failed}  # type: ignore[dict-item]


def _series(rows: Sequence[Row], days: Sequence[str], name: str, value: str) -> dict[str, list[float | None]]:
    """The values of each name by day, the name with most calls first; `None` for a day without a value."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row[value] is not None:
            label = str(row[name] or "nothing was asked")
            by_day = found.setdefault(label, {})
            by_day[row["day"]] = by_day.get(row["day"], 0.0) + row[value]
    calls = {label: -sum(row["calls"] for row in rows if str(row[name]) == label) for label in found}
    order = sorted(found, key=lambda label: (calls[label], label))  # the same order, and so the same colors, in each chart
    shown = {label: [found[label].get(day) for day in days] for label in order[:_MOST]}
    if len(order) > _MOST and value != "duration":
        rest = [sum(found[label].get(day, 0.0) for label in order[_MOST - 1 :]) for day in days]
        shown = {**{label: shown[label] for label in order[: _MOST - 1]}, _OTHERS: list(rest)}
    return shown


def _style(colors: Sequence[str]) -> Style:
    return Style(
        background="transparent", plot_background="transparent", foreground="var(--soft)", foreground_strong=_INK,
        foreground_subtle=_FAINT, opacity=".85", opacity_hover="1",
        colors=[f"var(--{color})" for color in colors], font_family="system-ui, sans-serif",
        label_font_size=13, major_label_font_size=13, legend_font_size=13, no_data_font_size=16, guide_stroke_color=_FAINT,
        major_guide_stroke_color=_FAINT, transition="0s",
    )  # fmt: skip


def _options(colors: Sequence[str] = _COLORS, **more: Any) -> dict[str, Any]:
    return {
        "style": _style(colors), "js": (), "width": 640, "height": 280, "show_legend": False, "margin": 6, "truncate_label": -1,
        "disable_xml_declaration": True, "explicit_size": False, "no_data_text": "No such calls", **more,
    }  # fmt: skip


def _drawn(chart: Any, series: dict[str, list[float | None]], colors: Sequence[str] = _COLORS) -> str:
    for label, values in series.items():
        chart.add(label, values)
    names = (f'<li style="--mark: var(--{color})">{escape(label)}</li>' for label, color in zip(series, colors, strict=False))
    drawn = re.sub(r"<script.*?</script>", "", chart.render(is_unicode=True), flags=re.DOTALL)  # scripts of pygal for tooltips
    return f'{drawn}<ul class="legend">{"".join(names)}</ul>'


def _days(days: Sequence[str]) -> dict[str, Any]:
    step = max(1, -(-len(days) // 7))
    return {
        "x_labels": [day[5:] for day in days],
        "x_labels_major": [day[5:] for day in days[::step]],
        "show_minor_x_labels": False,
    }


def _number(value: float) -> str:
    return f"{value:,.4g}"


def _money(value: float) -> str:
    if abs(value) >= 1:
        return f"{value:,.2f}"
    text = f"{value:.4f}"
    return text[:-2] + text[-2:].rstrip("0")


def _stacked(
    days: Sequence[str],
    series: dict[str, list[float | None]],
    form: Callable[[float], str] = _number,
    colors: Sequence[str] = _COLORS,
) -> str:
    return _drawn(pygal.StackedBar(**_options(colors, value_formatter=form, **_days(days))), series, colors)


def _lines(days: Sequence[str], series: dict[str, list[float | None]]) -> str:
    options = _options(value_formatter=_number, min_scale=3, include_x_axis=True, dots_size=2.5, **_days(days))
    return _drawn(pygal.Line(**options), series)


def _bars(rows: Sequence[Row], value: str, form: Callable[[float], str]) -> str:
    found = sorted((row for row in rows if row[value] is not None and row["model"]), key=lambda row: -row[value])[:_MOST]
    models = sorted(rows, key=lambda row: (-row["calls"], _name(row)))  # the same color in each chart
    colors = [_COLORS[models.index(row) % _MOST] for row in found]
    chart = pygal.HorizontalBar(**_options(colors, value_formatter=form, print_values=True, show_y_labels=False, max_scale=8))
    return _drawn(chart, {_name(row): [row[value]] for row in found}, colors)


def _name(row: Row) -> str:
    return "/".join(filter(None, (row["provider"], row["model"]))) or "nothing was asked"


def _table(rows: Sequence[Row]) -> str:
    heads = ("model", "calls", "failures", "fallbacks", "tokens in", "tokens out", "mean", "longest", "cost")
    lines = [
        (
            _name(row), *(f"{row[name]:,}" for name in ("calls", "failures", "fallbacks")),
            *(f"{row[name] or 0:,}" for name in ("input_tokens", "output_tokens")), f"{row['duration'] or 0:.2f} s",
            f"{row['longest'] or 0:.2f} s", _amounts(row["costs"]),
        )
        for row in sorted(rows, key=lambda row: -row["calls"])
    ]  # fmt: skip
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead><tbody>{body}</tbody></table>"
