"""The habits of every route: problem+json, paging, entity tags, permissions, the unit of work."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Generic, TypeVar, cast

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import HeaderParameter, QueryParameter
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from folkmoot.kit import errors
from folkmoot.kit.access import Permission, Principal, Scope, scope_of
from folkmoot.kit.app import App
from folkmoot.kit.caller import caller
from folkmoot.kit.log import get_logger
from folkmoot.kit.paging import etag
from folkmoot.kit.structs import Struct
from folkmoot.kit.work import Work, begin

log = get_logger(__name__)
T = TypeVar("T")

ERRORS_URL = "https://folkmoot.eu/errors/"
PUBLIC: dict[str, Any] = {"public": True}
"""`opt` of a route that anybody may call."""


def needs(
    permission: Permission, *, scope: Scope | None = None, person: bool = False, assistant_key: bool = False
) -> dict[str, Any]:
    """`opt` of a route that asks for `permission`; the guard of the application enforces it.

    `scope` is what an API key needs, if it does not follow from permission and method. `person` shuts out API
    keys: what gives or proves identity is for people who are signed in. `assistant_key` lets in the key of an
    assistant; the service then sees to it that the key reaches nothing of another assistant.
    """
    return {"permission": permission, "scope": scope, "person": person, "assistant_key": assistant_key}


class FieldError(Struct, frozen=True, kw_only=True):
    path: str
    """As `collection_ids.0`, or the name of the parameter."""
    message: str


class Problem(Struct, frozen=True, kw_only=True):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    """Stable; see the list of codes in the documentation."""
    request_id: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET
    """On `validation-failed`: which fields."""


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A stretch of a list. Give `next_cursor` as `cursor` to get the next; null at the end."""

    items: list[T]
    next_cursor: str | None = None


Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Most items to return.")]
Cursor = Annotated[str | None, QueryParameter(max_length=200, description="`next_cursor` of the page before this one.")]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match", max_length=100, description="The `ETag` last seen: refuse (412) if it changed since."
    ),
]


def problem(_request: Request[Any, Any, Any], error: errors.AppError, status: int | None = None) -> Response[bytes]:
    """`error` as `application/problem+json`."""
    code = status or error.status
    body = Problem(
        type=ERRORS_URL + error.code,
        title=error.title,
        status=code,
        detail=error.detail,
        code=error.code,
        request_id=caller.get().request_id,
        errors=[FieldError(path=path, message=message) for path, message in error.errors]
        if isinstance(error, errors.ValidationFailed) and error.errors
        else msgspec.UNSET,
    )
    headers: dict[str, str] = {}
    if isinstance(error, errors.TooManyRequests):
        wait = max(1, math.ceil(error.retry_after))
        headers["Retry-After"] = str(wait)
        if error.policy is not None:
            # draft-ietf-httpapi-ratelimit-headers-10
            name, count, seconds = error.policy
            headers["RateLimit-Policy"] = f'"{name}";q={count};w={seconds}'
            headers["RateLimit"] = f'"{name}";r=0;t={wait}'
            # As of draft 07, which is what most clients read.
            headers |= {"RateLimit-Limit": str(count), "RateLimit-Remaining": "0", "RateLimit-Reset": str(wait)}
    if code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), status_code=code, media_type="application/problem+json", headers=headers)


_BY_STATUS: dict[int, type[errors.AppError]] = {
    400: errors.BadRequest,
    401: errors.NotSignedIn,
    403: errors.Forbidden,
    404: errors.NotFound,
    413: errors.ContentTooLarge,
    415: errors.UnsupportedContent,
}


def on_app_error(request: Request[Any, Any, Any], error: errors.AppError) -> Response[bytes]:
    return problem(request, error)


_FIELD = re.compile(r"(?:unknown|required) field `([^`]+)`")


