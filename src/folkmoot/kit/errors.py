"""Errors that a client is told, each with its HTTP status and a stable code.

    AppError
    ├── BadRequest              400  the request makes no sense as it stands
    │   └── ValidationFailed    400  named fields are wrong
    ├── NotSignedIn             401
    ├── Forbidden               403  known, visible, and not allowed
    ├── NotFound                404  not there, or not for the caller to know of
    ├── MethodNotAllowed        405
    ├── RequestTimeout          408  its body did not come
    ├── Conflict                409  clashes with what is stored
    ├── Stale                   412  somebody else changed it meanwhile
    ├── ContentTooLarge         413
    ├── UnsupportedContent      415
    ├── TooManyRequests         429
    └── NotAvailable            503  something that the service needs is down; try again

Services raise them; they never return them, because a returned error would commit.
"""

from __future__ import annotations

from typing import ClassVar


class AppError(Exception):
    """A refusal or failure that the client can do something about."""

    status: ClassVar[int] = 500
    code: str = "internal-error"
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class BadRequest(AppError):
    status = 400
    code = "bad-request"
    title = "The request makes no sense as it stands"


class ValidationFailed(BadRequest):
    code = "validation-failed"
    title = "Some fields are wrong"

    def __init__(self, detail: str, errors: list[tuple[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.errors = errors or []
        """(path, message) pairs; a path as `instructions` or `collection_ids.0`."""


class NotSignedIn(AppError):
    status = 401
    code = "not-signed-in"
    title = "Sign in first"


class Forbidden(AppError):
    status = 403
    code = "forbidden"
    title = "You may not do this"


class NotFound(AppError):
    status = 404
    code = "not-found"
    title = "There is no such thing here"


class MethodNotAllowed(AppError):
    status = 405
    code = "method-not-allowed"
    title = "This is not offered here"


class RequestTimeout(AppError):
    status = 408
    code = "request-timeout"
    title = "The request did not come in time"


class Conflict(AppError):
    status = 409
    code = "conflict"
    title = "This clashes with what is stored"


class Stale(AppError):
    status = 412
    code = "changed-meanwhile"
    title = "Somebody changed this meanwhile"


class ContentTooLarge(AppError):
    status = 413
    code = "content-too-large"
    title = "This is larger than allowed"


class UnsupportedContent(AppError):
    status = 415
    code = "unsupported-content-type"
    title = "This kind of content is not understood here"


class TooManyRequests(AppError):
    status = 429
    code = "too-many-requests"
    title = "Too many requests"

    def __init__(
        self,
        detail: str,
        retry_after: float,
        *,
        code: str | None = None,
        policy: tuple[str, int, int] | None = None,
    ) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after
        """Seconds."""
        self.policy = policy
        """The limit that is used up: its name, how many, in how many seconds."""


class NotAvailable(AppError):
    status = 503
    code = "not-available"
    title = "Something that this needs is not available now"


def changed_at_once() -> Conflict:
    """Two transactions wanted the same row, and this one lost."""
    return Conflict("somebody changed the same thing at the same time: try again", code="try-again")


def unreachable(error: BaseException) -> bool:
    """Whether PostgreSQL, Redis or the disk did not answer, so that the same request may do better in a moment."""
    # Here, because commands that only explain something import this module too.
    from redis.exceptions import ConnectionError as RedisGone
    from redis.exceptions import TimeoutError as RedisSlow
    from sqlalchemy.exc import TimeoutError as PoolEmpty

    state = str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")
    return (
        isinstance(error, OSError | RedisGone | RedisSlow | PoolEmpty)
        or bool(getattr(error, "connection_invalidated", False))
        or state[:2] == "08"
        or state in ("53300", "57P01", "57P02", "57P03")
    )


def from_database(error: BaseException) -> AppError | None:
    """What a constraint said, by SQLSTATE, or None if the error is not the client's doing.

    advanced-alchemy and SQLAlchemy raise a plain `IntegrityError` on asyncpg; only the SQLSTATE tells
    (PostgreSQL manual, appendix A).
    """
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state == "23505":
        return Conflict("something with this name or identity exists already: choose another", code="already-exists")
    if state == "23503":
        return Conflict("something that this refers to is gone, or still needs it", code="still-referenced")
    if state in ("23502", "23514"):
        return BadRequest("a value breaks a rule of the data")
    if state in ("40001", "40P01", "55P03"):
        return changed_at_once()
    if state == "42501":
        return NotFound("there is no such thing here")
    if state and state[:2] == "22":
        return BadRequest("a value cannot be stored: it is too long, or has characters that text may not have")
    return None
