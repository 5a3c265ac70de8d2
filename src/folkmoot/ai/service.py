"""Connections and models of an organisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from folkmoot_sdk import ModelInfo
from sqlalchemy import bindparam, select

from folkmoot.ai.models import Connection, Model
from folkmoot.kit.crypto import Keyring
from folkmoot.kit.errors import NotAvailable, NotFound, ValidationFailed
from folkmoot.kit.work import Work

PURPOSE = "connection"
DEFAULT = (
    select(Model, Connection)
    .join(Connection, Connection.id == Model.connection_id)
    .where(Model.kind == bindparam("kind"), Model.enabled)
    .order_by(Model.rank, Model.id)
    .limit(1)
)
"""Built once: every question without a model of its own asks it."""


class ModelService:
    """Use cases around models, within the tenant of the work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def list_enabled(self) -> list[tuple[Model, Connection]]:
        """The models that may be used, the default of each kind before the others of that kind."""
        rows = await self._work.session.execute(
            select(Model, Connection)
            .join(Connection, Connection.id == Model.connection_id)
            .where(Model.enabled)
            .order_by(Model.kind, Model.rank, Model.id)
        )
        return [(model, connection) for model, connection in rows]

    async def usable(self, model_id: UUID, *, kind: str) -> tuple[Model, Connection]:
        """Raises `NotFound` for a model that is not there or not enabled, `ValidationFailed` for another kind."""
        row = (
            await self._work.session.execute(
                select(Model, Connection)
                .join(Connection, Connection.id == Model.connection_id)
                .where(Model.id == model_id, Model.enabled)
            )
        ).first()
        if row is None:
            raise NotFound("there is no such model: `GET /models` lists those that you may use")
        if row[0].kind != kind:
            raise ValidationFailed(f"{row[0].name} is a model for {row[0].kind}: choose one for {kind}")
        return row[0], row[1]

    async def default(self, kind: str) -> tuple[Model, Connection] | None:
        """The model used where nothing is chosen, or None if there is none of this kind."""
        row = (await self._work.session.execute(DEFAULT, {"kind": kind})).first()
        return (row[0], row[1]) if row else None

    async def default_chat(self) -> tuple[Model, Connection]:
        """Raises `NotAvailable` if no model can chat."""
        found = await self.default("chat")
        if found is None:
            raise NotAvailable("no model is connected: an administrator must connect one")
        return found

    async def find_connection(self, name: str) -> Connection | None:
        return await self._work.session.scalar(select(Connection).where(Connection.name == name))

    async def put_connection(
        self, keyring: Keyring, *, kind: str, name: str, config: dict[str, Any], models: Sequence[ModelInfo], rank: int
    ) -> Connection:
        """Make or refresh the connection `name` with the models that it offers.

        `rank` orders connections: a model of a lower one is the default before those of a higher one. Models
        that the provider no longer offers are disabled, not deleted, since answers name them.
        """
        tenant = self._work.principal.tenant
        sealed = keyring.seal(msgspec.json.encode(config), purpose=PURPOSE, tenant_id=tenant)
        connection = await self.find_connection(name)
        if connection is None:
            connection = Connection(tenant_id=tenant, kind=kind, name=name, config=sealed)
            self._work.session.add(connection)
            await self._work.session.flush()
            self._work.record("connection.created", "connection", connection.id, data={"kind": kind, "name": name})
        else:
            connection.config = sealed
        known = {
            model.name: model
            for model in await self._work.session.scalars(select(Model).where(Model.connection_id == connection.id))
        }
        for place, info in enumerate(models):
            model = known.pop(info.name, None)
            if model is None:
                model = Model(tenant_id=tenant, connection_id=connection.id, name=info.name)
                self._work.session.add(model)
            model.kind, model.info, model.rank = info.kind, msgspec.to_builtins(info), rank + place
            model.enabled = True
        for gone in known.values():
            gone.enabled = False
        return connection
