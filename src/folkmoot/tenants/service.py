"""Making and finding organisations, which only the platform does, and what an organisation settles for itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import BigInteger, Integer, String, Uuid, column, delete, func, insert, select, table, text

from folkmoot.kit.errors import Conflict, NotFound, ValidationFailed
from folkmoot.kit.paging import check_match
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.tenants.models import PLATFORM, AllowedOrigin, Tenant
from folkmoot.tenants.origins import clean_origin
from folkmoot.tenants.schemas import OrganisationUpdate, SettingsUpdate, TenantSettings, Usage

ORGANISATION = Tenant.id != PLATFORM
# Tables of the layers above, of which this one only counts rows.
_USERS = table("users", column("tenant_id", Uuid()), column("state", String()))
_FILES = table("files", column("tenant_id", Uuid()), column("size", BigInteger()))
_DOCUMENTS = table("documents", column("tenant_id", Uuid()), column("chunk_count", Integer()))
_ENABLED = text("SELECT 1 FROM login_methods WHERE tenant_id = :tenant AND enabled LIMIT 1")
_BUDGETED = text("SELECT 1 FROM budgets WHERE tenant_id = :tenant LIMIT 1")
_SPENT = text("SELECT 1 FROM usage_entries WHERE tenant_id = :tenant AND cost <> 0 LIMIT 1")
_OWNER_ELSEWHERE = text("""
SELECT 1 FROM users
JOIN external_accounts ON external_accounts.user_id = users.id
JOIN login_methods ON login_methods.id = external_accounts.login_method_id AND login_methods.enabled
WHERE users.tenant_id = :tenant AND users.role = 'owner' AND users.state = 'active'
LIMIT 1
""")


def clean_name(name: str) -> str:
    """A name as it is stored. Raises `ValidationFailed` for one that people could take for something else."""
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name or any(unicodedata.category(char) in ("Cc", "Cf", "Co", "Cn") for char in name):
        raise ValidationFailed(
            "the name of an organisation has characters that nobody sees: leave them out",
            [("name", "has characters that nobody sees, or none that somebody does")],
        )
    try:
        UUID(name)
    except ValueError:
        return name
    raise ValidationFailed(
        "the name of an organisation looks like an id: choose one that people can read",
        [("name", "looks like an id")],
    )


class TenantService:
    """Use cases of the platform: call it with a `Principal.platform()`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def create(self, name: str, **quotas: int | None) -> Tenant:
        """Make a tenant and enter it, so that its first rows can be made in the same transaction.

        Raises `Conflict` or an integrity error (both told as `already-exists`) if the name is taken.
        """
        name = clean_name(name)
        await self.check_free(name)
        tenant = Tenant(name=name, **quotas)
        self._work.session.add(tenant)
        await self._work.session.flush()
        await self._work.enter(tenant.id)
        self._work.record("tenant.created", "tenant", tenant.id, data={"name": name}, tenant_id=tenant.id)
        return tenant

    async def check_free(self, name: str, *, but: UUID | None = None) -> None:
        """Raise `Conflict` if an organisation is called so, in whatever case: people sign in by this name."""
        same = select(Tenant.name).where(func.lower(Tenant.name) == func.lower(name), Tenant.id != but)
        if (taken := await self._work.session.scalar(same.limit(1))) is not None:
            raise Conflict(f"there is an organisation named {taken!r} already: choose another", code="already-exists")

    async def list_all(self) -> Sequence[Tenant]:
        """Every organisation, oldest first."""
        return (await self._work.session.scalars(select(Tenant).where(ORGANISATION).order_by(Tenant.id))).all()

    async def every_id(self) -> Sequence[UUID]:
        """The ids of all tenants, the platform's own among them: for what looks after rows."""
        return (await self._work.session.scalars(select(Tenant.id).order_by(Tenant.id))).all()

    async def first(self) -> Tenant | None:
        """The tenant that was made first, or None on a new installation."""
        return await self._work.session.scalar(select(Tenant).where(ORGANISATION).order_by(Tenant.id).limit(1))

    async def named(self, name: str) -> Tenant:
        """Raises `NotFound`."""
        tenant = await self._work.session.scalar(select(Tenant).where(Tenant.name == name, ORGANISATION))
        if tenant is None:
            raise NotFound(f"there is no organisation named {name!r}: `folkmoot tenant list` shows them")
        return tenant

    async def get(self, tenant_id: UUID, *, lock: bool = False) -> Tenant:
        """Raises `NotFound`. With `lock`, nobody else changes it before this transaction ends."""
        tenant = await self._work.session.get(Tenant, tenant_id, with_for_update={"key_share": True} if lock else None)
        if tenant is None or tenant.id == PLATFORM:
            raise NotFound("there is no such organisation")
        return tenant


