"""The models that a provider lists, as far as they can be used: a list is what some server sent."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from folkmoot_sdk import ModelInfo, Price

from folkmoot.ai.guard import storable
from folkmoot.kit.log import get_logger

log = get_logger(__name__)
MOST_MODELS = 1_000
"""Of one connection. What comes first is what its plugin takes for better."""
LONGEST_NAME = 300
LARGEST_INFO = 16 * 1024
DEAREST = 10**12
"""Micro-units: a million dollars for a million tokens is no price but a mistake."""


def sound(models: Iterable[object]) -> list[ModelInfo]:
    """Those that can be stored and called, each name once. A price that cannot be is none: it counts at a ceiling."""
    found: dict[str, ModelInfo] = {}
    left = 0
    for info in models:
        if len(found) >= MOST_MODELS:
            log.warning("provider.models_left_out", kept=MOST_MODELS)
            break
        if (known := _sound(info)) is None:
            left += 1
        else:
            found.setdefault(known.name, known)
    if left:
        log.warning("provider.models_unusable", models=left)
    return list(found.values())


def _sound(info: object) -> ModelInfo | None:
    if not isinstance(info, ModelInfo):
        return None
    try:
        # As it will be read again: a plugin may put anything into its fields.
        plain = msgspec.json.encode(msgspec.structs.replace(info, price=None))
        known = msgspec.json.decode(plain, type=ModelInfo)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
        return None
    if not 0 < len(known.name) <= LONGEST_NAME or storable(known.name) != known.name or len(plain) > LARGEST_INFO:
        return None
    if b"\\u0000" in plain:
        return None
    return msgspec.structs.replace(known, price=_price(info.price))


def _price(price: object) -> Price | None:
    if not isinstance(price, Price):
        return None
    figures = [getattr(price, name) for name in ("input", "output", "request", "audio_minute")]
    figures += [figure for figure in (price.cached_input, price.cache_write) if figure is not None]
    if not all(type(figure) is int and 0 <= figure <= DEAREST for figure in figures):
        return None
    return msgspec.structs.replace(price, as_of=storable(str(price.as_of)[:40]))
