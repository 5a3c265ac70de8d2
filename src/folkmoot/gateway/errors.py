"""Errors as OpenAI's clients expect them: `{"error": {message, type, param, code}}` with the right status.

Services raise what they always raise. Here it is told in the other form, whoever caught it: the guard, the framework,
or a stream that has begun and can change its status no more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

import msgspec
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ContentRefused,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Meta

from folkmoot.kit import http
from folkmoot.kit.errors import (
    AppError,
    BadRequest,
    Conflict,
    NotAvailable,
    NotFound,
    TooManyRequests,
    ValidationFailed,
)
from folkmoot.kit.structs import Struct

PREFIX = "/v1"
AnyRequest = Request[Any, Any, Any]
Handler = Callable[[AnyRequest, Any], Response[bytes]]
Handlers = Mapping[type[Exception], Handler]

STATUS = {"model-not-cleared": 403, "assistant-gone": 404}
"""Where OpenAI's clients look for another status than ours."""
CODES = {
    "not-signed-in": "invalid_api_key",
    "token-invalid": "invalid_api_key",
    "token-expired": "invalid_api_key",
    "key-invalid": "invalid_api_key",
    "key-expired": "invalid_api_key",
    "key-revoked": "invalid_api_key",
    "too-many-requests": "rate_limit_exceeded",
    "provider-rate-limited": "rate_limit_exceeded",
    "budget-exhausted": "insufficient_quota",
    "spending-limit-reached": "insufficient_quota",
    "context-too-long": "context_length_exceeded",
    "content-refused": "content_filter",
    "validation-failed": None,
    "bad-request": None,
    "provider-invalid-request": None,
}
"""Ours to theirs; all others are written with underscores, as theirs are."""
_OF_CODE = {
    kind.code: kind
    for kind in (
        AuthenticationFailed,
        BadResponse,
        ContentRefused,
        ContextTooLong,
        InvalidRequest,
        ModelNotFound,
        QuotaExhausted,
        RateLimited,
        Unavailable,
    )
}
_IN_VAIN = frozenset({"insufficient_quota", "provider_authentication_failed", "provider_quota_exhausted"})
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")


class ErrorDetail(Struct, frozen=True, kw_only=True):
    message: Annotated[str, Meta(examples=["a sentence that names the thing, the fact and the way out"])]
    type: Annotated[str, Meta(examples=["invalid_request_error"])]
    param: Annotated[str, Meta(examples=["messages[0].content"])] | None
    """Which field it is about."""
    code: Annotated[str, Meta(examples=["model_not_found"])] | None
    """Stable: as in the list of codes in the documentation, with `_` for `-`, or OpenAI's own word for it."""


class ErrorOut(Struct, frozen=True, kw_only=True):
    """An error, as OpenAI has it."""

    error: ErrorDetail


class Refused(ValidationFailed):
    """One field asks for what cannot be done."""

    def __init__(self, param: str, detail: str) -> None:
        super().__init__(detail, [(param, detail)])


class BadGateway(AppError):
    """The provider did what it must not, or does not know this installation any more."""

    status = 502
    code = "provider-bad-response"
    title = "The model's provider did not answer as it should"


class ClientGone(Exception):
    """Whoever asked has left, and nobody hears the answer."""


def unreadable(error: Exception) -> BadRequest:
    """Why a body could not be read."""
    if isinstance(error, msgspec.ValidationError):
        said = str(error)
        found = _PLACE.search(said)
        detail = said[: found.start()] if found else said
        return Refused(found.group(1) if found else "", f"{detail[:1].lower()}{detail[1:]}: see the documentation")
    if isinstance(error, RecursionError):
        return BadRequest("the body is nested too deeply")
    if isinstance(error, UnicodeError):
        return BadRequest("the request has characters that text may not have")
    return BadRequest(f"the body is no JSON that can be read: {error}")


