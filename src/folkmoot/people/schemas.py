"""People, groups and roles, as administrators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from folkmoot.identity.links import Opened, password_login
from folkmoot.identity.models import Link, User
from folkmoot.kit.access import Permission
from folkmoot.kit.structs import Email, Input, Name, Struct, Text
from folkmoot.people.models import Group, GroupMember, Role

Predefined = Annotated[
    Literal["user", "ai-configurator", "owner"], Meta(description="A predefined role.", examples=["user"])
]
PersonName = Annotated[str, Meta(max_length=200, examples=["Ada Lind"])]
State = Literal["invited", "active", "inactive", "deleted"]
Ids = Annotated[list[UUID], Meta(max_length=50)]
GrantablePermission = Literal[
    "spaces",
    "spaces-create",
    "assistants",
    "collections",
    "keys",
    "models",
    "commons",
    "people",
    "audit",
    "admin",
]
"""`access.GRANTABLE`, spelt out for the description of the API; a test holds them together."""


class LinkState(Struct, frozen=True, kw_only=True):
    """A link that is still good."""

    purpose: str
    """`invitation` or `reset`."""
    mail: str
    """`none` (handed over), `queued`, `sent` or `failed`."""
    expires_at: datetime

    @classmethod
    def of(cls, link: Link) -> LinkState:
        return cls(purpose=link.purpose, mail=link.mail, expires_at=link.expires_at)


class PersonOut(Struct, frozen=True, kw_only=True):
    id: UUID
    email: str
    name: str
    role: Annotated[str, Meta(examples=["user"])]
    """Predefined role of the person: `user`, `ai-configurator` or `owner`."""
    state: Annotated[str, Meta(examples=["active"])]
    """`invited`, `active`, `inactive` or `deleted`."""
    roles: list[str]
    """Predefined roles, the person's own and through groups."""
    permissions: list[str]
    """What these and custom roles come to together."""
    group_ids: list[UUID]
    role_ids: list[UUID]
    """Custom roles given to the person; those of their groups are with the groups."""
    second_factor: bool
    link: LinkState | None
    """The invitation or reset that is open."""
    created_at: datetime
    deleted_at: datetime | None
    erased_at: datetime | None
    """When the personal data of a deleted account was removed."""


class Handed(Struct, frozen=True, kw_only=True):
    """How a link gets to whom it is for."""

    link: Annotated[str, Meta(examples=["https://folkmoot.example/link#fml_AZkKbjwf"])] | UnsetType = UNSET
    """To hand over; only there if the installation has no mail server."""
    mail: Literal["queued"] | UnsetType = UNSET
    """The link is sent by mail."""
    expires_at: datetime

    @classmethod
    def of(cls, link: Link, url: str | None) -> Handed:
        return cls(link=url or UNSET, mail=UNSET if url else "queued", expires_at=link.expires_at)


class InvitedOut(Struct, frozen=True, kw_only=True):
    """The person who was invited, and how the link gets to them."""

    id: UUID
    email: str
    name: str
    role: Annotated[str, Meta(examples=["user"])]
    state: Annotated[str, Meta(examples=["invited"])]
    link: Annotated[str, Meta(examples=["https://folkmoot.example/link#fml_AZkKbjwf"])] | UnsetType = UNSET
    """To hand over; only there if the installation has no mail server."""
    mail: Literal["queued"] | UnsetType = UNSET
    """The link is sent by mail."""
    expires_at: datetime
    """When the link is no longer good."""

    @classmethod
    def of(cls, user: User, link: Link, url: str | None) -> InvitedOut:
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            role=user.role,
            state=user.state,
            link=url or UNSET,
            mail=UNSET if url else "queued",
            expires_at=link.expires_at,
        )


class PersonInvite(Input, frozen=True, kw_only=True):
    email: Email
    name: PersonName = ""
    role: Predefined = "user"
    group_ids: Ids = []
    role_ids: Ids = []
    """Custom roles."""


class PersonUpdate(Input, frozen=True, kw_only=True):
    name: PersonName | UnsetType = UNSET
    role: Predefined | UnsetType = UNSET
    state: Literal["active", "inactive"] | UnsetType = UNSET
    """`inactive` shuts somebody out at once; `active` lets them in again."""


