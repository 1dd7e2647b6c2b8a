"""The token counts of an answer. Reference: "UsageMetadata" in the reference of the Gemini API.

The prompt's count includes the cached tokens, and the candidates' count excludes the thoughts. The tokens of the service's own
tools are not among the prompt's; `stated_total` includes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providerhub import Usage


def usage_of(counts: Mapping[str, Any]) -> Usage | None:
    """Read the counts.

    Args:
        counts: The object `usageMetadata`.

    Returns:
        The counts; `None` if it holds none.
    """
    found = dict(_flat(counts))
    answer, thoughts = found.get("candidatesTokenCount"), found.get("thoughtsTokenCount")
    usage = Usage(
        input_tokens=found.get("promptTokenCount"),
        output_tokens=None if answer is None and thoughts is None else (answer or 0) + (thoughts or 0),
        cached_tokens=found.get("cachedContentTokenCount"),
        reasoning_tokens=thoughts,
        input_audio_tokens=found.get("promptTokensDetails.AUDIO"),
        output_audio_tokens=found.get("candidatesTokensDetails.AUDIO"),
        input_image_tokens=found.get("promptTokensDetails.IMAGE"),
        output_image_tokens=found.get("candidatesTokensDetails.IMAGE"),
        stated_total=found.get("totalTokenCount"),
        others=found,
    )
    return usage if found else None


def _flat(counts: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Give all counts. Those of a modality have its name, behind a dot."""
    named = [(name, value) for name, value in counts.items() if isinstance(value, int)]
    lists = ((name, entry) for name, entries in counts.items() if isinstance(entries, list) for entry in entries)
    return named + [(f"{name}.{entry.get('modality')}", entry.get("tokenCount") or 0) for name, entry in lists]
