"""Who is calling, and whether they may: what every request passes before anything reads its body."""

from __future__ import annotations

from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from folkmoot.identity.sign_in import SignIn
from folkmoot.keys.authenticate import PREFIXES, Keys
from folkmoot.kit import http
from folkmoot.kit.app import App
from folkmoot.kit.caller import caller
from folkmoot.kit.errors import NotSignedIn

Connection = ASGIConnection[Any, Any, Any, Any]


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Nobody without a token makes us parse a body."""
    opt = handler.opt
    if opt.get("public"):
        return
    await authenticate(connection)
    scope = cast("dict[str, Any]", connection.scope)
    http.authorise(scope["principal"], opt, scope.get("method", "GET"))


async def authenticate(connection: Connection) -> None:
    """Put the principal and the standing of the caller into the scope. Raises `NotSignedIn` or `Forbidden`."""
    token = _bearer(connection)
    app: App = connection.app.state.app
    if token.startswith(PREFIXES):
        found = await app.part(Keys).authenticate(token, ip=caller.get().ip, origin=connection.headers.get("origin"))
    else:
        found = await SignIn(app).authenticate(token)
    scope = cast("dict[str, Any]", connection.scope)
    scope["principal"], scope["standing"] = found


def _bearer(connection: Connection) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if not token and connection.scope["type"] == "websocket":
        offered: list[str] = cast("dict[str, Any]", connection.scope).get("subprotocols", [])
        found = next((item for item in offered if item.startswith("bearer.")), "")
        scheme, token = "bearer", found.removeprefix("bearer.")
    if scheme.lower() != "bearer" or not token:
        raise NotSignedIn("send `Authorization: Bearer <access token>`: `POST /api/v1/auth/login` gives one")
    return token.strip()
