"""`/auth` and `/me`, and the keys that tokens are checked with."""

from __future__ import annotations

from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.identity import cookies
from folkmoot.identity.schemas import (
    EnrolmentOut,
    Login,
    MeOut,
    PasswordChange,
    RecoveryCodesOut,
    Refresh,
    SecondFactorBegin,
    SecondFactorCode,
    SecondFactorProof,
    SessionOut,
    TokenOut,
)
from folkmoot.identity.second_factor import SecondFactor
from folkmoot.identity.sessions import SessionService, change_password
from folkmoot.identity.sign_in import SignIn
from folkmoot.identity.tokens import Tokens
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotSignedIn
from folkmoot.kit.http import PUBLIC, Cursor, Limit, Page, needs, principal_of
from folkmoot.kit.work import Work

UseCookie = Annotated[
    bool, QueryParameter(name="cookie", description="false: the refresh token comes in the body, and no cookie is set.")
]
OWN = needs(Permission.SIGNED_IN, person=True)
FIRST: dict[str, Any] = {"before_second_factor": True}
"""`opt` of what somebody may call who has yet to set up the second factor that the organisation asks for."""
ONCE = {"Cache-Control": "no-store"}


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
        if use_cookie:
            # Or another site could sign a browser in as somebody else.
            cookies.check_origin(app, request)
        signed = await SignIn(app).login(data.email, data.password, data.tenant, code=data.code)
        return cookies.token_answer(app, request, signed, cookie=use_cookie)

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
            cookies.check_origin(app, request)
            token = request.cookies.get(cookies.REFRESH)
        if not token:
            raise NotSignedIn("there is no refresh token in the cookie or the body: sign in")
        return cookies.token_answer(app, request, await SignIn(app).refresh(token), cookie=from_cookie)

    @post(
        "/logout",
        operation_id="logout",
        summary="End this session",
        status_code=204,
        opt=OWN | FIRST,
    )
    async def logout(self, app: NamedDependency[App], request: Request[Any, Any, Any]) -> Response[None]:
        """The access token and the refresh token are refused from now on."""
        await SignIn(app).logout(principal_of(request))
        return Response(None, status_code=204, cookies=cookies.clear_cookies(request))


class MeController(Controller):
    path = "/me"
    tags = ["Signing in"]

    @get("/", operation_id="me", summary="Who am I", opt=needs(Permission.SIGNED_IN) | FIRST)
    async def me(self, request: Request[Any, Any, Any]) -> MeOut:
        """The signed-in person, their organisation, and what they may do."""
        # The guard has read all of it already.
        return MeOut.of(cast("dict[str, Any]", request.scope)["standing"])

    @post(
        "/password",
        operation_id="change_my_password",
        summary="Change my password",
        status_code=204,
        opt=OWN,
    )
    async def change_password(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], data: JSONBody[PasswordChange]
    ) -> None:
        """Ends all other sessions. A wrong `current_password` counts as a failed sign-in."""
        await change_password(app, principal_of(request), data.current_password, data.new_password)


class SessionController(Controller):
    path = "/me/sessions"
    tags = ["Signing in"]
    opt = OWN | FIRST

    @get("/", operation_id="list_my_sessions", summary="List where I am signed in")
    async def page(self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None) -> Page[SessionOut]:
        """Newest first."""
        rows, after = await SessionService(work).page(limit, cursor)
        current = work.principal.session_id
        return Page(items=[SessionOut.of(row, current) for row in rows], next_cursor=after)

    @delete("/{session_id:uuid}", operation_id="end_my_session", summary="Sign out somewhere")
    async def end(
        self, work: NamedDependency[Work], request: Request[Any, Any, Any], session_id: FromPath[UUID]
    ) -> Response[None]:
        """Its tokens are refused from now on."""
        await SessionService(work).end(session_id)
        here = session_id == work.principal.session_id
        return Response(None, status_code=204, cookies=cookies.clear_cookies(request) if here else [])

    @delete("/", operation_id="end_my_other_sessions", summary="Sign out everywhere but here")
    async def end_others(self, work: NamedDependency[Work]) -> None:
        await SessionService(work).end_others()


class SecondFactorController(Controller):
    path = "/me/second-factor"
    tags = ["Signing in"]
    opt = OWN | FIRST

    @post("/", operation_id="begin_second_factor", summary="Begin to set up a second factor")
    async def begin(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], data: JSONBody[SecondFactorBegin]
    ) -> Response[EnrolmentOut]:
        """Gives a secret for an authenticator. It counts once a code of it is confirmed."""
        made = await SecondFactor(app).begin(principal_of(request), data.password)
        return Response(EnrolmentOut(secret=made.secret, uri=made.uri), status_code=201, headers=ONCE)

    @post("/confirm", operation_id="confirm_second_factor", summary="Turn the second factor on", status_code=200)
    async def confirm(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], data: JSONBody[SecondFactorCode]
    ) -> Response[RecoveryCodesOut]:
        """By a first code; gives ten recovery codes."""
        codes = await SecondFactor(app).confirm(principal_of(request), data.code)
        return Response(RecoveryCodesOut(recovery_codes=codes), status_code=200, headers=ONCE)

    @delete("/", operation_id="remove_second_factor", summary="Turn the second factor off")
    async def remove(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], data: JSONBody[SecondFactorProof]
    ) -> None:
        await SecondFactor(app).disable(principal_of(request), data.password, data.code)

    @post("/recovery-codes", operation_id="renew_recovery_codes", summary="Get new recovery codes", status_code=200)
    async def renew(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], data: JSONBody[SecondFactorProof]
    ) -> Response[RecoveryCodesOut]:
        """The old ones are void."""
        codes = await SecondFactor(app).renew_recovery_codes(principal_of(request), data.password, data.code)
        return Response(RecoveryCodesOut(recovery_codes=codes), status_code=200, headers=ONCE)


@get(
    "/.well-known/jwks.json",
    operation_id="jwks",
    summary="The keys that access tokens are signed with",
    opt=PUBLIC,
    sync_to_thread=False,
)
def jwks(app: NamedDependency[App]) -> Response[bytes]:
    """As a JWK set (RFC 7517). The next key is there before it is used."""
    body = msgspec.json.encode({"keys": app.part(Tokens).published()})
    headers = {"Cache-Control": f"public, max-age={min(3600, app.settings.access_token_seconds)}"}
    return Response(body, media_type="application/json", headers=headers)
