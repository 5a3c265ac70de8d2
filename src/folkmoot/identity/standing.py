"""What decides about a caller at this moment: account, organisation, roles. Read anew at each request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Self
from uuid import UUID

from folkmoot.kit.access import Permission, permissions_of
from folkmoot.kit.errors import Forbidden


@lru_cache(maxsize=1024)
def _permissions(roles: tuple[str, ...], granted: tuple[str, ...], platform: bool) -> frozenset[Permission]:
    # Kept, because there are few combinations and every request has one.
    return permissions_of(roles, granted, platform=platform)


@dataclass(frozen=True)
class Standing:
    """One row of `folkmoot_person`, in the order of its columns."""

    tenant_id: UUID
    user_id: UUID
    email: str
    name: str
    state: str
    roles: list[str]
    """Predefined roles: the person's own first, then those of their groups."""
    granted: list[str]
    """Permissions of custom roles, own and through groups."""
    platform: bool
    second_factor: bool
    tenant_name: str
    tenant_state: str
    settings: dict[str, Any]
    """`tenants.schemas.TenantSettings`."""
    tenant_limit: int | None
    """Requests in a minute, of all people and keys of the tenant."""

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        return cls(*row[: len(cls.__dataclass_fields__)])

    @property
    def second_factor_needed(self) -> bool:
        """Whether one must set up a second factor before anything else. Never for keys, or sign-in elsewhere."""
        return False

    @cached_property
    def permissions(self) -> frozenset[Permission]:
        return _permissions(tuple(self.roles), tuple(self.granted), self.platform)

    def check(self) -> None:
        """Raise `Forbidden` (`tenant-suspended` or `account-inactive`) for somebody who is shut out."""
        if self.tenant_state != "active":
            raise Forbidden(
                "your organisation is suspended: ask its administrators, or whoever runs this installation",
                code="tenant-suspended",
            )
        if self.state != "active":
            raise Forbidden("this account is not active: ask your administrator", code="account-inactive")


@dataclass(frozen=True)
class SignedInStanding(Standing):
    """One row of `folkmoot_standing`: somebody in a session."""

    ended: bool
    method: str
    """`password`, or the kind of the auth backend."""

    @property
    def second_factor_needed(self) -> bool:
        return self.method == "password" and not self.second_factor and bool(self.settings.get("require_second_factor"))
