"""What is known of models and of OpenAI's own addresses.

The facts stand in `models.toml`; its prices hold only at OpenAI itself. Other services offer OpenAI's models too,
and models with open weights, whose rows come from the SDK.
"""

from __future__ import annotations

from typing import NamedTuple

from folkmoot_sdk.catalogue import Catalogue, open_models

_OWN = Catalogue.read("folkmoot_provider_openai", "models.toml")

OPENAI = _OWN + open_models()
COMPATIBLE = Catalogue(_OWN.rows) + open_models()
"""As `OPENAI`, but what OpenAI offers only through another API is offered: gateways translate."""

_REGIONS = ("us", "eu", "au", "in", "jp")


class Reach(NamedTuple):
    """What an address tells of the service behind it."""

    openai: bool
    """OpenAI itself: its parameters hold, and its refusals."""
    priced: bool
    """Its list prices hold."""
    regional: bool
    """Text stays in a region, which costs more for the newer models."""


def reach_of(host: str) -> Reach:
    """What is known of the service at `host`."""
    own = host == "openai.com" or host.endswith(".openai.com")
    regional = host in {f"{region}.api.openai.com" for region in _REGIONS}
    return Reach(own, host == "api.openai.com" or regional, regional)
