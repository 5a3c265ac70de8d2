"""Connections to the directory: checked addresses, verified TLS, time limits, no referrals."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any

import ldap3
from folkmoot_sdk import BackendUnavailable, PluginContext
from ldap3.core.exceptions import LDAPException

from folkmoot_auth_ldap.config import LdapConfig

INVALID_CREDENTIALS = 49
NO_SUCH_OBJECT = 32
SIZE_LIMIT = 4


MOST_BYTES = 4 * 1024 * 1024
"""What one connection takes. Five hundred groups with their names are a tenth of it."""


class Refused(Exception):
    """The directory answered, and the answer is no."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
        """LDAP result code (RFC 4511, appendix A)."""


async def reach(config: LdapConfig, context: PluginContext) -> list[str]:
    """Where the host is, as far as the platform lets us go there. Raises `BackendUnavailable`."""
    host = config.host.strip("[]")
    try:
        return await context.reach(host, config.port)
    except OSError as error:
        context.log.warning("the directory %s cannot be reached: %s", host, error)
        raise BackendUnavailable(
            f"the directory {host} cannot be reached: {error}. A directory inside your own network has to be "
            "allowed by whoever runs this installation"
        ) from None


class Wire:
    """The connections of one sign-in: opened in a thread, and cut from outside of it."""

    def __init__(self, config: LdapConfig, addresses: list[str]) -> None:
        self._config = config
        self._addresses = addresses
        self.opened: list[Connection] = []
        self._cut = False

    def open(self) -> Connection:
        """A connection that is encrypted and not yet bound. Raises `LDAPException` or `OSError`."""
        failure: Exception = OSError("no address")
        for address in self._addresses:
            self.check()
            try:
                return Connection(self._config, address, self)
            except (LDAPException, OSError) as error:
                failure = error
        raise failure

    def cut(self) -> None:
        """Whoever still waits for an answer hears that there is none."""
        self._cut = True
        for connection in list(self.opened):
            connection.cut()

    def check(self) -> None:
        """Raises `OSError` once it is cut."""
        if self._cut:
            raise OSError("nobody waits for this any more")


class _Tls(ldap3.Tls):
    """The standard library's own checks. ldap3's would also take a certificate for the bare address."""

    def __init__(self, name: str, authority: str, wire: Wire) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._name = name
        self._wire = wire
        self._context = ssl.create_default_context(cadata=authority or None)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002
        # We connect to the address that was checked, and the certificate is for the name.
        bare = connection.socket.bare if isinstance(connection.socket, _Watched) else connection.socket
        connection.socket = _Watched(
            self._context.wrap_socket(bare, server_hostname=self._name, do_handshake_on_connect=False)
        )
        # Before the handshake, which may hang as well.
        self._wire.check()
        connection.socket.do_handshake()


class _Watched:
    """A socket that takes no more than answers can have: ldap3 would gather whatever comes."""

    def __init__(self, bare: socket.socket) -> None:
        self.bare = bare
        self._left = MOST_BYTES

    def recv(self, size: int) -> bytes:
        data = self.bare.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise ConnectionAbortedError(f"the directory says more than {MOST_BYTES} bytes")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)


class Connection:
    """One connection, with the few calls that are needed."""

    def __init__(self, config: LdapConfig, address: str, wire: Wire) -> None:
        seconds = config.timeout_seconds
        name = config.host.strip("[]")
        tls = _Tls(name, config.certificate_authority, wire)
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
        # Before more is said: what comes with StartTLS may hang as well.
        wire.opened.append(self)
        self._ldap.open()
        if not isinstance(self._ldap.socket, _Watched):
            self._ldap.socket = _Watched(self._ldap.socket)
        wire.check()
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
        answered: list[dict[str, Any]] = self._ldap.response or []
        return [entry for entry in answered if entry.get("type") == "searchResEntry"]

    def cut(self) -> None:
        """From another thread than the one that reads: closing alone would not wake it."""
        watched = self._ldap.socket
        if isinstance(watched, _Watched):
            with suppress(OSError):
                # Not the method of a TLS socket, which takes it apart under the reader's hands.
                socket.socket.shutdown(watched.bare, socket.SHUT_RDWR)

    def close(self) -> None:
        try:
            self._ldap.unbind()
        except (LDAPException, OSError):
            return
