"""Configurations of plugins as people give them, as they are stored, and as they are shown again."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec
from folkmoot_sdk import AuthBackendSpec, ConfigError, ProviderSpec, Secret, decode_config, encode_config

from folkmoot.kit.errors import ValidationFailed

MASK = "********"
"""Stands for a secret that is set; sent back, it means that the secret stays."""
LARGEST_CONFIG = 64 * 1024
_PLACE = re.compile(r"(?: - )?at `\$\.?([^`]*)`\Z")
Spec = AuthBackendSpec | ProviderSpec


def decoded(spec: Spec, given: dict[str, Any]) -> dict[str, Any]:
    """A configuration as it is stored, secrets open. Raises `ValidationFailed` naming the field."""
    known = {field.encode_name for field in msgspec.structs.fields(spec.config)}
    if unknown := sorted(set(given) - known):
        detail = f"{spec.title} has no field {unknown[0]!r}: it has {', '.join(sorted(known)) or 'none'}"
        raise ValidationFailed(detail, [(f"config.{unknown[0]}", detail)])
    try:
        config = encode_config(decode_config(spec.config, given), reveal=True)
    except ConfigError as error:
        place = _PLACE.search(str(error))
        field = f"config.{place.group(1)}" if place and place.group(1) else "config"
        detail = f"the configuration of {spec.title} is wrong: {_PLACE.sub('', str(error))}"
        raise ValidationFailed(f"{detail} ({field})", [(field, detail)]) from None
    if len(msgspec.json.encode(config)) > LARGEST_CONFIG:
        raise ValidationFailed(f"the configuration has more than {LARGEST_CONFIG} bytes", [("config", "is too large")])
    return config


def masked(spec: Spec, config: dict[str, Any]) -> dict[str, Any]:
    """A configuration for those who may read it; empty if it does not fit its plugin any more."""

    def hide(value: object) -> object:
        if isinstance(value, Secret):
            return MASK if value.reveal() else ""
        raise NotImplementedError

    try:
        return cast("dict[str, Any]", msgspec.to_builtins(decode_config(spec.config, config), enc_hook=hide))
    except (ConfigError, NotImplementedError):
        return {}


def merged(stored: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`stored` with the fields of `change`; a mask that comes back stands for what it hid."""
    return stored | {name: _unmasked(value, stored.get(name)) for name, value in change.items()}


def _unmasked(value: object, stored: object) -> object:
    if value == MASK:
        return stored
    if isinstance(value, dict) and isinstance(stored, dict):
        before, after = cast("dict[str, object]", stored), cast("dict[str, object]", value)
        return {name: _unmasked(part, before.get(name)) for name, part in after.items()}
    return cast("object", value)
