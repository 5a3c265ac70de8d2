"""Who changes rights, and what they and the others hold at this moment.

All changes of rights in one organisation pass one after the other: each takes the organisation's row first and
reads the caller's own rights anew. Somebody who lost them a moment ago does not use them, and no two changes
together come to what neither could do alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from sqlalchemy import select, text

from folkmoot.identity.models import User
from folkmoot.identity.service import UserService
from folkmoot.kit.access import GRANTABLE, ROLES, Permission
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.work import Work
from folkmoot.people.models import Group, GroupMember, Role, RoleGrant
from folkmoot.people.rules import Permissions, may_touch
from folkmoot.tenants.service import TenantService

IN_A_SPACE = text("SELECT EXISTS (SELECT FROM space_members WHERE group_id = :group)")
"""By name: spaces lie above this layer."""


@dataclass
class Acting:
    """The caller within one unit of work that changes rights."""

    work: Work
    user_id: UUID | None
    """None: a command or a job, which may do everything."""
    permissions: Permissions
    own_role: str

    @classmethod
    async def begin(cls, work: Work) -> Acting:
        """Wait for one's turn, and see what one still holds: nothing, for who was shut out meanwhile."""
        await TenantService(work).get(work.principal.tenant, lock=True)
        who = work.principal
        if who.user_id is None:
            return cls(work, None, who.permissions, "owner")
        standing = await UserService(work).standing(who.user_id)
        if standing is None or standing.state != "active" or Permission.PEOPLE not in standing.permissions:
            return cls(work, who.user_id, frozenset(), "")
        return cls(work, who.user_id, who.permissions & standing.permissions, standing.roles[0])

    def is_self(self, user_id: UUID) -> bool:
        return self.user_id == user_id

    async def person(self, user_id: UUID) -> User:
        """Somebody who is not deleted, held until the transaction ends. Raises `NotFound`, `Conflict`."""
        user = await find_person(self.work, user_id, lock=True)
        if user.state == "deleted":
            raise Conflict("this account is deleted: invite the person anew", code="account-deleted")
        return user

    async def over(self, user: User) -> None:
        """Raise `Forbidden` (`more-than-you-have`) if `user` holds a permission that the caller lacks."""
        if not self.is_self(user.id):
            may_touch(self.permissions, await permissions_of_person(self.work, user.id), "this person")

    async def holds_group(self, group_id: UUID) -> bool:
        return self.user_id is not None and await member_of(self.work, group_id, self.user_id) is not None

    async def holds_role(self, role_id: UUID) -> bool:
        """Whether the caller has a custom role, themself or through a group."""
        if self.user_id is None:
            return False
        groups = select(GroupMember.group_id).where(GroupMember.user_id == self.user_id)
        grants = select(RoleGrant.id).where(
            RoleGrant.role_id == role_id, (RoleGrant.user_id == self.user_id) | RoleGrant.group_id.in_(groups)
        )
        return await self.work.session.scalar(grants.limit(1)) is not None


async def find_person(work: Work, user_id: UUID, *, lock: bool = False) -> User:
    """Somebody of this organisation, in whatever state. Raises `NotFound`."""
    user = await work.session.get(User, user_id, with_for_update={"key_share": True} if lock else None)
    if user is None or user.tenant_id != work.principal.tenant:
        raise NotFound("there is no such person in this organisation")
    return user


async def find_group(work: Work, group_id: UUID) -> Group:
    """Raises `NotFound`."""
    group = await work.session.get(Group, group_id)
    if group is None or group.tenant_id != work.principal.tenant:
        raise NotFound("there is no such group in this organisation")
    return group


async def find_role(work: Work, role_id: UUID) -> Role:
    """Raises `NotFound`."""
    role = await work.session.get(Role, role_id)
    if role is None or role.tenant_id != work.principal.tenant:
        raise NotFound("there is no such role in this organisation: the predefined ones are given by their names")
    return role


async def member_of(work: Work, group_id: UUID, user_id: UUID) -> GroupMember | None:
    return await work.session.scalar(
        select(GroupMember).where(GroupMember.group_id == group_id, GroupMember.user_id == user_id)
    )


async def permissions_of_person(work: Work, user_id: UUID) -> Permissions:
    """What somebody may do now, by their own role, groups and grants."""
    standing = await UserService(work).standing(user_id)
    return standing.permissions if standing is not None else frozenset()


def permissions_of_role(role: Role) -> Permissions:
    """What a custom role gives; a permission that is not grantable (any more) gives nothing."""
    return frozenset(permission for permission in GRANTABLE if permission.value in role.permissions)


def permissions_of_predefined(role: str | None) -> Permissions:
    """What a predefined role gives beyond being signed in."""
    return ROLES.get(role or "", frozenset()) - {Permission.SIGNED_IN}


async def permissions_of_group(work: Work, group: Group) -> Permissions:
    """What being in a group gives, by its predefined role and its custom ones."""
    grants = select(RoleGrant.role_id).where(RoleGrant.group_id == group.id)
    roles = await work.session.scalars(select(Role).where(Role.id.in_(grants)))
    found = permissions_of_predefined(group.role)
    return found.union(*(permissions_of_role(role) for role in roles))


async def has_rights(work: Work, group: Group) -> bool:
    """Whether being in a group gives anything: permissions, or a place in a space."""
    if await permissions_of_group(work, group):
        return True
    return bool(await work.session.scalar(IN_A_SPACE, {"group": group.id}))


async def lists_of(work: Work, column: Any, key: Any, ids: list[UUID]) -> dict[UUID, list[UUID]]:
    """For each of `ids` in `key`, the values of `column` beside it, in the order of making."""
    table = key.class_
    found = await work.session.execute(select(key, column).where(key.in_(ids)).order_by(table.id))
    lists: dict[UUID, list[UUID]] = {one: [] for one in ids}
    for one, value in cast("list[tuple[UUID, UUID]]", found.all()):
        lists[one].append(value)
    return lists
