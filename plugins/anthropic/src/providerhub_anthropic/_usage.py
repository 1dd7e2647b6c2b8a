"""The token counts of an answer. They come in parts, and a later part may name only some of them.

Reference: Anthropic API reference, "Messages": `input_tokens` count only the tokens that were neither read from the cache nor
written to it, and `output_tokens` include the thinking.
"""

from __future__ import annotations

from typing import Any

from providerhub import Detail, Event, Usage, UsageDelta
from providerhub.wire import flat

_NAMES = {"service_tier": "tier"}
"""Words beside the counts, and their names in `Completion.details`."""


class Counts:
    """The counts of one answer, merged one by one."""

    def __init__(self) -> None:
        self._all: dict[str, Any] = {}

    def add(self, usage: Any) -> list[Event]:
        """Take a part of the counts.

        Args:
            usage: The object `usage` of an event or of an answer; any other value is ignored.

        Returns:
            The counts so far, and words such as the service tier.
        """
        if not isinstance(usage, dict):
            return []
        found: list[Event] = []
        for name, value in flat(usage).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._all[name] = value
            elif isinstance(value, str) and "." not in name:
                found.append(Detail(_NAMES.get(name, name), value))
        found.append(UsageDelta(self._usage()))
        return found

    def _usage(self) -> Usage:
        known = {name: value for name, value in self._all.items() if isinstance(value, int)}
        read, new = known.get("cache_read_input_tokens"), known.get("input_tokens")
        written = known.get("cache_creation_input_tokens")
        if written is None:
            parts = [value for name, value in known.items() if name.startswith("cache_creation.")]
            written = sum(parts) if parts else None
        return Usage(
            input_tokens=None if new is None else new + (read or 0) + (written or 0),
            output_tokens=known.get("output_tokens"),
            cached_tokens=read,
            reasoning_tokens=known.get("output_tokens_details.thinking_tokens"),
            cache_write_tokens=written,
            others=dict(self._all),
        )
