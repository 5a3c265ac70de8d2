"""`/organisation`: the settings of one's own organisation."""

from __future__ import annotations

from litestar import Controller

from folkmoot.kit.access import Permission
from folkmoot.kit.http import needs


class OrganisationController(Controller):
    path = "/organisation"
    tags = ["Organisation"]
    opt = needs(Permission.ADMIN)
