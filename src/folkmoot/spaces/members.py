"""Who is in a space: people, and groups, whose members are in it through them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select

from folkmoot.identity.models import User
from folkmoot.kit.access import Access, SpaceKind, SpaceRole
from folkmoot.kit.errors import Conflict, Forbidden, NotFound
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.people.models import Group
from folkmoot.spaces.models import Space, SpaceMember
from folkmoot.spaces.orphans import Orphans
from folkmoot.spaces.schemas import MemberOut
from folkmoot.spaces.service import SpaceService


class MemberService:
    """Use cases around the people and groups in spaces."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._spaces = SpaceService(work)

    async def page(self, space_id: UUID, limit: int, cursor: str | None) -> tuple[list[MemberOut], str | None]:
        """Who is in a space, in the order of joining; deleted accounts are left out."""
        await self._spaces.get(space_id, Access.READ)
        deleted = select(User.id).where(User.id == SpaceMember.user_id, User.state == "deleted").exists()
        query = select(SpaceMember).where(SpaceMember.space_id == space_id, ~deleted)
        rows, after = await page(
            self._work.session, query, by=SpaceMember.id, limit=limit, cursor=cursor, newest_first=False
        )
        return await self._named(rows), after

    async def put_user(self, space_id: UUID, user_id: UUID, role: str) -> MemberOut:
        """Let somebody in, or change their role. Raises `Conflict` rather than leave a space without admin.

        Who administers the organisation may so appoint an admin of a space that has none (`orphans.py`).
        """
        if await Orphans(self._work).hold(space_id):
            return MemberOut.of(*await self._appoint(space_id, user_id, role))
        await self._open(space_id, Access.MANAGE)
        user = await self._work.session.get(User, user_id)
        if user is None or user.state not in ("invited", "active"):
            raise NotFound("there is no such person in this organisation, or their account is not active")
        member = await self._find(space_id, user_id=user_id)
        if member is not None and member.role == SpaceRole.ADMIN != role:
            await self._another_admin(space_id, user_id)
        if member is None or member.role != role:
            member = await self._put(space_id, member, role, user_id=user_id)
            data = {"user_id": str(user_id), "role": role}
            self._work.record("space.member_put", "space", space_id, space_id=space_id, data=data)
        return MemberOut.of(member, user.name, user.email)

    async def put_group(self, space_id: UUID, group_id: UUID, role: str) -> MemberOut:
        """Let a group in, or change its role. Who is in the group has the role as long as they are in it."""
        await self._open(space_id, Access.MANAGE)
        group = await self._work.session.get(Group, group_id)
        if group is None:
            raise NotFound("there is no such group in this organisation")
        member = await self._find(space_id, group_id=group_id)
        if member is None or member.role != role:
            member = await self._put(space_id, member, role, group_id=group_id)
            data = {"group_id": str(group_id), "role": role}
            self._work.record("space.group_put", "space", space_id, space_id=space_id, data=data)
        return MemberOut.of(member, group.name, None)

    async def remove_user(self, space_id: UUID, user_id: UUID) -> None:
        """Take somebody out; anybody may leave by themself. Raises `Conflict` for the last admin."""
        own = user_id == self._work.principal.user
        await self._open(space_id, Access.READ if own else Access.MANAGE)
        member = await self._find(space_id, user_id=user_id)
        if member is None:
            raise NotFound("this person is not in the space by themself; a group may have let them in")
        if member.role == SpaceRole.ADMIN:
            await self._another_admin(space_id, user_id)
        await self._work.session.delete(member)
        self._work.record("space.member_removed", "space", space_id, space_id=space_id, data={"user_id": str(user_id)})

    async def remove_group(self, space_id: UUID, group_id: UUID) -> None:
        """Take a group out, and with it those who are in the space through it alone."""
        await self._open(space_id, Access.MANAGE)
        member = await self._find(space_id, group_id=group_id)
        if member is None:
            raise NotFound("this group is not in the space")
        await self._work.session.delete(member)
        self._work.record("space.group_removed", "space", space_id, space_id=space_id, data={"group_id": str(group_id)})

    async def _appoint(self, space_id: UUID, user_id: UUID, role: str) -> tuple[SpaceMember, str, str]:
        user = await Orphans(self._work).successor(user_id, role)
        member = await self._put(space_id, await self._find(space_id, user_id=user_id), role, user_id=user_id)
        self._work.record(
            "space.admin_appointed", "space", space_id, space_id=space_id, data={"user_id": str(user_id), "role": role}
        )
        return member, user.name, user.email

    async def _open(self, space_id: UUID, access: Access) -> None:
        # The lock comes first: what is read after it is true until the end, so that two admins cannot remove
        # each other at the same moment, and nobody manages a space that they were just taken out of.
        held = select(Space.id).where(Space.id == space_id).with_for_update(key_share=True)
        await self._work.session.execute(held)
        space, role = await self._spaces.get(space_id, access)
        if space.kind == SpaceKind.SHARED:
            return
        if space.kind == SpaceKind.PERSONAL:
            await self._spaces.get(space_id, Access.MANAGE)
        raise Forbidden(
            f"you are {role.value} in the organisation space, where nobody is put in or taken out: "
            "everybody may use it, and the people with the permission 'commons' administer it"
        )

    async def _put(
        self,
        space_id: UUID,
        member: SpaceMember | None,
        role: str,
        *,
        user_id: UUID | None = None,
        group_id: UUID | None = None,
    ) -> SpaceMember:
        if member is None:
            member = SpaceMember(
                tenant_id=self._work.principal.tenant, space_id=space_id, user_id=user_id, group_id=group_id, role=role
            )
            self._work.session.add(member)
        member.role = role
        await self._work.session.flush()
        return member

    async def _find(
        self, space_id: UUID, *, user_id: UUID | None = None, group_id: UUID | None = None
    ) -> SpaceMember | None:
        who = SpaceMember.user_id == user_id if user_id else SpaceMember.group_id == group_id
        return await self._work.session.scalar(select(SpaceMember).where(SpaceMember.space_id == space_id, who))

    async def _another_admin(self, space_id: UUID, user_id: UUID) -> None:
        # Groups do not count, since they may be emptied elsewhere; nor does somebody who cannot sign in.
        others = await self._work.session.scalar(
            select(func.count())
            .select_from(SpaceMember)
            .join(User, User.id == SpaceMember.user_id)
            .where(
                SpaceMember.space_id == space_id,
                SpaceMember.role == SpaceRole.ADMIN,
                SpaceMember.user_id != user_id,
                User.state == "active",
            )
        )
        if not others:
            raise Conflict(
                "this is the last person who is admin of the space: make somebody else admin first", code="last-admin"
            )

    async def _named(self, members: Sequence[SpaceMember]) -> list[MemberOut]:
        if not members:
            return []
        rows = await self._work.session.execute(
            select(SpaceMember.id, func.coalesce(User.name, Group.name), User.email)
            .outerjoin(User, User.id == SpaceMember.user_id)
            .outerjoin(Group, Group.id == SpaceMember.group_id)
            .where(SpaceMember.id.in_([member.id for member in members]))
        )
        said = {member_id: (name, email) for member_id, name, email in rows}
        return [MemberOut.of(member, *said[member.id]) for member in members]
