"""Spaces: the door that everything in a space is reached through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import Select, delete, func, select

from folkmoot.identity.models import User
from folkmoot.kit.access import Access, SpaceRole, space_access
from folkmoot.kit.errors import Conflict, Forbidden, NotFound
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.spaces.models import Space, SpaceMember
from folkmoot.spaces.schemas import SpaceCreate, SpaceUpdate


class _Spaces(SQLAlchemyAsyncRepository[Space]):
    model_type = Space


def spaces_of(user_id: Any) -> Select[UUID]:
    """The ids of the spaces that a person is in, as a sub-query; `user_id` may be a parameter yet to be bound."""
    return select(SpaceMember.space_id).where(SpaceMember.user_id == user_id)


class SpaceService:
    """Use cases around spaces."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._spaces = _Spaces(session=work.session)

    async def get(self, space_id: UUID, access: Access) -> tuple[Space, SpaceRole]:
        """A space that the caller may use so, and the caller's role there.

        Raises `NotFound` for a space that the caller is not in, `Forbidden` for a member who may not do this.
        """
        row = (
            await self._work.session.execute(
                select(Space, SpaceMember.role)
                .join(SpaceMember, SpaceMember.space_id == Space.id)
                .where(Space.id == space_id, SpaceMember.user_id == self._work.principal.user)
            )
        ).first()
        if row is None:
            raise NotFound("there is no such space, or you are not in it")
        role = SpaceRole(row[1])
        if access not in space_access(row[0].kind, role):
            raise Forbidden(f"you are {role.value} in this space, and this needs more: ask one of its admins")
        return row[0], role

    def mine(self) -> Select[UUID]:
        """The ids of the spaces that the caller is in, as a sub-query."""
        return spaces_of(self._work.principal.user)

    async def page(self, limit: int, cursor: str | None) -> tuple[Sequence[Space], dict[UUID, SpaceRole], str | None]:
        """The caller's spaces, newest first, with the caller's role in each."""
        rows, after = await page(
            self._work.session, select(Space).where(Space.id.in_(self.mine())), by=Space.id, limit=limit, cursor=cursor
        )
        found = await self._work.session.execute(
            select(SpaceMember.space_id, SpaceMember.role).where(
                SpaceMember.user_id == self._work.principal.user, SpaceMember.space_id.in_([row.id for row in rows])
            )
        )
        return rows, {space_id: SpaceRole(role) for space_id, role in found}, after

    async def create(self, data: SpaceCreate) -> Space:
        """Open a space; the caller is its admin."""
        who = self._work.principal
        space = await self._spaces.add(Space(tenant_id=who.tenant, name=data.name, description=data.description))
        self._work.session.add(
            SpaceMember(tenant_id=who.tenant, space_id=space.id, user_id=who.user, role=SpaceRole.ADMIN)
        )
        self._work.record("space.created", "space", space.id, space_id=space.id, data={"name": space.name})
        return space

    async def update(self, space_id: UUID, data: SpaceUpdate, if_match: str | None) -> tuple[Space, SpaceRole]:
        """Change name or description. Raises `Stale` if `if_match` is of an older revision."""
        space, role = await self.get(space_id, Access.MANAGE)
        check_match(if_match, space.revision)
        if changed := patch(space, data):
            await self._work.session.flush()
            self._work.record("space.updated", "space", space.id, space_id=space.id, data={"fields": changed})
        return space, role

    async def delete(self, space_id: UUID) -> None:
        """Delete a space with all that lies in it. Its files are removed by the sweep."""
        space, _ = await self.get(space_id, Access.MANAGE)
        self._work.record("space.deleted", "space", space.id, data={"name": space.name})
        await self._work.session.execute(delete(Space).where(Space.id == space.id))

    async def members(self, space_id: UUID) -> Sequence[SpaceMember]:
        """Who is in a space, in the order of joining."""
        await self.get(space_id, Access.READ)
        query = select(SpaceMember).where(SpaceMember.space_id == space_id).order_by(SpaceMember.id)
        return (await self._work.session.scalars(query)).all()

    async def put_member(self, space_id: UUID, user_id: UUID, role: SpaceRole) -> SpaceMember:
        """Let somebody in, or change their role. Raises `Conflict` rather than leave a space without admin."""
        await self.get(space_id, Access.MANAGE)
        if await self._work.session.get(User, user_id) is None:
            raise NotFound("there is no such person in this organisation")
        member = await self._find(space_id, user_id)
        if member is None:
            member = SpaceMember(tenant_id=self._work.principal.tenant, space_id=space_id, user_id=user_id, role=role)
            self._work.session.add(member)
            await self._work.session.flush()
        elif member.role != role:
            if member.role == SpaceRole.ADMIN:
                await self._another_admin(space_id, user_id)
            member.role = role
        self._work.record(
            "space.member_put", "space", space_id, space_id=space_id, data={"user_id": str(user_id), "role": role}
        )
        return member

    async def remove_member(self, space_id: UUID, user_id: UUID) -> None:
        """Take somebody out; anybody may leave by themself. Raises `Conflict` for the last admin."""
        own = user_id == self._work.principal.user
        await self.get(space_id, Access.READ if own else Access.MANAGE)
        member = await self._find(space_id, user_id)
        if member is None:
            raise NotFound("this person is not in the space")
        if member.role == SpaceRole.ADMIN:
            await self._another_admin(space_id, user_id)
        await self._work.session.delete(member)
        self._work.record("space.member_removed", "space", space_id, space_id=space_id, data={"user_id": str(user_id)})

    async def _find(self, space_id: UUID, user_id: UUID) -> SpaceMember | None:
        return await self._work.session.scalar(
            select(SpaceMember).where(SpaceMember.space_id == space_id, SpaceMember.user_id == user_id)
        )

    async def _another_admin(self, space_id: UUID, user_id: UUID) -> None:
        # Locks the space, so that two admins cannot remove each other at the same moment.
        await self._work.session.execute(select(Space.id).where(Space.id == space_id).with_for_update())
        others = await self._work.session.scalar(
            select(func.count())
            .select_from(SpaceMember)
            .where(
                SpaceMember.space_id == space_id,
                SpaceMember.role == SpaceRole.ADMIN,
                SpaceMember.user_id != user_id,
            )
        )
        if not others:
            raise Conflict("this is the last admin of the space: make somebody else admin first", code="last-admin")