def of_provider(error: ProviderError) -> AppError:
    """A provider's error as the client is told. What only an administrator can mend is not the client's fault."""
    match error:
        case RateLimited():
            wait = error.retry_after
            patience = wait if wait is not None and math.isfinite(wait) else 1.0
            found: AppError = TooManyRequests(str(error), patience, code=error.code)
        case AuthenticationFailed() | QuotaExhausted():
            found = BadGateway(
                "the provider of this model does not accept this organisation's account there: an administrator must "
                "check the connection",
                code=error.code,
            )
        case ModelNotFound():
            found = NotFound(str(error), code=error.code)
        case InvalidRequest():
            found = BadRequest(str(error), code=error.code)
        case Unavailable():
            found = NotAvailable(str(error), code=error.code)
        case _:
            found = BadGateway(str(error), code=error.code)
    return found


def of_answer(code: str, detail: str, *, retryable: bool) -> AppError:
    """Why an assistant's answer failed, as the same failure of a plain model is told."""
    kind = _OF_CODE.get(code)
    if kind is not None:
        return of_provider(kind(detail))
    if code in ("budget-exhausted", "spending-limit-reached"):
        return TooManyRequests(detail, 60.0, code=code)
    if code in STATUS:
        return Conflict(detail, code=code)
    if code == AppError.code:
        return AppError(detail)
    return (NotAvailable if retryable else BadGateway)(detail, code=code)


def in_their_form(handler: Handler) -> Handler:
    """What `handler` says as `application/problem+json`, in OpenAI's form; its headers stay."""

    def handle(request: AnyRequest, error: Any) -> Response[bytes]:
        return translated(handler(request, error))

    return handle


def below(handlers: Handlers) -> dict[int | type[Exception], Handler]:
    """The handlers of the routes under `/v1`, from those of the application."""
    theirs: dict[int | type[Exception], Handler] = {kind: in_their_form(found) for kind, found in handlers.items()}
    shown = handlers[AppError]
    theirs[ProviderError] = lambda request, error: translated(shown(request, of_provider(error)))
    theirs[ClientGone] = lambda _request, _error: Response(b"", status_code=499)
    crashed = handlers[Exception]

    def crash(request: AnyRequest, error: Any) -> Response[bytes]:
        # What could be read can still be too deep to be written for the provider.
        deep = isinstance(error, RecursionError) and "serializing" in str(error)
        return translated(shown(request, unreadable(error)) if deep else crashed(request, error))

    theirs[Exception] = crash
    return theirs


def elsewhere(handlers: Handlers) -> dict[int | type[Exception], Handler]:
    """The application's own handlers, but that an address under `/v1` which leads nowhere is told as OpenAI does."""
    ours: dict[int | type[Exception], Handler] = {**handlers}
    plain = handlers[HTTPException]
    theirs = in_their_form(plain)

    def handle(request: AnyRequest, error: Any) -> Response[bytes]:
        path = request.url.path
        return (theirs if path == PREFIX or path.startswith(f"{PREFIX}/") else plain)(request, error)

    ours[HTTPException] = handle
    return ours


def told(request: AnyRequest, error: Exception) -> Response[bytes]:
    """The answer to `error` by the handlers of the route, for a stream that has begun."""
    handlers = cast("Any", request.route_handler).resolve_exception_handlers()
    kind = next(kind for kind in type(error).__mro__ if kind in handlers)
    return handlers[kind](request, error)


def translated(response: Response[bytes]) -> Response[bytes]:
    """A problem, in OpenAI's form."""
    if response.media_type != "application/problem+json":
        return response
    problem = msgspec.json.decode(response.content, type=http.Problem)
    status = STATUS.get(problem.code, problem.status)
    named = problem.errors[0].path if isinstance(problem.errors, list) and problem.errors else ""
    if named == "data":
        # What handlers call the whole body.
        named = ""
    code = CODES.get(problem.code, problem.code.replace("-", "_"))
    detail = ErrorDetail(message=problem.detail, type=_type_of(status, code), param=named or None, code=code)
    response.headers.pop("Content-Type", None)
    if status == 409 or code in _IN_VAIN:
        # OpenAI's clients ask again by themselves, which could only fail once more.
        response.headers["x-should-retry"] = "false"
    return Response(
        msgspec.json.encode(ErrorOut(error=detail)),
        status_code=status,
        media_type="application/json",
        headers=response.headers,
    )


def _type_of(status: int, code: str | None) -> str:
    if code == "insufficient_quota":
        return code
    if status >= 500:
        return "server_error"
    return {403: "permission_error", 429: "rate_limit_error"}.get(status, "invalid_request_error")
