"""Models of an organisation: which are used, what they may see, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from folkmoot_sdk import ModelInfo
from msgspec import UNSET
from sqlalchemy import func, select

from folkmoot.ai.models import Connection, Model, ModelPrice
from folkmoot.ai.schemas import ModelUpdate, Overrides, PriceCreate
from folkmoot.classification.service import DataClassService
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import NotFound, ValidationFailed
from folkmoot.kit.paging import check_match
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.tenants.models import Tenant
from folkmoot.tenants.schemas import TenantSettings

PURPOSE = "connection"
DOLLAR = "USD"
BACK_DATED = timedelta(minutes=5)
"""How far a clock may be behind when it says "from now on"."""


class ModelService:
    """Use cases around models, within the tenant of the work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def get(self, model_id: UUID) -> Model:
        """Raises `NotFound`."""
        found = await self._work.session.scalar(select(Model).where(Model.id == model_id))
        if found is None:
            raise NotFound("there is no such model: `GET /models` lists those that you may use")
        return found

    async def choosable(self, model_id: UUID, *, kind: str) -> Model:
        """A model that something may be set to use from now on.

        Raises `NotFound` for one that is not there or switched off, `ValidationFailed` for another kind and for one
        that is not to be chosen any more.
        """
        row = (
            await self._work.session.execute(
                select(Model)
                .join(Connection, Connection.id == Model.connection_id)
                .where(Model.id == model_id, Model.enabled, Model.offered, Connection.enabled)
            )
        ).first()
        if row is None:
            raise NotFound("there is no such model: `GET /models` lists those that you may use")
        model: Model = row[0]
        if model.kind != kind:
            raise ValidationFailed(f"{model.name} is a model for {model.kind}: choose one for {kind}")
        if model.deprecated_at is not None:
            raise ValidationFailed(f"{model.name} is not to be chosen any more: choose another")
        return model

    async def update(self, model_id: UUID, data: ModelUpdate, if_match: str | None) -> Model:
        """Raises `Stale` if `if_match` is of an older revision, `NotFound` for a class or model that is not there."""
        model = await self.get(model_id)
        check_match(if_match, model.revision)
        if isinstance(data.clearance_id, UUID):
            await DataClassService(self._work).get(data.clearance_id)
        named = [*(data.fallback_ids or [])] if data.fallback_ids is not UNSET else []
        if isinstance(data.replacement_id, UUID):
            named.append(data.replacement_id)
        await self._check_kin(model, named)
        changed = patch(model, data, leave=("default", "deprecated", "overrides"))
        if data.default is True and await self._make_default(model):
            changed.append("default")
        if data.deprecated is not UNSET and data.deprecated != (model.deprecated_at is not None):
            model.deprecated_at = datetime.now(UTC) if data.deprecated else None
            changed.append("deprecated")
        if isinstance(data.overrides, Overrides) and self._override(model, data.overrides):
            changed.append("overrides")
        if changed:
            await self._work.session.flush()
            told = {"name": model.name, "fields": changed, "enabled": model.enabled, "country": model.country}
            told["clearance_id"] = str(model.clearance_id) if model.clearance_id else None
            self._work.record("model.updated", "model", model.id, data=told)
        return model

    async def prices(self, model_id: UUID) -> Sequence[ModelPrice]:
        """What it costs and has cost, the newest first."""
        await self.get(model_id)
        query = select(ModelPrice).where(ModelPrice.model_id == model_id)
        return (
            await self._work.session.scalars(query.order_by(ModelPrice.valid_from.desc(), ModelPrice.id.desc()))
        ).all()

    async def add_price(self, model_id: UUID, data: PriceCreate) -> ModelPrice:
        """A price that holds from `valid_from` on, whatever the provider's list says. Raises `ValidationFailed`."""
        model, now = await self.get(model_id), datetime.now(UTC)
        valid_from = data.valid_from or now
        if valid_from < now - BACK_DATED:
            raise ValidationFailed(
                "`valid_from` is in the past, and what was spent stays as it was counted: leave it out for now",
                [("valid_from", "must not be in the past")],
            )
        row = ModelPrice(
            tenant_id=self._work.principal.tenant,
            model_id=model.id,
            valid_from=valid_from,
            currency=await self._currency(),
            source="manual",
            created_by=self._work.principal.user_id,
            **{name: getattr(data, name) for name in PRICED},
        )
        self._work.session.add(row)
        await self._work.session.flush()
        told = {"name": model.name, "valid_from": valid_from.isoformat()} | {n: getattr(row, n) for n in PRICED}
        self._work.record("model.priced", "model", model.id, data=told)
        return row

    async def _currency(self) -> str:
        settings = await self._work.session.scalar(
            select(Tenant.settings).where(Tenant.id == self._work.principal.tenant)
        )
        return TenantSettings.of(settings or {}).currency

    async def find_connection(self, name: str) -> Connection | None:
        return await self._work.session.scalar(select(Connection).where(Connection.name == name))

    async def put_connection(
        self, keyring: Keyring, *, kind: str, name: str, config: dict[str, Any], models: Sequence[ModelInfo], rank: int
    ) -> Connection:
        """Make or refresh the connection `name` with the models that it offers, for the platform at start.

        `rank` orders connections: a model of a lower one is the default before those of a higher one.
        """
        tenant = self._work.principal.tenant
        connection = await self.find_connection(name)
        sealed = await keyring.seal(msgspec.json.encode(config), purpose=PURPOSE, tenant_id=tenant)
        if connection is None:
            connection = Connection(tenant_id=tenant, kind=kind, name=name, config=sealed, rank=rank)
            self._work.session.add(connection)
            await self._work.session.flush()
            self._work.record("connection.created", "connection", connection.id, data={"kind": kind, "name": name})
        else:
            connection.config = sealed
        await self.store_models(connection, models)
        return connection

    async def store_models(self, connection: Connection, models: Sequence[ModelInfo]) -> tuple[int, int]:
        """What the provider lists now, with its prices; how many are new, and how many are gone.

        Models that it does not list any more stay, unusable, since answers name them. What administrators have said
        of a model stays as well.
        """
        tenant = self._work.principal.tenant
        known = {
            model.name: model
            for model in await self._work.session.scalars(select(Model).where(Model.connection_id == connection.id))
        }
        fresh: list[tuple[Model, ModelInfo]] = []
        new = 0
        for place, info in enumerate(models):
            model = known.pop(info.name, None)
            if model is None:
                model = Model(
                    tenant_id=tenant, connection_id=connection.id, name=info.name, rank=connection.rank + place
                )
                self._work.session.add(model)
                new += 1
            model.kind, model.info, model.offered = info.kind, msgspec.to_builtins(info), True
            fresh.append((model, info))
        for gone in known.values():
            gone.offered = False
        await self._work.session.flush()
        await self._store_prices(fresh)
        return new, len(known)

    async def _store_prices(self, models: Sequence[tuple[Model, ModelInfo]]) -> None:
        """The provider's list; a price that somebody set by hand goes before it."""
        rows = await self._work.session.scalars(
            select(ModelPrice)
            .where(ModelPrice.model_id.in_([model.id for model, _ in models]))
            .order_by(ModelPrice.valid_from, ModelPrice.id)
        )
        last = {row.model_id: row for row in rows}
        for model, info in models:
            before = last.get(model.id)
            if info.price is None or (before is not None and before.source == "manual"):
                continue
            values = {name: getattr(info.price, name) for name in PRICED}
            if before is not None and all(getattr(before, name) == value for name, value in values.items()):
                continue
            self._work.session.add(
                ModelPrice(
                    tenant_id=model.tenant_id,
                    model_id=model.id,
                    valid_from=datetime.now(UTC),
                    currency=DOLLAR,
                    source="provider",
                    as_of=info.price.as_of,
                    **values,
                )
            )
        await self._work.session.flush()

    async def _check_kin(self, model: Model, others: Sequence[UUID]) -> None:
        """Whether these can stand in for a model: they are there, are other models, and are of its kind."""
        if not others:
            return
        rows = await self._work.session.execute(select(Model.id, Model.kind).where(Model.id.in_(others)))
        kinds = {row.id: row.kind for row in rows}
        if strange := set(others) - set(kinds):
            raise NotFound(f"there is no model {strange.pop()}: `GET /models` lists them")
        for model_id in others:
            if model_id == model.id or kinds[model_id] != model.kind:
                raise ValidationFailed(f"{model_id} cannot stand in for {model.name}: choose another for {model.kind}")

    async def _make_default(self, model: Model) -> bool:
        lowest = await self._work.session.scalar(
            select(func.min(Model.rank)).where(Model.kind == model.kind, Model.id != model.id)
        )
        if lowest is None or model.rank < lowest:
            return False
        model.rank = lowest - 1
        return True

    def _override(self, model: Model, data: Overrides) -> bool:
        said = {name: getattr(data, name) for name in data.__struct_fields__}
        merged = model.overrides | {name: value for name, value in said.items() if value is not UNSET}
        kept = {name: value for name, value in merged.items() if value is not None}
        if kept == model.overrides:
            return False
        model.overrides = kept
        return True


PRICED = ("input", "output", "cached_input", "cache_write", "request", "audio_minute")
