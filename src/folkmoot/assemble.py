"""Putting a process together: engines of kit, and the parts of the layers above. Used by API, worker and commands."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from folkmoot.ai.batch import Batcher
from folkmoot.ai.breaker import Breaker
from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.open import OpenConnections
from folkmoot.ai.runtime import Runtime
from folkmoot.ai.slots import Slots
from folkmoot.assistants.service import AssistantService
from folkmoot.federation.backends import Backends
from folkmoot.feed.service import Bell
from folkmoot.identity.tokens import Tokens
from folkmoot.keys.authenticate import Keys
from folkmoot.kit.access import Access
from folkmoot.kit.app import App
from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.data_keys import Stored
from folkmoot.kit.db import make_engine
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.glance import glances
from folkmoot.kit.jobs import Jobs
from folkmoot.kit.limits import Limits
from folkmoot.kit.mail import Server
from folkmoot.kit.net import NetPolicy, outbound_client, reach
from folkmoot.kit.recorder import Recorder
from folkmoot.kit.redis import connect
from folkmoot.kit.storage import Storage
from folkmoot.kit.stream import Streams
from folkmoot.kit.work import Sessions, Work
from folkmoot.plugins.manager import PluginManager
from folkmoot.settings import Settings, SettingsError
from folkmoot.tenants.cors import Origins
from folkmoot.tools.servers import ToolServers
from folkmoot.usage.ledger import Ledger


@asynccontextmanager
async def assemble(settings: Settings, *, plugins: PluginManager | None = None) -> AsyncGenerator[App]:
    """Everything but what only a worker has. Raises `SettingsError` for what is missing or cannot work."""
    settings.require_engines()
    if settings.smtp_url:
        Server.from_url(settings.smtp_url)
    async with AsyncExitStack() as stack:
        engine = make_engine(settings.database_url, pool=settings.database_pool)
        stack.push_async_callback(engine.dispose)
        redis = connect(settings.redis_url)
        blocking = connect(settings.redis_url, blocking=True)
        stack.push_async_callback(redis.aclose)
        stack.push_async_callback(blocking.aclose)
        pool = await stack.enter_async_context(glances(settings.database_url, settings.database_pool))
        keyring = Keyring(settings.master_keys(), Stored(pool), again=settings.master_keys_again)
        stack.push_async_callback(keyring.close)
        try:
            await keyring.start()
        except CryptoError as error:
            raise SettingsError(str(error)) from error
        jobs = Jobs(settings.redis_url, redis)
        await jobs.start()
        stack.push_async_callback(jobs.close)
        bell = Bell(redis)
        stack.callback(bell.close)
        streams = Streams(redis, blocking)
        stack.push_async_callback(streams.close)
        app = App(
            settings=settings,
            sessions=Sessions(engine, jobs, bell.ring, pool),
            redis=redis,
            keyring=keyring,
            storage=Storage.from_url(settings.storage_url, keyring),
            streams=streams,
        )
        manager = plugins or PluginManager.load(allow=settings.plugins, required=settings.plugins_required)
        try:
            policy = NetPolicy(settings.reachable_inside())
        except ValueError as error:
            raise SettingsError(str(error)) from error
        http = outbound_client(policy)
        ledger, breaker, slots, batcher = Ledger(app.sessions), Breaker(redis), Slots(redis), Batcher()
        connections = OpenConnections(manager, keyring, http)
        # Closed from the last to the first: what calls providers, then the lines to them, then the books.
        for machine in (ledger, connections, slots, batcher):
            stack.push_async_callback(machine.close)
        runtime = Runtime(connections, ledger, breaker, slots, batcher)
        backends = Backends(manager, keyring, outbound_client(policy), reach(policy))
        stack.push_async_callback(backends.close)
        keys = Keys(app, _may_edit)
        stack.push_async_callback(keys.close)
        # Not `reachable_inside()`: the platform's own model service is no tool server.
        tool_servers = ToolServers(outbound_client(NetPolicy(settings.net_allow)), keyring, settings.tool_commands)
        stack.push_async_callback(tool_servers.close)
        recorder = Recorder(app.sessions)
        stack.push_async_callback(recorder.close)
        for part in (
            bell,
            manager,
            runtime,
            connections,
            ledger,
            breaker,
            Catalogue(app.sessions, manager),
            backends,
            recorder,
            tool_servers,
            Limits(redis),
            Origins(app.sessions),
            keys,
            Tokens(keyring, settings.access_token_seconds, settings.signing_key_days),
        ):
            app.add(part)
        yield app


async def _may_edit(work: Work, assistant_id: UUID) -> None:
    """Keys lie below assistants, and the key of an assistant is made only by who may edit it."""
    await AssistantService(work).get(assistant_id, Access.EDIT)
