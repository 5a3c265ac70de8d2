"""What becomes of somebody whom a backend vouches for: who they are here, and what they may do.

A person is found by issuer and subject, and by nothing else: an e-mail may be anybody's at another issuer, so one
that is taken is told (`account-exists`) and never taken over. What the groups of the provider map to is brought in
step at each sign-in; what was given by hand stays as it is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from folkmoot.federation.claims import Person
from folkmoot.federation.models import ExternalAccount, LoginMethod
from folkmoot.federation.schemas import Provisioning, provisioning_of
from folkmoot.federation.service import ceiling_of
from folkmoot.identity.links import accept_for_external
from folkmoot.identity.models import User
from folkmoot.identity.service import UserService
from folkmoot.kit.access import ROLES
from folkmoot.kit.app import App
from folkmoot.kit.errors import Conflict, Forbidden, NotSignedIn
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.people.models import Group, GroupMember
from folkmoot.tenants.models import Tenant
from folkmoot.tenants.service import TenantService, check_users_quota

log = get_logger(__name__)
INACTIVE = "this account is not active: ask your administrator"


async def arrive(app: App, work: Work, method: LoginMethod, person: Person, invitation: str | None) -> User:
    """The person who signs in, made or invited in if that is how they come.

    Raises `Forbidden` (`account-not-allowed`, `account-inactive`, `tenant-suspended`), `Conflict`
    (`account-exists`, `quota-users`), what an invitation raises, or `NotSignedIn` (`login-expired`) if the method
    was changed while the provider was asked.
    """
    provisioning = await _admitted(work, method, person)
    account = await _find(work, person)
    if account is None or invitation is not None:
        # One after the other from here on: of two first sign-ins at the same moment, the second finds the first.
        await TenantService(work).get(work.principal.tenant, lock=True)
        account = await _find(work, person)
    if invitation is not None:
        user = await _invited(app, work, method, person, account, invitation)
    elif account is not None:
        user = await work.session.get_one(User, account.user_id)
        _touch(account, method, person)
    else:
        user = await _make(work, method, person, provisioning)
    if not user.active:
        raise Forbidden(INACTIVE, code="account-inactive")
    if not user.name and person.name:
        user.name = person.name
    if provisioning.group_map:
        await _bring_in_step(work, method, person, user, provisioning)
    await _check_ceiling(work, method, user)
    return user


async def link(work: Work, method: LoginMethod, person: Person, user_id: UUID) -> ExternalAccount:
    """A further way in for somebody who is signed in. It changes nothing of what they may do.

    Raises `Conflict` (`account-exists`) if it is another person's, and as `arrive` does.
    """
    await _admitted(work, method, person)
    await TenantService(work).get(work.principal.tenant, lock=True)
    user = await work.session.get_one(User, user_id)
    if not user.active:
        raise Forbidden(INACTIVE, code="account-inactive")
    await _check_ceiling(work, method, user)
    account = await _find(work, person)
    if account is None:
        return await _add(work, method, person, user)
    if account.user_id != user.id:
        raise _belongs_to_another()
    _touch(account, method, person)
    return account


async def _admitted(work: Work, method: LoginMethod, person: Person) -> Provisioning:
    """Whether the method lets in people like this one, as its row stands now."""
    tenant = await work.session.get(Tenant, method.tenant_id)
    if tenant is None or not tenant.active:
        raise Forbidden(
            "your organisation is suspended: ask its administrators, or whoever runs this installation",
            code="tenant-suspended",
        )
    fresh = await work.session.get(LoginMethod, method.id)
    if fresh is None or not fresh.enabled or fresh.revision != method.revision:
        raise NotSignedIn(f"{method.name} was changed at this moment: start again", code="login-expired")
    provisioning = provisioning_of(fresh)
    if not person.in_domain(provisioning.allowed_domains):
        raise Forbidden(
            f"{method.name} lets in people with a verified e-mail address of certain domains only, and yours is not "
            "one of them: ask your administrator",
            code="account-not-allowed",
        )
    return provisioning


async def _find(work: Work, person: Person) -> ExternalAccount | None:
    query = select(ExternalAccount).where(
        ExternalAccount.tenant_id == work.principal.tenant,
        ExternalAccount.issuer == person.issuer,
        ExternalAccount.subject == person.subject,
    )
    return await work.session.scalar(query)


def _touch(account: ExternalAccount, method: LoginMethod, person: Person) -> None:
    account.last_used_at = datetime.now(UTC)
    account.email = person.email or ""
    # The same issuer through another method: an organisation that moves from one to the other loses nobody.
    account.login_method_id = method.id


async def _add(work: Work, method: LoginMethod, person: Person, user: User) -> ExternalAccount:
    account = ExternalAccount(
        tenant_id=method.tenant_id,
        user_id=user.id,
        login_method_id=method.id,
        issuer=person.issuer,
        subject=person.subject,
        email=person.email or "",
        last_used_at=datetime.now(UTC),
    )
    work.session.add(account)
    await work.session.flush()
    work.record(
        "account.linked",
        "user",
        user.id,
        user_id=user.id,
        data={"account_id": str(account.id), "issuer": person.issuer} | _by(method),
    )
    return account


async def _invited(
    app: App, work: Work, method: LoginMethod, person: Person, account: ExternalAccount | None, token: str
) -> User:
    user = await accept_for_external(app, work, token)
    if account is None:
        await _add(work, method, person, user)
    elif account.user_id != user.id:
        raise _belongs_to_another()
    else:
        _touch(account, method, person)
    return user


async def _make(work: Work, method: LoginMethod, person: Person, provisioning: Provisioning) -> User:
    if not provisioning.create:
        raise Forbidden(
            f"nobody here signs in as you do at {method.name}: ask an administrator to invite you, or sign in as you "
            "did before and link it to your account",
            code="account-not-allowed",
        )
    if person.email is None:
        raise Forbidden(
            f"{method.name} does not tell your e-mail address, which an account here needs: ask your administrator",
            code="account-not-allowed",
        )
    await check_users_quota(work)
    role = _mapped_role(person, provisioning) or provisioning.role
    try:
        user = await UserService(work).create(person.email, None, name=person.name, role=role)
    except (Conflict, IntegrityError):
        raise Conflict(
            f"somebody here has the e-mail address {person.email} already: if it is you, sign in as you did before and "
            f"link {method.name} to your account, or ask an administrator to invite you",
            code="account-exists",
        ) from None
    await _add(work, method, person, user)
    return user


async def _bring_in_step(
    work: Work, method: LoginMethod, person: Person, user: User, provisioning: Provisioning
) -> None:
    wanted = {mapping.group_id for mapping in provisioning.group_map if mapping.claim in person.groups} - {None}
    if not await _memberships(work, method, user, wanted, provisioning, change=False) and not _next_role(
        person, user, provisioning
    ):
        return
    # Rights change: one after the other with all other changes of rights, and looked at anew.
    await TenantService(work).get(work.principal.tenant, lock=True)
    await work.session.refresh(user, with_for_update={"key_share": True})
    await _memberships(work, method, user, wanted, provisioning, change=True)
    role = _next_role(person, user, provisioning)
    if role is None:
        return
    try:
        await UserService(work).keep_an_owner(user)
    except Conflict:
        log.warning("provisioning.last_owner_kept", user=str(user.id), login_method=str(method.id))
        return
    work.record(
        "user.role_changed", "user", user.id, user_id=user.id, data={"from": user.role, "to": role} | _by(method)
    )
    user.role = role
    await work.session.flush()


async def _memberships(
    work: Work, method: LoginMethod, user: User, wanted: set[Any], provisioning: Provisioning, *, change: bool
) -> bool:
    """Whether the person's groups are out of step; with `change`, they no longer are."""
    own = {
        row.group_id: row
        for row in await work.session.scalars(select(GroupMember).where(GroupMember.user_id == user.id))
    }
    there = set(await work.session.scalars(select(Group.id).where(Group.id.in_(wanted)))) if wanted else set[UUID]()
    missing = sorted(there - set(own))
    over = [row for row in own.values() if row.login_method_id == method.id and row.group_id not in wanted]
    if not provisioning.remove_from_groups:
        over = []
    if change:
        for group_id in missing:
            work.session.add(
                GroupMember(tenant_id=method.tenant_id, group_id=group_id, user_id=user.id, login_method_id=method.id)
            )
            _record_member(work, "group.member_added", group_id, user, method)
        for row in over:
            await work.session.delete(row)
            _record_member(work, "group.member_removed", row.group_id, user, method)
        await work.session.flush()
    return bool(missing or over)


