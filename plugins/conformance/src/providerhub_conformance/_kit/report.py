"""The result of a run: for people, for programs, and as a badge."""

from __future__ import annotations

import json
import platform
from collections import Counter
from typing import Any
from xml.sax.saxutils import escape

import attrs

from providerhub import __version__
from providerhub_conformance._kit.check import Check

OUTCOMES = ("passed", "failed", "blocked", "waived", "not applicable")
"""The outcomes of a check. *Blocked*: a required check failed. *Waived*: the check failed, and has a waiver."""

_GREEN, _YELLOW, _RED = "#4c1", "#dfb317", "#e05d44"


@attrs.frozen
class Result:
    """The result of one check.

    Args:
        check: The check that was run.
        outcome: `"passed"`, `"failed"`, `"blocked"`, `"waived"` or `"not applicable"`.
        detail: The finding; for a blocked check, the failed required check; for a waived check, the reason.
        seconds: The duration of the check, in seconds.
    """

    check: Check
    outcome: str
    detail: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """The text of the assertion: the finding, the meaning of the check, and the fix."""
        lines = [f"{self.check.name}: {self.detail}", f"  checked: {self.check.means}"]
        lines += [f"  to mend: {self.check.fix}", f"  protects: {self.check.promise}"]
        return "\n".join(lines)


@attrs.frozen(kw_only=True)
class Report:
    """The results of all checks of one provider.

    Args:
        provider: The name of the provider.
        distribution: The distribution of the plugin, with its version.
        model: The model that the kit asked for.
        wire: The class name of the played protocol.
        results: The result of each check, in order.
    """

    provider: str
    distribution: str
    model: str
    wire: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not any(result.outcome in {"failed", "blocked"} for result in self.results)

    @property
    def counts(self) -> dict[str, int]:
        """The number of checks for each outcome."""
        found = Counter(result.outcome for result in self.results)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    @property
    def summary(self) -> str:
        """The counts as one line."""
        return ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items() if count)

    def to_dict(self) -> dict[str, Any]:
        """The report as values for JSON."""
        return {
            "provider": self.provider,
            "distribution": self.distribution,
            "model": self.model,
            "wire": self.wire,
            "providerhub": __version__,
            "python": platform.python_version(),
            "ok": self.ok,
            "counts": self.counts,
            "checks": [
                {
                    "name": r.check.name,
                    "group": r.check.group,
                    "outcome": r.outcome,
                    "detail": r.detail,
                    "seconds": round(r.seconds, 4),
                }
                for r in self.results
            ],
        }

    def badge(self) -> str:
        """The text of the badge: passed checks of all that apply."""
        counts = self.counts
        applicable = len(self.results) - counts["not applicable"]
        text = f"{counts['passed']}/{applicable}"
        return f"{text}, {counts['waived']} waived" if counts["waived"] else text

    def badge_json(self) -> str:
        """The badge for shields.io (its "endpoint" schema, version 1)."""
        value = {
            "schemaVersion": 1,
            "label": "providerhub conformance",
            "message": self.badge(),
            "color": self._color().lstrip("#"),
        }
        return json.dumps(value, indent=2) + "\n"

    def badge_svg(self) -> str:
        """The badge as an SVG picture."""
        label, message = "providerhub conformance", self.badge()
        left, right = 7 * len(label) + 4, 7 * len(message) + 12
        middle = left + right / 2
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
            f'aria-label="{escape(label)}: {escape(message)}">'
            f'<rect width="{left}" height="20" fill="#555"/><rect x="{left}" width="{right}" height="20" fill="{self._color()}"/>'
            '<g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">'
            f'<text x="{left / 2}" y="14">{escape(label)}</text><text x="{middle}" y="14">{escape(message)}</text></g></svg>\n'
        )

    def _color(self) -> str:
        if not self.ok:
            return _RED
        return _YELLOW if self.counts["waived"] else _GREEN
