"""What is known of the models that are deployed on Azure: `models.toml`, and models with open weights."""

from __future__ import annotations

from folkmoot_sdk.catalogue import Catalogue, open_models

OPENAIS = Catalogue.read("folkmoot_provider_azure", "models.toml")
CATALOGUE = OPENAIS + open_models()


def is_openais(model: str) -> bool:
    """Whether it is one of OpenAI's chat models, which know parameters that others on Azure do not."""
    return bool(OPENAIS.known(model, "chat").match)
