"""Where a request came from; what it sets off, in whatever process, carries its id."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog


@dataclass(frozen=True)
class Caller:
    """Where a request came from, for the log and the events."""

    request_id: str = ""
    ip: str = ""
    user_agent: str = ""


caller: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - it is frozen


@contextmanager
def called_by(who: Caller) -> Generator[None]:
    """While the body runs, events and log lines say `who`."""
    token = caller.set(who)
    structlog.contextvars.bind_contextvars(request_id=who.request_id)
    try:
        yield
    finally:
        structlog.contextvars.unbind_contextvars("request_id")
        caller.reset(token)
