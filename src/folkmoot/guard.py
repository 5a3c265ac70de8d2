"""Who is calling, and whether they may: what every request passes before anything reads its body."""

from __future__ import annotations

from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from folkmoot.identity import cookies
from folkmoot.identity.sign_in import SignIn
from folkmoot.identity.standing import Standing
from folkmoot.keys.authenticate import PREFIXES, Keys
from folkmoot.kit import http
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.caller import caller
from folkmoot.kit.errors import Forbidden, NotSignedIn
from folkmoot.kit.limits import Limit, Limits
from folkmoot.kit.recorder import Recorder

Connection = ASGIConnection[Any, Any, Any, Any]


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Nobody without a token makes us parse a body."""
    opt = handler.opt
    if opt.get("public"):
        if not opt.get("unlimited"):
            await _limit_address(connection)
        return
    try:
        await authenticate(connection)
    except NotSignedIn:
        await _limit_address(connection)
        raise
    scope = cast("dict[str, Any]", connection.scope)
    await _limit(connection, scope["principal"], scope["standing"])
    try:
        http.authorise(scope["principal"], opt, scope.get("method", "GET"))
        standing: Standing = scope["standing"]
        if standing.second_factor_needed and not opt.get("before_second_factor"):
            raise Forbidden(
                "your organisation asks for a second factor: set one up by `POST /api/v1/me/second-factor` first",
                code="second-factor-needed",
            )
    except Forbidden as refusal:
        note_refusal(connection, refusal)
        raise


async def authenticate(connection: Connection) -> None:
    """Put the principal and the standing of the caller into the scope. Raises `NotSignedIn` or `Forbidden`.

    A token in the `Authorization` header counts before that of the cookie, which does not get better by it.
    """
    app: App = connection.app.state.app
    token = _bearer(connection)
    scope = cast("dict[str, Any]", connection.scope)
    if token.startswith(PREFIXES):
        origin = connection.headers.get("origin")
        scope["principal"], scope["standing"] = await app.part(Keys).authenticate(
            token, ip=caller.get().ip, origin=origin
        )
        return
    from_cookie = not token
    if from_cookie:
        token = connection.cookies.get(cookies.ACCESS, "")
    if not token:
        raise NotSignedIn("send `Authorization: Bearer <access token>`: `POST /api/v1/auth/login` gives one")
    principal, standing = await SignIn(app).authenticate(token)
    scope["principal"], scope["standing"] = principal, standing
    if from_cookie:
        try:
            cookies.check_csrf(app, connection, principal)
        except Forbidden as refusal:
            note_refusal(connection, refusal)
            raise


async def _limit(connection: Connection, principal: Principal, standing: Standing) -> None:
    """Against the person and the organisation; a key with a limit of its own was counted where it was checked."""
    app: App = connection.app.state.app
    settings = app.settings
    quota = settings.requests_per_tenant if standing.tenant_limit is None else standing.tenant_limit
    await app.part(Limits).take(
        Limit("user", f"user:{principal.user_id}", settings.requests_per_user),
        Limit("tenant", f"tenant:{principal.tenant_id}", quota),
    )


async def _limit_address(connection: Connection) -> None:
    app: App = connection.app.state.app
    network = caller.get().network
    await app.part(Limits).take(Limit("address", f"address:{network}", app.settings.requests_per_address))


def note_refusal(connection: Connection, refusal: Forbidden) -> None:
    """Tell the log of the caller's organisation that something was refused to them; once for each request.

    The guard calls it, and the exception handler for what services refuse.
    """
    scope = cast("dict[str, Any]", connection.scope)
    principal = http.principal_of(connection)
    if principal.tenant_id is None or scope.get("refusal_noted"):
        return
    scope["refusal_noted"] = True
    handler: Any = scope.get("route_handler")
    operation = getattr(handler, "operation_id", None) or getattr(handler, "handler_name", "")
    app: App = connection.app.state.app
    app.part(Recorder).note(
        principal.tenant_id,
        "access.refused",
        "operation",
        principal=principal,
        data={"operation": str(operation), "code": refusal.code},
    )


def _bearer(connection: Connection) -> str:
    """The token of the header, or of a socket's subprotocol; empty if there is neither."""
    given = connection.headers.get("authorization")
    if given is None and connection.scope["type"] == "websocket":
        offered: list[str] = cast("dict[str, Any]", connection.scope).get("subprotocols", [])
        return next((item for item in offered if item.startswith("bearer.")), "").removeprefix("bearer.")
    scheme, _, token = (given or "").partition(" ")
    token = token.strip()
    if given is not None and (scheme.lower() != "bearer" or not token):
        raise NotSignedIn("send `Authorization: Bearer <access token>`: `POST /api/v1/auth/login` gives one")
    return token
