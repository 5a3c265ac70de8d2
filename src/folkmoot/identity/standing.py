"""What decides about a caller at this moment: account, organisation, roles. Read anew at each request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from folkmoot.kit.access import Permission, permissions_of
from folkmoot.kit.errors import Forbidden


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
    def of(cls, row: Sequence[Any]) -> Standing:
        return cls(*row[: len(cls.__dataclass_fields__)])

    @cached_property
    def permissions(self) -> frozenset[Permission]:
        return permissions_of(self.roles, self.granted, platform=self.platform)

    def check(self) -> None:
        """Raise `Forbidden` (`tenant-suspended` or `account-inactive`) for somebody who is shut out."""
        if self.tenant_state != "active":
            raise Forbidden(
                "your organisation is suspended: ask its administrators, or whoever runs this installation",
                code="tenant-suspended",
            )
        if self.state != "active":
            raise Forbidden("this account is not active: ask your administrator", code="account-inactive")
