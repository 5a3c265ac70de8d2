"""One GET, within limits of time and size, with its secret only where it belongs. Redirects are told, not followed.

A server is hostile: it may send one byte a second, for ever, a thousandfold packed, or lead inside the network. The
client of `kit/net.py` connects to no address that it should not; here are the limits of one request. Whoever asks
decides about each redirect anew, so each hop passes every check that the first one did.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import ssl
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO

import httpx

from folkmoot.kit.app import App
from folkmoot.kit.net import AddressRefused, BodyRefused, BodyTooLarge, NetPolicy, outbound_client, unpacked
from folkmoot.websites.address import Site

AGENT = "folkmoot"
"""What robots.txt knows us by."""
REQUEST_SECONDS = 60.0
"""From the first byte sent to the last one read."""
SILENCE_SECONDS = 20.0
IN_MEMORY = 1024 * 1024
"""Bytes of a body that are kept in memory; more go to a nameless file."""
LONGEST_WAIT = 3_600.0
"""What `Retry-After` may ask for."""


class FetchFailed(Exception):
    """No answer that could be used. The message is for the person whose website it is."""

    def __init__(self, message: str, *, code: str, passing: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.passing = passing
        """Whether it may go better in a moment."""
        self.wait = wait
        """Seconds that the server asks for."""


@dataclass(frozen=True)
class Secret:
    """What signs in to one site: headers that nobody else may see."""

    site: Site
    headers: Mapping[str, str] = field(repr=False)

    def for_url(self, url: str) -> dict[str, str]:
        return dict(self.headers) if self.site.trusts(url) else {}


@dataclass
class Answer:
    """What a server said. `body` is None where it was not wanted."""

    url: str
    status: int
    headers: httpx.Headers
    body: IO[bytes] | None = None
    size: int = 0
    sha256: str = ""

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """As the header says, small; empty if it says nothing."""
        for part in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = part.partition("=")
            if name.strip().lower() == "charset":
                return value.strip(" \"'").lower()[:40]
        return ""

    @property
    def location(self) -> str | None:
        """Where it redirects to, as the header says."""
        return self.headers.get("location") if self.status in (301, 302, 303, 307, 308) else None

    @property
    def modified_at(self) -> datetime | None:
        try:
            found = parsedate_to_datetime(self.headers["last-modified"])
        except (KeyError, ValueError, TypeError):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def read(self) -> bytes:
        """The whole body, from its start."""
        if self.body is None:
            return b""
        self.body.seek(0)
        return self.body.read()

    def close(self) -> None:
        if self.body is not None:
            self.body.close()


@functools.cache
def _authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


@asynccontextmanager
async def client(app: App) -> AsyncGenerator[httpx.AsyncClient]:
    """A client for one turn: no line and no session of one website is left for another."""
    # Not `reachable_inside()`: that the platform's own model service may be asked says nothing about reading it.
    policy = NetPolicy(app.settings.net_allow)
    async with outbound_client(
        policy, connect=10, read=SILENCE_SECONDS, write=10, max_connections=8, tls=_authorities()
    ) as made:
        about = f" (+{app.settings.public_url})" if app.settings.public_url else ""
        made.headers["user-agent"] = f"{AGENT}{about}"
        made.headers["accept"] = "text/html,application/xhtml+xml,*/*;q=0.5"
        yield made


Wanted = Callable[[Answer], int]
"""Says from status and headers how many bytes of the body are wanted; 0: none."""


async def get(
    made: httpx.AsyncClient,
    url: str,
    wanted: Wanted,
    *,
    secret: Secret | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask once. Raises `FetchFailed`; `too-large` for a body beyond what is wanted."""
    sent = {**(headers or {}), **(secret.for_url(url) if secret else {})}
    host = Site.of(url).host
    answer: Answer | None = None
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            async with made.stream("GET", url, headers=sent, follow_redirects=False) as response:
                answer = Answer(url, response.status_code, response.headers)
                if limit := wanted(answer):
                    await _take(answer, response, limit)
                return answer
    except BaseException as error:
        if answer is not None:
            answer.close()
        if (told := _told(error, host)) is not None:
            raise told from None
        raise


async def _take(answer: Answer, response: httpx.Response, limit: int) -> None:
    said = response.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and "content-encoding" not in response.headers and int(said[:20]) > limit:
        raise BodyTooLarge(f"{response.url.host!r} says that it sends more than {limit} bytes")
    answer.body = tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="folkmoot-")  # noqa: SIM115 - the answer keeps it
    digest = hashlib.sha256()
    async for piece in unpacked(response, limit):
        digest.update(piece)
        answer.size += len(piece)
        # Beyond a megabyte this goes to a file; a piece is small, and the system's cache takes it.
        answer.body.write(piece)
    answer.sha256 = digest.hexdigest()
    answer.body.seek(0)


def _told(error: BaseException, host: str) -> FetchFailed | None:
    match error:
        case TimeoutError():
            return FetchFailed(f"{host} did not send it whole within {REQUEST_SECONDS:.0f} seconds", code="too-slow")
        case AddressRefused():
            return FetchFailed(str(error), code="address-refused")
        case BodyTooLarge():
            return FetchFailed(str(error), code="too-large")
        case BodyRefused():
            return FetchFailed(str(error), code="bad-answer", passing=True)
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return FetchFailed(f"{host} does not take a connection", code="unreachable", passing=True)
        case httpx.TimeoutException():
            return FetchFailed(f"{host} was silent for {SILENCE_SECONDS:.0f} seconds", code="too-slow", passing=True)
        case httpx.ConnectError() if (broken := _tls_error(error)) is not None:
            return FetchFailed(f"the certificate or encryption of {host} does not hold: {broken}", code="tls-failed")
        case httpx.ConnectError():
            return FetchFailed(f"{host} cannot be reached: {error}", code="unreachable", passing=True)
        case httpx.TransportError() | httpx.InvalidURL() | ValueError():
            return FetchFailed(f"{host} gave an answer that is not HTTP: {error}", code="bad-answer", passing=True)
        case _:
            return None


def _tls_error(error: BaseException | None) -> str | None:
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or "the certificate is not valid"
        if isinstance(error, ssl.SSLError):
            return error.reason or "no common protocol"
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None


def refused(answer: Answer) -> FetchFailed | None:
    """What an answer that is no page means; None for one that is, and for redirects, 304, 404 and 410."""
    status = answer.status
    if status in (404, 410, 304, 200, 203) or answer.location is not None:
        return None
    if status in (429, 503):
        wait = retry_after(answer.headers)
        return FetchFailed(f"the server asks for patience ({status})", code="rate-limited", passing=True, wait=wait)
    if status == 401:
        return FetchFailed("the server asks for a password: give one in `auth`, or another", code="unauthorised")
    if status == 403:
        return FetchFailed("the server refuses this page to us (403)", code="access-denied")
    if status >= 500:
        return FetchFailed(f"the server failed ({status})", code="server-error", passing=True)
    return FetchFailed(f"the server answered with the status {status}", code="http-error")


def retry_after(headers: httpx.Headers) -> float:
    """Seconds that a server asks for, an hour at most; 10 if it does not say (RFC 9110, 10.2.3)."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return min(LONGEST_WAIT, float(said[:12]))
    try:
        moment = parsedate_to_datetime(said)
    except (ValueError, TypeError):
        return 10.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(LONGEST_WAIT, max(0.0, (moment - datetime.now(UTC)).total_seconds()))
