"""Fitting a JSON Schema to what the service can hold an answer to.

Every object must be closed there, and lengths, ranges and most formats are refused. What it cannot enforce is
told in the description, so that the model may still follow it. The rules are those of the official client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from folkmoot_sdk import InvalidRequest

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)  # fmt: skip
_DEEPEST = 100
_KEPT = frozenset({"type", "enum", "const", "title", "required", "$ref"})
_SCHEMAS = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_MAPS = ("properties", "$defs", "definitions")
_DROPPED = frozenset({"$schema", "$id", "$comment", "additionalProperties", "description"})


def fitted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `schema` that the service takes. Raises `InvalidRequest` for one that is nested too deep."""
    return _fitted(schema, 0)


def _fitted(schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise InvalidRequest(f"the schema of the answer is nested more than {_DEEPEST} levels deep: make it flatter")
    out: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _KEPT:
            out[key] = value
        elif key in _SCHEMAS and isinstance(value, list):
            out[_SCHEMAS[key]] = [_each(item, depth) for item in cast("list[Any]", value)]
        elif key in _MAPS and isinstance(value, dict):
            out[key] = {name: _each(item, depth) for name, item in cast("dict[str, Any]", value).items()}
        elif key == "items":
            out[key] = _each(value, depth)
        elif (key == "format" and isinstance(value, str) and value in _FORMATS) or (
            key == "minItems" and value in (0, 1)
        ):
            out[key] = value
        elif key not in _DROPPED:
            told[key] = value
    if _is_object(schema):
        out["additionalProperties"] = False
    rest = ", ".join(f"{key}: {value}" for key, value in told.items())
    described = [text for text in (schema.get("description"), f"{{{rest}}}" if rest else "") if text]
    if described:
        out["description"] = "\n\n".join(map(str, described))
    return out


def _each(value: Any, depth: int) -> Any:
    return _fitted(cast("dict[str, Any]", value), depth + 1) if isinstance(value, dict) else value


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return "properties" in schema or kind == "object" or (isinstance(kind, list) and "object" in kind)
