"""The first tenant and administrator, and further ones by command."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from uuid import UUID

from folkmoot.ai.connect import connect_defaults
from folkmoot.identity.passwords import hash_password
from folkmoot.identity.service import UserService
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.settings import SettingsError
from folkmoot.tenants.service import TenantService

FIRST_TENANT = "Folkmoot"
FIRST_EMAIL = "admin@folkmoot.example"


@dataclass(frozen=True)
class Made:
    tenant_id: UUID
    email: str
    password: str = field(repr=False)
    generated: bool
    """The password was made here, and is shown this once."""


async def create_tenant(app: App, name: str, email: str) -> Made:
    """A tenant with its administrator and the models that need nothing; the first one gets the platform's account.

    The password is `admin_password` of the settings, or a random one. Raises `SettingsError` for a short one.
    """
    password = app.settings.admin_password
    generated = not password
    if generated:
        password = secrets.token_urlsafe(12)
    elif len(password) < app.settings.password_min_length:
        raise SettingsError(
            f"FOLKMOOT_ADMIN_PASSWORD has fewer than {app.settings.password_min_length} characters: choose a longer one"
        )
    hashed = await hash_password(password)
    async with app.begin(Principal.platform()) as work:
        platform_account = await TenantService(work).first() is None
        tenant = await TenantService(work).create(name)
        await UserService(work).create(email, hashed, name="Administrator", role="owner")
    await connect_defaults(app, tenant.id, platform_account=platform_account)
    return Made(tenant.id, email.strip().lower(), password, generated)


async def ensure_first(app: App) -> Made | None:
    """Make the first tenant if there is none; on each start, connect what the platform names and is not yet."""
    async with app.begin(Principal.platform()) as work:
        first = await TenantService(work).first()
    if first is None:
        email = app.settings.admin_email or FIRST_EMAIL
        return await create_tenant(app, FIRST_TENANT, email)
    await connect_defaults(app, first.id, platform_account=True)
    return None
