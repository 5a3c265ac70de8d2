"""`/api-keys`."""

from __future__ import annotations

from litestar import Controller

from folkmoot.kit.access import Permission
from folkmoot.kit.http import needs


class KeyController(Controller):
    path = "/api-keys"
    tags = ["API keys"]
    opt = needs(Permission.KEYS, person=True)
