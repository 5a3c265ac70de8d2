"""A tool as its server describes it, made fit to store, to show and to check arguments by.

A schema is somebody else's program for our validator: references can go round in circles or double at each step, and a
`pattern` can be one that takes for ever. So references are put in place of what they name, within limits, and what the
check of arguments does not need is left out. What remains is a plain tree, checked in the time that its size takes.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from folkmoot.ai.guard import storable

LONGEST_NAME = 128
LONGEST_TITLE = 200
LONGEST_DESCRIPTION = 4_000
LARGEST_SCHEMA = 32_000
"""Bytes as JSON, with references in place."""
DEEPEST = 24
LONGEST_CALLED = 64
"""Characters of the name that a model calls a tool by."""
_HARMLESS = "\n\t\u200c\u200d"
"""Line breaks, and the joiners that some scripts need."""
_ONE = frozenset({"items", "additionalProperties", "additionalItems", "contains", "not", "if", "then", "else",
                  "propertyNames"})  # fmt: skip
_SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "dependentSchemas"})
_LEFT_OUT = frozenset(
    {
        "$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor",
        "$vocabulary", "$comment", "$defs", "definitions", "$ref", "pattern", "patternProperties", "dependencies",
        "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
    }
)  # fmt: skip


class Unsound(Exception):
    """Why a tool cannot be taken, for administrators."""


@dataclass(frozen=True)
class Listed:
    """A tool as its server lists it, or as it is stored once it was made sound."""

    name: str
    title: str = ""
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    hints: dict[str, Any] = field(default_factory=dict[str, Any])


def sound(tool: Listed) -> Listed:
    """The tool as it is stored. Raises `Unsound`."""
    name = visible(tool.name)
    if not name.strip() or name != tool.name or len(name) > LONGEST_NAME:
        raise Unsound(f"its name is empty, longer than {LONGEST_NAME} characters, or cannot be kept as it is")
    description = visible(tool.description).strip()
    if len(description) > LONGEST_DESCRIPTION:
        description = description[:LONGEST_DESCRIPTION] + " [cut]"
    title = " ".join(visible(tool.title).split())[:LONGEST_TITLE]
    hints = {name: value for name, value in tool.hints.items() if isinstance(value, bool)}
    return Listed(name, title, description, _Flat(tool.parameters).schema(), hints)


def visible(text: str) -> str:
    """Without what nobody sees and a model reads all the same, or what turns the rest around on a screen."""
    return "".join(
        char for char in storable(text) if unicodedata.category(char) not in ("Cc", "Cf", "Co") or char in _HARMLESS
    )


class _Flat:
    """Takes one schema apart."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._left = LARGEST_SCHEMA

    def schema(self) -> dict[str, Any]:
        flat = self._at(self._root, 0, ())
        made: dict[str, Any] = {"type": "object", "properties": {}}
        if isinstance(flat, dict):
            made |= cast("dict[str, Any]", flat)
        if flat is False or made["type"] != "object":
            raise Unsound("its arguments are not an object")
        # Imported at the first tool server: most processes never need it.
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        try:
            if len(msgspec.json.encode(made)) > LARGEST_SCHEMA:
                raise Unsound(f"the schema of its arguments is larger than {LARGEST_SCHEMA} bytes")
            Draft202012Validator.check_schema(made)
        except SchemaError as error:
            raise Unsound(f"the schema of its arguments is not valid at {error.json_path}") from None
        except (ValueError, TypeError, RecursionError):
            raise Unsound("the schema of its arguments is not valid") from None
        return made

    def _at(self, schema: object, depth: int, inside: tuple[str, ...]) -> object:
        self._pay(2, depth)
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise Unsound("the schema of its arguments is not valid: an object or a boolean is missing")
        given = cast("dict[str, Any]", schema)
        made: dict[str, Any] = {}
        reference = given.get("$ref")
        if reference is not None:
            found = self._named(reference, depth, inside)
            if found is False:
                return False
            made |= found if isinstance(found, dict) else {}
        for key, value in given.items():
            self._pay(len(key) + 4, depth)
            if key in _LEFT_OUT:
                continue
            if key in _ONE and isinstance(value, dict | bool):
                made[key] = self._at(cast("object", value), depth + 1, inside)
            elif key in _SEVERAL and isinstance(value, list):
                made[key] = [self._at(part, depth + 1, inside) for part in cast("list[object]", value)]
            elif key in _NAMED and isinstance(value, dict):
                made[key] = self._each(cast("dict[str, object]", value), depth, inside)
            elif key in ("title", "description"):
                made[key] = visible(str(self._value(value, depth + 1)))
            else:
                made[_clean(key)] = self._value(value, depth + 1)
        if "patternProperties" in given and made.get("additionalProperties") is False:
            # Otherwise what the patterns allowed would be forbidden.
            del made["additionalProperties"]
        return made

    def _each(self, named: dict[str, object], depth: int, inside: tuple[str, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, part in named.items():
            self._pay(len(name) + 4, depth)
            made[_clean(name)] = self._at(part, depth + 2, inside)
        return made

    def _named(self, reference: object, depth: int, inside: tuple[str, ...]) -> object:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Unsound("the schema of its arguments refers to something outside of it")
        if reference in inside:
            # A tree of any depth: below this, everything is taken.
            return {}
        place: object = self._root
        for part in reference[1:].split("/")[1:]:
            step = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(place, dict) or step not in place:
                raise Unsound("the schema of its arguments refers to something that is not in it")
            place = cast("dict[str, object]", place)[step]
        return self._at(place, depth + 1, (*inside, reference))

    def _value(self, value: object, depth: int) -> object:
        """Anything that is not a schema."""
        self._pay(2, depth)
        match value:
            case str():
                self._pay(len(value), depth)
                return storable(value)
            case dict():
                made: dict[str, object] = {}
                for name, part in cast("dict[str, object]", value).items():
                    self._pay(len(name) + 4, depth)
                    made[_clean(name)] = self._value(part, depth + 1)
                return made
            case list():
                return [self._value(part, depth + 1) for part in cast("list[object]", value)]
            case _:
                return value

    def _pay(self, size: int, depth: int) -> None:
        self._left -= size
        if self._left < 0:
            raise Unsound(f"the schema of its arguments is larger than {LARGEST_SCHEMA} bytes")
        if depth > DEEPEST:
            raise Unsound(f"the schema of its arguments is nested deeper than {DEEPEST} steps")


def _clean(name: str) -> str:
    if storable(name) != name:
        raise Unsound("the schema of its arguments has characters that cannot be kept")
    return name


def called(server: str, tool: str) -> str:
    """The name by which a model calls a tool of a server: `server__tool`, 64 characters of `[A-Za-z0-9_-]` at most.

    It depends on these two alone, so a tool that comes or goes never takes the name of another: a call that somebody
    has approved stays a call of the tool that they saw.
    """
    first, second = (re.sub(r"[^A-Za-z0-9_-]+", "_", part) for part in (server, tool))
    first = re.sub(r"_+", "_", first).strip("_-")[:24].rstrip("_-")
    name = f"{first or 'server'}__{second}"
    if (first, second) == (server, tool) and len(name) <= LONGEST_CALLED:
        return name
    # Something was lost, so two could look the same.
    digest = hashlib.sha256(f"{server}\n{tool}".encode()).hexdigest()[:8]
    return f"{name[: LONGEST_CALLED - 9]}_{digest}"
