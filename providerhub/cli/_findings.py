"""What the doctor finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["error", "warning", "note", "ok"]


class Finding(NamedTuple):
    """One thing that the doctor has looked at.

    Args:
        level: `"error"` keeps calls from working; `"warning"` may; `"note"` is worth knowing; `"ok"` is well.
        about: What it concerns: a distribution, plugin, provider, file or variable.
        text: What was found.
        fix: What to do about it; never empty but for `"ok"`.
    """

    level: Level
    about: str
    text: str
    fix: str = ""
