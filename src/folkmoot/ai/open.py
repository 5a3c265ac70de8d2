"""Connections to providers, held open: one for each that is stored, for as long as its row stays as it is."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID
from weakref import WeakSet

import httpx
import msgspec
from folkmoot_sdk import (
    AuthenticationFailed,
    ConfigError,
    InvalidRequest,
    ModelInfo,
    PluginContext,
    ProviderConnection,
    ProviderSpec,
    Unavailable,
    decode_config,
)

from folkmoot.ai.guard import guarded, secrets_in
from folkmoot.ai.models import Connection
from folkmoot.ai.route import Choice
from folkmoot.ai.service import PURPOSE
from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.log import get_logger
from folkmoot.plugins.manager import PluginManager

log = get_logger(__name__)
MOST_CONNECTIONS = 256
CONNECT_SECONDS = 30.0
LOOK_SECONDS = 1.0
"""How often it is looked whether a call still uses what is to be closed."""


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


@dataclass(eq=False)
class _Opened:
    connection: ProviderConnection
    secrets: tuple[str, ...]
    stack: AsyncExitStack
    lent: WeakSet[OpenModel] = field(default_factory=WeakSet["OpenModel"])
    """Whoever calls holds one of these for as long as the call lasts."""


@dataclass(eq=False)
class OpenModel:
    """A model that is ready to be called."""

    choice: Choice
    connection: ProviderConnection
    secrets: tuple[str, ...] = field(repr=False)
    """Of its connection, to be kept out of what anybody is told."""

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
        self._open: OrderedDict[tuple[UUID, int], _Opened] = OrderedDict()
        self._opening: dict[tuple[UUID, int], asyncio.Task[_Opened]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def open(self, choice: Choice) -> OpenModel:
        """A model, connected. Raises `ProviderError` if its plugin is not there or refuses the configuration."""
        key = (choice.connection.id, choice.connection.revision)
        found = self._open.get(key)
        if found is None:
            # One opens it for all who want it; those who want another connection do not wait.
            opening = self._opening.get(key)
            if opening is None:
                opening = self._opening[key] = asyncio.create_task(self._connect(key, choice.connection))
                opening.add_done_callback(lambda done: self._opened(key, done))
            found = await asyncio.shield(opening)
        else:
            self._open.move_to_end(key)
        model = OpenModel(choice, found.connection, found.secrets)
        found.lent.add(model)
        return model

    def _opened(self, key: tuple[UUID, int], done: asyncio.Task[_Opened]) -> None:
        self._opening.pop(key, None)
        if not done.cancelled():
            # Nobody may be waiting any more; then it is no news.
            done.exception()

    async def _connect(self, key: tuple[UUID, int], connection: Connection) -> _Opened:
        stack = AsyncExitStack()
        connecting = self.connect(connection.kind, await self._usable_config(connection))
        opened = _Opened(await stack.enter_async_context(connecting), connecting.secrets, stack)
        self._open[key] = opened
        for other in [other for other in self._open if other[0] == key[0] and other[1] < key[1]]:
            self._leave(self._open.pop(other))
        while len(self._open) > MOST_CONNECTIONS:
            self._leave(self._open.popitem(last=False)[1])
        return opened

    def _leave(self, old: _Opened) -> None:
        leaving = asyncio.create_task(_closed_once_free(old))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _usable_config(self, connection: Connection) -> dict[str, object]:
        try:
            return await self.config_of(connection)
        except CryptoError as error:
            log.error("connection.not_opened", connection=str(connection.id), error=str(error))
            raise AuthenticationFailed(
                f"the configuration of {connection.name} cannot be decrypted any more: an administrator must enter its "
                "secrets again"
            ) from None

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
        for leaving in [*self._leaving, *self._opening.values()]:
            leaving.cancel()
        await asyncio.gather(*self._leaving, *self._opening.values(), return_exceptions=True)
        for opened in self._open.values():
            await _closed(opened)
        self._open.clear()
        await self._http.aclose()


async def _closed_once_free(old: _Opened) -> None:
    """A call that is under way goes on with what it has: it would break off in the middle of an answer."""
    try:
        while old.lent:  # noqa: ASYNC110 - whoever calls just drops what it holds
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await _closed(old)


async def _closed(old: _Opened) -> None:
    try:
        await old.stack.aclose()
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and the others are to be closed too
        log.error("provider.not_closed", error=type(error).__name__)


class _Connecting:
    """`spec.connect()`, with whatever is wrong told as an error of the provider."""

    def __init__(self, spec: ProviderSpec, config: object, context: PluginContext) -> None:
        self._spec, self._config, self._context = spec, config, context
        self._stack = AsyncExitStack()
        self.secrets: tuple[str, ...] = ()
        """Of the configuration, once it was read."""

    async def __aenter__(self) -> ProviderConnection:
        title = self._spec.title
        try:
            config = decode_config(self._spec.config, self._config)
        except ConfigError as error:
            raise InvalidRequest(f"the configuration of {title} is wrong: {error}") from error
        self.secrets = secrets_in(config)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                with guarded(title, self.secrets):
                    return await self._stack.enter_async_context(self._spec.connect(config, self._context))
        except TimeoutError:
            raise Unavailable(f"{title} was not connected within {CONNECT_SECONDS:.0f} seconds") from None

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
