"""Making, changing, exchanging and revoking API keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from msgspec import UNSET, UnsetType
from sqlalchemy import select

from folkmoot.keys import allow
from folkmoot.keys.authenticate import Keys
from folkmoot.keys.mint import mint
from folkmoot.keys.models import ApiKey
from folkmoot.keys.rotate import successor
from folkmoot.keys.schemas import KeyCreate, KeyRotate, KeyUpdate, status_of
from folkmoot.kit.access import DEFAULT_SCOPES, Permission, Scope, scope_of
from folkmoot.kit.errors import Conflict, Forbidden, NotFound, ValidationFailed
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work

ASSISTANT_SCOPES = (Scope.CHAT,)


class _Keys(SQLAlchemyAsyncRepository[ApiKey]):
    model_type = ApiKey


class KeyService:
    """Use cases around API keys, for people: no key makes or changes keys."""

    def __init__(self, work: Work, keys: Keys) -> None:
        self._work = work
        self._keys = keys
        self._rows = _Keys(session=work.session)

    async def page(self, limit: int, cursor: str | None, *, everybody: bool) -> tuple[Sequence[ApiKey], str | None]:
        """The caller's keys, newest first; with `everybody`, for administrators, those of the organisation."""
        query = select(ApiKey)
        if everybody:
            self._work.principal.require(Permission.ADMIN)
        else:
            query = query.where(ApiKey.user_id == self._work.principal.user)
        return await page(self._work.session, query, by=ApiKey.id, limit=limit, cursor=cursor)

    async def get(self, key_id: UUID, *, lock: bool = False) -> ApiKey:
        """One of the caller's keys; for administrators, anybody's. Raises `NotFound`."""
        query = select(ApiKey).where(ApiKey.id == key_id)
        if Permission.ADMIN not in self._work.principal.permissions:
            query = query.where(ApiKey.user_id == self._work.principal.user)
        key = await self._work.session.scalar(query.with_for_update() if lock else query)
        if key is None:
            raise NotFound("there is no such API key, or it is not yours")
        return key

    async def create(self, data: KeyCreate) -> tuple[ApiKey, str]:
        """Make a key for the caller, or for an assistant that the caller may edit; with the key itself.

        Raises `Forbidden` (`scope-too-wide`), `ValidationFailed`, and what the assistant's door raises.
        """
        who = self._work.principal
        if data.assistant_id is None:
            scopes = self._scopes(DEFAULT_SCOPES if isinstance(data.scopes, UnsetType) else data.scopes)
            kind = "platform" if Scope.PLATFORM in scopes else "user"
        else:
            if not isinstance(data.scopes, UnsetType) and set(data.scopes) != set(ASSISTANT_SCOPES):
                raise _wrong("scopes", "the key of an assistant has the scope `chat` and no other: leave `scopes` out")
            await self._keys.may_edit(self._work, data.assistant_id)
            scopes, kind = list(ASSISTANT_SCOPES), "assistant"
        _check_expiry(data.expires_at)
        minted = mint(kind)
        key = await self._rows.add(
            ApiKey(
                tenant_id=who.tenant,
                user_id=who.user,
                name=data.name,
                kind=kind,
                assistant_id=data.assistant_id,
                secret_hash=minted.secret_hash,
                hint=minted.hint,
                scopes=[scope.value for scope in scopes],
                addresses=_each("addresses", data.addresses, allow.network),
                origins=_each("origins", data.origins, allow.origin),
                requests_per_minute=data.requests_per_minute,
                tokens_per_month=data.tokens_per_month,
                expires_at=data.expires_at,
            )
        )
        self._record("key.created", key, {"name": key.name, "kind": kind, **_settings(key)})
        return key, minted.key

    async def update(self, key_id: UUID, data: KeyUpdate, if_match: str | None) -> ApiKey:
        """Change what a key may do, within its kind.

        Raises `Stale`, `Conflict` (`key-not-active`), `Forbidden` and `ValidationFailed`.
        """
        key = await self._own(key_id)
        check_match(if_match, key.revision)
        _check_active(key)
        changed = patch(key, data, leave=("scopes", "addresses", "origins", "expires_at"))
        lists: dict[str, list[str]] = {}
        if not isinstance(data.scopes, UnsetType):
            lists["scopes"] = self._changed_scopes(key, data.scopes)
        if not isinstance(data.addresses, UnsetType):
            lists["addresses"] = _each("addresses", data.addresses, allow.network)
        if not isinstance(data.origins, UnsetType):
            lists["origins"] = _each("origins", data.origins, allow.origin)
        for name, value in lists.items():
            if getattr(key, name) != value:
                setattr(key, name, value)
                changed.append(name)
        if data.expires_at is not UNSET and data.expires_at != key.expires_at:
            if key.replaced_by is not None:
                raise Conflict(
                    "this key was replaced and ends with its grace: change the one in `replaced_by`",
                    code="key-not-active",
                )
            _check_expiry(data.expires_at)
            key.expires_at = data.expires_at
            changed.append("expires_at")
        if changed:
            await self._work.session.flush()
            self._record("key.updated", key, {"changed": changed, **_settings(key)})
            self._forget(key)
        return key

    async def rotate(self, key_id: UUID, data: KeyRotate) -> tuple[ApiKey, str]:
        """Make a new key with the same settings; the old one works until the grace ends.

        Raises `Conflict` (`key-not-active`) for a key that has ended or was replaced before.
        """
        old = await self._own(key_id)
        _check_active(old)
        if old.replaced_by is not None:
            raise Conflict(
                "this key was replaced before: rotate the one in `replaced_by`, or revoke this one",
                code="key-not-active",
            )
        if old.assistant_id is not None:
            await self._keys.may_edit(self._work, old.assistant_id)
        else:
            self._scopes([Scope(scope) for scope in old.scopes])
        new, minted = successor(old, data.grace_seconds)
        await self._rows.add(new)
        self._record("key.rotated", old, {"replaced_by": str(new.id), "works_until": old.expires_at, **_settings(new)})
        self._forget(old)
        return new, minted.key

    async def revoke(self, key_id: UUID) -> None:
        """End a key for good; its row stays, for the log. Nothing happens if it was revoked before."""
        key = await self.get(key_id, lock=True)
        if key.revoked_at is None:
            key.revoked_at = datetime.now(UTC)
            await self._work.session.flush()
            self._record("key.revoked", key, {"name": key.name})
            self._forget(key)

    async def _own(self, key_id: UUID) -> ApiKey:
        key = await self.get(key_id, lock=True)
        if key.user_id != self._work.principal.user:
            # Whoever could exchange or widen another's key could act as that person.
            raise Forbidden("this key is somebody else's: an administrator can revoke it, and only its owner change it")
        return key

    def _scopes(self, wanted: Sequence[Scope]) -> list[Scope]:
        """`wanted` in the order of the table, if the caller could ever use each of them."""
        usable = {
            scope_of(permission, method)
            for permission in self._work.principal.permissions
            for method in ("GET", "POST")
        } | {Scope.CHAT}
        for scope in wanted:
            if scope not in usable:
                raise Forbidden(
                    f"you have no permission that the scope {scope.value!r} would open, so a key of yours cannot "
                    "have it: leave it out",
                    code="scope-too-wide",
                )
        return [scope for scope in Scope if scope in wanted]

    def _changed_scopes(self, key: ApiKey, wanted: Sequence[Scope]) -> list[str]:
        if key.kind == "assistant" and set(wanted) != set(ASSISTANT_SCOPES):
            raise _wrong("scopes", "the key of an assistant has the scope `chat` and no other")
        scopes = self._scopes(wanted)
        if key.kind != "assistant" and (Scope.PLATFORM in scopes) != (key.kind == "platform"):
            raise _wrong("scopes", "the prefix of a key tells whether it has the scope `platform`: make another key")
        return [scope.value for scope in scopes]

    def _record(self, action: str, key: ApiKey, data: dict[str, Any]) -> None:
        self._work.record(action, "api_key", key.id, user_id=key.user_id, data=data)

    def _forget(self, key: ApiKey) -> None:
        secret_hash = key.secret_hash

        async def forget() -> None:
            self._keys.forget(secret_hash)

        self._work.after_commit(forget)


