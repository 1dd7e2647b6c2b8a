"""Writes a JSON schema in the part of the language that structured outputs and strict tools take.

Reference: "Structured outputs", "JSON Schema limitations", in Anthropic's guides. A rule that the API does not take goes into the
description, so that the model reads it; the API would refuse the whole request otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_RULES = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
        "uniqueItems", "minProperties", "maxProperties", "contains", "minContains", "maxContains",
    }
)  # fmt: skip
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_LISTS = frozenset({"anyOf", "allOf", "prefixItems"})
_NAMED = frozenset({"properties", "$defs", "definitions"})


def adapted(schema: Any) -> Any:
    """Adapt a schema.

    Args:
        schema: A JSON schema, or a part of one.

    Returns:
        The schema. One that the API takes as it is comes back equal.
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
