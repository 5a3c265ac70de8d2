"""Connections of an organisation: accounts at providers, with configurations whose secrets are never shown again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from folkmoot_sdk import ModelInfo
from msgspec import UNSET, UnsetType
from sqlalchemy import delete, func, select

from folkmoot.ai.check import find_spec, secrets_of
from folkmoot.ai.models import Connection
from folkmoot.ai.open import OpenConnections
from folkmoot.ai.schemas import CheckOut, ConnectionCreate, ConnectionOut, ConnectionUpdate
from folkmoot.ai.service import PURPOSE, ModelService
from folkmoot.classification.service import DataClassService
from folkmoot.kit.app import App
from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.errors import NotFound, ValidationFailed, changed_at_once
from folkmoot.kit.paging import check_match
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.plugins.configuration import MASK, decoded, masked, merged
from folkmoot.plugins.manager import PluginManager

LAST_RESORT = 1_000_000
"""Rank of what answers only when nothing better is connected."""


class ConnectionService:
    """Use cases of administrators, within the tenant of the work. Whoever talks to a provider: `check.py`."""

    def __init__(self, app: App, work: Work) -> None:
        self._app, self._work = app, work
        self._plugins = app.part(PluginManager)

    async def get(self, connection_id: UUID) -> Connection:
        """Raises `NotFound`."""
        found = await self._work.session.scalar(select(Connection).where(Connection.id == connection_id))
        if found is None:
            raise NotFound("there is no such connection")
        return found

    async def every(self) -> Sequence[Connection]:
        """All of them, in the order of their models."""
        return (await self._work.session.scalars(select(Connection).order_by(Connection.rank, Connection.id))).all()

    async def create(self, data: ConnectionCreate, config: dict[str, Any], models: Sequence[ModelInfo]) -> Connection:
        """Store a connection with the models that it lists.

        Its models come after those that are there, but before what is the last resort. Raises `NotFound` for a class
        that is not there, `Conflict` (`already-exists`) for a name that is taken.
        """
        await self.check_class(data.clearance_id)
        before = await self._work.session.scalar(select(func.max(Connection.rank)).where(Connection.rank < LAST_RESORT))
        connection = Connection(
            tenant_id=self._work.principal.tenant,
            kind=data.kind,
            name=data.name,
            config=await self._sealed(config),
            rank=0 if before is None else before + 1_000,
            country=data.country,
            clearance_id=data.clearance_id,
            max_concurrent=data.max_concurrent,
        )
        self._work.session.add(connection)
        await self._work.session.flush()
        self._record("connection.created", connection)
        await ModelService(self._work).store_models(connection, models)
        return connection

    async def update(
        self, before: Connection, data: ConnectionUpdate, config: dict[str, Any] | None, if_match: str | None
    ) -> Connection:
        """Change a connection; `config` is the whole configuration, where it changes (`configured`).

        `before` is what that was made from. Raises `Conflict` (`try-again`) if somebody changed it since: it would
        bring back an address or a key that they have just replaced.
        """
        connection = await self.get(before.id)
        check_match(if_match, connection.revision)
        if config is not None and connection.config != before.config:
            raise changed_at_once()
        await self.check_class(data.clearance_id)
        changed = patch(connection, data, leave=("config",))
        if config is not None:
            connection.config = await self._sealed(config)
            changed.append("config")
        if changed:
            await self._work.session.flush()
            self._record("connection.updated", connection, fields=changed)
        return connection

    async def configured(self, connection: Connection, data: ConnectionUpdate) -> dict[str, Any] | None:
        """The configuration that a change leads to; None if it stays.

        Raises `ValidationFailed` if an address changes and a stored secret would go there unseen: whoever may
        change the address must not learn the secret by it.
        """
        if data.config is UNSET:
            return None
        spec = find_spec(self._plugins, connection.kind)
        before = await self.stored(connection)
        after = decoded(spec, merged(before, data.config))
        if after == before:
            return None
        secrets = secrets_of(spec)
        moved = [
            name
            for name, value in after.items()
            if name not in secrets and value != before.get(name) and _leads_somewhere(value, before.get(name))
        ]
        kept = [name for name in secrets if before.get(name) and data.config.get(name, MASK) == MASK]
        if moved and kept:
            detail = f"{moved[0]!r} changes where {kept[0]!r} is sent to: give {kept[0]!r} again"
            raise ValidationFailed(detail, [(f"config.{kept[0]}", detail)])
        return after

    async def stored(self, connection: Connection) -> dict[str, Any]:
        """The configuration with its secrets; empty if it cannot be opened any more."""
        try:
            return await self._app.part(OpenConnections).config_of(connection)
        except CryptoError:
            return {}

    async def note_check(self, connection_id: UUID, out: CheckOut, models: Sequence[ModelInfo]) -> Connection:
        """Keep how a check went, and what the provider lists now if it went well."""
        connection = await self.get(connection_id)
        connection.checked_at = datetime.now(UTC)
        connection.check_code, connection.check_message = out.code or "", "" if out.ok else out.message[:1000]
        told: dict[str, Any] = {"ok": out.ok, "code": out.code}
        if out.ok:
            told["models_new"], told["models_gone"] = await ModelService(self._work).store_models(connection, models)
        await self._work.session.flush()
        self._record("connection.checked", connection, **told)
        return connection

    async def delete(self, connection_id: UUID) -> None:
        """Remove a connection with its models. Answers that they gave keep their names."""
        connection = await self.get(connection_id)
        self._record("connection.deleted", connection)
        await self._work.session.execute(delete(Connection).where(Connection.id == connection.id))

    async def shown(self, connection: Connection, state: str = "closed") -> ConnectionOut:
        """With its secrets masked."""
        spec = self._plugins.providers.get(connection.kind)
        config = masked(spec, await self.stored(connection)) if spec is not None else {}
        return ConnectionOut.of(connection, config, state)

    async def _sealed(self, config: dict[str, Any]) -> bytes:
        return await self._app.keyring.seal(
            msgspec.json.encode(config), purpose=PURPOSE, tenant_id=self._work.principal.tenant
        )

    async def check_class(self, class_id: UUID | UnsetType | None) -> None:
        """Raises `NotFound` for a class that is not there."""
        if isinstance(class_id, UUID):
            await DataClassService(self._work).get(class_id)

    def _record(self, action: str, connection: Connection, **data: Any) -> None:
        told = {
            "name": connection.name,
            "kind": connection.kind,
            "enabled": connection.enabled,
            "country": connection.country,
            "clearance_id": str(connection.clearance_id) if connection.clearance_id else None,
        }
        self._work.record(action, "connection", connection.id, data=told | data)


def _leads_somewhere(*values: object) -> bool:
    return any(isinstance(value, str) and "://" in value for value in values)
