"""What an organisation has connected, remembered for a moment, so that a call needs no read of its own.

What an administrator changes holds at once in the process that they talked to, and within half a second in all
others. The class of a space is never remembered: it is read with the question.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec
from folkmoot_sdk import ModelInfo, Price
from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from folkmoot.ai.models import Connection, Model, ModelPrice
from folkmoot.ai.policy import Level, Standing
from folkmoot.ai.route import Choice, Snapshot
from folkmoot.classification.models import DataClass
from folkmoot.kit.access import Principal
from folkmoot.kit.work import Sessions, Work, begin
from folkmoot.plugins.manager import PluginManager
from folkmoot.tenants.models import Tenant
from folkmoot.tenants.schemas import TenantSettings
from folkmoot.usage.money import CEILING, convert

REMEMBER_SECONDS = 0.5
MOST_TENANTS = 5_000


@dataclass
class _Known:
    snapshot: Snapshot
    asked: float
    """When the database was asked, not when it answered."""


class Catalogue:
    """Lives as long as the process."""

    def __init__(self, sessions: Sessions, plugins: PluginManager) -> None:
        self._sessions = sessions
        self._in_process = frozenset(kind for kind, spec in plugins.providers.items() if spec.in_process)
        self._known: dict[UUID, _Known] = {}
        self._asking: dict[UUID, asyncio.Task[_Known]] = {}
        self._forgotten = 0
        """How often something was changed: what was asked before the last time may be from before the change."""

    async def of(self, tenant_id: UUID, *, need: UUID | None = None, classes: Iterable[UUID | None] = ()) -> Snapshot:
        """What there is; asked anew if the model `need`, or one of `classes`, was not there a moment ago."""
        known = self._known.get(tenant_id)
        age = time.monotonic() - known.asked if known is not None else REMEMBER_SECONDS + 1
        if known is None or age > REMEMBER_SECONDS:
            known = await asyncio.shield(self._ask_once(tenant_id))
        elif age > REMEMBER_SECONDS / 2:
            # Ahead of time, so that a busy organisation never waits for it.
            self._ask_once(tenant_id)
        if (need is not None and known.snapshot.find(need) is None) or not known.snapshot.knows(classes):
            known = await self._ask(tenant_id)
        return known.snapshot

    async def now(self, work: Work) -> Snapshot:
        """As the transaction sees it, for those who administer it: they read what they have just written."""
        return await read(work, self._in_process)

    def forget(self, tenant_id: UUID) -> None:
        """Something was changed: ask again."""
        self._forgotten += 1
        self._known.pop(tenant_id, None)
        self._asking.pop(tenant_id, None)

    def _ask_once(self, tenant_id: UUID) -> asyncio.Task[_Known]:
        """Many may want the same at once; one asks."""
        asking = self._asking.get(tenant_id)
        if asking is None or asking.done():
            asking = self._asking[tenant_id] = asyncio.create_task(self._ask(tenant_id))
            asking.add_done_callback(lambda done: self._forget_asking(tenant_id, done))
        return asking

    def _forget_asking(self, tenant_id: UUID, done: asyncio.Task[_Known]) -> None:
        if self._asking.get(tenant_id) is done:
            del self._asking[tenant_id]
        if not done.cancelled():
            done.exception()

    async def _ask(self, tenant_id: UUID) -> _Known:
        asked, forgotten = time.monotonic(), self._forgotten
        async with begin(self._sessions, Principal.system(tenant_id)) as work:
            snapshot = await read(work, self._in_process)
        found = _Known(snapshot, asked)
        if forgotten != self._forgotten:
            return found
        if tenant_id not in self._known and len(self._known) >= MOST_TENANTS:
            del self._known[next(iter(self._known))]
        before = self._known.get(tenant_id)
        if before is None or before.asked < asked:
            self._known[tenant_id] = found
        return found


async def read(work: Work, in_process: frozenset[str]) -> Snapshot:
    """The snapshot as this transaction sees it; `in_process` are the kinds of provider that send text nowhere."""
    classes = (await work.session.scalars(select(DataClass))).all()
    levels = {row.id: Level(row.id, row.name, row.level, frozenset(row.countries)) for row in classes}
    later = aliased(ModelPrice)
    newer = select(later.id).where(
        later.model_id == ModelPrice.model_id,
        later.valid_from <= func.now(),
        (later.valid_from > ModelPrice.valid_from)
        | ((later.valid_from == ModelPrice.valid_from) & (later.id > ModelPrice.id)),
    )
    stored = await work.session.scalar(select(Tenant.settings).where(Tenant.id == work.principal.tenant))
    settings = TenantSettings.of(stored or {})
    ceiling = convert(CEILING, settings.usd_rate)
    prices = await work.session.scalars(select(ModelPrice).where(ModelPrice.valid_from <= func.now(), ~newer.exists()))
    by_model = {row.model_id: price_of(row, settings) for row in prices}
    rows = await work.session.execute(
        select(Model, Connection)
        .join(Connection, Connection.id == Model.connection_id)
        .order_by(Model.kind, Model.rank, Model.id)
    )
    return Snapshot(
        choices=tuple(
            Choice(
                model=model,
                connection=connection,
                info=info_of(model),
                price=by_model.get(model.id),
                ceiling=ceiling,
                standing=Standing(
                    in_process=connection.kind in in_process,
                    clearance=levels.get(clearance)
                    if (clearance := model.clearance_id or connection.clearance_id) is not None
                    else None,
                    country=model.country or connection.country,
                ),
            )
            for model, connection in rows
        ),
        levels=levels,
        default_level=next((levels[row.id] for row in classes if row.is_default), None),
        currency=settings.currency,
        in_process=in_process,
    )


async def with_classes(work: Work, snapshot: Snapshot, class_ids: Sequence[UUID | None]) -> Snapshot:
    """The snapshot, or as this transaction sees it if that is older than one of the classes."""
    return snapshot if snapshot.knows(class_ids) else await read(work, snapshot.in_process)


def info_of(model: Model) -> ModelInfo:
    """`ModelInfo` with what administrators know better."""
    return msgspec.convert(model.info | model.overrides, ModelInfo)


def price_of(row: ModelPrice, settings: TenantSettings) -> Price:
    """In the organisation's currency, by the rate of this moment."""
    price = Price(
        input=row.input,
        output=row.output,
        cached_input=row.cached_input,
        cache_write=row.cache_write,
        request=row.request,
        audio_minute=row.audio_minute,
        as_of=row.as_of,
    )
    return price if row.currency == settings.currency else convert(price, settings.usd_rate)
