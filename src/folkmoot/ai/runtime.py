"""The one door to models: warm connections, time limits, and retries before the first event only.

A connection to a provider lives as long as the process and its row stay as they are. Nothing here holds a
database connection: callers read the rows they need, let go, and then talk.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import cast
from uuid import UUID

import httpx
import msgspec
from folkmoot_sdk import (
    BadResponse,
    ChatEvent,
    ChatModel,
    ChatRequest,
    ConfigError,
    Embedder,
    EmbedRequest,
    Finish,
    InvalidRequest,
    ModelInfo,
    PluginContext,
    ProviderConnection,
    ProviderError,
    ProviderSpec,
    RateLimited,
    Unavailable,
    decode_config,
)

from folkmoot.ai.models import Connection, Model
from folkmoot.ai.service import PURPOSE
from folkmoot.kit.crypto import Keyring
from folkmoot.kit.log import get_logger
from folkmoot.plugins.manager import PluginManager

log = get_logger(__name__)

ATTEMPTS = 3
FIRST_EVENT_SECONDS = 120.0
IDLE_SECONDS = 60.0
LOOK_SECONDS = 1.0
MOST_CONNECTIONS = 256


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


@dataclass(frozen=True)
class OpenModel:
    """A model that is ready to be called."""

    id: UUID
    name: str
    provider: str
    info: ModelInfo
    connection: ProviderConnection

    def described(self) -> dict[str, str]:
        """As events and messages name it."""
        return {"id": str(self.id), "name": self.name, "provider": self.provider}


class Runtime:
    """Opens models and calls them."""

    def __init__(self, plugins: PluginManager, keyring: Keyring, http: httpx.AsyncClient) -> None:
        self._plugins, self._keyring, self._http = plugins, keyring, http
        self._open: OrderedDict[tuple[UUID, int], tuple[ProviderConnection, AsyncExitStack]] = OrderedDict()
        self._lock = asyncio.Lock()

    async def open(self, model: Model, connection: Connection) -> OpenModel:
        """A model by its rows. Raises `ProviderError` if its plugin is not there or refuses the configuration."""
        key = (connection.id, connection.revision)
        found = self._open.get(key)
        if found is None:
            async with self._lock:
                found = self._open.get(key) or await self._connect(key, connection)
        else:
            self._open.move_to_end(key)
        return OpenModel(model.id, model.name, connection.kind, msgspec.convert(model.info, ModelInfo), found[0])

    async def _connect(
        self, key: tuple[UUID, int], connection: Connection
    ) -> tuple[ProviderConnection, AsyncExitStack]:
        config = msgspec.json.decode(
            self._keyring.open(connection.config, purpose=PURPOSE, tenant_id=connection.tenant_id)
        )
        stack = AsyncExitStack()
        opened = await stack.enter_async_context(self.connect(connection.kind, config))
        self._open[key] = (opened, stack)
        while len(self._open) > MOST_CONNECTIONS:
            _, (_, old) = self._open.popitem(last=False)
            await old.aclose()
        return opened, stack

    def connect(self, kind: str, config: object) -> _Connecting:
        """Connect a provider by kind and configuration, for as long as the context is open."""
        spec = self._plugins.providers.get(kind)
        if spec is None:
            raise InvalidRequest(
                f"no installed plugin offers the provider {kind!r}: install it, or remove the connection"
            )
        context = PluginContext(http=self._http, log=logging.getLogger(f"folkmoot.provider.{kind}"), clock=Clock())
        return _Connecting(spec, config, context)

    async def chat(self, model: OpenModel, request: ChatRequest) -> AsyncGenerator[ChatEvent]:
        """The events of an answer, `Finish` last. Raises `ProviderError`.

        Closing the iterator closes the request to the provider.
        """
        if not isinstance(model.connection, ChatModel):
            raise InvalidRequest(f"{model.name} cannot chat: choose another model")
        for attempt in range(1, ATTEMPTS + 1):
            begun = False
            try:
                async with aclosing(_timed(model.connection.chat(request), model.name)) as events:
                    async for event in events:
                        begun = True
                        yield event
                        if isinstance(event, Finish):
                            return
                raise BadResponse(f"{model.name} stopped without saying that it had finished")
            except ProviderError as error:
                if begun or not error.retryable or attempt == ATTEMPTS:
                    raise
                await self._pause(error, attempt, model.name)

    async def embed(self, model: OpenModel, texts: list[str], *, query: bool = False) -> list[list[float]]:
        """Vectors for `texts`, in batches as large as the model takes. Raises `ProviderError`."""
        if not isinstance(model.connection, Embedder):
            raise InvalidRequest(f"{model.name} cannot embed: choose another model")
        size = model.info.max_batch or 64
        vectors: list[list[float]] = []
        for start in range(0, len(texts), size):
            request = EmbedRequest(
                model=model.name,
                texts=tuple(texts[start : start + size]),
                purpose="query" if query else "document",
            )
            vectors += await self._embed_batch(model, cast("Embedder", model.connection), request)
        return vectors

    async def _embed_batch(self, model: OpenModel, embedder: Embedder, request: EmbedRequest) -> list[list[float]]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(FIRST_EVENT_SECONDS):
                    found = (await embedder.embed(request)).vectors
                if len(found) != len(request.texts):
                    raise BadResponse(f"{model.name} gave {len(found)} vectors for {len(request.texts)} texts")
                return found
            except TimeoutError:
                failure: ProviderError = Unavailable(
                    f"{model.name} gave no vectors in {FIRST_EVENT_SECONDS:.0f} seconds"
                )
            except ProviderError as error:
                failure = error
            if not failure.retryable or attempt == ATTEMPTS:
                raise failure
            await self._pause(failure, attempt, model.name)
        raise AssertionError

    async def _pause(self, error: ProviderError, attempt: int, model: str) -> None:
        wanted = error.retry_after if isinstance(error, RateLimited) and error.retry_after is not None else 0.0
        if wanted > 30:
            raise error
        pause = max(wanted, 0.3 * 2**attempt * random.uniform(0.5, 1.5))
        log.warning("provider.retry", model=model, attempt=attempt, error=str(error), seconds=round(pause, 2))
        await asyncio.sleep(pause)

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


async def _timed(events: AsyncIterator[ChatEvent], model: str) -> AsyncGenerator[ChatEvent]:
    """`events` with a limit on the silence before the first and between any two.

    One timer looks now and then when the last event came: a time-out of its own around each of a hundred
    tokens a second would cost more than reading them.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    last, limit, waiting, silent = loop.time(), FIRST_EVENT_SECONDS, True, False

    def look() -> None:
        nonlocal silent, timer
        if waiting and loop.time() - last > limit and task is not None:
            silent = True
            task.cancel()
            return
        timer = loop.call_later(LOOK_SECONDS, look)

    timer = loop.call_later(LOOK_SECONDS, look)
    try:
        async for event in events:
            limit, waiting = IDLE_SECONDS, False
            yield event
            last, waiting = loop.time(), True
    except asyncio.CancelledError:
        if not silent or (task is not None and task.uncancel() > 0):
            raise
        raise Unavailable(f"{model} was silent for {limit:.0f} seconds") from None
    finally:
        timer.cancel()
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