def _record_member(work: Work, action: str, group_id: UUID, user: User, method: LoginMethod) -> None:
    work.record(action, "group", group_id, user_id=user.id, data={"user_id": str(user.id)} | _by(method))


def _mapped_role(person: Person, provisioning: Provisioning) -> str | None:
    """The highest role that the person's claims map to."""
    given = {mapping.role for mapping in provisioning.group_map if mapping.claim in person.groups}
    return next((role for role in reversed(ROLES) if role in given), None)


def _next_role(person: Person, user: User, provisioning: Provisioning) -> str | None:
    """The role to change to; None: it stays. One that no mapping could have given was given by hand."""
    mapped = {mapping.role for mapping in provisioning.group_map if mapping.role is not None}
    if not mapped or user.role not in mapped | {provisioning.role}:
        return None
    order = list(ROLES)
    target = _mapped_role(person, provisioning) or provisioning.role
    lower = order.index(target) < order.index(user.role)
    return None if target == user.role or (lower and not provisioning.remove_from_groups) else target


async def _check_ceiling(work: Work, method: LoginMethod, user: User) -> None:
    standing = await UserService(work).standing(user.id)
    if standing is None or standing.permissions - ceiling_of(method):
        raise Forbidden(
            f"you may do more here than whoever configured {method.name}, so it cannot vouch for you: sign in "
            "another way, and save its configuration anew as somebody who may do as much as you",
            code="account-not-allowed",
        )


def _belongs_to_another() -> Conflict:
    return Conflict(
        "another person here signs in with this account at the provider: let them unlink it first",
        code="account-exists",
    )


def _by(method: LoginMethod) -> dict[str, str]:
    return {"method": method.kind, "login_method_id": str(method.id)}
