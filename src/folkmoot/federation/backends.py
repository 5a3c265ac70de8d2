"""The one door to auth backends: warm connections, a time limit, and no trust in what they do.

A backend is somebody else's code that talks to somebody else's service. It may be slow, raise anything, swallow
its cancellation, or answer with what only looks like an answer. So each call runs in a task of its own that can be
left behind, and what comes out is an `AuthError` or a value of the right shape. A connection is opened and closed
by one task, as context managers expect, and lives as long as its row stays as it is.

Nothing here holds a database connection: callers read the row they need, let go, and then talk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

import httpx
import msgspec
from folkmoot_sdk import (
    AuthBackendSpec,
    AuthConnection,
    AuthError,
    BackendUnavailable,
    ConfigError,
    CredentialBackend,
    PluginContext,
    RedirectBackend,
    decode_config,
)

from folkmoot.federation.models import LoginMethod
from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.log import get_logger
from folkmoot.plugins.manager import PluginManager

log = get_logger(__name__)
T = TypeVar("T")
PURPOSE = "login-method"
SECONDS = 15.0
"""What a backend has for one call, connecting included."""
LIST_SECONDS = 3.0
"""What it has to show of which type it is, when somebody only asks which ways in there are."""
CLOSE_SECONDS = 5.0
MOST_CONNECTIONS = 256
Type = Literal["redirect", "credentials"]
Ask = Callable[[AuthConnection], Awaitable[T]]
Reach = Callable[[str, int], Awaitable[list[str]]]
"""`net.reach`: the addresses of a host, as far as they may be connected to."""


class Misconfigured(BackendUnavailable):
    """The backend cannot even be connected: its plugin is gone, or does not accept its configuration."""


class Broken(BackendUnavailable):
    """The backend did what no backend may do. What exactly is in the log."""


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


class Backends:
    """Opens auth backends and calls them. Lives as long as the process."""

    def __init__(self, plugins: PluginManager, keyring: Keyring, http: httpx.AsyncClient, reach: Reach) -> None:
        self._plugins, self._keyring, self._http, self._reach = plugins, keyring, http, reach
        self._open: OrderedDict[tuple[UUID, int], _Held] = OrderedDict()
        self._types: dict[str, Type] = {}
        self._left: set[asyncio.Task[Any]] = set()

    def specs(self) -> list[AuthBackendSpec]:
        """The kinds that are installed, by title."""
        return sorted(self._plugins.auth_backends.values(), key=lambda spec: (spec.title.casefold(), spec.kind))

    def spec(self, kind: str) -> AuthBackendSpec | None:
        return self._plugins.auth_backends.get(kind)

    async def seal(self, config: dict[str, Any], tenant_id: UUID) -> bytes:
        """A configuration as it is stored."""
        return await self._keyring.seal(msgspec.json.encode(config), purpose=PURPOSE, tenant_id=tenant_id)

    async def config(self, method: LoginMethod) -> dict[str, Any]:
        """The stored configuration, secrets and all. Raises `Misconfigured` if it cannot be opened."""
        try:
            plain = await self._keyring.open(
                method.config, purpose=PURPOSE, tenant_id=method.tenant_id, name=method.name
            )
        except CryptoError as error:
            log.error("login_method.sealed", login_method=str(method.id), error=str(error))
            raise Misconfigured(f"the configuration of {method.name} cannot be opened: enter it again") from error
        return msgspec.json.decode(plain, type=dict[str, Any])

    async def call(self, method: LoginMethod, ask: Ask[T], *, seconds: float = SECONDS) -> T:
        """What `ask` gets from the connected backend of `method`. Raises `AuthError`, and nothing else."""
        held = self._hold(method)
        held.users += 1
        try:
            return await self._ask(held, method.kind, ask, seconds)
        except Broken:
            # What misbehaved once is connected anew the next time.
            self._drop(held)
            raise
        finally:
            held.users -= 1
            held.close_if_done()

    async def call_once(self, kind: str, config: dict[str, Any], ask: Ask[T]) -> T:
        """`call`, with a configuration that is not stored. Raises `AuthError`."""
        held = _Held(lambda: self._connect(kind, config))
        held.users += 1
        try:
            return await self._ask(held, kind, ask, SECONDS)
        finally:
            held.users -= 1
            held.retire()

    async def type_of(self, method: LoginMethod) -> Type | None:
        """Of which type the backend is; None if it has no plugin or cannot be connected."""
        known = self._types.get(method.kind)
        if known is None and self.spec(method.kind) is not None:
            with contextlib.suppress(AuthError):
                await self.call(method, _look, seconds=LIST_SECONDS)
        return self._types.get(method.kind) if self.spec(method.kind) is not None else None

    async def close(self) -> None:
        held = list(self._open.values())
        self._open.clear()
        for one in held:
            one.retire(at_once=True)
        tasks = {one.task for one in held} | self._left
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
        await self._http.aclose()

    def _hold(self, method: LoginMethod) -> _Held:
        key = (method.id, method.revision)
        found = self._open.get(key)
        if found is not None:
            self._open.move_to_end(key)
            return found
        for old in [other for other in self._open if other[0] == method.id]:
            self._open.pop(old).retire()

        @contextlib.asynccontextmanager
        async def connect() -> AsyncGenerator[AuthConnection]:
            async with self._connect(method.kind, await self.config(method)) as connection:
                yield connection

        found = self._open[key] = _Held(connect)
        while len(self._open) > MOST_CONNECTIONS:
            self._open.popitem(last=False)[1].retire()
        return found

    def _drop(self, held: _Held) -> None:
        for key in [key for key, other in self._open.items() if other is held]:
            del self._open[key]
        held.retire()

    def _connect(self, kind: str, config: dict[str, Any]) -> contextlib.AbstractAsyncContextManager[AuthConnection]:
        spec = self.spec(kind)
        if spec is None:
            raise Misconfigured(
                f"no installed plugin offers the login method {kind!r}: install it, or remove what uses it"
            )
        try:
            decoded = decode_config(spec.config, config)
        except ConfigError as error:
            raise Misconfigured(f"the configuration of {spec.title} is wrong: {error}") from error
        context = PluginContext(
            http=self._http, log=logging.getLogger(f"folkmoot.auth.{kind}"), clock=Clock(), reach=self._reach
        )
        return spec.connect(decoded, context)

    async def _ask(self, held: _Held, kind: str, ask: Ask[T], seconds: float) -> T:
        deadline = monotonic() + seconds
        try:
            connection = await self._bounded(held.connection(), kind, seconds)
        except AuthError:
            # The next one tries anew.
            self._drop(held)
            raise
        self._types[kind] = "redirect" if isinstance(connection, RedirectBackend) else "credentials"
        return await self._bounded(_of(ask(connection)), kind, max(0.0, deadline - monotonic()))

    async def _bounded(self, work: Coroutine[Any, Any, T], kind: str, seconds: float) -> T:
        """`work` in a task that is left behind if it does not end, even when it is told to."""
        task = asyncio.create_task(_outcome(work))
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.cancel()
            log.warning("auth_backend.slow", kind=kind, seconds=SECONDS)
            raise BackendUnavailable(f"it did not answer in {seconds:.0f} seconds")
        value, error = task.result()
        if isinstance(error, AuthError):
            log.info("auth_backend.refused", kind=kind, code=error.code, error=words(error))
            raise error
        if error is not None:
            # Its message might hold anything; the log of the host is for those who run it.
            log.warning("auth_backend.broken", kind=kind, error=f"{type(error).__name__}: {error}"[:500])
            raise Broken("the plugin failed in a way of its own: the log of the server has more") from None
        return cast("T", value)


class _Held:
    """One connection, kept open by a task that opens it and closes it."""

    def __init__(self, connect: Callable[[], contextlib.AbstractAsyncContextManager[AuthConnection]]) -> None:
        self.users = 0
        self._retired = False
        self._end = asyncio.Event()
        self._ready: asyncio.Future[tuple[Any, BaseException | None]] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._live(connect))

    async def connection(self) -> AuthConnection:
        """The connection, once it is there. Raises what connecting raised."""
        connection, error = await asyncio.shield(self._ready)
        if error is not None:
            if isinstance(error, AuthError):
                raise error
            raise Broken(f"connecting failed with {type(error).__name__}: the log of the server has more") from error
        if not isinstance(connection, CredentialBackend | RedirectBackend):
            raise Broken("it is neither a CredentialBackend nor a RedirectBackend")
        return connection

    def retire(self, *, at_once: bool = False) -> None:
        """Close it when nobody uses it any more."""
        self._retired = True
        if at_once:
            self._end.set()
        self.close_if_done()

    def close_if_done(self) -> None:
        if self._retired and self.users == 0:
            self._end.set()
            if not self._ready.done():
                self.task.cancel()

    async def _live(self, connect: Callable[[], contextlib.AbstractAsyncContextManager[AuthConnection]]) -> None:
        try:
            async with connect() as connection:
                if not self._ready.done():
                    self._ready.set_result((connection, None))
                await self._end.wait()
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and must not end the process
            if not isinstance(error, AuthError):
                log.warning("auth_backend.not_kept_open", error=f"{type(error).__name__}: {error}"[:500])
            if not self._ready.done():
                self._ready.set_result((None, error))


async def _look(_connection: AuthConnection) -> None:
    """Connected is all that is asked."""


async def _of(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _outcome(work: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
    try:
        return await work, None
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and must not end the process
        return None, error


def words(error: BaseException) -> str:
    """What a plugin says, cut to a length and freed of what is no text."""
    return "".join(char if char.isprintable() else " " for char in str(error))[:500].strip()
