"""Who an API key speaks for: one read of the database, remembered for a quarter of a second.

So revocation, expiry, a suspended organisation and every right that the owner loses hold within a second on
every process, and no message has to arrive for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID

from folkmoot.identity.standing import Standing
from folkmoot.keys.allow import within
from folkmoot.keys.mint import PREFIX, digest
from folkmoot.keys.use import Uses, keep
from folkmoot.kit.access import Principal, Scope
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError, Forbidden, NotSignedIn
from folkmoot.kit.glance import glance
from folkmoot.kit.limits import Limit, Limits
from folkmoot.kit.recorder import Recorder
from folkmoot.kit.work import Work
from folkmoot.tenants.models import PLATFORM

PREFIXES = tuple(PREFIX.values())
"""Of keys for a person, for one assistant, and for the platform."""
REMEMBER_SECONDS = 0.25
"""Counted from the moment the database is asked, not from its answer. Four small reads a second for each busy key
leave little for whoever was shut out a moment ago."""
MOST_KNOWN = 10_000
MOST_UNKNOWN = 10_000
KEY_STANDING = "SELECT * FROM folkmoot_key_standing(:hash)"
MayEdit = Callable[[Work, UUID], Awaitable[object]]
"""Raises `NotFound` or `Forbidden` unless the caller may edit this assistant."""


@dataclass(frozen=True)
class KeyStanding(Standing):
    """One row of `folkmoot_key_standing`, in the order of its columns: the owner's standing, then the key's."""

    key_id: UUID
    kind: str
    assistant_id: UUID | None
    scopes: list[str]
    addresses: list[str]
    origins: list[str]
    requests_per_minute: int | None
    """`authenticate` counts against it."""
    tokens_per_month: int | None
    expires_at: datetime | None
    revoked_at: datetime | None

    @cached_property
    def principal(self) -> Principal:
        return Principal(
            tenant_id=self.tenant_id,
            user_id=self.user_id,
            kind="key",
            permissions=self.permissions,
            key_id=self.key_id,
            scopes=frozenset(scope for scope in Scope if scope.value in self.scopes),
            assistant_id=self.assistant_id,
        )

    @cached_property
    def networks(self) -> tuple[str, ...]:
        return tuple(self.addresses)

    def check_use(self, ip: str, origin: str | None) -> None:
        """Raise `NotSignedIn` or `Forbidden` unless the key may be used now, from here."""
        if self.revoked_at is not None:
            raise NotSignedIn("this API key was revoked: make a new one", code="key-revoked")
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            raise NotSignedIn(
                f"this API key expired at {self.expires_at:%Y-%m-%d %H:%M} UTC: make a new one", code="key-expired"
            )
        self.check()
        if self.networks and not within(ip, self.networks):
            raise Forbidden(
                f"this API key may not be used from {ip or 'an unknown address'}: its owner can add the address",
                code="address-not-allowed",
            )
        if origin is not None and origin not in self.origins:
            raise Forbidden(
                "this API key may not be used by web pages of this origin: its owner can add the origin",
                code="origin-not-allowed",
            )


@dataclass(frozen=True)
class _Known:
    standing: KeyStanding
    until: float


class Keys:
    """Checks keys. Lives as long as the process. `close` writes the last uses."""

    def __init__(self, app: App, may_edit: MayEdit) -> None:
        self._app = app
        self.may_edit = may_edit
        self.uses = Uses(app.sessions)
        self._clock = time.monotonic
        self._known: dict[str, _Known] = {}
        self._unknown: dict[str, float] = {}
        self._asking: dict[str, tuple[float, asyncio.Task[KeyStanding | None]]] = {}

    async def authenticate(self, key: str, *, ip: str, origin: str | None) -> tuple[Principal, KeyStanding]:
        """Who `key` speaks for, and their standing with the key's own.

        Raises `NotSignedIn` (`key-invalid`, `key-expired`, `key-revoked`), `Forbidden` (`address-not-allowed`,
        `origin-not-allowed`, and what `Standing.check` raises) or `TooManyRequests` by the key's own limit.
        """
        secret_hash = digest(key)
        standing = await self._standing(secret_hash) if secret_hash else None
        recorder = self._app.part(Recorder)
        if standing is None:
            reason = "unknown" if secret_hash else "malformed"
            recorder.note(PLATFORM, "key.refused", "api_key", data={"code": "key-invalid", "reason": reason})
            raise NotSignedIn(
                "this API key is not one of ours: check that it is whole, or make a new one", code="key-invalid"
            )
        principal = standing.principal
        try:
            standing.check_use(ip, origin)
        except AppError as error:
            recorder.note(
                standing.tenant_id,
                "key.refused",
                "api_key",
                standing.key_id,
                principal=principal,
                user_id=standing.user_id,
                data={"code": error.code},
            )
            raise
        if standing.requests_per_minute:
            await self._app.part(Limits).take(Limit("key", f"key:{standing.key_id}", standing.requests_per_minute))
        self.uses.note(principal, ip)
        return principal, standing

    def forget(self, secret_hash: str) -> None:
        """Ask the database at the next use: this process need not wait for what it has changed itself."""
        self._known.pop(secret_hash, None)
        self._asking.pop(secret_hash, None)

    def forget_tenant(self, tenant_id: UUID) -> None:
        """Ask the database again about every key of an organisation that this process has shut out."""
        for secret_hash in [of for of, known in self._known.items() if known.standing.tenant_id == tenant_id]:
            del self._known[secret_hash]
        # Whose these are is not known before they come.
        self._asking.clear()

    async def close(self) -> None:
        await self.uses.close()

    async def _standing(self, secret_hash: str) -> KeyStanding | None:
        now = self._clock()
        known = self._known.get(secret_hash)
        if known is not None and now < known.until:
            return known.standing
        if now < self._unknown.get(secret_hash, now):
            return None
        began, asking = self._asking.get(secret_hash, (now, None))
        # A slow answer is shared no longer than a remembered one.
        if asking is None or now - began >= REMEMBER_SECONDS:
            asking = asyncio.create_task(self._ask(secret_hash, now))
            self._asking[secret_hash] = (now, asking)
        # One request that goes away must not take the answer from the others.
        return await asyncio.shield(asking)

    async def _ask(self, secret_hash: str, now: float) -> KeyStanding | None:
        own = asyncio.current_task()
        try:
            row = await glance(self._app.sessions.glances, KEY_STANDING, hash=secret_hash)
        finally:
            newest = self._asking.get(secret_hash, (0.0, None))[1] is own
            if newest:
                del self._asking[secret_hash]
        standing = KeyStanding(*row) if row is not None else None
        # Asked again or forgotten meanwhile: this may be from before the change.
        if newest and standing is not None:
            keep(self._known, secret_hash, _Known(standing, now + REMEMBER_SECONDS), MOST_KNOWN)
        elif newest:
            keep(self._unknown, secret_hash, now + REMEMBER_SECONDS, MOST_UNKNOWN)
        return standing
