"""Leaving: an account is deleted at once and kept by its id; what is personal in it can be erased later.

Tables of the layers above are named here by their names: what lies in a personal space, or hangs on a key, goes
or stays by foreign keys, and no layer has to ask the ones above it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from sqlalchemy import TextClause, delete, select, text

from folkmoot.identity import second_factor
from folkmoot.identity.models import Link, PlatformAdmin, Session, User
from folkmoot.identity.service import UserService
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict
from folkmoot.kit.work import Work
from folkmoot.people.acting import Acting, find_person
from folkmoot.people.models import GroupMember, RoleGrant
from folkmoot.people.rules import not_oneself
from folkmoot.people.service import PeopleService

KEYS_REVOKED = text(
    "UPDATE api_keys SET revoked_at = now(), updated_at = now(), revision = revision + 1"
    " WHERE user_id = :person AND revoked_at IS NULL RETURNING id"
)
SPACES_LEFT = text(
    "DELETE FROM space_members WHERE user_id = :person"
    " AND space_id NOT IN (SELECT id FROM spaces WHERE owner_id = :person) RETURNING space_id"
)
PERSONAL_SPACE = text("DELETE FROM spaces WHERE owner_id = :person RETURNING id")
ERASED = (
    # Nobody else could ever read these.
    "DELETE FROM conversations WHERE user_id = :person",
    "DELETE FROM external_accounts WHERE user_id = :person",
    "DELETE FROM key_addresses WHERE key_id IN (SELECT id FROM api_keys WHERE user_id = :person)",
    "UPDATE api_keys SET name = '', last_used_from = '', addresses = '{}' WHERE user_id = :person",
)


async def delete_person(work: Work, app: App, user_id: UUID) -> None:
    """End an account: it opens nothing from now on, and its e-mail is free for a new one.

    Raises `Forbidden` (`more-than-you-have`, `cannot-raise-yourself`), `Conflict` (`last-owner`,
    `account-deleted`, `administers-platform`).
    """
    acting = await Acting.begin(work)
    user = await acting.person(user_id)
    await PeopleService(work, app).may_unseat(acting, user, stays=False)
    not_oneself(acting.is_self(user.id), "account")
    await acting.over(user)
    if await work.session.scalar(select(PlatformAdmin.id).where(PlatformAdmin.user_id == user.id)) is not None:
        raise Conflict(
            "this person administers the installation: that must be taken from them first", code="administers-platform"
        )
    users = UserService(work)
    await users.end_sessions(user)
    await users.void_links(user)
    second_factor.remove(work, user)
    user.password_hash, user.state, user.deleted_at = None, "deleted", datetime.now(UTC)
    await work.session.flush()
    await work.session.execute(delete(GroupMember).where(GroupMember.user_id == user.id))
    await work.session.execute(delete(RoleGrant).where(RoleGrant.user_id == user.id))
    work.record("user.deleted", "user", user.id, user_id=user.id)
    for key_id in await _ids(work, KEYS_REVOKED, user.id):
        work.record("key.revoked", "api_key", key_id, user_id=user.id, data={"reason": "user-deleted"})
    for space_id in await _ids(work, SPACES_LEFT, user.id):
        work.record("space.member_removed", "space", space_id, space_id=space_id, data={"user_id": str(user.id)})
    for space_id in await _ids(work, PERSONAL_SPACE, user.id):
        work.record("space.deleted", "space", space_id, data={"kind": "personal", "reason": "user-deleted"})


async def erase_person(work: Work, user_id: UUID) -> None:
    """Remove what is personal in a deleted account. The log goes on naming it by its id alone.

    Nothing happens the second time. Raises `Conflict` (`not-deleted`).
    """
    acting = await Acting.begin(work)
    user = await find_person(work, user_id, lock=True)
    await acting.over(user)
    if user.state != "deleted":
        raise Conflict("this account is not deleted: delete it first", code="not-deleted")
    if user.erased_at is not None:
        return
    user.email, user.name, user.erased_at = placeholder(user), "", datetime.now(UTC)
    await work.session.flush()
    await work.session.execute(delete(Session).where(Session.user_id == user.id))
    await work.session.execute(delete(Link).where(Link.user_id == user.id))
    for statement in ERASED:
        await work.session.execute(text(statement), {"person": user.id})
    work.record("user.erased", "user", user.id)


def placeholder(user: User) -> str:
    """What stands where the e-mail stood; `.invalid` is nobody's domain (RFC 2606, 2)."""
    return f"{user.id}@erased.invalid"


async def _ids(work: Work, statement: TextClause, user_id: UUID) -> list[UUID]:
    found = await work.session.scalars(statement, {"person": user_id})
    return cast("list[UUID]", list(found.all()))
