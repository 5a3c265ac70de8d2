"""How soon somebody else answers when a provider is down, and how soon a provider learns that nobody listens.

References, in the same run: the same calls with only the model that answers on their route; the same client library,
cancelled in the same place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from statistics import median
from uuid import UUID

import httpx
from folkmoot_sdk import ChatRequest, Message, ModelInfo, TextDelta, TextPart

from benchmarks.house import within
from benchmarks.report import Report
from folkmoot.ai.breaker import Breaker
from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.connect import connect
from folkmoot.ai.route import Route
from folkmoot.ai.runtime import Runtime
from folkmoot.assemble import assemble
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.settings import Settings
from folkmoot.tenants.service import TenantService
from folkmoot.usage.ledger import Account
from tests.support.hostile_upstream import HostileUpstream

CALLS = 320
TOGETHER = 16
STOPPED = 64
DOWN = {"answers 500": "status=500", "is gone": None}


def run(report: Report, folder: Path) -> None:
    within(folder, lambda settings, _: _measure(report, settings), net_allow=("127.0.0.1",))


async def _measure(report: Report, settings: Settings) -> None:
    async with assemble(settings) as app:
        for name, failure in DOWN.items():
            await _fallen_back(report, app, name, failure)
        await _stopped(report, app)


async def _fallen_back(report: Report, app: App, name: str, failure: str | None) -> None:
    async with HostileUpstream(model="second") as second:
        async with HostileUpstream(model="first") as first:
            tenant_id, route = await _route(app, first, second)
            if failure is not None:
                first.failing = failure
                await _measured(report, app, tenant_id, route, name)
        if failure is None:
            await _measured(report, app, tenant_id, route, name)


async def _measured(report: Report, app: App, tenant_id: UUID, route: Route, name: str) -> None:
    breaker, down = app.part(Breaker), route.first.connection.id
    opened = 0
    while await breaker.allow(down):
        await _first_word(app, tenant_id, route)
        opened += 1
    alone = Route(route.choices[1:])
    direct: list[float] = []
    fallen: list[float] = []
    numbers = iter(range(CALLS))

    async def task() -> None:
        # In turn, so that what else this machine does meanwhile falls on both.
        for _ in numbers:
            direct.append(await _first_word(app, tenant_id, alone))
            fallen.append(await _first_word(app, tenant_id, route))

    await asyncio.gather(*(task() for _ in range(TOGETHER)))
    for what, figure in (("median", median), ("p95", _p95)):
        report.line(
            f"a provider {name}: added until the next, {what}",
            (figure(fallen) - figure(direct)) * 1000,
            "ms",
            50,
            f"alone on its route {figure(direct) * 1000:.1f} ms; open after {opened} calls; {TOGETHER} at once",
        )


async def _stopped(report: Report, app: App) -> None:
    """From `cancel()` to when the other end sees that the line is closed."""
    async with HostileUpstream(failing="endless", delay=0.01) as upstream:
        tenant_id, route = await _route(app, upstream)

        async def ours(begun: asyncio.Event) -> None:
            async with aclosing(_answer(app, tenant_id, route)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        begun.set()

        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:

            async def theirs(begun: asyncio.Event) -> None:
                body = {"model": "x", "messages": [], "stream": True}
                async with client.stream("POST", f"{upstream.url}/chat/completions", json=body) as response:
                    async for _ in response.aiter_lines():
                        begun.set()

            direct = [await _until_seen(upstream, theirs) for _ in range(STOPPED)]
        through = [await _until_seen(upstream, ours) for _ in range(STOPPED)]
        report.line(
            f"from stopping until the provider sees it, p95 of {STOPPED}",
            _p95(through) * 1000,
            "ms",
            100,
            f"httpx alone {_p95(direct) * 1000:.1f} ms",
        )


async def _until_seen(upstream: HostileUpstream, listen: Callable[[asyncio.Event], Awaitable[None]]) -> float:
    begun, seen = asyncio.Event(), len(upstream.left)
    listening = asyncio.ensure_future(listen(begun))
    await begun.wait()
    stopped = time.monotonic()
    listening.cancel()
    await upstream.until(lambda upstream: len(upstream.left) > seen)
    await asyncio.gather(listening, return_exceptions=True)
    return upstream.left[seen] - stopped


async def _route(app: App, *upstreams: HostileUpstream) -> tuple[UUID, Route]:
    """A new organisation whose chats go to these, one after another."""
    async with app.begin(Principal.platform()) as work:
        tenant = await TenantService(work).create(f"Bench {time.monotonic_ns()}")
    for rank, upstream in enumerate(upstreams):
        config = {"api_key": "k", "base_url": upstream.url}
        made = await connect(app, tenant.id, kind="openai", name=f"Number {rank}", config=config, rank=rank)
        assert made
    return tenant.id, (await app.part(Catalogue).of(tenant.id)).route("chat", ())


def _answer(app: App, tenant_id: UUID, route: Route):
    def build(info: ModelInfo) -> ChatRequest:
        return ChatRequest(model=info.name, messages=(Message("user", (TextPart("Hej"),)),))

    return app.part(Runtime).chat(route, Account(tenant_id=tenant_id, purpose="api"), build)


async def _first_word(app: App, tenant_id: UUID, route: Route) -> float:
    """Seconds until the first word; the rest is read as well."""
    begun, took = time.perf_counter(), 0.0
    async with aclosing(_answer(app, tenant_id, route)) as events:
        async for event in events:
            if isinstance(event, TextDelta) and not took:
                took = time.perf_counter() - begun
    return took


def _p95(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.95)]
