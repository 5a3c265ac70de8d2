"""A crawl, in turns of some seconds: a turn claims the crawl by a lease, reads some pages, and lets others have theirs.

What a crawl knows is in its tables. A worker that dies loses the lease, the sweep queues the crawl again, and the next
worker goes on with the address that comes next. An organisation has a few crawls at once and the others wait, and as
each turn goes to the end of the lane, a small site does not wait for a large one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.websites import robots, secret
from folkmoot.websites.address import Paths, Site
from folkmoot.websites.fetch import FetchFailed, client
from folkmoot.websites.finish import fail, finish, record
from folkmoot.websites.frontier import CrawlFailed, Gone, Turn, end, next_page
from folkmoot.websites.keep import NoRoom
from folkmoot.websites.models import Crawl, CrawlPage, Website
from folkmoot.websites.polite import Hosts
from folkmoot.websites.robots import Rules, sitemaps_of
from folkmoot.websites.service import stand
from folkmoot.websites.take import RETRY_SECONDS, put_first, take
from folkmoot.websites.visit import Later, Visitor

log = get_logger(__name__)

LEASE = timedelta(seconds=20)
RENEW_SECONDS = 5.0
TURN_SECONDS = 20.0
TURN_PAGES = 25
AT_ONCE = 3
"""Crawls of one organisation that are under way at the same time."""
TELL = timedelta(seconds=5)
"""How often progress is told."""
MOST_DEATHS = 3
"""Workers that may die over one address."""
ROBOTS_TURNS = 2
"""Turns in which robots.txt is asked for while its server fails."""


async def crawl(app: App, tenant_id: UUID, crawl_id: UUID) -> float | None:
    """Do one turn of a crawl, if it wants one. Returns seconds until the next, or None after the last."""
    turn = await _claim(app, tenant_id, crawl_id)
    if turn is None:
        return None
    try:
        async with _lease(turn):
            wait = await _turn(turn)
    except Gone:
        return None
    except asyncio.CancelledError:
        # The worker goes down; whoever goes on need not wait for the lease to run out.
        await _leave(turn, 0.0)
        raise
    except CrawlFailed as error:
        await _end(turn, error.code, str(error))
        return None
    if wait is not None:
        await _leave(turn, wait)
    return wait


async def _claim(app: App, tenant_id: UUID, crawl_id: UUID) -> Turn | None:
    now = datetime.now(UTC)
    async with app.begin(Principal.system(tenant_id)) as work:
        # Two that begin at the same moment would both find room for one more.
        await work.session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"crawls of {tenant_id}"}
        )
        found = await work.session.scalar(select(Crawl).where(Crawl.id == crawl_id).with_for_update())
        if found is None or found.status not in ("queued", "running"):
            return None
        if found.status == "running" and found.lease_until is not None and found.lease_until > now:
            return None
        website = await work.session.get_one(Website, found.website_id)
        if found.status == "running" and found.lease_until is not None:
            await _blame(work, found)
        if found.status == "queued":
            if await running(work) >= AT_ONCE:
                return None
            found.status, found.started_at, found.told_at = "running", now, now
            found.origin = Site.of(website.url).origin
            await stand(work, website.id, state="crawling")
            record(work, "crawl.started", website, found)
        found.turns += 1
        found.lease_until, found.resume_at = now + LEASE, None
        await work.session.flush()
        return Turn(
            app=app,
            website=website,
            crawl_id=found.id,
            number=found.turns,
            site=Site.of(f"{found.origin}/"),
            paths=Paths(website.include, website.exclude),
            seconds_before=found.seconds,
        )


async def _blame(work: Work, crawl: Crawl) -> None:
    """The worker of the last turn died: count it against the address that was next, so that it cannot for ever."""
    query = select(CrawlPage).where(CrawlPage.crawl_id == crawl.id, CrawlPage.fate == "waiting")
    row = await work.session.scalar(query.order_by(CrawlPage.depth, CrawlPage.id).limit(1))
    if row is None:
        return
    row.attempts += 1
    if row.attempts >= MOST_DEATHS:
        message = f"reading it was interrupted {MOST_DEATHS} times"
        await end(work, crawl, row.id, "failed", reason="reading-interrupted", message=message)


async def running(work: Work) -> int:
    """How many crawls of the organisation are under way."""
    return await work.session.scalar(select(func.count()).where(Crawl.status == "running")) or 0


@asynccontextmanager
async def _lease(turn: Turn) -> AsyncGenerator[None]:
    """Keep the claim while the body runs; end the body if the crawl was ended, or taken by another."""
    body = asyncio.current_task()
    lost = False

    async def renew() -> None:
        nonlocal lost
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            async with turn.app.begin(turn.principal) as work:
                mine = (Crawl.id == turn.crawl_id, Crawl.turns == turn.number, Crawl.status == "running")
                kept = update(Crawl).where(*mine).values(lease_until=datetime.now(UTC) + LEASE).returning(Crawl.id)
                if (await work.session.scalar(kept)) is not None:
                    continue
            if body is not None:
                lost = True
                body.cancel()
            return

    renewing = asyncio.create_task(renew())
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            raise Gone from None
        raise
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing


async def _turn(turn: Turn) -> float | None:
    """Read pages until the turn is over. Returns seconds until the next turn, or None if the crawl is over."""
    try:
        auth = await secret.stored(turn.app, turn.website)
    except CryptoError:
        raise CrawlFailed("the stored `auth` cannot be opened any more: give it again", code="auth-lost") from None
    async with client(turn.app) as made:
        # Also after a redirect to a host of the same kin: what signs in was given for the address as it stands.
        signs_in = secret.headers_of(auth, turn.website.url)
        turn.visitor = Visitor(made, Hosts(turn.app.redis), TURN_SECONDS, signs_in)
        try:
            if (wait := await _begin(turn)) is not None:
                return wait
            for _ in range(TURN_PAGES):
                if (reached := await _reached(turn)) is not None:
                    await finish(turn, reached)
                    return None
                match await next_page(turn):
                    case None:
                        if await finish(turn, None):
                            return None
                    case (row, known):
                        await take(turn, row, known)
                    case wait:
                        return wait
                if turn.web.seconds_left <= 0:
                    break
        except Later as later:
            return later.seconds
        except NoRoom as error:
            raise CrawlFailed(str(error), code="quota-storage") from None
    return 0.0


async def _begin(turn: Turn) -> float | None:
    """Know the rules of the site, read once in a crawl, and the first addresses. Seconds to wait, if the rules do."""
    async with turn.app.begin(turn.principal) as work:
        known = await work.session.get_one(Crawl, turn.crawl_id)
    if known.robots is not None:
        turn.rules = Rules(known.robots)
    else:
        try:
            turn.rules = await robots.read(turn.web, turn.site)
        except FetchFailed as error:
            if error.passing and turn.number < ROBOTS_TURNS:
                return max(error.wait, RETRY_SECONDS)
            raise CrawlFailed(str(error), code=error.code) from None
        async with turn.writing() as (_, crawl):
            crawl.robots = turn.rules.text
    turn.web.pause = turn.rules.pause
    if not known.found:
        await put_first(turn, sitemaps_of(turn.website.url, turn.rules))
    return None


async def _reached(turn: Turn) -> str | None:
    """The limit that the crawl has come to, if any; and tells now and then how far it is."""
    async with turn.writing() as (work, crawl):
        now = datetime.now(UTC)
        if crawl.told_at is None or now - crawl.told_at >= TELL:
            crawl.told_at = now
            record(work, "crawl.progress", turn.website, crawl)
        if crawl.fetched >= turn.website.max_pages:
            return "pages"
        if crawl.bytes >= turn.website.max_bytes:
            return "bytes"
        return "seconds" if turn.seconds_before + turn.seconds_spent >= turn.website.max_seconds else None


async def _leave(turn: Turn, wait: float) -> None:
    with contextlib.suppress(Gone):
        async with turn.writing() as (_, crawl):
            crawl.seconds += turn.seconds_spent
            crawl.lease_until = None
            crawl.resume_at = datetime.now(UTC) + timedelta(seconds=wait)


async def _end(turn: Turn, code: str, message: str) -> None:
    with contextlib.suppress(Gone):
        await fail(turn, code, message)
        log.info("crawl.failed", crawl=str(turn.crawl_id), code=code)
