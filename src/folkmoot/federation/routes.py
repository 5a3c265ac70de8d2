"""`/login-methods`, and the public side of signing in elsewhere under `/auth`."""

from __future__ import annotations

from litestar import Controller

from folkmoot.kit.access import Permission
from folkmoot.kit.http import PUBLIC, needs


class LoginMethodController(Controller):
    path = "/login-methods"
    tags = ["Login methods"]
    opt = needs(Permission.ADMIN)


class ExternalSignInController(Controller):
    path = "/auth"
    tags = ["Signing in"]
    opt = PUBLIC
