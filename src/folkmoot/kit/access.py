"""On whose behalf something happens, and what they may do. The whole matrix is in this file.

Two layers: permissions of the tenant (through the user's roles) open a kind of thing at all; the role in a
space decides about the things in that space. Everything that is not granted here is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from folkmoot.kit.errors import Forbidden


class Permission(StrEnum):
    """What a route asks for. A route names one of these, or is listed public."""

    SIGNED_IN = "signed-in"
    """Anybody with a valid token; what they see is their own."""
    SPACES = "spaces"
    """Use spaces, and what the role in each space allows."""
    SPACES_CREATE = "spaces-create"
    """Open new spaces."""
    ADMIN = "admin"
    """Administer the organisation: people, models, log."""


ROLES: dict[str, frozenset[Permission]] = {
    "user": frozenset({Permission.SIGNED_IN, Permission.SPACES, Permission.SPACES_CREATE}),
    "owner": frozenset(Permission),
}
"""Predefined roles of a tenant, and what each may do."""


class SpaceRole(StrEnum):
    """What somebody is in one space, lowest first."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


class Access(StrEnum):
    """What somebody wants to do with a thing in a space."""

    READ = "read"
    EDIT = "edit"
    MANAGE = "manage"


SPACE_ACCESS: dict[SpaceRole, frozenset[Access]] = {
    SpaceRole.VIEWER: frozenset({Access.READ}),
    SpaceRole.EDITOR: frozenset({Access.READ, Access.EDIT}),
    SpaceRole.ADMIN: frozenset(Access),
}
"""Role in a space, and what it may do with what lies there."""


@dataclass(frozen=True)
class Principal:
    """Somebody, or the system, acting within at most one tenant."""

    tenant_id: UUID | None = None
    user_id: UUID | None = None
    kind: str = "nobody"
    """`user`, `system` (a job or command within a tenant), `platform` (across tenants) or `nobody`."""
    permissions: frozenset[Permission] = field(default_factory=frozenset[Permission])
    session_id: UUID | None = None
    lookup: str = field(default="", repr=False)
    """What a caller without a tenant knows (an e-mail, the hash of a token): opens just the rows that hold it."""

    @classmethod
    def system(cls, tenant_id: UUID) -> Principal:
        """A job or a command that works within one tenant."""
        return cls(tenant_id=tenant_id, kind="system", permissions=frozenset(Permission))

    @classmethod
    def platform(cls) -> Principal:
        """Work across tenants: making one, listing them. It sees no tenant's rows."""
        return cls(kind="platform", permissions=frozenset({Permission.ADMIN}))

    @classmethod
    def stranger(cls, lookup: str) -> Principal:
        """Somebody who is about to sign in."""
        return cls(kind="nobody", lookup=lookup)

    def require(self, permission: Permission) -> None:
        """Raise `Forbidden` unless this principal has `permission`."""
        if permission not in self.permissions:
            raise Forbidden(
                f"this needs the permission {permission.value!r}: ask an administrator of your organisation"
            )

    @property
    def tenant(self) -> UUID:
        """The tenant, where there must be one."""
        if self.tenant_id is None:
            raise Forbidden("this can only be done within an organisation")
        return self.tenant_id

    @property
    def user(self) -> UUID:
        """The user, where there must be one."""
        if self.user_id is None:
            raise Forbidden("this can only be done by a person who is signed in")
        return self.user_id
