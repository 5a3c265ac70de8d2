"""People, as administrators look after them. Leaving is in `leave.py`, groups and roles in files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from folkmoot.identity import second_factor
from folkmoot.identity.links import Links
from folkmoot.identity.models import Link, User
from folkmoot.identity.service import UserService
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest, Conflict
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.work import Work
from folkmoot.people.acting import (
    Acting,
    find_group,
    find_person,
    find_role,
    lists_of,
    permissions_of_group,
    permissions_of_person,
    permissions_of_predefined,
    permissions_of_role,
)
from folkmoot.people.models import GroupMember, RoleGrant
from folkmoot.people.rules import may_give, may_touch, not_oneself
from folkmoot.people.schemas import LinkState, PersonInvite, PersonOut, PersonUpdate
from folkmoot.tenants.service import check_users_quota

DIRECTORY_ITEMS = 20
SHORTEST_SEARCH = 2


def matching(term: str, *columns: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Rows one of whose `columns` has `term` in it, whatever the case; `%` and `_` are only characters."""
    return or_(*(column.icontains(term.strip(), autoescape=True) for column in columns))


def searched(term: str) -> str:
    """A term to search a directory for. Raises `BadRequest`: nobody pages through everybody this way."""
    term = term.strip()
    if len(term) < SHORTEST_SEARCH or "\x00" in term:
        raise BadRequest(f"give at least {SHORTEST_SEARCH} characters of a name or an e-mail in `q`")
    return term


