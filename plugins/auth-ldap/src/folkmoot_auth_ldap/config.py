"""What an administrator fills in."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from folkmoot_sdk import Secret
from msgspec import Meta, Struct

_URL = re.compile(r"^(ldaps?)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?$")
Dn = Annotated[str, Meta(min_length=3, max_length=500)]
Attribute = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$")]
Filter = Annotated[str, Meta(min_length=3, max_length=1000)]


class LdapConfig(Struct, frozen=True, kw_only=True):
    """Where the directory is, how to find a person in it, and how to find the person's groups."""

    url: Annotated[str, Meta(pattern=_URL.pattern, max_length=300, examples=["ldaps://directory.example"])]
    """`ldaps://host[:port]`, or `ldap://host[:port]` with StartTLS."""
    base_dn: Dn
    """Where people are looked for, as `ou=people,dc=municipality,dc=example`."""
    bind_dn: Annotated[str, Meta(max_length=500)] = ""
    """Account that may search; empty: the directory answers anonymous searches."""
    bind_password: Secret | None = None
    security: Literal["starttls", "none"] = "starttls"
    """For `ldap://` only. `none` sends passwords in clear: for a directory on this very machine."""
    certificate_authority: Annotated[str, Meta(max_length=100_000)] = ""
    """PEM, for a directory whose certificate is from an authority of your own; empty: the system's authorities."""
    user_filter: Filter = "(&(objectClass=person)(|(uid={name})(mail={name})))"
    """`{name}` is what the person typed. Active Directory: `(&(objectClass=user)(sAMAccountName={name}))`."""
    subject_attribute: Attribute = "entryUUID"
    """What never changes and is never reused. Active Directory: `objectGUID`; FreeIPA: `ipaUniqueID`."""
    email_attribute: Attribute = "mail"
    name_attribute: Attribute = "cn"
    email_verified: bool = True
    """Whether the directory's e-mail addresses are the organisation's own, and so to be relied on."""
    group_base_dn: Annotated[str, Meta(max_length=500)] = ""
    """Where groups are looked for; empty: no groups are read."""
    group_filter: Filter = "(|(member={dn})(uniqueMember={dn}))"
    """`{dn}` is the person's, or that of a group within a group."""
    group_name_attribute: Attribute = "cn"
    nested_groups: bool = True
    """Also the groups that these groups are in, and so on."""
    timeout_seconds: Annotated[int, Meta(ge=1, le=60)] = 8

    def __post_init__(self) -> None:
        if "{name}" not in self.user_filter:
            raise ValueError("user_filter must have {name} where the typed name goes")
        if self.group_base_dn and "{dn}" not in self.group_filter:
            raise ValueError("group_filter must have {dn} where the person's DN goes")
        if self.bind_dn and not (self.bind_password and self.bind_password.reveal()):
            raise ValueError("bind_dn needs bind_password: a bind without one is anonymous")
        if self.url.startswith("ldap://") and self.security == "none" and self.host not in ("127.0.0.1", "[::1]"):
            raise ValueError("security none is for a directory on this machine (127.0.0.1): use ldaps:// or starttls")

    @property
    def tls(self) -> bool:
        return self.url.startswith("ldaps://")

    @property
    def host(self) -> str:
        return self._parts()[1]

    @property
    def port(self) -> int:
        return int(self._parts()[2] or (636 if self.tls else 389))

    @property
    def issuer(self) -> str:
        """The directory, whatever machine it moves to."""
        return f"ldap:{''.join(self.base_dn.lower().split())}"

    def _parts(self) -> tuple[str, str, str | None]:
        found = _URL.match(self.url)
        if found is None:
            raise ValueError(f"{self.url!r} is not the address of a directory: write ldaps://host")
        return found[1], found[2], found[3]
