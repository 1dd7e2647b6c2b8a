"""Structured output: the JSON schema of a class, and an answer as an object of it.

msgspec makes the schema and reads the answer; pydantic does both for its own models. Neither is a dependency of the core.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from providerhub._values.answer import Completion
from providerhub._values.errors import ConfigurationError, InvalidOutputError, InvalidRequestError

ResponseFormat = Mapping[str, Any] | type[Any]  # the values of `response_format`

_PYDANTIC = "__pydantic_core_schema__"
_MARKS = ("__attrs_attrs__", "__dataclass_fields__", "__struct_fields__", _PYDANTIC)

_UNFINISHED = frozenset({"length", "content_filter", "pause_turn"})  # answers with these finish reasons need not fit the schema

_STRICT = frozenset(
    {
        "$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "exclusiveMaximum", "exclusiveMinimum",
        "format", "items", "maxItems", "maximum", "minItems", "minimum", "multipleOf", "pattern", "properties", "required",
        "title", "type",
    }
)  # fmt: skip
"""The keywords of JSON schema that OpenAI accepts with `strict`. Source: its guide "Structured model outputs"."""

_TOLD = frozenset({"contentEncoding", "default", "format", "maxLength", "minLength", "uniqueItems"})
"""Keywords that can move to the description, since the answer is checked anyway."""

_FORMATS = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"})
_MOST_NAME, _MOST_REASON = 64, 500


def has_schema(kind: object) -> bool:
    kind = typing.get_origin(kind) or kind
    if not isinstance(kind, type):
        return False
    is_typed_dict = issubclass(kind, dict) and hasattr(kind, "__total__")
    return is_typed_dict or any(hasattr(kind, mark) for mark in _MARKS)


class Output:
    """A class for answers; `form` is the sent value of `response_format`, in the OpenAI shape."""

    def __init__(self, kind: Any) -> None:
        self.name = str(getattr(kind, "__name__", kind))
        try:
            schema, self._read = _schema_of(kind)
        except ImportError as error:
            raise ConfigurationError(f"response_format={self.name} needs msgspec: pip install 'providerhub[schema]'") from error
        except Exception as error:
            raise InvalidRequestError(f"response_format: no JSON schema can be made of {self.name}: {_reason(error)}") from error
        whole = _with_own_root(schema)
        if whole.get("type") != "object":
            msg = f"response_format: {self.name} is not an object with named fields, as vendors want; make it a field of one"
            raise InvalidRequestError(msg)
        strict = strictly(whole)
        name = "".join(c if c.isascii() and c.isalnum() else "_" for c in self.name)[:_MOST_NAME]
        told = {"name": name, "schema": strict or whole, "strict": strict is not None}
        self.form = {"type": "json_schema", "json_schema": told}

    def read(self, answer: Completion) -> Any:
        """Read a whole answer; `None` if it was cut, is a refusal or calls tools. Raises `InvalidOutputError`."""
        if answer.finish_reason in _UNFINISHED or answer.refusal or answer.tool_calls:
            return None
        try:
            return self._read(_unfenced(answer.text))
        except Exception as error:
            msg = f"the answer does not fit {self.name}: {_reason(error)}"
            raise InvalidOutputError(msg, text=answer.text, completion=answer) from error


@lru_cache(maxsize=64)
def output_of(kind: Any) -> Output:
    """The `Output` of a class. The latest ones are kept, since making a schema takes longer than a call."""
    return Output(kind)


def _schema_of(kind: Any) -> tuple[dict[str, Any], Callable[[str], Any]]:
    """The JSON schema of a class, and the function that reads an object of it. Both libraries are extras."""
    if hasattr(kind, _PYDANTIC):
        from importlib import import_module  # the core does not depend on pydantic

        adapter = import_module("pydantic").TypeAdapter(kind)
        return adapter.json_schema(), adapter.validate_json
    from msgspec.json import Decoder, schema

    return schema(kind), Decoder(kind).decode


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST_REASON] or type(error).__name__


def _unfenced(text: str) -> str:
    """The text without the fence that many models put around JSON."""
    text = text.strip()
    before, fence, rest = text.partition("```")
    inside, closing, after = rest.partition("```") if fence and before[:1] not in {"{", "["} else ("", "", "")
    if not closing or "```" in after:
        return text
    return inside.removeprefix("json").removeprefix("JSON")


def _with_own_root(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with an object at its root in place of a reference, as vendors require."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return dict(schema)
    name, definitions = reference.rpartition("/")[2], schema["$defs"]
    root: dict[str, Any] = definitions[name]
    rest = {key: value for key, value in definitions.items() if key != name}
    again = f'"{reference}"' in json.dumps(definitions)
    return {**root, **({"$defs": definitions} if again else {"$defs": rest} if rest else {})}


def strictly(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema for `strict`: every object is closed, and requires all its properties.

    A property with a default is required too: the model then writes the default, which gives the same object. `None` if a strict
    schema cannot express the class, such as an object with any keys.
    """
    try:
        return _strict(schema, schema.get("$defs", {}))
    except _NotStrictError:
        return None


class _NotStrictError(Exception):
    """The schema cannot be strict."""


def _strict(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema and len(schema) > 1:  # OpenAI allows no other keyword beside a reference
        name = str(schema["$ref"]).rpartition("/")[2]
        schema = {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
    found: dict[str, Any] = {}
    told = []
    for key, value in schema.items():
        if key in _TOLD and (key != "format" or value not in _FORMATS):
            told += [] if key == "default" and value is None else [f"{key}: {json.dumps(value, ensure_ascii=False)}"]
        elif key in {"properties", "$defs"}:
            found[key] = {name: _strict(part, definitions) for name, part in value.items()}
        elif key in {"anyOf", "oneOf"}:
            found["anyOf"] = [_strict(part, definitions) for part in value]
        elif key == "items" and isinstance(value, Mapping):
            found[key] = _strict(value, definitions)
        elif key in _STRICT:
            found[key] = value
        elif key != "discriminator":
            raise _NotStrictError
    if told:
        found["description"] = " ".join(filter(None, (found.get("description"), f"({', '.join(told)})")))
    return _closed(found, schema) if schema.get("type") == "object" else found


def _closed(found: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    if properties is None or schema.get("additionalProperties", False) is not False:
        raise _NotStrictError
    optional = properties.keys() - set(schema.get("required", ()))
    if any("default" not in properties[name] for name in optional):  # no value stands for a missing property with a default
        raise _NotStrictError
    return {**found, "required": list(properties), "additionalProperties": False}
