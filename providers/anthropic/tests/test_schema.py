"""Schemas are made to fit, and what cannot be enforced is told."""

from __future__ import annotations

import jsonschema
import pytest
from folkmoot_provider_anthropic.schema import fitted
from folkmoot_sdk import InvalidRequest

PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (PERSON, {**PERSON, "additionalProperties": False}),
        ({**PERSON, "additionalProperties": True}, {**PERSON, "additionalProperties": False}),
        (
            {"type": "string", "maxLength": 5, "description": "A town"},
            {"type": "string", "description": "A town\n\n{maxLength: 5}"},
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "format": "regex"}, {"type": "string", "description": "{format: regex}"}),
        ({"type": "array", "items": PERSON, "minItems": 1}, {"type": "array", "items": fitted(PERSON), "minItems": 1}),
        ({"type": "array", "minItems": 3}, {"type": "array", "description": "{minItems: 3}"}),
        ({"oneOf": [PERSON, {"type": "null"}]}, {"anyOf": [fitted(PERSON), {"type": "null"}]}),
        ({"$schema": "x", "enum": ["a"]}, {"enum": ["a"]}),
        (
            {"$defs": {"p": PERSON}, "$ref": "#/$defs/p"},
            {"$defs": {"p": fitted(PERSON)}, "$ref": "#/$defs/p"},
        ),
        ({"type": ["object", "null"]}, {"type": ["object", "null"], "additionalProperties": False}),
        ({}, {}),
        ({"properties": 5, "items": True, "anyOf": {}, "format": [], "description": 7}, None),
    ],
)
def test_a_schema_keeps_what_can_be_enforced(given, wanted):
    got = fitted(given)
    assert wanted is None or got == wanted


def test_a_property_may_be_called_as_a_keyword():
    schema = {"type": "object", "properties": {"format": {"type": "string"}, "minimum": {"type": "number"}}}
    assert fitted(schema)["properties"] == schema["properties"]


def test_a_fitted_schema_is_one_and_the_given_one_is_untouched():
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "minProperties": 1}
    before = repr(schema)
    jsonschema.Draft202012Validator.check_schema(fitted(schema))
    assert repr(schema) == before


def test_a_schema_without_a_bottom_is_refused():
    schema = {"type": "string"}
    for _ in range(2000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidRequest, match="nested"):
        fitted(schema)
