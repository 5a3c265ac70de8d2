"""The ways in of an organisation, as its administrators set them up.

A way in is worth at most what its maker may do: whoever points it at a provider could be anybody whom that
provider vouches for. So the permissions that its maker held are kept beside its configuration (`ceiling`), and
nobody who may do more gets in by it (`provision.py`); and what it gives to people is bounded by the same rule as
giving by hand (`people/rules.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from folkmoot_sdk import AuthBackendSpec, AuthError, config_schema
from msgspec import UNSET
from sqlalchemy import delete, exists, func, or_, select, update
from uuid_utils.compat import uuid7

from folkmoot.federation.backends import Backends
from folkmoot.federation.claims import ascii_domain
from folkmoot.federation.models import ExternalAccount, LoginMethod
from folkmoot.federation.schemas import (
    KindOut,
    LoginMethodCreate,
    LoginMethodOut,
    LoginMethodUpdate,
    Mapping,
    Provisioning,
    ProvisioningUpdate,
    provisioning_of,
)
from folkmoot.identity.models import Session, User
from folkmoot.identity.service import UserService
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict, Forbidden, NotFound, ValidationFailed
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.work import Work
from folkmoot.people.acting import find_group, permissions_of_group, permissions_of_predefined
from folkmoot.people.models import GroupMember
from folkmoot.people.rules import Permissions, may_give
from folkmoot.plugins.configuration import decoded, masked, merged
from folkmoot.tenants.models import Tenant
from folkmoot.tenants.schemas import TenantSettings
from folkmoot.tenants.service import TenantService


class LoginMethodService:
    """Use cases of administrators, within the tenant of the work."""

    def __init__(self, app: App, work: Work) -> None:
        self._app, self._work, self._backends = app, work, app.part(Backends)

    async def page(self, limit: int, cursor: str | None) -> tuple[Sequence[LoginMethod], str | None]:
        """Oldest first, as they stand on the page where people sign in."""
        query = select(LoginMethod).where(LoginMethod.tenant_id == self._work.principal.tenant)
        return await page(self._work.session, query, by=LoginMethod.id, limit=limit, cursor=cursor, newest_first=False)

    async def get(self, method_id: UUID, *, lock: bool = False) -> LoginMethod:
        """Raises `NotFound`."""
        method = await self._work.session.get(LoginMethod, method_id, with_for_update=True if lock else None)
        if method is None or method.tenant_id != self._work.principal.tenant:
            raise NotFound("there is no such login method: `GET /login-methods` lists those of your organisation")
        return method

    async def create(self, data: LoginMethodCreate) -> LoginMethod:
        """Set up a way in. Raises `ValidationFailed`, or `Forbidden` (`more-than-you-have`)."""
        own = await self._own()
        spec = find_spec(self._backends, data.kind)
        config = decoded(spec, data.config)
        await self._check_name(data.name)
        provisioning = await self._provisioning(own, Provisioning(), data.provisioning)
        tenant = self._work.principal.tenant
        method = LoginMethod(
            id=uuid7(),
            tenant_id=tenant,
            kind=spec.kind,
            name=data.name,
            config=await self._backends.seal(config, tenant),
            enabled=data.enabled,
            provisioning=_stored(provisioning, own),
        )
        self._work.session.add(method)
        await self._work.session.flush()
        said = {"kind": method.kind, "name": method.name, "enabled": method.enabled} | _told(provisioning)
        self._work.record("login_method.created", "login_method", method.id, data=said)
        return method

    async def update(self, method_id: UUID, change: LoginMethodUpdate, if_match: str | None) -> LoginMethod:
        """Change a way in. Raises `Stale`, `ValidationFailed`, `Forbidden`, or `Conflict` (`last-way-in`)."""
        own = await self._own()
        method = await self.get(method_id, lock=True)
        check_match(if_match, method.revision)
        changed: dict[str, Any] = {}
        if change.name is not UNSET and change.name != method.name:
            await self._check_name(change.name)
            changed["name"] = method.name = change.name
        ceiling = ceiling_of(method)
        if change.config is not UNSET:
            before = await self._stored_config(method)
            spec = find_spec(self._backends, method.kind)
            after = decoded(spec, merged(before, change.config))
            if after != before:
                method.config = await self._backends.seal(after, method.tenant_id)
                # Names only: a value may be a secret.
                changed["config"] = sorted(name for name in after if after.get(name) != before.get(name))
                ceiling = own
        provisioning = provisioning_of(method)
        if change.provisioning is not UNSET:
            wanted = await self._provisioning(own, provisioning, change.provisioning)
            if wanted != provisioning:
                provisioning, changed = wanted, changed | _told(wanted)
        if changed:
            method.provisioning = _stored(provisioning, ceiling)
        if change.enabled is not UNSET and change.enabled != method.enabled:
            if not change.enabled:
                await self._keep_a_way_in(method)
            changed["enabled"] = method.enabled = change.enabled
        if changed:
            self._work.record("login_method.updated", "login_method", method.id, data={"changed": changed})
            await self._work.session.flush()
        return method

    async def delete(self, method_id: UUID) -> None:
        """Remove a way in, with the accounts, sessions and memberships that came of it.

        Raises `Conflict` (`last-way-in`).
        """
        await self._own()
        method = await self.get(method_id, lock=True)
        if method.enabled:
            await self._keep_a_way_in(method)
        session = self._work.session
        accounts = await session.scalar(
            select(func.count()).select_from(ExternalAccount).where(ExternalAccount.login_method_id == method.id)
        )
        sessions = await end_sessions(self._work, "login-method-deleted", Session.login_method_id == method.id)
        taken = await session.execute(
            delete(GroupMember)
            .where(GroupMember.login_method_id == method.id)
            .returning(GroupMember.group_id, GroupMember.user_id)
        )
        for group_id, user_id in taken.all():
            self._work.record(
                "group.member_removed",
                "group",
                group_id,
                user_id=user_id,
                data={"user_id": str(user_id), "login_method_id": str(method.id)},
            )
        await session.delete(method)
        said = {"kind": method.kind, "name": method.name, "accounts": accounts, "sessions": sessions}
        self._work.record("login_method.deleted", "login_method", method.id, data=said)
        await session.flush()

    async def shown(self, method: LoginMethod) -> LoginMethodOut:
        """With its secrets masked."""
        spec = self._backends.spec(method.kind)
        return LoginMethodOut.of(
            method,
            masked(spec, await self._stored_config(method)) if spec is not None else {},
            installed=spec is not None,
            url=self._app.settings.url(),
        )

    async def _own(self) -> Permissions:
        """What the caller still holds, one after the other with all who change rights. Raises `Forbidden`."""
        await TenantService(self._work).get(self._work.principal.tenant, lock=True)
        who = self._work.principal
        if who.user_id is None:
            return who.permissions
        standing = await UserService(self._work).standing(who.user_id)
        if standing is None or standing.state != "active":
            raise Forbidden("this account is not active: ask your administrator", code="account-inactive")
        replace(who, permissions=standing.permissions).require(Permission.ADMIN)
        return who.permissions & standing.permissions

    async def _stored_config(self, method: LoginMethod) -> dict[str, Any]:
        try:
            return await self._backends.config(method)
        except AuthError:
            # It cannot be opened any more. Whoever enters it anew must still be able to.
            return {}

    async def _check_name(self, name: str) -> None:
        taken = select(LoginMethod.id).where(
            LoginMethod.tenant_id == self._work.principal.tenant, LoginMethod.name == name
        )
        if await self._work.session.scalar(taken) is not None:
            raise Conflict(f"there is a login method named {name!r} already: choose another", code="already-exists")

    async def _provisioning(self, own: Permissions, before: Provisioning, change: ProvisioningUpdate) -> Provisioning:
        """`before` with `change`. What is new in it may give no more than the caller has."""
        after = Provisioning(
            create=before.create if change.create is UNSET else change.create,
            role=before.role if change.role is UNSET else change.role,
            allowed_domains=before.allowed_domains
            if change.allowed_domains is UNSET
            else _clean_domains(change.allowed_domains),
            group_map=before.group_map if change.group_map is UNSET else list(dict.fromkeys(change.group_map)),
            remove_from_groups=before.remove_from_groups
            if change.remove_from_groups is UNSET
            else change.remove_from_groups,
        )
        if after.role != before.role or (after.create and not before.create):
            may_give(own, permissions_of_predefined(after.role), f"the role {after.role!r}")
        for number, mapping in enumerate(after.group_map):
            if mapping not in before.group_map:
                await self._check_mapping(own, number, mapping)
        return after

    async def _check_mapping(self, own: Permissions, number: int, mapping: Mapping) -> None:
        if mapping.group_id is None:
            may_give(own, permissions_of_predefined(mapping.role), f"the role {mapping.role!r}")
            return
        try:
            group = await find_group(self._work, mapping.group_id)
        except NotFound as error:
            place = f"provisioning.group_map.{number}.group_id"
            raise ValidationFailed(error.detail, [(place, error.detail)]) from None
        given = await permissions_of_group(self._work, group)
        may_give(own, given, f"the group {group.name!r}")

    async def _keep_a_way_in(self, without: LoginMethod) -> None:
        """Raise `Conflict` (`last-way-in`) if no active owner could sign in without this method.

        Changes of rights, of passwords being on, and of login methods all hold the organisation's row, so no two
        of them shut the door together.
        """
        tenant = await self._work.session.get_one(Tenant, without.tenant_id)
        elsewhere = (
            exists()
            .where(ExternalAccount.user_id == User.id)
            .where(LoginMethod.id == ExternalAccount.login_method_id)
            .where(LoginMethod.enabled, LoginMethod.id != without.id)
        )
        ways = [elsewhere]
        if TenantSettings.of(tenant.settings).password_login:
            ways.append(User.password_hash.is_not(None))  # type: ignore[arg-type]
        owners = select(User.id).where(
            User.tenant_id == without.tenant_id, User.role == "owner", User.state == "active", or_(*ways)
        )
        if await self._work.session.scalar(owners.limit(1)) is None:
            raise Conflict(
                f"without {without.name!r} no owner of the organisation could sign in: let an owner set a password or "
                "link another login method first",
                code="last-way-in",
            )


async def end_sessions(work: Work, reason: str, *which: Any) -> int:
    """Sign out the sessions of the tenant for which all of `which` holds; how many that were."""
    ended = (
        update(Session)
        .where(Session.tenant_id == work.principal.tenant, Session.revoked_at.is_(None), *which)
        .values(revoked_at=datetime.now(UTC))
        .returning(Session.id, Session.user_id)
        .execution_options(synchronize_session=False)
    )
    rows = (await work.session.execute(ended)).all()
    for session_id, user_id in rows:
        work.record("session.ended", "session", session_id, user_id=user_id, data={"reason": reason})
    return len(rows)


def kinds(backends: Backends) -> list[KindOut]:
    """What can be set up here."""
    return [
        KindOut(
            kind=spec.kind, title=spec.title, description=spec.description, config_schema=config_schema(spec.config)
        )
        for spec in backends.specs()
    ]


def find_spec(backends: Backends, kind: str) -> AuthBackendSpec:
    """Raises `ValidationFailed` for a kind that nothing installed offers."""
    spec = backends.spec(kind)
    if spec is None:
        there = ", ".join(known.kind for known in backends.specs()) or "none"
        detail = f"no installed plugin offers the login method {kind!r} (installed: {there}): install it first"
        raise ValidationFailed(detail, [("kind", detail)])
    return spec


def ceiling_of(method: LoginMethod) -> Permissions:
    """What whoever configured the method was allowed then."""
    known = {permission.value: permission for permission in Permission}
    return frozenset(known[name] for name in method.provisioning.get("ceiling", ()) if name in known)


def _stored(provisioning: Provisioning, ceiling: Permissions) -> dict[str, Any]:
    return msgspec.to_builtins(provisioning) | {"ceiling": sorted(permission.value for permission in ceiling)}


def _told(provisioning: Provisioning) -> dict[str, Any]:
    return {"provisioning": msgspec.to_builtins(provisioning)}


def _clean_domains(domains: list[str]) -> list[str]:
    """Small, each once. Raises `ValidationFailed`, which names every wrong one."""
    found: dict[str, None] = {}
    wrong: list[tuple[str, str]] = []
    for number, domain in enumerate(domains):
        if ascii_domain(domain) is None:
            detail = f"{domain[:100]!r} is not a domain: write the part of an address behind the @"
            wrong.append((f"provisioning.allowed_domains.{number}", detail))
        found[domain.strip().rstrip(".").lower()] = None
    if wrong:
        raise ValidationFailed(wrong[0][1], wrong)
    return list(found)
