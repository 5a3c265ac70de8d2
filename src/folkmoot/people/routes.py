"""`/users`, `/groups` and `/roles`."""

from __future__ import annotations

from litestar import Controller

from folkmoot.kit.access import Permission
from folkmoot.kit.http import needs


class UserController(Controller):
    path = "/users"
    tags = ["People"]
    opt = needs(Permission.PEOPLE)


class GroupController(Controller):
    path = "/groups"
    tags = ["People"]
    opt = needs(Permission.PEOPLE)


class RoleController(Controller):
    path = "/roles"
    tags = ["People"]
    opt = needs(Permission.PEOPLE)
