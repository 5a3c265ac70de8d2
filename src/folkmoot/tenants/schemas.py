"""What a tenant looks like from outside."""

from __future__ import annotations

from uuid import UUID

from folkmoot.kit.structs import Struct


class TenantOut(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
