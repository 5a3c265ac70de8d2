"""Groups: people who are given rights together."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import delete, func, select

from folkmoot.identity.models import User
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.paging import check_match, decode_cursor, encode_cursor, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.people.acting import (
    Acting,
    find_group,
    find_role,
    has_rights,
    lists_of,
    member_of,
    permissions_of_group,
    permissions_of_predefined,
    permissions_of_role,
)
from folkmoot.people.models import Group, GroupMember, RoleGrant
from folkmoot.people.rules import Permissions, may_add, may_give, may_touch, not_oneself
from folkmoot.people.schemas import GroupCreate, GroupEntry, GroupOut, GroupUpdate
from folkmoot.people.service import DIRECTORY_ITEMS, matching, searched


class GroupService:
    """Use cases around groups; each checks that nobody raises themself (`rules.py`)."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def page(self, limit: int, cursor: str | None, *, term: str | None) -> tuple[list[GroupOut], str | None]:
        """Groups, newest first."""
        query = select(Group)
        if term and term.strip():
            query = query.where(matching(term, Group.name, Group.description))
        rows, after = await page(self._work.session, query, by=Group.id, limit=limit, cursor=cursor)
        return await self._described(rows), after

    async def get(self, group_id: UUID) -> tuple[GroupOut, int]:
        """A group and its revision. Raises `NotFound`."""
        group = await find_group(self._work, group_id)
        return (await self._described([group]))[0], group.revision

    async def directory(self, term: str) -> list[GroupEntry]:
        """Groups whose name has `term` in it, by name."""
        query = select(Group).where(matching(searched(term), Group.name)).order_by(Group.name, Group.id)
        rows = (await self._work.session.scalars(query.limit(DIRECTORY_ITEMS))).all()
        counts = await self._counts([row.id for row in rows])
        return [
            GroupEntry(id=row.id, name=row.name, description=row.description, member_count=counts.get(row.id, 0))
            for row in rows
        ]

    async def create(self, data: GroupCreate) -> tuple[GroupOut, int]:
        """Raises `Forbidden` (`more-than-you-have`), `Conflict` (`already-exists`)."""
        acting = await Acting.begin(self._work)
        may_give(acting.permissions, permissions_of_predefined(data.role), f"the role {data.role!r}")
        await self._check_free(data.name)
        group = Group(
            tenant_id=self._work.principal.tenant, name=data.name, description=data.description, role=data.role
        )
        self._work.session.add(group)
        await self._work.session.flush()
        self._work.record("group.created", "group", group.id, data={"name": group.name, "role": group.role})
        return await self.get(group.id)

    async def update(self, group_id: UUID, data: GroupUpdate, if_match: str | None) -> tuple[GroupOut, int]:
        """Change name, description or role. Raises `Forbidden`, `Conflict` (`already-exists`), `Stale`."""
        acting = await Acting.begin(self._work)
        group = await find_group(self._work, group_id)
        check_match(if_match, group.revision)
        before = await permissions_of_group(self._work, group)
        may_touch(acting.permissions, before, "this group")
        said: dict[str, str | None] = {}
        if data.name is not UNSET and data.name != group.name:
            await self._check_free(data.name)
        if data.role is not UNSET and data.role != group.role:
            said = {"from": group.role, "to": data.role}
            group.role = data.role
            await self._may_change(acting, group, before)
        changed = patch(group, data, leave=("role",))
        if changed or said:
            await self._work.session.flush()
            fields = sorted([*changed, *(["role"] if said else [])])
            self._work.record("group.updated", "group", group.id, data={"fields": fields, **said})
        return await self.get(group.id)

    async def delete(self, group_id: UUID) -> None:
        """Delete a group; what its members had through it, they lose. Raises `Forbidden`."""
        acting = await Acting.begin(self._work)
        group = await find_group(self._work, group_id)
        may_touch(acting.permissions, await permissions_of_group(self._work, group), "this group")
        self._work.record("group.deleted", "group", group.id, data={"name": group.name})
        await self._work.session.execute(delete(Group).where(Group.id == group.id))

    async def members(
        self, group_id: UUID, limit: int, cursor: str | None
    ) -> tuple[list[tuple[GroupMember, User]], str | None]:
        """Who is in a group, the newest first."""
        await find_group(self._work, group_id)
        query = select(GroupMember, User).join(User, User.id == GroupMember.user_id)
        query = query.where(GroupMember.group_id == group_id)
        if cursor is not None:
            query = query.where(GroupMember.id < decode_cursor(cursor))
        found = await self._work.session.execute(query.order_by(GroupMember.id.desc()).limit(limit + 1))
        rows = [(member, user) for member, user in found]
        more = len(rows) > limit
        return rows[:limit], encode_cursor(rows[limit - 1][0].id) if more else None

    async def put_member(self, group_id: UUID, user_id: UUID) -> tuple[GroupMember, User]:
        """Put somebody in; nothing happens if they are in already.

        Raises `Forbidden` (`more-than-you-have`, `cannot-raise-yourself`), `Conflict` (`account-deleted`).
        """
        acting = await Acting.begin(self._work)
        group = await find_group(self._work, group_id)
        user = await acting.person(user_id)
        if member := await member_of(self._work, group.id, user.id):
            return member, user
        if acting.is_self(user.id):
            not_oneself(await has_rights(self._work, group), "place in a group that has rights")
        await acting.over(user)
        may_give(acting.permissions, await permissions_of_group(self._work, group), "this group")
        member = GroupMember(tenant_id=group.tenant_id, group_id=group.id, user_id=user.id)
        self._work.session.add(member)
        await self._work.session.flush()
        self._work.record("group.member_added", "group", group.id, user_id=user.id, data={"user_id": str(user.id)})
        return member, user

    async def remove_member(self, group_id: UUID, user_id: UUID) -> None:
        """Take somebody out. Raises `NotFound`, `Forbidden`, `Conflict` (`managed-by-login-method`)."""
        acting = await Acting.begin(self._work)
        group = await find_group(self._work, group_id)
        user = await acting.person(user_id)
        member = await member_of(self._work, group.id, user.id)
        if member is None:
            raise NotFound("this person is not in the group")
        if acting.is_self(user.id):
            not_oneself(await has_rights(self._work, group), "place in a group that has rights")
        await acting.over(user)
        may_touch(acting.permissions, await permissions_of_group(self._work, group), "this group")
        if member.login_method_id is not None:
            raise Conflict(
                "a login method put this person into the group, and would again at the next sign-in: "
                "take them out there, or change what the login method maps",
                code="managed-by-login-method",
            )
        await self._work.session.delete(member)
        self._work.record("group.member_removed", "group", group.id, user_id=user.id, data={"user_id": str(user.id)})

    async def grant(self, group_id: UUID, role_id: UUID) -> None:
        """Give a custom role to all who are in a group; nothing happens if it has it already."""
        acting = await Acting.begin(self._work)
        group, role = await find_group(self._work, group_id), await find_role(self._work, role_id)
        if await self._grant(group_id, role_id) is not None:
            return
        before = await permissions_of_group(self._work, group)
        self._work.session.add(RoleGrant(tenant_id=group.tenant_id, role_id=role.id, group_id=group.id))
        await self._work.session.flush()
        await self._may_change(acting, group, before)
        self._work.record("role.granted", "role", role.id, data={"group_id": str(group.id)})

    async def revoke(self, group_id: UUID, role_id: UUID) -> None:
        """Take a custom role from a group. Raises `NotFound`, `Forbidden`."""
        acting = await Acting.begin(self._work)
        group, role = await find_group(self._work, group_id), await find_role(self._work, role_id)
        grant = await self._grant(group_id, role_id)
        if grant is None:
            raise NotFound("the group does not have this role")
        may_touch(acting.permissions, permissions_of_role(role), "this role")
        await self._work.session.delete(grant)
        self._work.record("role.revoked", "role", role.id, data={"group_id": str(group.id)})

    async def _may_change(self, acting: Acting, group: Group, before: Permissions) -> None:
        """Ask the rule about what the group has become within this transaction."""
        await self._work.session.flush()
        may_add(
            acting.permissions,
            acting.own_role,
            before,
            await permissions_of_group(self._work, group),
            "this group",
            holds=await acting.holds_group(group.id),
        )

    async def _grant(self, group_id: UUID, role_id: UUID) -> RoleGrant | None:
        return await self._work.session.scalar(
            select(RoleGrant).where(RoleGrant.group_id == group_id, RoleGrant.role_id == role_id)
        )

    async def _check_free(self, name: str) -> None:
        if await self._work.session.scalar(select(Group.id).where(Group.name == name)) is not None:
            raise Conflict(f"there is a group named {name!r} already: choose another name", code="already-exists")

    async def _counts(self, ids: Sequence[UUID]) -> dict[UUID, int]:
        counted = select(GroupMember.group_id, func.count()).where(GroupMember.group_id.in_(ids))
        found = await self._work.session.execute(counted.group_by(GroupMember.group_id))
        return {group_id: count for group_id, count in found}  # noqa: C416 - rows are no pairs to the type checker

    async def _described(self, groups: Sequence[Group]) -> list[GroupOut]:
        ids = [group.id for group in groups]
        roles = await lists_of(self._work, RoleGrant.role_id, RoleGrant.group_id, ids)
        counts = await self._counts(ids)
        return [GroupOut.of(group, roles[group.id], counts.get(group.id, 0)) for group in groups]
