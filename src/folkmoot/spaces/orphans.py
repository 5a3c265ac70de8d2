"""Spaces that nobody administers any more, and how one of them gets an admin again.

The last admin of a space cannot leave it, and yet may be shut out or deleted. Nobody is raised in silence then:
who administers the organisation sees that the space is there, by its name alone, and appoints somebody. Never
themself, and never by an API key: shutting an admin out must not be a way into what they looked after.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select

from folkmoot.identity.models import User
from folkmoot.kit.access import Permission, SpaceKind, SpaceRole
from folkmoot.kit.errors import Conflict, Forbidden, NotFound
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.people.models import GroupMember
from folkmoot.spaces.models import Space, SpaceMember


def _orphaned() -> ColumnElement[bool]:
    """Whether nobody who can sign in is admin of the space of an outer row, by themself or through a group."""
    through = select(GroupMember.user_id).where(GroupMember.group_id == SpaceMember.group_id)
    admin = select(SpaceMember.id).where(
        SpaceMember.space_id == Space.id,
        SpaceMember.role == SpaceRole.ADMIN,
        select(User.id)
        .where(User.state == "active", or_(User.id == SpaceMember.user_id, User.id.in_(through)))
        .exists(),
    )
    return (Space.kind == SpaceKind.SHARED) & ~admin.correlate(Space).exists()


class Orphans:
    """Use cases of who administers the organisation."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def page(self, limit: int, cursor: str | None) -> tuple[Sequence[Space], str | None]:
        """The spaces without admin, newest first."""
        self._work.principal.require(Permission.ADMIN)
        return await page(self._work.session, select(Space).where(_orphaned()), by=Space.id, limit=limit, cursor=cursor)

    async def hold(self, space_id: UUID) -> bool:
        """Whether the caller may appoint an admin of the space. Nobody else does so before the transaction ends."""
        who = self._work.principal
        if Permission.ADMIN not in who.permissions or who.key_id is not None:
            return False
        held = select(Space.id).where(Space.id == space_id).with_for_update(key_share=True)
        await self._work.session.execute(held)
        return await self._work.session.scalar(select(Space.id).where(Space.id == space_id, _orphaned())) is not None

    async def successor(self, user_id: UUID, role: str) -> User:
        """Who is to be admin of such a space.

        Raises `Conflict` (`space-without-admin`, `person-not-active`), `Forbidden` (`cannot-raise-yourself`) or
        `NotFound`.
        """
        if role != SpaceRole.ADMIN:
            raise Conflict("this space has no admin: appoint one, who then lets others in", code="space-without-admin")
        if user_id == self._work.principal.user:
            raise Forbidden(
                "nobody makes themself admin of a space that is not theirs: appoint a colleague",
                code="cannot-raise-yourself",
            )
        user = await self._work.session.get(User, user_id)
        if user is None or user.state == "deleted":
            raise NotFound("there is no such person in this organisation")
        if not user.active:
            raise Conflict(
                f"this person is {user.state}, so the space would still have no admin: appoint somebody who is active",
                code="person-not-active",
            )
        return user
