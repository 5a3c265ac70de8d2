"""Answers from the passages themselves, without a language model, a key or a network."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from folkmoot_sdk import PluginContext, ProviderSpec, hookimpl
from msgspec import Struct

if TYPE_CHECKING:
    from folkmoot_provider_extractive.answer import Connection

FOLKMOOT_SDK_API = 1


class Config(Struct, frozen=True):
    """Nothing to configure."""


@asynccontextmanager
async def connect(_config: Config, _context: PluginContext) -> AsyncGenerator[Connection]:
    """Opens nothing; the context is not used."""
    from folkmoot_provider_extractive.answer import Connection

    # A seventh of a second the first time: on a thread, so that nobody else's answer waits for it.
    await asyncio.to_thread(importlib.import_module, "snowballstemmer")
    yield Connection()


@hookimpl
def register_ai_providers() -> list[ProviderSpec]:
    return [
        ProviderSpec(
            kind="extractive",
            title="Extracts from your documents",
            config=Config,
            connect=connect,
            description="No language model: answers with the sentences of your documents that fit the question best.",
            in_process=True,
        )
    ]
