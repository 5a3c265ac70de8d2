"""Asking the provider over the lent client: one answer, small, soon, JSON, from the place that was asked.

Nothing is retried. No redirect is followed: it could lead a code or a secret to somewhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import msgspec
from folkmoot_sdk import AuthError, BackendUnavailable

DEADLINE = 15.0
"""Seconds for one question, all in all: a person waits, and a slow drip of bytes never times out by itself."""
MOST = 512 * 1024
"""Bytes in an answer. The longest honest ones are key sets, of some ten kilobytes."""

_TIMEOUT = httpx.Timeout(DEADLINE, connect=5.0)


class Answer(msgspec.Struct, frozen=True):
    """What came back: a status that is not the provider's own failure, and a JSON object."""

    status: int
    body: dict[str, Any]


async def ask(
    http: httpx.AsyncClient,
    url: str,
    what: str,
    *,
    form: Mapping[str, str] | None = None,
    authorization: str | None = None,
) -> Answer:
    """GET `url`, or POST `form` to it. `what` names the question in errors.

    Raises `BackendUnavailable` if no proper answer comes, and `AuthError` for one that will not change by itself.
    A status of 400 to 499 is returned if there is a JSON object with it.
    """
    where = f"the {what} of {urlsplit(url).hostname}"
    # The limit is counted on what comes: unpacked, a few bytes could become a thousand times as many first.
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if authorization:
        headers["authorization"] = authorization
    try:
        async with (
            asyncio.timeout(DEADLINE),
            http.stream(
                "GET" if form is None else "POST",
                url,
                data=form,
                headers=headers,
                timeout=_TIMEOUT,
                follow_redirects=False,
            ) as response,
        ):
            _check_head(response, where)
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MOST:
                    raise AuthError(f"{where} answers with more than {MOST} bytes, which no provider needs to")
    except (TimeoutError, httpx.TimeoutException) as error:
        raise BackendUnavailable(f"{where} did not answer in time: try again in a moment") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        reason = f"{error}"[:300] or type(error).__name__
        raise BackendUnavailable(f"{where} cannot be reached ({reason}): try again in a moment") from error
    return Answer(response.status_code, _json(bytes(body), response, where))


def _check_head(response: httpx.Response, where: str) -> None:
    status = response.status_code
    if status >= 500 or status == 429:
        raise BackendUnavailable(f"{where} answers with status {status}: try again in a moment")
    if not 200 <= status < 300 and not 400 <= status < 500:
        raise AuthError(
            f"{where} answers with status {status} and wants to be asked elsewhere, which is not followed: "
            "an administrator must enter the provider's present address"
        )
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise AuthError(f"{where} answers packed although it was asked not to")


def _json(body: bytes, response: httpx.Response, where: str) -> dict[str, Any]:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        found = read_object(body)
        if found is not None:
            return found
        if response.is_success:
            raise BackendUnavailable(f"{where} answers with something that is no JSON object: try again in a moment")
    elif response.is_success:
        shown = kind[:60] if kind.isascii() and kind.isprintable() and kind else "no type at all"
        raise AuthError(
            f"{where} answers with {shown} where JSON should be: an administrator must check the address "
            "and, for userinfo, that the provider does not sign or encrypt it"
        )
    return {}


def read_object(data: bytes) -> dict[str, Any] | None:
    """A JSON object, or None for anything else."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None
