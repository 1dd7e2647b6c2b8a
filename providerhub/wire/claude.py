"""The rules of Claude's models on every wire: generations, thinking, and JSON schemas.

The wires differ in the names of fields; `thinking` and `output_config` are the same on all of them. Reference: "Thinking",
"Effort", "Feature compatibility" of "Extended thinking", "Structured outputs" and the migration guides in Anthropic's
documentation, November 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, NamedTuple

from providerhub._values.errors import CapabilityError
from providerhub._values.request import Request

__all__ = ["BUDGETS", "MOST_TOKENS", "OTHER_VENDOR", "Traits", "adapted", "calm", "think", "thinks", "traits"]

BUDGETS: Mapping[str, int] = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384}
"""The thinking budgets of models without an effort, in tokens. The first budget is the minimum."""

MOST_TOKENS = 128_000
"""The maximum tokens of an answer of any model."""

_NAME = re.compile(r"claude-(?:([a-z]+)-)?(\d)(?:[-.](\d{1,2})(?!\d))?")
"""Family, major and minor version: `claude-opus-4-8`, `claude-haiku-4-5-20251001`, `claude-3-7-sonnet-latest`."""

_LATER = (99, 0)
"""The version of a Claude model whose name has none."""

_SAMPLING = {"temperature": (1.0, 1.0), "top_p": (0.95, 1.0)}
"""The values that the models take beside thinking: the least and the most."""

_RULES = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
        "uniqueItems", "minProperties", "maxProperties", "contains", "minContains", "maxContains",
    }
)  # fmt: skip
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_LISTS = frozenset({"anyOf", "allOf", "prefixItems"})
_NAMED = frozenset({"properties", "$defs", "definitions"})


class Traits(NamedTuple):
    """The parts of a request that a model accepts.

    Args:
        adaptive: Whether the model itself decides how long to think, by an effort.
        budget: Whether the model accepts a number of tokens for its thinking.
        off: The type of `thinking` that switches it off; `""` if thinking is off by default, `None` if it cannot be switched off.
        schema: Whether the model accepts a JSON schema for its answer.
        forced: Whether a request may force the model to call a tool.
        system: Whether the model accepts a system message in the middle of a conversation.
        prefill: Whether the model continues a partial answer; `None` if unknown.
        thinks: Whether the model thinks by default.
        max_tokens: The maximum tokens of an answer; `None` if unknown.
        window: The tokens of prompt and answer together; `None` if unknown.
    """

    adaptive: bool
    budget: bool
    off: str | None
    schema: bool
    forced: bool
    system: bool
    prefill: bool | None
    thinks: bool | None
    max_tokens: int | None
    window: int | None


OTHER_VENDOR = Traits(
    adaptive=False, budget=True, off="disabled", schema=False, forced=True, system=True, prefill=None, thinks=None,
    max_tokens=None, window=None,
)  # fmt: skip
"""A model of another vendor, at a gateway with the Messages API."""


@lru_cache(256)
def traits(name: str) -> Traits:
    """Return the traits of a model. A model of a later version is like the newest known model.

    Args:
        name: The model's name, also in the forms of Amazon Bedrock, Vertex AI and gateways.
    """
    found = _NAME.search(name)
    if not found and "claude" not in name:
        return OTHER_VENDOR
    family = (found[1] if found else "") or ""
    version = (int(found[2]), int(found[3] or 0)) if found else _LATER
    is_bound = family in {"fable", "mythos"} or (family == "opus" and version >= (5, 5))
    return Traits(
        adaptive=version >= (4, 6),
        budget=version < (4, 7),
        off=_off(family, version, is_bound=is_bound),
        schema=version >= (4, 5) or (family, version) == ("opus", (4, 1)),
        forced=not is_bound,
        system=version >= (5, 0) or (family, version) == ("opus", (4, 8)),
        prefill=version < (4, 6),
        thinks=version >= (5, 0) or None,
        max_tokens=_max_tokens(family, version),
        window=None if version >= (6, 0) else 1_000_000 if version >= (4, 6) else 200_000,
    )


def _off(family: str, version: tuple[int, int], *, is_bound: bool) -> str | None:
    if is_bound:
        return None
    if version < (5, 0):
        return ""
    return "between_tools" if family == "sonnet" and version >= (5, 5) else "disabled"


def _max_tokens(family: str, version: tuple[int, int]) -> int:
    if (4, 6) <= version < (6, 0):
        return MOST_TOKENS
    if version >= (4, 5):
        return 64_000  # each model since then accepts this number, so an unknown later model probably does
    if version >= (3, 7):
        return 32_000 if family == "opus" else 64_000
    return 8192 if version == (3, 5) else 4096


def think(request: Request, own: Traits, notes: list[str]) -> dict[str, Any]:
    """Translate `reasoning` into an effort if the model accepts one, or else into a budget of tokens.

    Args:
        request: The request, in the OpenAI chat shape.
        own: The traits of the model.
        notes: A list that gets a sentence about each change.

    Returns:
        The fields `thinking` and `output_config`, if necessary.

    Raises:
        CapabilityError: The model always thinks, and the request switches it off.
    """
    asked = request.reasoning
    if asked is None:
        return {}
    if asked == "none":
        if own.off is None:
            raise CapabilityError(f"{request.model} always thinks: ask for reasoning='minimal', which is its lowest effort")
        return _switched_off(own)
    if own.adaptive and not (own.budget and isinstance(asked, int)):
        level = asked if isinstance(asked, str) else next((name for name in ("low", "medium") if asked <= BUDGETS[name]), "high")
        if level != asked:
            notes.append(f"{request.model} takes no number of tokens for its thinking; {asked} became the effort {level!r}")
        effort = "low" if level == "minimal" else level
        # Without `display`, newer models leave the thinking empty.
        return {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": effort}}
    budget, least = _budget(asked, request.max_tokens), BUDGETS["minimal"]
    most = ((own.max_tokens or budget + 1) if request.max_tokens is None else request.max_tokens) - 1
    if most < least:
        notes.append(f"a budget for thinking has {least} tokens at least, and max_tokens is more: reasoning was left out")
        return {}
    if most < budget:
        notes.append(f"max_tokens is more than the budget for thinking: {budget} became {most}")
    return {"thinking": {"type": "enabled", "budget_tokens": min(budget, most)}}


def _budget(asked: str | int, max_tokens: int | None) -> int:
    """Return the thinking budget in tokens. The budget of a level leaves half of `max_tokens` to the answer."""
    if isinstance(asked, int):
        return max(asked, BUDGETS["minimal"])
    return min(BUDGETS[asked], max(BUDGETS["minimal"], (max_tokens or 2 * BUDGETS[asked]) // 2))


def _switched_off(own: Traits) -> dict[str, Any]:
    return {"thinking": {"type": own.off}} if own.off else {}


def thinks(fields: Mapping[str, Any]) -> bool:
    """Return whether the fields of a request switch thinking on.

    Args:
        fields: The fields of the request.
    """
    return (fields.get("thinking") or {}).get("type") in {"enabled", "adaptive"}


def calm(
    fields: MutableMapping[str, Any], sampling: MutableMapping[str, Any], own: Traits, notes: list[str], *, forced: bool
) -> None:
    """Leave out fields that the service refuses together with thinking.

    A forced tool removes thinking; thinking removes sampling.

    Args:
        fields: The fields with `thinking`, which a forced tool removes.
        sampling: The values of `temperature` and `top_p`; a value that cannot be sent becomes `None`.
        own: The traits of the model. Requests to other vendors are not changed, since their rules differ.
        notes: A list that gets a sentence about each change.
        forced: Whether the request forces the model to call a tool.
    """
    if own is OTHER_VENDOR or not thinks(fields):
        return
    if forced and own.off is not None:
        del fields["thinking"]
        fields.update(_switched_off(own))
        notes.append("Claude cannot think with a forced tool: the thinking was left out")
        return
    for name, (least, most) in _SAMPLING.items():
        value = sampling.get(name)
        if value is not None and not least <= value <= most:
            notes.append(f"Claude takes no {name} of {value} while it thinks; it was left out")
            sampling[name] = None


def adapted(schema: Any) -> Any:
    """Write a JSON schema in the dialect of structured outputs and strict tools.

    A rule that the service does not accept goes into the description, where the model reads it. Otherwise the service would
    refuse the whole request. Reference: "Structured outputs", "JSON Schema limitations", in Anthropic's guides.

    Args:
        schema: A JSON schema, or a part of one.

    Returns:
        The schema; equal to the argument if the service accepts it unchanged.
    """
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _RULES or (name == "minItems" and value not in {0, 1}) or (name == "format" and value not in _FORMATS):
            told[name] = value
        elif name == "oneOf" and "anyOf" not in schema:
            found["anyOf"] = [adapted(one) for one in value]
        elif name in _LISTS and isinstance(value, list):
            found[name] = [adapted(one) for one in value]
        elif name in _NAMED and isinstance(value, Mapping):
            found[name] = {key: adapted(one) for key, one in value.items()}
        else:
            found[name] = adapted(value) if name == "items" else value
    if (schema.get("type") == "object" or "properties" in schema) and not isinstance(schema.get("additionalProperties"), bool):
        found["additionalProperties"] = False
    if told:
        rules = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in told.items())
        found["description"] = f"{schema['description']} ({rules})" if schema.get("description") else rules
    return found
