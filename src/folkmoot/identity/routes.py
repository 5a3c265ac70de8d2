"""`/auth` and `/me`."""

from __future__ import annotations

from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from folkmoot.identity.schemas import Login, MeOut, Refresh, TokenOut
from folkmoot.identity.sign_in import SignedIn, SignIn
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.errors import Forbidden, NotSignedIn
from folkmoot.kit.http import PUBLIC, needs, principal_of

COOKIE = "folkmoot_refresh"
UseCookie = Annotated[
    bool, QueryParameter(name="cookie", description="false: the refresh token comes in the body, and no cookie is set.")
]


class AuthController(Controller):
    path = "/auth"
    tags = ["Signing in"]

    @post("/login", operation_id="login", summary="Sign in with e-mail and password", status_code=200, opt=PUBLIC)
    async def login(
        self,
        data: JSONBody[Login],
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        use_cookie: UseCookie = True,
    ) -> Response[TokenOut]:
        """Gives an access token of a few minutes, and a refresh token as httpOnly cookie."""
        signed = await SignIn(app).login(data.email, data.password, data.tenant)
        return _answer(app, request, signed, cookie=use_cookie)

    @post("/refresh", operation_id="refresh", summary="Get a new access token", status_code=200, opt=PUBLIC)
    async def refresh(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        data: JSONBody[Refresh | None] = None,
    ) -> Response[TokenOut]:
        """Exchanges the refresh token for a new one. Using an old one again ends the session."""
        token = data.refresh_token if data else None
        from_cookie = token is None
        if token is None:
            _same_origin(request)
            token = request.cookies.get(COOKIE)
        if not token:
            raise NotSignedIn("there is no refresh token in the cookie or the body: sign in")
        return _answer(app, request, await SignIn(app).refresh(token), cookie=from_cookie)

    @post(
        "/logout",
        operation_id="logout",
        summary="End this session",
        status_code=204,
        opt=needs(Permission.SIGNED_IN),
    )
    async def logout(self, app: NamedDependency[App], request: Request[Any, Any, Any]) -> Response[None]:
        """The access token and the refresh token are refused from now on."""
        await SignIn(app).logout(principal_of(request))
        response: Response[None] = Response(None, status_code=204)
        response.delete_cookie(COOKIE, path="/api/v1/auth")
        return response


class MeController(Controller):
    path = "/me"
    tags = ["Signing in"]

    @get("/", operation_id="me", summary="Who am I", opt=needs(Permission.SIGNED_IN))
    async def me(self, request: Request[Any, Any, Any]) -> MeOut:
        """The signed-in person, their organisation, and what they may do."""
        # The guard has read all of it already.
        return MeOut.of(cast("dict[str, Any]", request.scope)["standing"])


class SessionController(Controller):
    path = "/me/sessions"
    tags = ["Signing in"]
    opt = needs(Permission.SIGNED_IN, person=True)


class SecondFactorController(Controller):
    path = "/me/second-factor"
    tags = ["Signing in"]
    opt = needs(Permission.SIGNED_IN, person=True)


def _answer(app: App, request: Request[Any, Any, Any], signed: SignedIn, *, cookie: bool) -> Response[TokenOut]:
    body = TokenOut(
        access_token=signed.access_token,
        token_type="Bearer",  # noqa: S106 - the name of the scheme
        expires_in=signed.expires_in,
        refresh_token=None if cookie else signed.refresh_token,
    )
    jar = [
        Cookie(
            key=COOKIE,
            value=signed.refresh_token,
            path="/api/v1/auth",
            httponly=True,
            secure=request.url.scheme == "https",
            samesite="strict",
            max_age=app.settings.refresh_token_days * 86400,
        )
    ]
    return Response(body, cookies=jar if cookie else [], headers={"Cache-Control": "no-store"})


def _same_origin(request: Request[Any, Any, Any]) -> None:
    """The second lock beside SameSite: a browser says where a request comes from, and it must be from here."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        raise Forbidden("this request comes from another site", code="cross-site")
