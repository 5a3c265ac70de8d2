"""`/login-methods`, the public side of signing in elsewhere under `/auth`, and one's own accounts there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.enums import MediaType, RequestEncodingType
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import Body, FromPath, JSONBody, QueryParameter

from folkmoot.federation import claims, leaving, service
from folkmoot.federation.accounts import AccountService
from folkmoot.federation.backends import Backends
from folkmoot.federation.check import check, check_stored
from folkmoot.federation.enter import ExternalSignIn
from folkmoot.federation.returning import KEEP_SECONDS
from folkmoot.federation.schemas import (
    AccountOut,
    CheckOut,
    CredentialLogin,
    Credentials,
    KindOut,
    LinkStart,
    LinkStarted,
    LoginMethodCheck,
    LoginMethodCreate,
    LoginMethodOut,
    LoginMethodUpdate,
    LogoutNotice,
    ProviderLogoutOut,
    WaysIn,
)
from folkmoot.federation.service import LoginMethodService
from folkmoot.identity import cookies
from folkmoot.identity.schemas import TokenOut
from folkmoot.kit import http
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError, BadRequest
from folkmoot.kit.http import PUBLIC, Cursor, IfMatch, Limit, Page, needs, principal_of, tagged
from folkmoot.kit.work import Work, begin

NO_STORE = {"Cache-Control": "no-store"}
OWN = needs(Permission.SIGNED_IN, person=True)
UseCookie = Annotated[
    bool, QueryParameter(name="cookie", description="false: the refresh token comes in the body, and no cookie is set.")
]
TenantName = Annotated[
    str | None,
    QueryParameter(name="tenant", max_length=200, description="Name or id; not needed where there is only one."),
]
ReturnTo = Annotated[
    str | None,
    QueryParameter(name="return_to", max_length=4000, description="A path here to come back to; anything else is `/`."),
]
InvitationToken = Annotated[
    str | None,
    QueryParameter(name="invitation", max_length=1000, description="Token of an invitation that is accepted by this."),
]
State = Annotated[
    str | None, QueryParameter(name="state", max_length=1000, description="Of the sign-in, as the provider returns it.")
]


class LoginMethodController(Controller):
    path = "/login-methods"
    tags = ["Login methods"]
    opt = needs(Permission.ADMIN)

    @get("/kinds", operation_id="list_login_method_kinds", summary="List what can be set up")
    async def kinds(self, app: NamedDependency[App]) -> Page[KindOut]:
        """The auth backends of the installed plugins, each with the JSON Schema of its configuration."""
        return Page(items=service.kinds(app.part(Backends)))

    @get("/", operation_id="list_login_methods", summary="List the login methods of the organisation")
    async def page(
        self, app: NamedDependency[App], work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[LoginMethodOut]:
        """Oldest first."""
        methods = LoginMethodService(app, work)
        rows, after = await methods.page(limit, cursor)
        return Page(items=[await methods.shown(row) for row in rows], next_cursor=after)

    @post("/", operation_id="create_login_method", summary="Set up a login method")
    async def create(
        self, app: NamedDependency[App], work: NamedDependency[Work], data: JSONBody[LoginMethodCreate]
    ) -> Response[LoginMethodOut]:
        """Nobody is asked yet: `POST /login-methods/check` tries a configuration."""
        methods = LoginMethodService(app, work)
        method = await methods.create(data)
        return tagged(await methods.shown(method), method.revision, 201)

    @post("/check", operation_id="check_login_method", summary="Try a configuration", status_code=200)
    async def check(self, app: NamedDependency[App], data: JSONBody[LoginMethodCheck]) -> CheckOut:
        """Connects, and says in words what is wrong. Nothing is stored."""
        return await check(app, data.kind, data.config)

    @get("/{method_id:uuid}", operation_id="get_login_method", summary="Read a login method")
    async def read(
        self, app: NamedDependency[App], work: NamedDependency[Work], method_id: FromPath[UUID]
    ) -> Response[LoginMethodOut]:
        methods = LoginMethodService(app, work)
        method = await methods.get(method_id)
        return tagged(await methods.shown(method), method.revision)

    @patch("/{method_id:uuid}", operation_id="update_login_method", summary="Change a login method")
    async def update(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        method_id: FromPath[UUID],
        data: JSONBody[LoginMethodUpdate],
        if_match: IfMatch = None,
    ) -> Response[LoginMethodOut]:
        """Fields that are absent stay as they are, those of `config` and `provisioning` too."""
        methods = LoginMethodService(app, work)
        method = await methods.update(method_id, data, if_match)
        return tagged(await methods.shown(method), method.revision)

    @delete("/{method_id:uuid}", operation_id="delete_login_method", summary="Remove a login method")
    async def remove(self, app: NamedDependency[App], work: NamedDependency[Work], method_id: FromPath[UUID]) -> None:
        """Ends the sessions that came through it; people keep their accounts here."""
        await LoginMethodService(app, work).delete(method_id)

    @post(
        "/{method_id:uuid}/check",
        operation_id="check_stored_login_method",
        summary="Try a login method as it is stored",
        status_code=200,
    )
    async def check_stored(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], method_id: FromPath[UUID]
    ) -> CheckOut:
        """Connects, and says in words what is wrong."""
        async with begin(app.sessions, principal_of(request)) as work:
            method = await LoginMethodService(app, work).get(method_id)
        return await check_stored(app, method)


def _quiet(handler: Callable[..., Response[Any]]) -> Callable[..., Response[Any]]:
    """An error handler whose answers are not to be kept (OpenID Connect Back-Channel Logout 1.0, 2.8)."""

    def answer(request: Request[Any, Any, Any], error: Any) -> Response[Any]:
        response = handler(request, error)
        response.headers["Cache-Control"] = "no-store"
        return response

    return answer


class ExternalSignInController(Controller):
    path = "/auth"
    tags = ["Signing in"]

    @get("/methods", operation_id="list_ways_in", summary="How one signs in to an organisation", opt=PUBLIC)
    async def methods(self, app: NamedDependency[App], tenant: TenantName = None) -> WaysIn:
        """An organisation that is not there looks like one without login methods."""
        return await ExternalSignIn(app).ways_in(tenant)

    @get(
        "/methods/{method_id:uuid}/start",
        operation_id="start_external_login",
        summary="Go to the provider",
        status_code=302,
        media_type=MediaType.TEXT,
        opt=PUBLIC,
    )
    async def start(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        method_id: FromPath[UUID],
        return_to: ReturnTo = None,
        invitation: InvitationToken = None,
    ) -> Response[None]:
        """For a browser to be sent to; it comes back to `/auth/callback` within ten minutes."""
        started = await ExternalSignIn(app).start(
            method_id, browser=request.cookies.get(_cookie_name(app)), return_to=return_to, invitation=invitation
        )
        return _empty(302, {"Location": started.url}, [_cookie(app, started.browser)])

    @get(
        "/callback",
        operation_id="end_external_login",
        summary="Come back from the provider",
        status_code=303,
        media_type=MediaType.TEXT,
        opt=PUBLIC,
    )
    async def callback(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], login_state: State = None
    ) -> Response[None]:
        """Sets the cookies of a session and leads on to `return_to`. Good once, in the browser that started it."""
        names = [name for name, _ in request.query_params.multi_items()]
        if len(names) != len(set(names)):
            raise BadRequest("the provider sent a parameter twice, so it is not clear what it says: start again")
        parameters = claims.query(request.query_params)
        ended = await ExternalSignIn(app).end(
            parameters | ({"state": login_state} if login_state else {}), request.cookies.get(_cookie_name(app))
        )
        jar = cookies.session_cookies(app, request, ended.signed) if ended.signed is not None else []
        return _empty(303, {"Location": ended.return_to}, jar)

    @post(
        "/methods/{method_id:uuid}/login",
        operation_id="external_login",
        summary="Sign in with the password of a directory",
        status_code=200,
        opt=PUBLIC,
    )
    async def login(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        method_id: FromPath[UUID],
        data: JSONBody[CredentialLogin],
        use_cookie: UseCookie = True,
    ) -> Response[TokenOut]:
        """Answers as `POST /auth/login` does."""
        if use_cookie:
            # Or another site could sign a browser in as somebody else.
            cookies.check_origin(app, request)
        signed = await ExternalSignIn(app).login(
            method_id, data.identifier, data.password, invitation=data.invitation, code=data.code
        )
        return cookies.token_answer(app, request, signed, cookie=use_cookie)

    @post(
        "/methods/{method_id:uuid}/backchannel-logout",
        operation_id="backchannel_logout",
        summary="Hear from a provider that somebody signed out",
        status_code=200,
        media_type=MediaType.TEXT,
        opt=PUBLIC,
        exception_handlers={
            AppError: _quiet(http.on_app_error),
            ValidationException: _quiet(http.on_validation),
            HTTPException: _quiet(http.on_http_exception),
        },
    )
    async def backchannel_logout(
        self,
        app: NamedDependency[App],
        method_id: FromPath[UUID],
        data: Annotated[LogoutNotice, Body(media_type=RequestEncodingType.URL_ENCODED)],
    ) -> Response[None]:
        """OpenID Connect Back-Channel Logout: ends the sessions that the token names. A token is good once."""
        await leaving.backchannel_logout(app, method_id, data.logout_token)
        return _empty(200)

    @post(
        "/provider-logout",
        operation_id="provider_logout",
        summary="End this session, and the provider's",
        status_code=200,
        opt=OWN | {"before_second_factor": True},
    )
    async def provider_logout(
        self, app: NamedDependency[App], request: Request[Any, Any, Any]
    ) -> Response[ProviderLogoutOut]:
        """As `POST /auth/logout`, and says where to send the browser to sign out at the provider as well."""
        url = await leaving.provider_logout(app, principal_of(request))
        return Response(
            ProviderLogoutOut(url=url), status_code=200, headers=NO_STORE, cookies=cookies.clear_cookies(request)
        )


class AccountController(Controller):
    path = "/me/accounts"
    tags = ["Signing in"]
    opt = OWN

    @get("/", operation_id="list_my_accounts", summary="List where else I sign in")
    async def page(self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None) -> Page[AccountOut]:
        """Newest first."""
        rows, after = await AccountService(work).page(limit, cursor)
        return Page(items=[AccountOut.of(*row) for row in rows], next_cursor=after)

    @post(
        "/{method_id:uuid}/start",
        operation_id="start_linking",
        summary="Link an account at a provider",
        status_code=200,
    )
    async def start(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        method_id: FromPath[UUID],
        data: JSONBody[LinkStart],
    ) -> Response[LinkStarted]:
        """Send the browser to `url`: once it is back, the account there is a way in to this one."""
        started = await ExternalSignIn(app).start(
            method_id,
            browser=request.cookies.get(_cookie_name(app)),
            return_to=data.return_to,
            link=principal_of(request),
        )
        return Response(
            LinkStarted(url=started.url), status_code=200, headers=NO_STORE, cookies=[_cookie(app, started.browser)]
        )

    @post(
        "/{method_id:uuid}/login",
        operation_id="link_directory_account",
        summary="Link an account in a directory",
        status_code=204,
    )
    async def login(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        method_id: FromPath[UUID],
        data: JSONBody[Credentials],
    ) -> None:
        """With name and password there, it becomes a way in to the account here."""
        await ExternalSignIn(app).link_by_password(principal_of(request), method_id, data.identifier, data.password)

    @delete("/{account_id:uuid}", operation_id="unlink_account", summary="Give up a way in")
    async def unlink(self, work: NamedDependency[Work], account_id: FromPath[UUID]) -> None:
        """Other sessions that came through it end."""
        await AccountService(work).unlink(account_id)


def _empty(status: int, headers: dict[str, str] | None = None, jar: Sequence[Cookie] = ()) -> Response[None]:
    # As JSON, nothing would be the word null.
    return Response(
        None, status_code=status, headers=(headers or {}) | NO_STORE, cookies=jar, media_type=MediaType.TEXT
    )


def _cookie_name(app: App) -> str:
    # The prefix keeps other hosts of the same domain from planting one (RFC 6265bis, 4.1.3.2).
    return "__Host-folkmoot_sign_in" if _by_tls(app) else "folkmoot_sign_in"


def _cookie(app: App, value: str) -> Cookie:
    """Lax, since it must come along when the provider sends the browser back."""
    return Cookie(
        key=_cookie_name(app),
        value=value,
        path="/" if _by_tls(app) else "/api/v1/auth",
        httponly=True,
        secure=_by_tls(app),
        samesite="lax",
        max_age=KEEP_SECONDS,
    )


def _by_tls(app: App) -> bool:
    # By the settings: that is where the provider sends the browser back to.
    return app.settings.url().startswith("https://")
