"""Connecting what a new organisation starts with: the provider that needs nothing, and the one the platform names."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from folkmoot_sdk import BadResponse, InvalidRequest, ModelNotFound, ProviderError

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.connections import LAST_RESORT
from folkmoot.ai.listed import sound
from folkmoot.ai.open import OpenConnections
from folkmoot.ai.service import ModelService
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.log import get_logger

log = get_logger(__name__)


async def connect(
    app: App,
    tenant_id: UUID,
    *,
    kind: str,
    name: str,
    config: dict[str, Any],
    rank: int,
    unlisted: dict[str, Any] | None = None,
) -> bool:
    """Ask a provider for its models and store the connection; False, and a line in the log, if it does not answer.

    `unlisted` is added to the configuration for a service that answers but has no list of models.
    """
    try:
        async with app.part(OpenConnections).connect(kind, config) as connection:
            models = sound(await connection.models())
        if not models:
            raise ModelNotFound(f"{name} lists no model")
    except ProviderError as error:
        if unlisted and isinstance(error, ModelNotFound | InvalidRequest | BadResponse):
            return await connect(app, tenant_id, kind=kind, name=name, config=config | unlisted, rank=rank)
        log.warning("connection.not_made", kind=kind, connection=name, error=str(error))
        return False
    async with app.begin(Principal.system(tenant_id)) as work:
        await ModelService(work).put_connection(
            app.keyring, kind=kind, name=name, config=config, models=models, rank=rank
        )
    app.part(Catalogue).forget(tenant_id)
    return True


async def connect_defaults(app: App, tenant_id: UUID, *, platform_account: bool) -> None:
    """What each tenant has: answers from the passages alone. The first also gets the platform's own account."""
    await connect(app, tenant_id, kind="extractive", name="Without a language model", config={}, rank=LAST_RESORT)
    settings = app.settings
    if platform_account and settings.openai_api_key:
        config = {"api_key": settings.openai_api_key, "base_url": settings.openai_base_url}
        unlisted = {"chat_models": [settings.openai_model]}
        await connect(app, tenant_id, kind="openai", name="OpenAI", config=config, rank=0, unlisted=unlisted)
