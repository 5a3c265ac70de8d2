"""Configuration of a plugin: a msgspec Struct whose JSON Schema drives the form.

A field of type `Secret` is write-only: the host encrypts it at rest, never sends it back, and shows only
that it is set. `repr` and formatting hide it; `reveal()` is the one way to the value.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

C = TypeVar("C", bound=msgspec.Struct)


class Secret:
    """A string that does not show itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value. Call it where it is sent, and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class ConfigError(ValueError):
    """The configuration does not fit its schema; the message names the field."""


def decode_config(config: type[C], data: object) -> C:
    """Read builtins (as from JSON) into `config`. Raises `ConfigError` naming the field."""

    def hook(kind: type[Any], value: object) -> object:
        if kind is Secret and isinstance(value, str):
            return Secret(value)
        raise NotImplementedError(f"a configuration field cannot be of type {kind.__name__}")

    try:
        return msgspec.convert(data, type=config, dec_hook=hook)
    except (msgspec.ValidationError, NotImplementedError) as error:
        raise ConfigError(str(error)) from error


def encode_config(config: msgspec.Struct, *, reveal: bool = False) -> dict[str, Any]:
    """`config` as builtins; secrets become `None` unless `reveal` is set, for the host's encrypted store."""

    def hook(value: object) -> object:
        if isinstance(value, Secret):
            return value.reveal() if reveal else None
        raise NotImplementedError(f"cannot store a value of type {type(value).__name__}")

    return cast("dict[str, Any]", msgspec.to_builtins(config, enc_hook=hook))


def config_schema(config: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema 2020-12 of `config`, secrets marked `writeOnly` with `format: password`."""

    def hook(kind: type[Any]) -> dict[str, Any]:
        if kind is Secret:
            return {"type": "string", "writeOnly": True, "format": "password"}
        raise NotImplementedError(f"a configuration field cannot be of type {kind.__name__}")

    return msgspec.json.schema(config, schema_hook=hook)
