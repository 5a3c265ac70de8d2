"""Custom roles, and who is given them by themself; groups are given theirs in `groups.py`."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from itertools import pairwise
from typing import cast
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import delete, select

from folkmoot.kit.access import ROLES, Permission
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.paging import check_match, decode_cursor, encode_cursor, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.people.acting import Acting, find_role, permissions_of_role
from folkmoot.people.models import Role, RoleGrant
from folkmoot.people.rules import may_add, may_give, may_touch, not_oneself
from folkmoot.people.schemas import RoleCreate, RoleOut, RoleUpdate

TOP = 2**128 - 1
"""Where cursors of predefined roles begin, downwards; no UUIDv7 is there for thousands of years."""


@cache
def meanings() -> dict[Permission, str]:
    """What each permission opens, as the matrix itself says it in the note under each."""
    body = cast("ast.ClassDef", ast.parse(inspect.getsource(Permission)).body[0]).body
    found: dict[Permission, str] = {}
    for before, after in pairwise(body):
        match before, after:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(note))):
                found[Permission[name]] = note
            case _:
                pass
    return found


class RoleService:
    """Use cases around custom roles; each checks that nobody raises themself (`rules.py`)."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def page(self, limit: int, cursor: str | None) -> tuple[list[RoleOut], str | None]:
        """Predefined roles, lowest first, then custom ones, newest first."""
        start, custom_cursor = 0, cursor
        if cursor is not None and (place := TOP - decode_cursor(cursor).int) < len(ROLES):
            start, custom_cursor = place + 1, None
        elif cursor is not None:
            start = len(ROLES)
        items = [RoleOut.of_predefined(*one) for one in list(ROLES.items())[start : start + limit]]
        if len(items) < limit:
            left = limit - len(items)
            rows, after = await page(self._work.session, select(Role), by=Role.id, limit=left, cursor=custom_cursor)
            return [*items, *(RoleOut.of(row) for row in rows)], after
        end = start + limit
        more = end < len(ROLES) or await self._work.session.scalar(select(Role.id).limit(1)) is not None
        return items, encode_cursor(UUID(int=TOP - end + 1)) if more else None

    async def get(self, role_id: UUID) -> Role:
        """Raises `NotFound`."""
        return await find_role(self._work, role_id)

    async def create(self, data: RoleCreate) -> Role:
        """Raises `Forbidden` (`more-than-you-have`), `Conflict` (`already-exists`)."""
        acting = await Acting.begin(self._work)
        await self._check_free(data.name)
        role = Role(
            tenant_id=self._work.principal.tenant,
            name=data.name,
            description=data.description,
            permissions=sorted(set(data.permissions)),
        )
        may_give(acting.permissions, permissions_of_role(role), "this role")
        self._work.session.add(role)
        await self._work.session.flush()
        said = {"name": role.name, "permissions": role.permissions}
        self._work.record("role.created", "role", role.id, data=said)
        return role

    async def update(self, role_id: UUID, data: RoleUpdate, if_match: str | None) -> Role:
        """Change a role, for everybody who has it. Raises `Forbidden`, `Conflict` (`already-exists`), `Stale`."""
        acting = await Acting.begin(self._work)
        role = await find_role(self._work, role_id)
        check_match(if_match, role.revision)
        if data.name is not UNSET and data.name != role.name:
            await self._check_free(data.name)
        said: dict[str, list[str]] = {}
        if data.permissions is not UNSET and set(data.permissions) != set(role.permissions):
            was, before = set(role.permissions), permissions_of_role(role)
            role.permissions = sorted(set(data.permissions))
            holds = await acting.holds_role(role.id)
            after = permissions_of_role(role)
            may_add(acting.permissions, acting.own_role, before, after, "this role", holds=holds)
            said = {"added": sorted(set(role.permissions) - was), "removed": sorted(was - set(role.permissions))}
        else:
            may_touch(acting.permissions, permissions_of_role(role), "this role")
        changed = patch(role, data, leave=("permissions",))
        if changed or said:
            await self._work.session.flush()
            fields = sorted([*changed, *(["permissions"] if said else [])])
            self._work.record("role.updated", "role", role.id, data={"fields": fields, **said})
        return role

    async def delete(self, role_id: UUID) -> None:
        """Delete a role; who has it loses it. Raises `Forbidden`."""
        acting = await Acting.begin(self._work)
        role = await find_role(self._work, role_id)
        may_touch(acting.permissions, permissions_of_role(role), "this role")
        self._work.record("role.deleted", "role", role.id, data={"name": role.name})
        await self._work.session.execute(delete(Role).where(Role.id == role.id))

    async def grant(self, user_id: UUID, role_id: UUID) -> None:
        """Give a custom role to somebody; nothing happens if they have it already."""
        acting = await Acting.begin(self._work)
        role = await find_role(self._work, role_id)
        user = await acting.person(user_id)
        not_oneself(acting.is_self(user.id), "roles")
        await acting.over(user)
        may_give(acting.permissions, permissions_of_role(role), "this role")
        if await self._grant(user_id, role_id) is not None:
            return
        self._work.session.add(RoleGrant(tenant_id=user.tenant_id, role_id=role.id, user_id=user.id))
        self._work.record("role.granted", "role", role.id, user_id=user.id, data={"user_id": str(user.id)})

    async def revoke(self, user_id: UUID, role_id: UUID) -> None:
        """Take a custom role from somebody. Raises `NotFound`, `Forbidden`."""
        acting = await Acting.begin(self._work)
        role = await find_role(self._work, role_id)
        user = await acting.person(user_id)
        not_oneself(acting.is_self(user.id), "roles")
        await acting.over(user)
        grant = await self._grant(user_id, role_id)
        if grant is None:
            raise NotFound("this person does not have the role by themself")
        await self._work.session.delete(grant)
        self._work.record("role.revoked", "role", role.id, user_id=user.id, data={"user_id": str(user.id)})

    async def _grant(self, user_id: UUID, role_id: UUID) -> RoleGrant | None:
        return await self._work.session.scalar(
            select(RoleGrant).where(RoleGrant.user_id == user_id, RoleGrant.role_id == role_id)
        )

    async def _check_free(self, name: str) -> None:
        taken = name.casefold() in ROLES or await self._work.session.scalar(select(Role.id).where(Role.name == name))
        if taken:
            raise Conflict(f"there is a role named {name!r} already: choose another name", code="already-exists")
