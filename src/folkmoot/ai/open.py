"""Connections to providers, held open: one for each that is stored, for as long as its row stays as it is."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

import httpx
import msgspec
from folkmoot_sdk import (
    ConfigError,
    InvalidRequest,
    ModelInfo,
    PluginContext,
    ProviderConnection,
    ProviderSpec,
    decode_config,
)

from folkmoot.ai.models import Connection
from folkmoot.ai.route import Choice
from folkmoot.ai.service import PURPOSE
from folkmoot.kit.envelope import Keyring
from folkmoot.plugins.manager import PluginManager

MOST_CONNECTIONS = 256


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


@dataclass(frozen=True)
class OpenModel:
    """A model that is ready to be called."""

    choice: Choice
    connection: ProviderConnection

    @property
    def id(self) -> UUID:
        return self.choice.model.id

    @property
    def name(self) -> str:
        return self.choice.model.name

    @property
    def info(self) -> ModelInfo:
        return self.choice.info

    def described(self) -> dict[str, str]:
        """As events and messages name it."""
        return self.choice.described()


class OpenConnections:
    """Lives as long as the process."""

    def __init__(self, plugins: PluginManager, keyring: Keyring, http: httpx.AsyncClient) -> None:
        self._plugins, self._keyring, self._http = plugins, keyring, http
        self._open: OrderedDict[tuple[UUID, int], tuple[ProviderConnection, AsyncExitStack]] = OrderedDict()
        self._lock = asyncio.Lock()

    async def open(self, choice: Choice) -> OpenModel:
        """A model, connected. Raises `ProviderError` if its plugin is not there or refuses the configuration."""
        key = (choice.connection.id, choice.connection.revision)
        found = self._open.get(key)
        if found is None:
            async with self._lock:
                found = self._open.get(key) or await self._connect(key, choice.connection)
        else:
            self._open.move_to_end(key)
        return OpenModel(choice, found[0])

    async def _connect(
        self, key: tuple[UUID, int], connection: Connection
    ) -> tuple[ProviderConnection, AsyncExitStack]:
        stack = AsyncExitStack()
        opened = await stack.enter_async_context(self.connect(connection.kind, await self.config_of(connection)))
        self._open[key] = (opened, stack)
        while len(self._open) > MOST_CONNECTIONS:
            _, (_, old) = self._open.popitem(last=False)
            await old.aclose()
        return opened, stack

    async def config_of(self, connection: Connection) -> dict[str, object]:
        """The configuration with its secrets. It goes to the provider's plugin, and nowhere else."""
        sealed = await self._keyring.open(connection.config, purpose=PURPOSE, tenant_id=connection.tenant_id)
        return msgspec.json.decode(sealed)

    def connect(self, kind: str, config: object) -> _Connecting:
        """Connect a provider by kind and configuration, for as long as the context is open."""
        spec = self._plugins.providers.get(kind)
        if spec is None:
            raise InvalidRequest(
                f"no installed plugin offers the provider {kind!r}: install it, or remove the connection"
            )
        context = PluginContext(http=self._http, log=logging.getLogger(f"folkmoot.provider.{kind}"), clock=Clock())
        return _Connecting(spec, config, context)

    async def close(self) -> None:
        for _, stack in self._open.values():
            await stack.aclose()
        self._open.clear()
        await self._http.aclose()


class _Connecting:
    """`spec.connect()`, with configuration errors told as errors of the provider."""

    def __init__(self, spec: ProviderSpec, config: object, context: PluginContext) -> None:
        self._spec, self._config, self._context = spec, config, context
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> ProviderConnection:
        try:
            config = decode_config(self._spec.config, self._config)
        except ConfigError as error:
            raise InvalidRequest(f"the configuration of {self._spec.title} is wrong: {error}") from error
        return await self._stack.enter_async_context(self._spec.connect(config, self._context))

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
