"""Spaces: the door that everything in a space is reached through."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from msgspec import UNSET
from sqlalchemy import ColumnElement, CompoundSelect, String, delete, func, select, text, union_all
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import aliased

from folkmoot.classification.service import DataClassService, at_least
from folkmoot.kit.access import Access, Permission, SpaceKind, SpaceRole, highest, roles_with, space_access
from folkmoot.kit.errors import Forbidden, NotFound
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.people.models import GroupMember
from folkmoot.spaces.models import Space, SpaceMember
from folkmoot.spaces.schemas import SpaceCreate, SpaceUpdate


class _Spaces(SQLAlchemyAsyncRepository[Space]):
    model_type = Space


def spaces_of(user_id: Any, roles: Collection[str] | None = None) -> CompoundSelect[UUID]:
    """The ids of the spaces that a person is in by themself or through a group, as a sub-query.

    `user_id` may be a parameter yet to be bound. With `roles`, only memberships with one of them count.
    """
    direct = select(SpaceMember.space_id).where(SpaceMember.user_id == user_id)
    both = (direct, _through_groups(SpaceMember.space_id, user_id))
    if roles is not None:
        both = tuple(query.where(SpaceMember.role.in_(sorted(roles))) for query in both)
    return union_all(*both)


def roles_in(space_id: Any, user_id: Any) -> ColumnElement[Sequence[str]]:
    """The roles that a person has in the space of an outer row, as one array for `SpaceService.check`.

    Each branch is one look into an index, so it may stand in what every question asks.
    """
    direct = select(SpaceMember.role).where(SpaceMember.user_id == user_id)
    both = (
        query.where(SpaceMember.space_id == space_id).correlate_except(SpaceMember, GroupMember)
        for query in (direct, _through_groups(SpaceMember.role, user_id))
    )
    return func.array(union_all(*both).scalar_subquery(), type_=ARRAY(String))


def _through_groups(column: Any, user_id: Any) -> Any:
    return (
        select(column)
        .join(GroupMember, GroupMember.group_id == SpaceMember.group_id)
        .where(GroupMember.user_id == user_id)
    )


class SpaceService:
    """Use cases around spaces. Who is in one: `members.py`."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._spaces = _Spaces(session=work.session)

    async def get(self, space_id: UUID, access: Access) -> tuple[Space, SpaceRole]:
        """A space that the caller may use so, and the caller's role there.

        Raises `NotFound` for a space that the caller is not in, `Forbidden` for a member who may not do this.
        """
        row = (
            await self._work.session.execute(
                select(Space, roles_in(Space.id, self._work.principal.user)).where(Space.id == space_id)
            )
        ).first()
        if row is None:
            raise NotFound("there is no such space, or you are not in it")
        return row[0], self.check(row[0].kind, row[1], access, "space")

    def role(self, kind: str, roles: Iterable[str]) -> SpaceRole | None:
        """The caller's role in a space of `kind`, from `roles_in`; None for somebody who is not in it.

        Nobody is put into the organisation space: the permissions of this moment decide, so it cannot go stale.
        """
        if kind != SpaceKind.ORGANISATION:
            return highest(roles)
        has = self._work.principal.permissions
        if Permission.COMMONS in has:
            return SpaceRole.ADMIN
        return SpaceRole.VIEWER if Permission.SPACES in has else None

    def check(self, kind: str, roles: Iterable[str], access: Access, thing: str) -> SpaceRole:
        """The caller's role, if it allows `access` to a `thing` in such a space; else `NotFound` or `Forbidden`."""
        role = self.role(kind, roles)
        granted = space_access(kind, role) if role else frozenset[Access]()
        if role is None or Access.READ not in granted:
            raise NotFound(f"there is no such {thing}, or you are not in its space")
        if access not in granted:
            raise Forbidden(_refusal(kind, role, access))
        return role

    def mine(self) -> CompoundSelect[UUID]:
        """The ids of the spaces that the caller is in, as a sub-query.

        With the organisation space for its admins alone: everybody else uses it, and is not told of each change.
        """
        own = spaces_of(self._work.principal.user)
        if Permission.COMMONS not in self._work.principal.permissions:
            return own
        common = aliased(Space)
        return union_all(*own.selects, select(common.id).where(common.kind == SpaceKind.ORGANISATION))

    def drafting(self) -> CompoundSelect[UUID]:
        """The ids of the caller's spaces where assistants that are not published are theirs to see."""
        return spaces_of(self._work.principal.user, roles_with(Access.DRAFTS))

    async def page(self, limit: int, cursor: str | None) -> tuple[Sequence[Space], dict[UUID, SpaceRole], str | None]:
        """The caller's spaces, newest first, with the caller's role in each."""
        rows, after = await page(
            self._work.session, select(Space).where(Space.id.in_(self.mine())), by=Space.id, limit=limit, cursor=cursor
        )
        found = await self._work.session.execute(
            select(Space.id, Space.kind, roles_in(Space.id, self._work.principal.user)).where(
                Space.id.in_([row.id for row in rows])
            )
        )
        return rows, {space_id: self.check(kind, known, Access.READ, "space") for space_id, kind, known in found}, after

    async def create(self, data: SpaceCreate) -> Space:
        """Open a shared space; the caller is its admin."""
        who = self._work.principal
        if data.data_class_id is not None:
            await self._check_class(data.data_class_id, None)
        space = await self._spaces.add(
            Space(tenant_id=who.tenant, name=data.name, description=data.description, data_class_id=data.data_class_id)
        )
        self._work.session.add(
            SpaceMember(tenant_id=who.tenant, space_id=space.id, user_id=who.user, role=SpaceRole.ADMIN)
        )
        self._work.record("space.created", "space", space.id, space_id=space.id, data={"name": space.name})
        return space

    async def personal(self) -> tuple[Space, SpaceRole]:
        """The caller's personal space, made on first use."""
        user_id = self._work.principal.user
        space = await self._only(Space.owner_id == user_id)
        if space is None:
            # Not named after its owner: that name may change, and must go when the account is erased.
            made = await self._make_once(
                {"name": "Personal", "kind": SpaceKind.PERSONAL, "owner_id": user_id}, index_elements=[Space.owner_id]
            )
            if made is not None:
                self._work.session.add(
                    SpaceMember(
                        tenant_id=self._work.principal.tenant, space_id=made, user_id=user_id, role=SpaceRole.OWNER
                    )
                )
            space = await self._only(Space.owner_id == user_id)
        assert space is not None
        return space, SpaceRole.OWNER

    async def organisation(self) -> tuple[Space, SpaceRole]:
        """The organisation space, made on first use."""
        if await self._only(Space.kind == SpaceKind.ORGANISATION) is None:
            await self._make_once(
                {"name": "Organisation", "kind": SpaceKind.ORGANISATION},
                index_elements=[Space.tenant_id],
                index_where=text("kind = 'organisation'"),
            )
        space = await self._only(Space.kind == SpaceKind.ORGANISATION)
        assert space is not None
        return space, self.check(space.kind, (), Access.READ, "space")

    async def update(self, space_id: UUID, data: SpaceUpdate, if_match: str | None) -> tuple[Space, SpaceRole]:
        """Change name or description. Raises `Stale` if `if_match` is of an older revision."""
        space, role = await self.get(space_id, Access.MANAGE)
        check_match(if_match, space.revision)
        if data.data_class_id not in (UNSET, space.data_class_id):
            await self._check_class(None if data.data_class_id is UNSET else data.data_class_id, space.data_class_id)
        if changed := patch(space, data):
            await self._work.session.flush()
            told = {"data_class_id": str(space.data_class_id)} if "data_class_id" in changed else {}
            self._work.record("space.updated", "space", space.id, space_id=space.id, data={"fields": changed, **told})
        return space, role

    async def delete(self, space_id: UUID) -> None:
        """Delete a space with all that lies in it. Its files are removed by the sweep."""
        space, _ = await self.get(space_id, Access.MANAGE)
        members = await self._work.session.execute(
            select(SpaceMember.user_id, SpaceMember.group_id).where(SpaceMember.space_id == space.id)
        )
        rows = members.all()
        self._work.record(
            "space.deleted",
            "space",
            space.id,
            space_id=space.id,
            data={
                "name": space.name,
                # Who was in it is told; afterwards nothing else says who that was.
                "users": [str(row.user_id) for row in rows if row.user_id],
                "groups": [str(row.group_id) for row in rows if row.group_id],
            },
        )
        await self._work.session.execute(delete(Space).where(Space.id == space.id))

    async def _check_class(self, new: UUID | None, old: UUID | None) -> None:
        """Who may manage a space may guard its text better; guarding it less is the organisation's to decide."""
        classes = DataClassService(self._work)
        if at_least(await classes.effective(new), await classes.effective(old)):
            return
        if Permission.ADMIN not in self._work.principal.permissions:
            raise Forbidden(
                "this class guards the space's text less than now, which needs the permission 'admin': "
                "ask an administrator of your organisation",
                code="class-lowered",
            )

    async def _only(self, condition: ColumnElement[bool]) -> Space | None:
        return await self._work.session.scalar(select(Space).where(condition))

    async def _make_once(self, values: dict[str, Any], **index: Any) -> UUID | None:
        """The id of a new space, or None if somebody else made it at the same moment."""
        values["tenant_id"] = self._work.principal.tenant
        made = await self._work.session.scalar(
            insert(Space).values(values).on_conflict_do_nothing(**index).returning(Space.id)
        )
        if made is not None:
            data = {"name": values["name"], "kind": values["kind"]}
            self._work.record("space.created", "space", made, space_id=made, data=data)
        return made


def _refusal(kind: str, role: SpaceRole, access: Access) -> str:
    if kind == SpaceKind.PERSONAL:
        return (
            "this is a personal space, which is not renamed, shared or deleted, and nothing in it is published: "
            "open a shared space for that"
        )
    if kind == SpaceKind.ORGANISATION:
        return (
            f"you are {role.value} in the organisation space, and {access.value!r} is not for you there: "
            f"its admins are the people with the permission {Permission.COMMONS.value!r}"
        )
    return f"you are {role.value} in this space, and this needs more: ask one of its admins"