class PeopleService:
    """Use cases of who administers people; each checks that nobody raises themself (`rules.py`)."""

    def __init__(self, work: Work, app: App) -> None:
        self._work = work
        self._users = UserService(work)
        self._links = Links(app)

    async def page(
        self, limit: int, cursor: str | None, *, state: str | None, term: str | None, group_id: UUID | None
    ) -> tuple[list[PersonOut], str | None]:
        """People, newest first; the deleted ones only if `state` asks for them. Raises `NotFound` for a group."""
        query = select(User).where(User.state == state if state else User.state != "deleted")
        if term and term.strip():
            query = query.where(matching(term, User.name, User.email))
        if group_id is not None:
            await find_group(self._work, group_id)
            query = query.where(User.id.in_(select(GroupMember.user_id).where(GroupMember.group_id == group_id)))
        rows, after = await page(self._work.session, query, by=User.id, limit=limit, cursor=cursor)
        return await self._described(rows), after

    async def get(self, user_id: UUID) -> tuple[PersonOut, int]:
        """Somebody, in whatever state, and the revision. Raises `NotFound`."""
        user = await find_person(self._work, user_id)
        return (await self._described([user]))[0], user.revision

    async def directory(self, term: str) -> Sequence[User]:
        """Active people whose name or e-mail has `term` in it, by name."""
        query = select(User).where(User.state == "active", matching(searched(term), User.name, User.email))
        return (await self._work.session.scalars(query.order_by(User.name, User.id).limit(DIRECTORY_ITEMS))).all()

    async def invite(self, data: PersonInvite) -> tuple[User, Link, str | None]:
        """Add somebody who is let in by a link; with the link's address if it does not go by mail.

        Raises `Forbidden` (`more-than-you-have`), `NotFound` for a group or role, `Conflict` (`already-exists`,
        `quota-users`).
        """
        acting = await Acting.begin(self._work)
        may_give(acting.permissions, permissions_of_predefined(data.role), f"the role {data.role!r}")
        groups = [await find_group(self._work, group_id) for group_id in dict.fromkeys(data.group_ids)]
        roles = [await find_role(self._work, role_id) for role_id in dict.fromkeys(data.role_ids)]
        for group in groups:
            given = await permissions_of_group(self._work, group)
            may_give(acting.permissions, given, f"the group {group.name!r}")
        for role in roles:
            may_give(acting.permissions, permissions_of_role(role), f"the role {role.name!r}")
        await check_users_quota(self._work)
        user = await self._users.create(data.email, None, name=data.name.strip(), role=data.role, state="invited")
        for group in groups:
            self._work.session.add(GroupMember(tenant_id=user.tenant_id, group_id=group.id, user_id=user.id))
            self._work.record("group.member_added", "group", group.id, user_id=user.id, data={"user_id": str(user.id)})
        for role in roles:
            self._work.session.add(RoleGrant(tenant_id=user.tenant_id, role_id=role.id, user_id=user.id))
            self._work.record("role.granted", "role", role.id, user_id=user.id, data={"user_id": str(user.id)})
        link = await self._links.make(self._work, user, "invitation")
        return user, link, self._links.url(link)

    async def update(self, user_id: UUID, data: PersonUpdate, if_match: str | None) -> tuple[PersonOut, int]:
        """Change name, role or state.

        Raises `Forbidden` (`more-than-you-have`, `cannot-raise-yourself`), `Conflict` (`last-owner`,
        `account-deleted`), `Stale`.
        """
        acting = await Acting.begin(self._work)
        user = await acting.person(user_id)
        check_match(if_match, user.revision)
        role = user.role if data.role is UNSET else data.role
        state = user.state if data.state is UNSET else data.state
        if role != user.role or state != user.state:
            await self.may_unseat(acting, user, stays=role == "owner" and state == "active")
            not_oneself(acting.is_self(user.id), "role or state")
        await acting.over(user)
        if role != user.role:
            may_give(acting.permissions, permissions_of_predefined(role), f"the role {role!r}")
            was, user.role = user.role, role
            self._work.record("user.role_changed", "user", user.id, user_id=user.id, data={"from": was, "to": role})
        if data.name is not UNSET and data.name.strip() != user.name:
            user.name = data.name.strip()
            self._work.record("user.updated", "user", user.id, user_id=user.id, data={"fields": ["name"]})
        if state != user.state:
            await self._users.set_state(user, state)
        await self._work.session.flush()
        return (await self._described([user]))[0], user.revision

    async def may_unseat(self, acting: Acting, user: User, *, stays: bool) -> None:
        """Refuse to take away the last owner, before anything else is said to an owner about it."""
        if stays or user.role != "owner":
            return
        # By what the request came with: an owner whom another one demotes this very moment is told of the last
        # owner too, and somebody who never was one is told that this is not theirs to change.
        if not acting.is_self(user.id):
            target = await permissions_of_person(self._work, user.id)
            may_touch(self._work.principal.permissions, target, "this person")
        await self._users.keep_an_owner(user)

    async def invite_again(self, user_id: UUID) -> tuple[Link, str | None]:
        """A new invitation; the one before is no longer good. Raises `Conflict` (`not-invited`)."""
        acting = await Acting.begin(self._work)
        user = await acting.person(user_id)
        await acting.over(user)
        if user.state != "invited":
            raise Conflict(
                f"this person is {user.state}, not invited: a reset lets them set a new password", code="not-invited"
            )
        link = await self._links.make(self._work, user, "invitation")
        return link, self._links.url(link)

    async def reset(self, user_id: UUID) -> tuple[Link, str | None]:
        """A link to set a new password. The old one stays good until the link is used.

        Raises `Conflict` (`account-not-active`), `Forbidden` (`more-than-you-have`, `cannot-raise-yourself`).
        """
        acting = await Acting.begin(self._work)
        user = await acting.person(user_id)
        # Whoever found an open session must not get the account for good.
        not_oneself(acting.is_self(user.id), "password without the old one")
        await acting.over(user)
        if user.state != "active":
            raise Conflict(
                f"this person is {user.state}: "
                + ("invite them again" if user.state == "invited" else "make them active first"),
                code="account-not-active",
            )
        link = await self._links.make(self._work, user, "reset")
        return link, self._links.url(link)

    async def end_sessions(self, user_id: UUID) -> None:
        """Sign somebody out everywhere."""
        acting = await Acting.begin(self._work)
        user = await acting.person(user_id)
        await acting.over(user)
        ended = await self._users.end_sessions(user)
        self._work.record("user.sessions_ended", "user", user.id, user_id=user.id, data={"count": ended})

    async def remove_second_factor(self, user_id: UUID) -> None:
        """For somebody who lost theirs. Nothing happens if there is none."""
        acting = await Acting.begin(self._work)
        user = await acting.person(user_id)
        not_oneself(acting.is_self(user.id), "second factor without a code")
        await acting.over(user)
        if second_factor.remove(self._work, user):
            await self._users.end_sessions(user)

    async def _described(self, users: Sequence[User]) -> list[PersonOut]:
        ids = [user.id for user in users]
        if not ids:
            return []
        standings = await self._users.standings(ids)
        groups = await lists_of(self._work, GroupMember.group_id, GroupMember.user_id, ids)
        roles = await lists_of(self._work, RoleGrant.role_id, RoleGrant.user_id, ids)
        links = await self._work.session.scalars(
            select(Link).where(Link.user_id.in_(ids), Link.used_at.is_(None), Link.expires_at > datetime.now(UTC))
        )
        open_links = {link.user_id: LinkState.of(link) for link in links}
        return [
            PersonOut(
                id=user.id,
                email=user.email,
                name=user.name,
                role=user.role,
                state=user.state,
                roles=sorted(set(standings[user.id].roles)),
                permissions=sorted(standings[user.id].permissions),
                group_ids=groups[user.id],
                role_ids=roles[user.id],
                second_factor=standings[user.id].second_factor,
                link=open_links.get(user.id),
                created_at=user.created_at,
                deleted_at=user.deleted_at,
                erased_at=user.erased_at,
            )
            for user in users
        ]
