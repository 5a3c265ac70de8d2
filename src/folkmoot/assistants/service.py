"""Assistants. Each save makes an immutable version, so that an answer can name what it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from msgspec import UNSET, UnsetType
from sqlalchemy import and_, bindparam, delete, or_, select

from folkmoot.ai.service import ModelService
from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.assistants.schemas import AssistantCreate, AssistantUpdate
from folkmoot.kit.access import Access, Permission, SpaceKind, SpaceRole, space_access
from folkmoot.kit.errors import Forbidden, NotFound
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.knowledge.service import CollectionService
from folkmoot.spaces.models import Space
from folkmoot.spaces.service import SpaceService, roles_in
from folkmoot.tools.enable import ToolService

VISIBLE = (
    select(Assistant, AssistantVersion, Space.kind, roles_in(Assistant.space_id, bindparam("user")))
    .join(
        AssistantVersion,
        and_(AssistantVersion.assistant_id == Assistant.id, AssistantVersion.number == Assistant.version),
    )
    .join(Space, Space.id == Assistant.space_id)
    .where(Assistant.id == bindparam("assistant"))
)
"""An assistant with its newest version, and what somebody is in its space; built once, every question asks it."""
PARTS = ("instructions", "model_id", "collection_ids", "tool_ids", "builtin_tools")
"""What a version consists of, beside its parameters."""
PARAMETERS = ("temperature", "max_output_tokens", "retrieval")
UNSAID = (None, "auto")
"""Values of parameters that are not kept: they are what is so anyway."""
_NONE = "there is no such assistant, or you are not in its space"


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
        who = self._work.principal
        if who.assistant_id not in (None, assistant_id):
            # The key of an assistant knows of no other.
            raise NotFound(_NONE)
        row = (await self._work.session.execute(VISIBLE, {"assistant": assistant_id, "user": who.user})).first()
        if row is None:
            raise NotFound(_NONE)
        assistant, version, kind, roles = row
        role = self._spaces.check(kind, roles, Access.READ, "assistant")
        if not assistant.published and Access.DRAFTS not in space_access(kind, role):
            raise NotFound(_NONE)
        self._spaces.check(kind, roles, access, "assistant")
        return assistant, version

    async def page(
        self, space_id: UUID, limit: int, cursor: str | None
    ) -> tuple[list[tuple[Assistant, AssistantVersion]], str | None]:
        """The assistants of a space that the caller may see, newest first."""
        space, role = await self._holding(space_id, Access.READ)
        query = select(Assistant).where(Assistant.space_id == space_id)
        if Access.DRAFTS not in space_access(space.kind, role):
            query = query.where(Assistant.published)
        rows, after = await page(self._work.session, query, by=Assistant.id, limit=limit, cursor=cursor)
        versions = await self._work.session.scalars(
            select(AssistantVersion)
            .join(Assistant, Assistant.id == AssistantVersion.assistant_id)
            .where(AssistantVersion.number == Assistant.version, Assistant.id.in_([row.id for row in rows]))
        )
        newest = {version.assistant_id: version for version in versions}
        return [(row, newest[row.id]) for row in rows], after

    async def askable(self, most: int) -> Sequence[tuple[Assistant, str]]:
        """The assistants that the caller may ask, with the name of the space of each, by name; at most so many."""
        query = (
            select(Assistant, Space.name)
            .join(Space, Space.id == Assistant.space_id)
            .where(
                Assistant.space_id.in_(self._spaces.mine()),
                or_(Assistant.published, Assistant.space_id.in_(self._spaces.drafting())),
            )
        )
        only = self._work.principal.assistant_id
        if only is not None:
            # It answers for as long as its maker may still edit it.
            try:
                await self.get(only, Access.EDIT)
            except (NotFound, Forbidden):
                return []
            query = query.where(Assistant.id == only)
        rows = await self._work.session.execute(query.order_by(Assistant.name, Assistant.id).limit(most))
        return [(assistant, space) for assistant, space in rows]

    async def create(self, space_id: UUID, data: AssistantCreate) -> tuple[Assistant, AssistantVersion]:
        """Make an assistant with its first version. Raises `NotFound` for a model or collection it may not use."""
        space, _ = await self._holding(space_id, Access.EDIT)
        if space.kind == SpaceKind.PERSONAL:
            self._work.principal.require(Permission.ASSISTANTS)
        if data.published:
            await self._spaces.get(space_id, Access.PUBLISH)
        await self._check_uses(space_id, data.model_id, data.collection_ids, data.tool_ids)
        assistant = await self._assistants.add(
            Assistant(
                tenant_id=self._work.principal.tenant,
                space_id=space_id,
                name=data.name,
                description=data.description,
                published=data.published,
            )
        )
        version = await self._add_version(
            assistant,
            {
                **{name: getattr(data, name) for name in PARTS},
                "parameters": {name: value for name in PARAMETERS if (value := getattr(data, name)) not in UNSAID},
            },
        )
        self._record("assistant.created", assistant, name=assistant.name)
        return assistant, version

    async def update(
        self, assistant_id: UUID, data: AssistantUpdate, if_match: str | None
    ) -> tuple[Assistant, AssistantVersion]:
        """Save a new version, unless only `published` is given.

        Raises `Stale` if `if_match` is of an older revision.
        """
        assistant, before = await self.get(assistant_id, Access.EDIT)
        if data.published not in (UNSET, assistant.published):
            await self._spaces.get(assistant.space_id, Access.PUBLISH)
        check_match(if_match, assistant.revision)
        if data.published is not UNSET and data == AssistantUpdate(published=data.published):
            await self._show(assistant, data.published)
            return assistant, before
        # One that it has may stay, although somebody has switched it off meanwhile.
        tools = UNSET if data.tool_ids is UNSET else [one for one in data.tool_ids if one not in before.tool_ids]
        await self._check_uses(assistant.space_id, data.model_id, data.collection_ids, tools)
        patch(assistant, data, leave=("published", *PARTS, *PARAMETERS))
        parameters = dict(before.parameters)
        for name in PARAMETERS:
            if (value := getattr(data, name)) is not UNSET:
                parameters[name] = value
        fields: dict[str, Any] = {
            name: getattr(before, name) if (value := getattr(data, name)) is UNSET else value for name in PARTS
        }
        fields["parameters"] = {name: value for name, value in parameters.items() if value not in UNSAID}
        assistant.version = before.number + 1
        await self._work.session.flush()
        version = await self._add_version(assistant, fields)
        self._record("assistant.updated", assistant, version=version.number)
        if data.published is not UNSET:
            await self._show(assistant, data.published)
        return assistant, version

    async def publish(
        self, assistant_id: UUID, published: bool, if_match: str | None
    ) -> tuple[Assistant, AssistantVersion]:
        """Show an assistant to the viewers of its space, or hide it from them; what it does stays as it is."""
        assistant, version = await self.get(assistant_id, Access.PUBLISH)
        check_match(if_match, assistant.revision)
        await self._show(assistant, published)
        return assistant, version

    async def delete(self, assistant_id: UUID) -> None:
        """Delete an assistant. Conversations with it stay readable to their owners."""
        assistant, _ = await self.get(assistant_id, Access.EDIT)
        self._record("assistant.deleted", assistant)
        await self._work.session.execute(delete(Assistant).where(Assistant.id == assistant.id))

    async def set_model(self, assistant: Assistant, before: AssistantVersion, model_id: UUID) -> AssistantVersion:
        """Save a version that differs in its model alone; whoever calls this has checked that it may be done."""
        assistant.version += 1
        version = await self._add_version(
            assistant,
            {
                **{name: getattr(before, name) for name in PARTS},
                "model_id": model_id,
                "parameters": before.parameters,
            },
        )
        self._record("assistant.updated", assistant, version=version.number)
        return version

    async def versions(self, assistant_id: UUID, limit: int) -> Sequence[AssistantVersion]:
        """The versions of an assistant, newest first; not for viewers, who see what is published."""
        await self.get(assistant_id, Access.DRAFTS)
        query = select(AssistantVersion).where(AssistantVersion.assistant_id == assistant_id)
        return (await self._work.session.scalars(query.order_by(AssistantVersion.number.desc()).limit(limit))).all()

    async def _holding(self, space_id: UUID, access: Access) -> tuple[Space, SpaceRole]:
        """A space that may hold assistants."""
        space, role = await self._spaces.get(space_id, Access.READ)
        if space.kind == SpaceKind.ORGANISATION:
            raise NotFound("the organisation space holds no assistants, only collections: make them in another space")
        self._spaces.check(space.kind, (role,), access, "space")
        return space, role

    async def _check_uses(
        self,
        space_id: UUID,
        model_id: UUID | UnsetType | None,
        collection_ids: Sequence[UUID] | UnsetType,
        tool_ids: Sequence[UUID] | UnsetType,
    ) -> None:
        # Only what is chosen now: a collection that was deleted since must not stand in the way of a new name.
        if isinstance(model_id, UUID):
            await ModelService(self._work).choosable(model_id, kind="chat")
        if collection_ids is not UNSET:
            await CollectionService(self._work).check_in_space(collection_ids, space_id)
        if tool_ids is not UNSET:
            await ToolService(self._work).check_in_space(tool_ids, space_id)

    async def _show(self, assistant: Assistant, published: bool) -> None:
        if assistant.published == published:
            return
        assistant.published = published
        await self._work.session.flush()
        if published:
            self._record("assistant.published", assistant, name=assistant.name)
        else:
            self._record("assistant.unpublished", assistant)

    def _record(self, action: str, assistant: Assistant, **data: Any) -> None:
        # Whether viewers may hear of it: the feed goes by what was so when it happened.
        self._work.record(
            action,
            "assistant",
            assistant.id,
            space_id=assistant.space_id,
            data={**data, "published": assistant.published},
        )

    async def _add_version(self, assistant: Assistant, fields: dict[str, Any]) -> AssistantVersion:
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