def on_validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    rows: list[tuple[str, str]] = []
    for item in cast("list[Any]", error.extra or []):
        if isinstance(item, dict):
            known = cast("dict[str, Any]", item)
            message = str(known.get("message", ""))
            if message == "'data'":
                # A KeyError of the framework's: there is no body at all.
                message = "a body is missing: send what is needed, as JSON unless the operation says otherwise"
            named = _FIELD.search(message)
            path = named.group(1) if named else str(known.get("key", known.get("source", "")))
            rows.append((path, message))
    detail = rows[0][1] if rows else error.detail
    return problem(request, errors.ValidationFailed(f"{detail}: see `errors` for each field" if rows else detail, rows))


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    kind = _BY_STATUS.get(error.status_code)
    if error.status_code == 405:
        made = errors.MethodNotAllowed(f"{request.method} is not offered at {request.url.path}")
    elif kind is errors.NotFound:
        made = errors.NotFound(f"there is nothing at {request.url.path}")
    elif kind is not None:
        made = kind(error.detail or kind.title)
    else:
        made = errors.AppError(error.detail or "the request could not be served", code="request-failed")
    response = problem(request, made, error.status_code)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def on_database_error(request: Request[Any, Any, Any], error: DBAPIError) -> Response[bytes]:
    known = errors.from_database(error)
    if known is None:
        return on_crash(request, error)
    return problem(request, known)


def on_crash(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    if isinstance(error, UnicodeError):
        # Half of a surrogate pair on its way to the database, or a JSON string that is not UTF-8, which msgspec
        # does not tell as an error of its own.
        return problem(request, errors.BadRequest("the request has characters that text may not have"))
    if isinstance(error, RecursionError) and "deserializing" in str(error):
        return problem(request, errors.BadRequest("the body is nested too deeply"))
    if isinstance(error, StaleDataError):
        return problem(request, errors.changed_at_once())
    if errors.unreachable(error):
        log.error("request.not_served", method=request.method, path=request.url.path, exc_info=error)
        return problem(request, errors.NotAvailable("something that this needs does not answer: try again in a moment"))
    log.error("request.crashed", method=request.method, path=request.url.path, exc_info=error)
    return problem(request, errors.AppError("this is our mistake; it is in the log under the request id"))


def authorise(principal: Principal, opt: dict[str, Any], method: str) -> None:
    """Refuse unless the route is public or the principal has what it names. A route that names nothing is shut."""
    if opt.get("public"):
        return
    permission = opt.get("permission")
    if not isinstance(permission, Permission):
        raise errors.Forbidden("this route names no permission, so nobody may use it")
    principal.require(permission)
    if principal.key_id is None:
        return
    if opt.get("person"):
        raise errors.Forbidden("this is for people who are signed in, not for API keys", code="key-not-allowed")
    if principal.assistant_id is not None and not opt.get("assistant_key"):
        raise errors.Forbidden("this API key is for asking one assistant only", code="key-not-allowed")
    scope: Scope = opt.get("scope") or scope_of(permission, method)
    if scope not in principal.scopes:
        raise errors.Forbidden(
            f"this API key lacks the scope {scope.value!r}: use one that has it", code="scope-missing"
        )


def principal_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    """Who the guard found the caller to be; nobody on a public route."""
    return cast("dict[str, Any]", connection.scope).get("principal", Principal())


async def provide_work(request: Request[Any, Any, Any]) -> AsyncIterator[Work]:
    """The unit of work of a request: the only generator dependency there is.

    Its commit happens after the handler and before the first byte of the answer, so a failed commit is an
    error to the client and never a success.
    """
    app = cast("App", request.app.state.app)
    async with begin(app.sessions, principal_of(request)) as work:
        yield work


async def provide_app(state: State) -> App:
    return cast("App", state.app)


def tagged(content: T, revision: int, status: int = 200) -> Response[T]:
    """An answer with its `ETag`."""
    return Response(content, status_code=status, headers={"ETag": etag(revision)})
