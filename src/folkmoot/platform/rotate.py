"""Exchanging keys while everything runs.

A rotation wraps every key with the first master key of the settings, so that the others can go. Asked for new data
keys, it makes them first. Then it moves what is sealed or signed in an older way, and only that: mostly there is
nothing. The processes that serve hear of it by themselves, since the platform's keys change each time.

It can be cut off anywhere and run again, and goes on where it was.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import delete, select, text

from folkmoot.identity.tokens import signing_purpose
from folkmoot.kit import envelope
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.crypto import KEY_BYTES, CryptoError, MasterKeys, NoPlaceForKeys, Roots, wrapped_under
from folkmoot.kit.data_keys import DERIVE, OLD, SEAL, TenantKey
from folkmoot.kit.errors import Conflict
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.platform.sealed import Fault, Resealing
from folkmoot.settings import SettingsError
from folkmoot.tenants.models import PLATFORM, Tenant

log = get_logger(__name__)
Say = Callable[[str], None]

PUBLISHED_SECONDS = 20.0
"""A new root signs only after this, when every process can check what it signed."""
RETIRED = timedelta(days=2)
"""How long a data key stays after everything was sealed anew: uploads that had begun, and what Redis keeps."""
LEASE = "folkmoot:keys:rotating"
LEASE_SECONDS = 300
EVIDENCE = ("audit-checkpoint", "audit-seal", "certificate", "receipt", "recovery-code")
"""Purposes of what was signed for good. Without their keys the log could not be checked; knowing them opens nothing
(a recovery code has 80 random bits beside)."""
FLEETING = frozenset({"email-fingerprint"})
"""Purposes that may change at any time: counts of failed sign-ins then begin anew."""


@dataclass
class Report:
    """What a rotation did."""

    wrapped: int = 0
    """Keys that are wrapped with another master key than before."""
    made: int = 0
    removed: int = 0
    secrets: int = 0
    files: int = 0
    faults: list[Fault] = field(default_factory=list[Fault])
    """What could not be opened. Nothing was taken away that it may need."""


class Rotation:
    """One rotation of all keys. Safe to run at any time, also while the service runs."""

    def __init__(self, app: App, say: Say = lambda _: None, *, operator: str = "") -> None:
        self._app, self._say, self._operator = app, say, operator
        self._report = Report()
        self._names: dict[UUID, str] = {}

    @property
    def _masters(self) -> MasterKeys:
        return self._app.keyring.masters

    async def run(self, *, data_keys: bool = False, stolen: bool = False) -> Report:
        """Wrap everything with the first master key, and move what is sealed in an older way.

        With `data_keys`, every tenant gets a new data key, and the platform a new root. With `stolen` the older
        roots let nobody in any more: all sessions end, and open links are void.
        Raises `Conflict` if another rotation runs, `SettingsError` if `stolen` is asked for without a new master
        key, and `CryptoError` if the platform's own keys do not open.
        """
        if stolen and len(self._masters.ids) == 1:
            raise SettingsError(
                "FOLKMOOT_SECRET_KEY has the one master key that was stolen: put a new one before it first"
            )
        redis, mine = self._app.redis, str(uuid4())
        if not await redis.set(LEASE, mine, nx=True, ex=LEASE_SECONDS):
            raise Conflict("another rotation of keys runs, or was cut off: try again in five minutes")
        keeper = asyncio.create_task(self._keep_lease())
        try:
            await self._app.keyring.look()
            await self._rotate(data_keys=data_keys or stolen, stolen=stolen)
        finally:
            keeper.cancel()
            if await redis.get(LEASE) == mine.encode():
                await redis.delete(LEASE)
        return self._report

    async def _rotate(self, *, data_keys: bool, stolen: bool) -> None:
        # The platform's first: from then on nobody adds a key under another master key.
        await self._wrap(PLATFORM)
        for tenant_id in await self._tenants():
            await self._wrap(tenant_id)
        if data_keys:
            for tenant_id in await self._tenants():
                await self._renew(tenant_id, SEAL, stolen=stolen)
            # The platform's last: it is by them that every process hears of the others.
            await self._renew(PLATFORM, SEAL, DERIVE, stolen=stolen)
        await self._until_everybody_knows()
        await self._app.keyring.look()
        tenants = await self._tenants()
        for tenant_id in tenants:
            await self._move(tenant_id, stolen=stolen)
        await self._move(PLATFORM, stolen=stolen)
        await self._tidy_up(tenants)
        await self._app.keyring.look()
        await self._tell(data_keys=data_keys, stolen=stolen)

    async def _tenants(self) -> Sequence[UUID]:
        """All but the platform."""
        async with self._app.begin(Principal.platform()) as work:
            rows = await work.session.execute(select(Tenant.id, Tenant.name).order_by(Tenant.id))
            self._names = {row.id: row.name for row in rows}
        return [tenant_id for tenant_id in self._names if tenant_id != PLATFORM]

    async def _wrap(self, tenant_id: UUID) -> None:
        async with self._app.begin(Principal.system(tenant_id)) as work:
            for row in await _locked(work, tenant_id):
                if row.purpose == OLD or wrapped_under(row.wrapped) == self._masters.ids[0]:
                    continue
                try:
                    self._put(row, self._key(row))
                    self._report.wrapped += 1
                except CryptoError as error:
                    if tenant_id == PLATFORM:
                        raise
                    self._fault(tenant_id, f"its key {row.purpose} {row.version}", str(error))

    async def _renew(self, tenant_id: UUID, *purposes: str, stolen: bool = False) -> None:
        now = datetime.now(UTC)
        async with self._app.begin(Principal.system(tenant_id)) as work:
            rows = await _locked(work, tenant_id)
            for purpose in purposes:
                versions = [row.version for row in rows if row.purpose == purpose]
                if not versions:
                    # It gets its first when something is sealed for it.
                    continue
                later = timedelta(seconds=PUBLISHED_SECONDS) if purpose == DERIVE else timedelta()
                work.session.add(
                    self._put(
                        TenantKey(
                            tenant_id=tenant_id, purpose=purpose, version=max(versions) + 1, use_from=now + later
                        ),
                        os.urandom(KEY_BYTES),
                    )
                )
                self._report.made += 1
            for row in rows:
                if stolen and row.purpose != SEAL and row.purpose.partition(":")[0] not in EVIDENCE:
                    # Remembered in the row, so that a rotation that is taken up again knows it.
                    row.until = now

    async def _until_everybody_knows(self) -> None:
        async with self._app.begin(Principal.system(PLATFORM)) as work:
            renewed = [
                row.use_from
                for row in await _locked(work, PLATFORM)
                if row.purpose in (SEAL, DERIVE) and row.version > 1
            ]
        now = datetime.now(UTC)
        wait = (max(renewed, default=now - timedelta(days=1)) - now).total_seconds() + 2 * envelope.LOOK_SECONDS
        if wait > 0:
            self._say(f"waiting {wait:.0f} seconds, until every process knows the new keys")
            await asyncio.sleep(wait)

    async def _move(self, tenant_id: UUID, *, stolen: bool) -> None:
        """Seal anew what one tenant has, if any of it may be sealed in an older way, and let go of what sealed it."""
        async with self._app.begin(Principal.system(tenant_id)) as work:
            rows = await _locked(work, tenant_id)
        old = any(row.purpose == OLD for row in rows)
        if old or sum(row.purpose == SEAL for row in rows) > 1:
            name = self._names.get(tenant_id, str(tenant_id))
            moving = Resealing(self._app, tenant_id, lambda line: self._say(f"{name}: {line}"))
            try:
                await moving.run()
            except NoPlaceForKeys:
                # The organisation was deleted meanwhile.
                return
            self._report.secrets += moving.secrets
            self._report.files += moving.files
            for fault in moving.faults:
                self._fault(tenant_id, fault.what, fault.why)
            if moving.faults:
                return
        if tenant_id == PLATFORM:
            await self._let_go_of_roots(stolen=stolen)
        else:
            await self._let_go(tenant_id, stolen=stolen)

    async def _let_go(self, tenant_id: UUID, *, stolen: bool) -> None:
        async with self._app.begin(Principal.system(tenant_id)) as work:
            rows = await _locked(work, tenant_id)
            await self._retire(work, rows)
            marks = [row for row in rows if row.purpose == OLD]
            if not marks:
                return
            keep: dict[str, datetime | None] = {"audit-seal": None, "recovery-code": None}
            if not (stolen or marks[0].until) and await work.session.scalar(_OPEN_LINKS, {"tenant": tenant_id}):
                keep["link"] = self._in_days(self._app.settings.invitation_days)
            for mark in marks:
                await work.session.delete(mark)
            await work.session.flush()
            await work.enter(PLATFORM)
            self._keep_old(work, tenant_id, keep)

    async def _let_go_of_roots(self, *, stolen: bool) -> None:
        async with self._app.begin(Principal.system(PLATFORM)) as work:
            rows = await _locked(work, PLATFORM)
            await self._retire(work, rows)
            roots = [row for row in rows if row.purpose == DERIVE]
            in_use = envelope.in_use(roots)
            for row in roots:
                if row.version >= in_use:
                    continue
                for purpose, until in self._keeping(stolen=row.until is not None).items():
                    derived = Roots([self._key(row)], {}, None).derive(purpose)
                    work.session.add(self._put(_kept(purpose, row.version, until), derived))
                await work.session.delete(row)
                self._report.removed += 1
            marks = [row for row in rows if row.purpose == OLD]
            if marks and not self._report.faults:
                for mark in marks:
                    await work.session.delete(mark)
                self._keep_old(work, None, self._keeping(stolen=stolen or marks[0].until is not None))
                self._keep_old(work, PLATFORM, {"audit-seal": None})

    async def _retire(self, work: Work, rows: Iterable[TenantKey]) -> None:
        """Nothing is sealed with the older data keys any more, as far as we know; later we know for sure."""
        sealing, now = [row for row in rows if row.purpose == SEAL], datetime.now(UTC)
        for row in sealing:
            if row.version >= envelope.in_use(sealing):
                continue
            if row.until is None:
                row.until = now + RETIRED
            elif row.until <= now:
                await work.session.delete(row)
                self._report.removed += 1

    async def _tidy_up(self, tenants: Iterable[UUID]) -> None:
        """Remove what is kept of what has run out, and of organisations that are gone."""
        there, now = {str(PLATFORM), *map(str, tenants)}, datetime.now(UTC)
        async with self._app.begin(Principal.system(PLATFORM)) as work:
            for row in await _locked(work, PLATFORM):
                if row.purpose in (SEAL, DERIVE, OLD):
                    continue
                _, _, of = row.purpose.partition(":")
                gone = len(of) == len(str(PLATFORM)) and of not in there
                if gone or (row.until is not None and row.until <= now):
                    await work.session.execute(delete(TenantKey).where(TenantKey.id == row.id))

    def _keeping(self, *, stolen: bool) -> dict[str, datetime | None]:
        """Which derived keys outlive their root, and until when."""
        kept: dict[str, datetime | None] = dict.fromkeys(EVIDENCE)
        if stolen:
            return kept
        settings = self._app.settings
        session = self._in_days(settings.refresh_token_days)
        kept |= {"refresh-token": session, "csrf": session, "link": self._in_days(settings.invitation_days)}
        period = int(datetime.now(UTC).timestamp() // (settings.signing_key_days * 86_400))
        return kept | {signing_purpose(period + step): self._in_days(1) for step in (-1, 0, 1)}

    def _keep_old(self, work: Work, tenant_id: UUID | None, keep: dict[str, datetime | None]) -> None:
        """Keep what was derived straight from the master keys, so that these can go."""
        for purpose, until in keep.items():
            for place, derived in enumerate(self._masters.derive_old(purpose, tenant_id)):
                name = purpose if tenant_id is None else f"{purpose}:{tenant_id}"
                # Below the versions of roots, which begin at 1.
                work.session.add(self._put(_kept(name, -place, until), derived))

    def _key(self, row: TenantKey) -> bytes:
        return self._masters.unwrap(row.wrapped, tenant_id=row.tenant_id, purpose=row.purpose, version=row.version)

    def _put(self, row: TenantKey, key: bytes) -> TenantKey:
        row.wrapped = self._masters.wrap(key, tenant_id=row.tenant_id, purpose=row.purpose, version=row.version)
        return row

    def _in_days(self, days: int) -> datetime:
        return datetime.now(UTC) + timedelta(days=days)

    def _fault(self, tenant_id: UUID, what: str, why: str) -> None:
        self._report.faults.append(Fault(f"{self._names.get(tenant_id, tenant_id)}, {what}", why))

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await self._app.redis.expire(LEASE, LEASE_SECONDS)

    async def _tell(self, *, data_keys: bool, stolen: bool) -> None:
        report = self._report
        said = {
            "master_key": self._masters.ids[0].hex(),
            "wrapped": report.wrapped,
            "data_keys": data_keys,
            "stolen": stolen,
            "faults": len(report.faults),
        } | ({"operator": self._operator} if self._operator else {})
        async with self._app.begin(Principal.platform()) as work:
            await work.enter(PLATFORM)
            work.record("keys.rotated", "keys", data=said)


_OPEN_LINKS = text(
    "SELECT EXISTS (SELECT FROM links WHERE tenant_id = :tenant AND used_at IS NULL AND expires_at > now())"
)


def _kept(purpose: str, version: int, until: datetime | None) -> TenantKey:
    return TenantKey(tenant_id=PLATFORM, purpose=purpose, version=version, until=until)


async def _locked(work: Work, tenant_id: UUID) -> Sequence[TenantKey]:
    """The keys of a tenant, which nobody else changes before this transaction ends."""
    rows = select(TenantKey).where(TenantKey.tenant_id == tenant_id).order_by(TenantKey.purpose, TenantKey.version)
    return (await work.session.scalars(rows.with_for_update())).all()
