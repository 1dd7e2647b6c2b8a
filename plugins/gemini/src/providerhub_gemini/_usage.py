"""The token counts of an answer. Reference: "UsageMetadata" in the reference of the Gemini API.

The prompt's count includes the cached tokens, and the candidates' count excludes the thoughts. The tokens of the service's own
tools are not among the prompt's; `stated_total` includes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providerhub import Usage

_FIELDS = {
    "input_tokens": "promptTokenCount", "cached_tokens": "cachedContentTokenCount", "reasoning_tokens": "thoughtsTokenCount",
    "input_audio_tokens": "promptTokensDetails.AUDIO", "output_audio_tokens": "candidatesTokensDetails.AUDIO",
    "input_image_tokens": "promptTokensDetails.IMAGE", "output_image_tokens": "candidatesTokensDetails.IMAGE",
    "stated_total": "totalTokenCount",
}  # fmt: skip


def usage_of(counts: Mapping[str, Any]) -> Usage | None:
    """Read the counts. In `others`, the counts of a modality end with a dot and its name.

    Args:
        counts: The object `usageMetadata`.

    Returns:
        The counts; `None` if it holds none.
    """
    if not counts:
        return None
    found = {name: value for name, value in counts.items() if isinstance(value, int)}
    lists = ((name, entry) for name, entries in counts.items() if isinstance(entries, list) for entry in entries)
    found |= {f"{name}.{entry.get('modality')}": entry.get("tokenCount") or 0 for name, entry in lists}
    answer = [found[name] for name in ("candidatesTokenCount", "thoughtsTokenCount") if name in found]
    known: dict[str, Any] = {field: found.get(name) for field, name in _FIELDS.items()}
    return Usage(**known, output_tokens=sum(answer) if answer else None, others=found) if found else None
