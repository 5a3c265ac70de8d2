"""Connections to the directory: checked addresses, verified TLS, time limits, no referrals."""

from __future__ import annotations

import ssl
from typing import Any

import ldap3
from folkmoot_sdk import BackendUnavailable, PluginContext
from ldap3.core.exceptions import LDAPException

from folkmoot_auth_ldap.config import LdapConfig

INVALID_CREDENTIALS = 49
NO_SUCH_OBJECT = 32
SIZE_LIMIT = 4


class Refused(Exception):
    """The directory answered, and the answer is no."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
        """LDAP result code (RFC 4511, appendix A)."""


class Wire:
    """Opens connections by the configuration."""

    def __init__(self, config: LdapConfig, context: PluginContext) -> None:
        self._config = config
        self._context = context

    async def addresses(self) -> list[str]:
        """Where the host is, as far as the platform lets us go there. Raises `BackendUnavailable`."""
        host = self._config.host.strip("[]")
        try:
            return await self._context.reach(host, self._config.port)
        except OSError as error:
            self._context.log.warning("the directory %s cannot be reached: %s", host, error)
            raise BackendUnavailable(
                f"the directory {host} cannot be reached: {error}. A directory inside your own network has to be "
                "allowed by whoever runs this installation"
            ) from None

    def open(self, addresses: list[str]) -> Connection:
        """A connection that is encrypted and not yet bound. Raises `LDAPException` or `OSError`."""
        failure: Exception = OSError("no address")
        for address in addresses:
            try:
                return Connection(self._config, address)
            except (LDAPException, OSError) as error:
                failure = error
        raise failure


class _Tls(ldap3.Tls):
    """The standard library's own checks. ldap3's would also take a certificate for the bare address."""

    def __init__(self, name: str, authority: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._name = name
        self._context = ssl.create_default_context(cadata=authority or None)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002
        # We connect to the address that was checked, and the certificate is for the name.
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=self._name, do_handshake_on_connect=True
        )


class Connection:
    """One connection, with the few calls that are needed."""

    def __init__(self, config: LdapConfig, address: str) -> None:
        seconds = config.timeout_seconds
        name = config.host.strip("[]")
        tls = _Tls(name, config.certificate_authority)
        server = ldap3.Server(
            address, port=config.port, use_ssl=config.tls, tls=tls, connect_timeout=seconds, get_info=ldap3.NONE
        )
        self._seconds = seconds
        self._ldap: Any = ldap3.Connection(
            server,
            authentication=ldap3.ANONYMOUS,
            receive_timeout=seconds,
            auto_referrals=False,
            raise_exceptions=False,
            read_only=True,
        )
        self._ldap.open()
        if not config.tls and config.security == "starttls" and not self._ldap.start_tls():
            self.close()
            raise OSError("the directory does not offer StartTLS")

    def bind(self, dn: str, password: str) -> None:
        """Become `dn`; the empty one is nobody. Raises `Refused`."""
        self._ldap.authentication = ldap3.SIMPLE if dn else ldap3.ANONYMOUS
        self._ldap.user, self._ldap.password = dn or None, password or None
        if not self._ldap.bind():
            raise Refused(int(self._ldap.result["result"]))

    def search(
        self, base: str, query: str, *, scope: Any = ldap3.SUBTREE, attributes: list[str] | None = None, size: int
    ) -> list[dict[str, Any]]:
        """At most `size` entries. Raises `OSError` when the directory cannot answer."""
        self._ldap.search(
            base, query, scope, attributes=attributes or ["1.1"], size_limit=size, time_limit=self._seconds
        )
        code = int(self._ldap.result["result"])
        if code not in (0, SIZE_LIMIT, NO_SUCH_OBJECT):
            raise OSError(f"the directory answers the search with result {code}")
        return [entry for entry in self._ldap.response or [] if entry.get("type") == "searchResEntry"]

    def close(self) -> None:
        try:
            self._ldap.unbind()
        except (LDAPException, OSError):
            return