class OrganisationService:
    """What the administrators of an organisation see and settle of it, within the tenant of the work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def get(self) -> tuple[Tenant, Usage]:
        """The caller's organisation and what it uses."""
        tenant = await TenantService(self._work).get(self._work.principal.tenant)
        return tenant, await usage(self._work)

    async def update(self, change: OrganisationUpdate, if_match: str | None) -> tuple[Tenant, Usage]:
        """Change name or settings.

        Raises `Stale`, `ValidationFailed`, or `Conflict` (`no-other-way-in`, `currency-in-use`).
        """
        tenant = await TenantService(self._work).get(self._work.principal.tenant, lock=True)
        check_match(if_match, tenant.revision)
        changed: dict[str, Any] = {}
        if change.name is not UNSET:
            name = clean_name(change.name)
            if name != tenant.name:
                changed["name"] = tenant.name = name
        if change.settings is not UNSET:
            changed |= await self._settle(tenant, change.settings)
        if changed:
            self._work.record("organisation.updated", "tenant", tenant.id, data={"changed": changed})
            await self._work.session.flush()
        return tenant, await usage(self._work)

    async def _settle(self, tenant: Tenant, change: SettingsUpdate) -> dict[str, Any]:
        before = TenantSettings.of(tenant.settings)
        wanted = msgspec.structs.asdict(before) | {
            name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET
        }
        wanted["allowed_origins"] = _clean_origins(wanted["allowed_origins"])
        wanted["ai_mark"] = " ".join(wanted["ai_mark"].split())
        changed = {name: value for name, value in wanted.items() if value != getattr(before, name)}
        if changed.get("password_login") is False:
            await self._keep_a_way_in()
        if "currency" in changed:
            await self._keep_currency(before.currency)
        if changed:
            tenant.settings = wanted
        if "allowed_origins" in changed:
            await self._keep_origins(changed["allowed_origins"])
        return changed

    async def _keep_a_way_in(self) -> None:
        """Raise `Conflict` if nobody, or no owner, could sign in without a password.

        That a method is enabled does not show that it works; an owner who came by it does.
        """
        tenant = {"tenant": self._work.principal.tenant}
        if not await self._work.session.scalar(_ENABLED, tenant):
            raise Conflict(
                "nobody could sign in without a password, since no login method is enabled: enable one first",
                code="no-other-way-in",
            )
        if not await self._work.session.scalar(_OWNER_ELSEWHERE, tenant):
            raise Conflict(
                "no owner could sign in without a password: let an owner link an enabled login method to an account, "
                "or sign in by it, first",
                code="no-other-way-in",
            )

    async def _keep_currency(self, currency: str) -> None:
        """Raise `Conflict` if amounts in `currency` are stored, which would mean something else from now on."""
        tenant = {"tenant": self._work.principal.tenant}
        if await self._work.session.scalar(_SPENT, tenant):
            raise Conflict(
                f"what was spent so far stands in the ledger in {currency}, and the ledger is never rewritten: stay "
                f"with {currency}, or go on in a new organisation",
                code="currency-in-use",
            )
        if await self._work.session.scalar(_BUDGETED, tenant):
            raise Conflict(
                f"there are budgets in {currency}: delete them, change the currency, and set them anew",
                code="currency-in-use",
            )

    async def _keep_origins(self, origins: list[str]) -> None:
        session, tenant_id = self._work.session, self._work.principal.tenant
        await session.execute(delete(AllowedOrigin).where(AllowedOrigin.tenant_id == tenant_id))
        if origins:
            rows = [{"tenant_id": tenant_id, "origin": origin} for origin in origins]
            await session.execute(insert(AllowedOrigin), rows)


