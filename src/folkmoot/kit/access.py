"""On whose behalf something happens, and what they may do. The whole matrix is in this file.

Two layers: permissions of the organisation (through roles) open a kind of thing at all; the role in a space
decides about the things in that space. An API key has, of its owner's permissions, what its scopes allow.
Everything that is not granted here is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    ASSISTANTS = "assistants"
    """Make assistants in one's personal space."""
    COLLECTIONS = "collections"
    """Make collections in one's personal space."""
    KEYS = "keys"
    """Make API keys that act for oneself."""
    MODELS = "models"
    """Connect models and tool servers, see plugins."""
    COMMONS = "commons"
    """Administer the organisation space, whose knowledge everybody may use."""
    PEOPLE = "people"
    """Invite people; manage groups and roles, as far as one's own permissions go."""
    AUDIT = "audit"
    """Read and export the log, for a stated reason."""
    ADMIN = "admin"
    """Administer the organisation: settings, ways to sign in, everybody's keys."""
    PLATFORM = "platform"
    """Administer the installation: organisations, their quotas and states. No role gives it; people are named."""


_USER = frozenset(
    {
        Permission.SIGNED_IN,
        Permission.SPACES,
        Permission.SPACES_CREATE,
        Permission.ASSISTANTS,
        Permission.COLLECTIONS,
        Permission.KEYS,
    }
)
ROLES: dict[str, frozenset[Permission]] = {
    "user": _USER,
    "ai-configurator": _USER | {Permission.MODELS, Permission.COMMONS},
    "owner": frozenset(Permission) - {Permission.PLATFORM},
}
"""Predefined roles of an organisation, lowest first, and what each may do."""
GRANTABLE = frozenset(Permission) - {Permission.SIGNED_IN, Permission.PLATFORM}
"""What a custom role may hold."""


class Scope(StrEnum):
    """What an API key may be used for. Which scope a route belongs to follows from its permission and method."""

    READ = "read"
    """Read what the owner may see in spaces."""
    WRITE = "write"
    """Change spaces, assistants, collections and documents."""
    CHAT = "chat"
    """Ask, and read one's own conversations."""
    ADMIN = "admin"
    """Whatever the owner may administer in the organisation."""
    PLATFORM = "platform"
    """Administer the installation, if the owner may."""


DEFAULT_SCOPES = (Scope.READ, Scope.WRITE, Scope.CHAT)
_ADMINISTRATIVE = {Permission.MODELS, Permission.COMMONS, Permission.PEOPLE, Permission.AUDIT, Permission.ADMIN}


def scope_of(permission: Permission, method: str) -> Scope:
    """The scope of a route that names none itself."""
    if permission is Permission.PLATFORM:
        return Scope.PLATFORM
    if permission in _ADMINISTRATIVE:
        return Scope.ADMIN
    return Scope.READ if method in ("GET", "HEAD") else Scope.WRITE


class SpaceKind(StrEnum):
    """What a space is for."""

    SHARED = "shared"
    """For those who are let in."""
    PERSONAL = "personal"
    """One person's own; nobody else is ever in it."""
    ORGANISATION = "organisation"
    """One for each organisation: its knowledge may be used by everybody, and holds no assistants. Who has `commons`
    is admin there, and everybody else viewer; nobody is put in."""


class SpaceRole(StrEnum):
    """What somebody is in one space, lowest first."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"
    OWNER = "owner"
    """Only in one's personal space."""


class Access(StrEnum):
    """What somebody wants to do with a space or a thing in it."""

    READ = "read"
    """See the space, its collections and documents, and its published assistants; ask."""
    DRAFTS = "drafts"
    """See and ask assistants that are not published."""
    EDIT = "edit"
    """Make, change and delete assistants, collections and documents."""
    PUBLISH = "publish"
    """Show an assistant to viewers, or hide it from them."""
    MANAGE = "manage"
    """Rename or delete the space; say who is in it."""


_EDITOR = frozenset({Access.READ, Access.DRAFTS, Access.EDIT, Access.PUBLISH})
SPACE_ACCESS: dict[SpaceKind, dict[SpaceRole, frozenset[Access]]] = {
    SpaceKind.SHARED: {
        SpaceRole.VIEWER: frozenset({Access.READ}),
        SpaceRole.EDITOR: _EDITOR,
        SpaceRole.ADMIN: _EDITOR | {Access.MANAGE},
    },
    SpaceKind.PERSONAL: {SpaceRole.OWNER: frozenset({Access.READ, Access.DRAFTS, Access.EDIT})},
    SpaceKind.ORGANISATION: {
        SpaceRole.VIEWER: frozenset({Access.READ}),
        SpaceRole.ADMIN: frozenset({Access.READ, Access.EDIT, Access.MANAGE}),
    },
}
"""By kind of space and role in it, what one may do there. What is not in the table is refused."""


def space_access(kind: str, role: str) -> frozenset[Access]:
    """What `role` may do in a space of `kind`; nothing for a combination that the table does not have."""
    return SPACE_ACCESS.get(SpaceKind(kind), {}).get(SpaceRole(role), frozenset())


def roles_with(access: Access) -> frozenset[SpaceRole]:
    """The roles that may do this in some kind of space, for queries over all of somebody's spaces."""
    return frozenset(role for table in SPACE_ACCESS.values() for role, granted in table.items() if access in granted)


def highest(roles: Iterable[str]) -> SpaceRole | None:
    """The role that counts for somebody who is in a space by themself and through groups."""
    order = list(SpaceRole)
    found = [SpaceRole(role) for role in roles]
    return max(found, key=order.index) if found else None


def permissions_of(
    roles: Iterable[str], granted: Iterable[str] = (), *, platform: bool = False
) -> frozenset[Permission]:
    """What predefined `roles`, and permissions of custom roles, come to together. Unknown names give nothing."""
    found: set[Permission] = set()
    for role in roles:
        found |= ROLES.get(role, frozenset())
    found |= {permission for permission in GRANTABLE if permission.value in set(granted)}
    if platform:
        found.add(Permission.PLATFORM)
    return frozenset(found | {Permission.SIGNED_IN})


@dataclass(frozen=True)
class Principal:
    """Somebody, or the system, acting within at most one tenant."""

    tenant_id: UUID | None = None
    user_id: UUID | None = None
    kind: str = "nobody"
    """`user`, `key` (an API key, for its owner), `system` (a job or command within a tenant), `platform` (across
    tenants) or `nobody`."""
    permissions: frozenset[Permission] = field(default_factory=frozenset[Permission])
    session_id: UUID | None = None
    key_id: UUID | None = None
    """The API key that was used."""
    scopes: frozenset[Scope] = field(default_factory=frozenset[Scope])
    """Of the API key; a person's session is not bound by scopes."""
    assistant_id: UUID | None = None
    """The one assistant that an assistant's key may ask."""
    lookup: str = field(default="", repr=False)
    """What a caller without a tenant knows (an e-mail, the hash of a key): opens just the rows that hold it."""

    @classmethod
    def system(cls, tenant_id: UUID) -> Principal:
        """A job or a command that works within one tenant."""
        return cls(tenant_id=tenant_id, kind="system", permissions=frozenset(Permission))

    @classmethod
    def platform(cls) -> Principal:
        """Work across tenants: making one, listing them. It sees no tenant's rows."""
        return cls(kind="platform", permissions=frozenset({Permission.ADMIN, Permission.PLATFORM}))

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
