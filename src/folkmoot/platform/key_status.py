"""What is sealed under which master key, and which of them can go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.crypto import CryptoError, MasterKeys, wrapped_under
from folkmoot.kit.data_keys import OLD, SEAL, TenantKey
from folkmoot.platform.sealed import Fault, in_old_form
from folkmoot.tenants.models import Tenant


@dataclass
class MasterKeyState:
    """One master key, by its id: of the settings, or one that something still needs."""

    id: str
    given: bool = False
    """It is in FOLKMOOT_SECRET_KEY."""
    first: bool = False
    wraps: int = 0
    """Data keys and roots that are wrapped with it."""
    old: Counter[str] = field(default_factory=Counter[str])
    """What is sealed straight with it, from before there were data keys."""


@dataclass
class KeyStatus:
    masters: list[MasterKeyState]
    """Those of the settings first, in their order."""
    tenants: int = 0
    """That have a data key; the platform is one."""
    retired: int = 0
    """Older versions of data keys that are kept for a while."""
    retired_until: datetime | None = None
    """From then on a rotation removes the last of them."""
    before: list[UUID] = field(default_factory=list[UUID])
    """Tenants that may have something from before there were data keys, signed or sealed."""
    faults: list[Fault] = field(default_factory=list[Fault])
    """Keys that do not open: whose master key is missing, or that were changed."""

    def can_go(self, master: MasterKeyState) -> bool:
        """Whether a master key can be taken out of the settings."""
        return not master.first and master.wraps == 0 and not self.before


async def key_status(app: App) -> KeyStatus:
    """Look through all keys, and through all that is sealed where there was a time before data keys."""
    masters = app.keyring.masters
    states = {key_id: MasterKeyState(key_id.hex(), True, place == 0) for place, key_id in enumerate(masters.ids)}
    status, ends = KeyStatus([]), list[datetime]()
    async with app.begin(Principal.platform()) as work:
        tenants = (await work.session.scalars(select(Tenant.id).order_by(Tenant.id))).all()
    for tenant_id in tenants:
        async with app.begin(Principal.system(tenant_id)) as work:
            rows = (
                await work.session.scalars(
                    select(TenantKey)
                    .where(TenantKey.tenant_id == tenant_id)
                    .order_by(TenantKey.purpose, TenantKey.version)
                )
            ).all()
        sealing = [row for row in rows if row.purpose == SEAL]
        status.tenants += bool(sealing)
        status.retired += max(0, len(sealing) - 1)
        ends += [row.until for row in sealing if row.until is not None]
        for row in rows:
            if row.purpose != OLD:
                _count(states, masters, row, status)
        if any(row.purpose == OLD for row in rows):
            status.before.append(tenant_id)
            for master, found in (await in_old_form(app, tenant_id)).items():
                states.setdefault(master, MasterKeyState(master.hex())).old += found
    status.masters, status.retired_until = list(states.values()), max(ends, default=None)
    return status


def _count(states: dict[bytes, MasterKeyState], masters: MasterKeys, row: TenantKey, status: KeyStatus) -> None:
    under = wrapped_under(row.wrapped)
    states.setdefault(under, MasterKeyState(under.hex())).wraps += 1
    try:
        masters.unwrap(row.wrapped, tenant_id=row.tenant_id, purpose=row.purpose, version=row.version)
    except CryptoError as error:
        status.faults.append(Fault(f"tenant {row.tenant_id}", str(error)))
