"""Assistants. Each save makes an immutable version, so that an answer can name what it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from msgspec import UNSET
from sqlalchemy import and_, bindparam, delete, select

from folkmoot.ai.service import ModelService
from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.assistants.schemas import AssistantCreate, AssistantUpdate
from folkmoot.kit.access import Access
from folkmoot.kit.errors import NotFound
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.knowledge.service import CollectionService
from folkmoot.spaces.service import SpaceService, spaces_of

VISIBLE = (
    select(Assistant, AssistantVersion)
    .join(
        AssistantVersion,
        and_(AssistantVersion.assistant_id == Assistant.id, AssistantVersion.number == Assistant.version),
    )
    .where(Assistant.id == bindparam("assistant"), Assistant.space_id.in_(spaces_of(bindparam("user"))))
)
"""An assistant with its newest version, for somebody who is in its space; built once, every question asks it."""
PARAMETERS = ("temperature", "max_output_tokens")


class _Assistants(SQLAlchemyAsyncRepository[Assistant]):
    model_type = Assistant


class AssistantService:
    """Use cases around assistants."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._assistants = _Assistants(session=work.session)
        self._spaces = SpaceService(work)

    async def get(self, assistant_id: UUID, access: Access) -> tuple[Assistant, AssistantVersion]:
        """An assistant in a space where the caller may do this, with its newest version.

        Raises `NotFound`, or `Forbidden` for a member of the space who may not.
        """
        wanted = {"assistant": assistant_id, "user": self._work.principal.user}
        row = (await self._work.session.execute(VISIBLE, wanted)).first()
        if row is None:
            raise NotFound("there is no such assistant, or you are not in its space")
        if access is not Access.READ:
            await self._spaces.get(row[0].space_id, access)
        return row[0], row[1]

    async def page(
        self, space_id: UUID, limit: int, cursor: str | None
    ) -> tuple[list[tuple[Assistant, AssistantVersion]], str | None]:
        """The assistants of a space, newest first."""
        await self._spaces.get(space_id, Access.READ)
        rows, after = await page(
            self._work.session,
            select(Assistant).where(Assistant.space_id == space_id),
            by=Assistant.id,
            limit=limit,
            cursor=cursor,
        )
        versions = await self._work.session.scalars(
            select(AssistantVersion)
            .join(Assistant, Assistant.id == AssistantVersion.assistant_id)
            .where(AssistantVersion.number == Assistant.version, Assistant.id.in_([row.id for row in rows]))
        )
        newest = {version.assistant_id: version for version in versions}
        return [(row, newest[row.id]) for row in rows], after

    async def create(self, space_id: UUID, data: AssistantCreate) -> tuple[Assistant, AssistantVersion]:
        """Make an assistant with its first version. Raises `NotFound` for a model or collection it may not use."""
        await self._spaces.get(space_id, Access.EDIT)
        assistant = await self._assistants.add(
            Assistant(
                tenant_id=self._work.principal.tenant, space_id=space_id, name=data.name, description=data.description
            )
        )
        version = await self._add_version(
            assistant,
            {
                "instructions": data.instructions,
                "model_id": data.model_id,
                "collection_ids": data.collection_ids,
                "parameters": {name: value for name in PARAMETERS if (value := getattr(data, name)) is not None},
            },
        )
        self._work.record(
            "assistant.created", "assistant", assistant.id, space_id=space_id, data={"name": assistant.name}
        )
        return assistant, version

    async def update(
        self, assistant_id: UUID, data: AssistantUpdate, if_match: str | None
    ) -> tuple[Assistant, AssistantVersion]:
        """Save a new version. Raises `Stale` if `if_match` is of an older revision."""
        assistant, before = await self.get(assistant_id, Access.EDIT)
        check_match(if_match, assistant.revision)
        patch(assistant, data, leave=("instructions", "model_id", "collection_ids", *PARAMETERS))
        parameters = dict(before.parameters)
        for name in PARAMETERS:
            if (value := getattr(data, name)) is not UNSET:
                parameters[name] = value
        fields: dict[str, Any] = {
            name: getattr(before, name) if (value := getattr(data, name)) is UNSET else value
            for name in ("instructions", "model_id", "collection_ids")
        }
        fields["parameters"] = {name: value for name, value in parameters.items() if value is not None}
        assistant.version = before.number + 1
        await self._work.session.flush()
        version = await self._add_version(assistant, fields)
        self._work.record(
            "assistant.updated",
            "assistant",
            assistant.id,
            space_id=assistant.space_id,
            data={"version": version.number},
        )
        return assistant, version

    async def delete(self, assistant_id: UUID) -> None:
        """Delete an assistant. Conversations with it stay readable to their owners."""
        assistant, _ = await self.get(assistant_id, Access.EDIT)
        self._work.record("assistant.deleted", "assistant", assistant.id, space_id=assistant.space_id)
        await self._work.session.execute(delete(Assistant).where(Assistant.id == assistant.id))

    async def versions(self, assistant_id: UUID, limit: int) -> Sequence[AssistantVersion]:
        """The versions of an assistant, newest first."""
        await self.get(assistant_id, Access.READ)
        query = select(AssistantVersion).where(AssistantVersion.assistant_id == assistant_id)
        return (await self._work.session.scalars(query.order_by(AssistantVersion.number.desc()).limit(limit))).all()

    async def _add_version(self, assistant: Assistant, fields: dict[str, Any]) -> AssistantVersion:
        if fields["model_id"] is not None:
            await ModelService(self._work).usable(fields["model_id"], kind="chat")
        await CollectionService(self._work).check_in_space(fields["collection_ids"], assistant.space_id)
        version = AssistantVersion(
            tenant_id=assistant.tenant_id,
            assistant_id=assistant.id,
            number=assistant.version,
            name=assistant.name,
            created_by=self._work.principal.user_id,
            **fields,
        )
        self._work.session.add(version)
        await self._work.session.flush()
        return version
