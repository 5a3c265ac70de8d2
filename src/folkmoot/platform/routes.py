"""`/platform`: organisations, for those who administer the installation."""

from __future__ import annotations

from litestar import Controller

from folkmoot.kit.access import Permission
from folkmoot.kit.http import needs


class PlatformController(Controller):
    path = "/platform"
    tags = ["Platform"]
    opt = needs(Permission.PLATFORM)
