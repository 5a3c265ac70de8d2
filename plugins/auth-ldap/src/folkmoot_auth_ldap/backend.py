"""Checking a name and a password against the directory.

A sign-in makes two connections: one that searches, and one that binds as the person and is closed at once. The
library's calls block, so each sign-in runs in a thread. The threads are the directory's own: one that does not
answer holds up nobody but those who sign in with it. A call that is given up has its connections cut, or its thread
would go on waiting for a server that says a byte now and then.
"""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import UUID

from folkmoot_sdk import (
    AccountNotAllowed,
    AuthError,
    BackendUnavailable,
    ExternalIdentity,
    InvalidCredentials,
    PluginContext,
    Secret,
)
from ldap3 import SUBTREE
from ldap3.utils.conv import escape_filter_chars

from folkmoot_auth_ldap.config import LdapConfig
from folkmoot_auth_ldap.groups import groups_of
from folkmoot_auth_ldap.wire import Refused, Wire, reach

WRONG = "the name or the password is wrong"
THREADS = 8
"""Sign-ins at the same time; more wait."""
DEADLINE = 30.0
"""Seconds for one sign-in, all in all."""
LONGEST = 256
"""Characters of a name or a password that are looked at; no directory has longer ones."""


class Directory:
    """A `CredentialBackend`."""

    def __init__(self, config: LdapConfig, context: PluginContext) -> None:
        self._config = config
        self._context = context
        self._log = context.log
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ldap")

    def close(self) -> None:
        """Nothing new is asked; what is being asked ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def authenticate(self, identifier: str, password: Secret) -> ExternalIdentity:
        """Raises `InvalidCredentials`, `AccountNotAllowed` for an entry that cannot be used, `BackendUnavailable`."""
        name, word = identifier.strip(), password.reveal()
        # A bind without a password is an anonymous one, and always succeeds (RFC 4513, 5.1.2).
        if not name or not word or len(name) > LONGEST or len(word) > LONGEST or "\x00" in name + word:
            raise InvalidCredentials(WRONG)
        return await self._in_thread(self._authenticate, name, word)

    async def check(self) -> None:
        """Whether the directory answers, takes the service account and lets it search. Raises `BackendUnavailable`."""
        await self._in_thread(self._check)

    async def _in_thread(self, call: Any, *arguments: Any) -> Any:
        wire = Wire(self._config, await reach(self._config, self._context))
        try:
            async with asyncio.timeout(DEADLINE):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call, wire, *arguments)
        except AuthError:
            raise
        except Exception as error:  # noqa: BLE001 - ldap3 raises what it happens to, on an answer that is not LDAP
            self._log.warning("the directory does not answer: %s", type(error).__name__)
            raise BackendUnavailable("the directory does not answer: try again in a moment") from None
        finally:
            wire.cut()

    def _check(self, wire: Wire) -> None:
        with closing(self._searching(wire)) as connection:
            connection.search(self._config.base_dn, "(objectClass=*)", size=1)

    def _authenticate(self, wire: Wire, name: str, password: str) -> ExternalIdentity:
        with closing(self._searching(wire)) as connection:
            entry = self._find(connection, name)
            # Somebody who is not there costs a bind as well, and sounds the same.
            dn = entry["dn"] if entry else f"cn={secrets.token_hex(8)},{self._config.base_dn}"
            right = self._binds(wire, dn, password)
            if entry is None or not right:
                raise InvalidCredentials(WRONG)
            return self._identity(connection, entry)

    def _searching(self, wire: Wire) -> Any:
        connection = wire.open()
        try:
            secret = self._config.bind_password
            connection.bind(self._config.bind_dn, secret.reveal() if secret else "")
        except Refused as error:
            connection.close()
            self._log.error("the directory refuses the account in bind_dn: result %s", error.code)
            raise BackendUnavailable(
                "the directory refuses the account that searches it: an administrator has to set bind_dn anew"
            ) from None
        return connection

    def _find(self, connection: Any, name: str) -> dict[str, Any] | None:
        config = self._config
        wanted = [config.subject_attribute, config.email_attribute, config.name_attribute]
        found = connection.search(
            config.base_dn,
            config.user_filter.replace("{name}", escape_filter_chars(name)),
            scope=SUBTREE,
            attributes=wanted,
            size=2,
        )
        if len(found) > 1:
            # Either would be a guess about who this is.
            self._log.error("more than one entry has the name that was typed: narrow user_filter")
            return None
        return found[0] if found else None

    def _binds(self, wire: Wire, dn: str, password: str) -> bool:
        with closing(wire.open()) as connection:
            try:
                connection.bind(dn, password)
            except Refused:
                return False
            return True

    def _identity(self, connection: Any, entry: dict[str, Any]) -> ExternalIdentity:
        config = self._config
        subject = _subject(_first(entry, config.subject_attribute))
        if not subject:
            self._log.error("the entry has no %s: choose a subject_attribute that all have", config.subject_attribute)
            raise AccountNotAllowed(
                f"your entry in the directory has no {config.subject_attribute}: ask your administrator"
            )
        email = _text(_first(entry, config.email_attribute)).lower()
        return ExternalIdentity(
            issuer=config.issuer,
            subject=subject,
            email=email if "@" in email else None,
            email_verified=config.email_verified and "@" in email,
            name=_text(_first(entry, config.name_attribute)) or None,
            groups=groups_of(connection, config, entry["dn"], self._log),
        )


def _first(entry: dict[str, Any], attribute: str) -> bytes:
    # Servers answer in the spelling of their schema, whatever was asked for.
    for name, values in entry["raw_attributes"].items():
        if name.lower() == attribute.lower() and values:
            return values[0]
    return b""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()[:LONGEST]


def _subject(value: bytes) -> str:
    """The identifier as text; Active Directory's `objectGUID` is 16 bytes, in Microsoft's order."""
    try:
        return value.decode("ascii").strip() if value.isascii() and value.decode().isprintable() else _guid(value)
    except UnicodeDecodeError:
        return _guid(value)


def _guid(value: bytes) -> str:
    return str(UUID(bytes_le=value)) if len(value) == 16 else value.hex()
