"""`/audit`."""

from __future__ import annotations

from litestar import Controller

from folkmoot.kit.access import Permission
from folkmoot.kit.http import needs


class AuditController(Controller):
    path = "/audit"
    tags = ["Log"]
    opt = needs(Permission.AUDIT)