def _settings(key: ApiKey) -> dict[str, Any]:
    """What an auditor wants to know of a key."""
    return {
        "scopes": key.scopes,
        "assistant_id": str(key.assistant_id) if key.assistant_id else None,
        "expires_at": key.expires_at,
        "addresses": key.addresses,
        "origins": key.origins,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_month": key.tokens_per_month,
    }


def _check_active(key: ApiKey) -> None:
    if (status := status_of(key)) != "active":
        raise Conflict(f"this API key is {status}, for good: make a new one", code="key-not-active")


def _check_expiry(expires_at: datetime | None) -> None:
    if expires_at is None:
        return
    now = datetime.now(UTC)
    if expires_at <= now:
        raise _wrong("expires_at", "`expires_at` is in the past: give a later moment, or leave it out")
    if expires_at.year > now.year + 100:
        raise _wrong(
            "expires_at", "`expires_at` is more than a hundred years ahead: leave it out for a key without end"
        )


def _each(name: str, given: Sequence[str], read: Callable[[str], str]) -> list[str]:
    """Each as it is stored, without doubles. Raises `ValidationFailed` naming those that are wrong."""
    found: list[str] = []
    wrong: list[tuple[str, str]] = []
    for number, item in enumerate(given):
        try:
            found.append(read(item))
        except ValueError as error:
            wrong.append((f"{name}.{number}", str(error)))
    if wrong:
        raise ValidationFailed(wrong[0][1], wrong)
    return list(dict.fromkeys(found))


def _wrong(path: str, message: str) -> ValidationFailed:
    return ValidationFailed(message, [(path, message)])
