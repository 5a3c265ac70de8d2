"""Names and passwords of an LDAP directory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from folkmoot_sdk import AuthBackendSpec, PluginContext, hookimpl

from folkmoot_auth_ldap.config import LdapConfig

if TYPE_CHECKING:
    from folkmoot_auth_ldap.backend import Directory

FOLKMOOT_SDK_API = 1


@asynccontextmanager
async def connect(config: LdapConfig, context: PluginContext) -> AsyncGenerator[Directory]:
    """Nothing is kept open: each sign-in makes connections of its own, so a password never meets another's."""
    # Late, so that registering the plugin does not load the LDAP library.
    from folkmoot_auth_ldap.backend import Directory

    directory = Directory(config, context)
    try:
        yield directory
    finally:
        directory.close()


@hookimpl
def register_auth_backends() -> list[AuthBackendSpec]:
    return [
        AuthBackendSpec(
            kind="ldap",
            title="LDAP directory",
            config=LdapConfig,
            connect=connect,
            description="Names and passwords of OpenLDAP, Active Directory, FreeIPA and their like, with groups.",
        )
    ]