async def update_tenant(tenant: Tenant, change: msgspec.Struct, work: Work) -> list[str]:
    """Set what the platform may change of a tenant; returns the names of the fields that now differ."""
    name = getattr(change, "name", UNSET)
    changed: list[str] = []
    if name is not UNSET:
        name = clean_name(name)
        if name != tenant.name:
            await TenantService(work).check_free(name, but=tenant.id)
            tenant.name = name
            changed.append("name")
    return changed + patch(tenant, change, leave=("name",))  # type: ignore[arg-type]


async def usage(work: Work) -> Usage:
    """What the tenant of the work uses of its quotas."""
    return Usage(users=await _users(work), storage_bytes=await stored_bytes(work), chunks=await stored_chunks(work))


async def stored_bytes(work: Work) -> int:
    """Bytes of the uploaded files of the tenant of the work; one that still comes in counts as nothing."""
    total = select(func.coalesce(func.sum(_FILES.c.size), 0)).where(_FILES.c.tenant_id == work.principal.tenant)
    return int(await work.session.scalar(total) or 0)


async def stored_chunks(work: Work) -> int:
    """Passages of all documents of the tenant of the work."""
    total = select(func.coalesce(func.sum(_DOCUMENTS.c.chunk_count), 0))
    return int(await work.session.scalar(total.where(_DOCUMENTS.c.tenant_id == work.principal.tenant)) or 0)


async def storage_room(work: Work, *, lock: bool = False) -> int | None:
    """Bytes of files that the tenant of the work may still add, never below 0; None if it has no quota.

    With `lock` the answer holds until the commit, whatever others add at the same time.
    """
    tenant = await work.session.get(Tenant, work.principal.tenant)
    if tenant is None or tenant.max_storage_bytes is None:
        return None
    if lock:
        tenant = await TenantService(work).get(tenant.id, lock=True)
    return None if tenant.max_storage_bytes is None else max(0, tenant.max_storage_bytes - await stored_bytes(work))


async def check_users_quota(work: Work, more: int = 1) -> None:
    """Raise `Conflict` (`quota-users`) if `more` people are too many for the tenant of the work.

    Call it in the transaction that adds them: it holds the tenant's row until the commit, so that two people
    made at once cannot both be the last that fits.
    """
    tenant = await TenantService(work).get(work.principal.tenant, lock=True)
    if tenant.max_users is not None and await _users(work) + more > tenant.max_users:
        raise Conflict(
            f"this organisation may have {tenant.max_users} people and has no room for {more} more: "
            "delete somebody, or ask whoever runs this installation for a higher quota",
            code="quota-users",
        )


async def _users(work: Work) -> int:
    counted = (
        select(func.count())
        .select_from(_USERS)
        .where(_USERS.c.tenant_id == work.principal.tenant, _USERS.c.state != "deleted")
    )
    return int(await work.session.scalar(counted) or 0)


def _clean_origins(origins: list[str]) -> list[str]:
    """Sorted, each once. Raises `ValidationFailed`, which names every wrong one."""
    found: set[str] = set()
    wrong: list[tuple[str, str]] = []
    for number, origin in enumerate(origins):
        try:
            found.add(clean_origin(origin))
        except ValueError as error:
            wrong.append((f"settings.allowed_origins.{number}", str(error)))
    if wrong:
        raise ValidationFailed(wrong[0][1], wrong)
    return sorted(found)