class DirectoryEntry(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    email: str

    @classmethod
    def of(cls, user: User) -> DirectoryEntry:
        return cls(id=user.id, name=user.name, email=user.email)


class GroupEntry(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    description: str
    member_count: int


class GroupOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    description: str
    role: Annotated[str, Meta(examples=["ai-configurator"])] | None
    """Predefined role that all members have beside their own."""
    role_ids: list[UUID]
    """Custom roles given to the group."""
    member_count: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, group: Group, role_ids: list[UUID], members: int) -> GroupOut:
        return cls(
            id=group.id,
            name=group.name,
            description=group.description,
            role=group.role,
            role_ids=role_ids,
            member_count=members,
            created_at=group.created_at,
            updated_at=group.updated_at,
        )


class GroupCreate(Input, frozen=True, kw_only=True):
    name: Name
    description: Text = ""
    role: Predefined | None = None


class GroupUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    role: Predefined | UnsetType | None = UNSET


class GroupMemberOut(Struct, frozen=True, kw_only=True):
    user_id: UUID
    name: str
    email: str
    state: Annotated[str, Meta(examples=["active"])]
    login_method_id: UUID | None
    """Put in by that login method, which also takes out; null: by hand."""

    @classmethod
    def of(cls, member: GroupMember, user: User) -> GroupMemberOut:
        return cls(
            user_id=user.id,
            name=user.name,
            email=user.email,
            state=user.state,
            login_method_id=member.login_method_id,
        )


class RoleOut(Struct, frozen=True, kw_only=True):
    id: UUID | None
    """null for a predefined role, which is given by its name."""
    name: str
    description: str
    permissions: list[str]
    predefined: bool

    @classmethod
    def of(cls, role: Role) -> RoleOut:
        return cls(
            id=role.id,
            name=role.name,
            description=role.description,
            permissions=sorted(role.permissions),
            predefined=False,
        )

    @classmethod
    def of_predefined(cls, name: str, permissions: frozenset[Permission]) -> RoleOut:
        return cls(id=None, name=name, description="", permissions=sorted(permissions), predefined=True)


Grants = Annotated[list[GrantablePermission], Meta(max_length=20, examples=[["people"]])]


class RoleCreate(Input, frozen=True, kw_only=True):
    name: Name
    description: Text = ""
    permissions: Grants


class RoleUpdate(Input, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    permissions: Grants | UnsetType = UNSET


class PermissionOut(Struct, frozen=True, kw_only=True):
    name: str
    meaning: str


class Forgot(Input, frozen=True, kw_only=True):
    email: Email
    tenant: Annotated[str, Meta(max_length=200)] | None = None
    """Name of the organisation; without it, every account with this e-mail gets a link."""


class ForgotOut(Struct, frozen=True, kw_only=True):
    detail: str


LinkToken = Annotated[str, Meta(min_length=1, max_length=200, examples=["fml_AZkKbjwfcv-a"])]


class LinkLook(Input, frozen=True, kw_only=True):
    token: LinkToken
    """What stands behind `#` in the link."""


class LinkAccept(Input, frozen=True, kw_only=True):
    token: LinkToken
    password: Annotated[str, Meta(min_length=1, max_length=1024, examples=["correct horse battery staple"])]
    name: PersonName | None = None


class LinkOut(Struct, frozen=True, kw_only=True):
    purpose: Annotated[str, Meta(examples=["invitation"])]
    """`invitation` or `reset`."""
    email: str
    name: str
    organisation: str
    expires_at: datetime
    password_login: bool
    """false: the organisation signs its people in elsewhere, and the link sets no password."""
    password_min_length: int

    @classmethod
    def of(cls, opened: Opened, password_min_length: int) -> LinkOut:
        return cls(
            purpose=opened.link.purpose,
            email=opened.user.email,
            name=opened.user.name,
            organisation=opened.tenant.name,
            expires_at=opened.link.expires_at,
            password_login=password_login(opened.tenant),
            password_min_length=password_min_length,
        )


class AcceptedOut(Struct, frozen=True, kw_only=True):
    """Sign in with this e-mail and the new password now."""

    email: str
    organisation: str
