"""How a browser stays signed in without a script ever holding a token.

Three cookies, all `SameSite=Strict`, and `Secure` where people come by TLS: the refresh token, for `/auth`
alone; the access token, for the API; and a value that scripts may read and must repeat in `X-CSRF-Token`. Another
site can neither read that value nor, being another site, send the cookies along.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from litestar import Response
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from folkmoot.identity.schemas import TokenOut
from folkmoot.identity.sign_in import SignedIn
from folkmoot.identity.tokens import Tokens
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import Forbidden

REFRESH, ACCESS, CSRF = "folkmoot_refresh", "folkmoot_access", "folkmoot_csrf"
PATHS = {REFRESH: "/api/v1/auth", ACCESS: "/api", CSRF: "/"}
HEADER = "X-CSRF-Token"
READING = frozenset({"GET", "HEAD", "OPTIONS"})

Connection = ASGIConnection[Any, Any, Any, Any]


def token_answer(app: App, connection: Connection, signed: SignedIn, *, cookie: bool) -> Response[TokenOut]:
    """What every way of signing in answers: the tokens, as cookies for a browser or all in the body."""
    body = TokenOut(
        access_token=signed.access_token,
        token_type="Bearer",  # noqa: S106 - the name of the scheme
        expires_in=signed.expires_in,
        refresh_token=None if cookie else signed.refresh_token,
    )
    cookies = session_cookies(app, connection, signed) if cookie else []
    return Response(body, status_code=200, cookies=cookies, headers={"Cache-Control": "no-store"})


def session_cookies(app: App, connection: Connection, signed: SignedIn) -> list[Cookie]:
    """The cookies of a session, to give to a `Response` or a `Redirect`."""
    secure, days = _secure(app, connection), app.settings.refresh_token_days
    values = {
        REFRESH: (signed.refresh_token, days * 86_400),
        ACCESS: (signed.access_token, signed.expires_in),
        CSRF: (app.part(Tokens).csrf(signed.session_id), days * 86_400),
    }
    return [
        Cookie(
            key=name,
            value=value,
            path=PATHS[name],
            httponly=name != CSRF,
            secure=secure,
            samesite="strict",
            max_age=seconds,
        )
        for name, (value, seconds) in values.items()
    ]


def clear_cookies(connection: Connection) -> list[Cookie]:
    """What makes a browser forget them."""
    secure = _secure(connection.app.state.app, connection)
    return [
        Cookie(key=name, value="", path=path, httponly=name != CSRF, secure=secure, samesite="strict", max_age=0)
        for name, path in PATHS.items()
    ]


def check_csrf(app: App, connection: Connection, principal: Principal) -> None:
    """Refuse what a browser was made to send by somebody else. Raises `Forbidden` (`csrf-failed`, `cross-site`).

    Only for requests whose token came in the cookie: a header does not come by itself.
    """
    scope = cast("dict[str, Any]", connection.scope)
    if scope["type"] == "websocket":
        # Browsers open sockets to anywhere, cookies included, and ask nobody first; but they say who asked.
        if connection.headers.get("origin") is None:
            raise Forbidden("a WebSocket with the cookie must say its `Origin`", code="cross-site")
        check_origin(app, connection)
        return
    if scope["method"] in READING:
        return
    check_origin(app, connection)
    given = connection.headers.get(HEADER, "")
    assert principal.session_id is not None
    if not app.part(Tokens).is_csrf(principal.session_id, given):
        raise Forbidden(
            f"send the value of the cookie {CSRF} in the header {HEADER}: else this could be another site's doing",
            code="csrf-failed",
        )


def check_origin(app: App, connection: Connection) -> None:
    """The lock beside SameSite: a browser says where a request comes from, and it must be from here.

    Who is no browser says nothing, and carries no cookies that others could use. Raises `Forbidden` (`cross-site`).
    """
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    if site not in (None, "same-origin", "none"):
        raise _cross_site()
    if origin is None:
        return
    try:
        parts, public = urlsplit(origin), urlsplit(app.settings.public_url)
    except ValueError:
        raise _cross_site() from None
    if app.settings.public_url and (parts.scheme, parts.netloc) == (public.scheme, public.netloc):
        return
    downgraded = _by_tls(connection) and parts.scheme != "https"
    if not parts.netloc or downgraded or parts.netloc != connection.headers.get("host"):
        raise _cross_site()


def _cross_site() -> Forbidden:
    return Forbidden("this request comes from another site", code="cross-site")


def _secure(app: App, connection: Connection) -> bool:
    # By the settings as well: a proxy that takes TLS off need not be one that we were told to trust.
    return _by_tls(connection) or app.settings.url().startswith("https://")


def _by_tls(connection: Connection) -> bool:
    # Behind a proxy too: the outermost layer has put there what a trusted one says.
    return cast("dict[str, Any]", connection.scope)["scheme"] in ("https", "wss")
