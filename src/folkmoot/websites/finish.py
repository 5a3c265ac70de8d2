"""The end of a crawl: what it did not see, what that says, and when the next one is due.

Only a crawl that saw all there is says that a page has vanished, and only the second one in a row is believed. So a
limit, a server that failed, a sitemap that was cut or a crawl that was cancelled never costs a document.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from folkmoot.kit.work import Work
from folkmoot.websites.frontier import CrawlFailed, Turn
from folkmoot.websites.keep import remove_documents
from folkmoot.websites.models import Crawl, CrawlPage, Website, WebsitePage
from folkmoot.websites.service import stand

BELIEVED = 2
"""Complete crawls in a row that must miss a page before its document is removed."""
FAILED_PART = 10
"""One part in so many may fail before a crawl says nothing of what it did not see."""
KEPT = 10
"""Crawls of a website whose reports are kept."""
STANDING = ("new", "changed", "unchanged")


def record(work: Work, action: str, website: Website, crawl: Crawl) -> None:
    """The event of how a crawl stands, with what the WebSocket shows."""
    work.record(
        action,
        "crawl",
        crawl.id,
        space_id=website.space_id,
        data={
            "website_id": str(website.id),
            "collection_id": str(website.collection_id),
            "url": website.url,
            "status": crawl.status,
            "cause": crawl.cause,
            "found": crawl.found,
            "fetched": crawl.fetched,
            "counts": crawl.counts,
            "error": crawl.error_code,
        },
    )


async def finish(turn: Turn, reached: str | None) -> bool:
    """End a crawl that has nothing left to ask, or came to a limit. False if there is something to ask after all.

    Raises `CrawlFailed` for one that read nothing, and says why.
    """
    if reached is None and await _ask_duplicates(turn):
        return False
    if reached is None:
        await _see_that_it_read(turn)
    async with turn.writing() as (work, crawl):
        crawl.reached = reached or crawl.reached
        await _pass_over(work, crawl)
        failed = crawl.counts.get("failed", 0)
        crawl.complete = crawl.reached is None and not crawl.shaky and failed * FAILED_PART <= crawl.fetched
        crawl.status = "completed"
        if crawl.complete:
            await _miss(work, crawl)
        await _close(work, turn, crawl, "ready" if crawl.reached is None else "partial")
        record(work, "crawl.completed", turn.website, crawl)
    while await remove_documents(turn.app, turn.website, only_gone=True):
        pass
    return True


async def fail(turn: Turn, code: str, message: str) -> None:
    """End a crawl that cannot go on. What it read stays, and nothing counts as missing. Raises `Gone`."""
    async with turn.writing() as (work, crawl):
        crawl.status, crawl.error_code, crawl.error_message = "failed", code, message[:1000]
        await _pass_over(work, crawl)
        await _close(work, turn, crawl, "failed")
        record(work, "crawl.failed", turn.website, crawl)


async def _ask_duplicates(turn: Turn) -> bool:
    """Ask again for pages that named another address as theirs, if that one cannot be read."""
    other = aliased(CrawlPage)
    # A page that was found to be the same as another needs nothing: the other has a document.
    stands = exists().where(
        other.crawl_id == CrawlPage.crawl_id,
        other.url == CrawlPage.target,
        or_(other.fate.in_((*STANDING, "failed")), and_(other.fate == "skipped", other.reason == "duplicate")),
    )
    kept = exists().where(
        WebsitePage.website_id == turn.website.id,
        WebsitePage.url == CrawlPage.target,
        WebsitePage.document_id.is_not(None),
    )
    async with turn.writing() as (work, crawl):
        again = (
            update(CrawlPage)
            .where(
                CrawlPage.crawl_id == crawl.id,
                CrawlPage.fate == "skipped",
                CrawlPage.reason == "duplicate",
                CrawlPage.alone.is_(False),
                ~stands,
                ~kept,
            )
            .values(fate="waiting", reason="", target="", alone=True, ended_at=None)
            .returning(CrawlPage.id)
            .execution_options(synchronize_session=False)
        )
        if count := len((await work.session.scalars(again)).all()):
            crawl.counts = {**crawl.counts, "skipped": crawl.counts.get("skipped", 0) - count}
    return count > 0


async def _see_that_it_read(turn: Turn) -> None:
    """Raise `CrawlFailed` for a crawl that found nothing to read: an empty report would say less."""
    async with turn.app.begin(turn.principal) as work:
        crawl = await work.session.get_one(Crawl, turn.crawl_id)
        if any(crawl.counts.get(fate) for fate in STANDING):
            return
        mine = CrawlPage.crawl_id == crawl.id
        pages = select(func.count()).where(mine, CrawlPage.kind == "page")
        if await work.session.scalar(pages.where(CrawlPage.reason == "robots")):
            raise CrawlFailed("robots.txt asks machines not to read any page that was found", code="robots-forbid")
        if turn.website.kind != "sitemap":
            return
        if not await work.session.scalar(pages):
            query = select(CrawlPage).where(mine, CrawlPage.fate != "read").order_by(CrawlPage.id).limit(1)
            row = await work.session.scalar(query)
            if row is None:
                raise CrawlFailed("the sitemap lists no page", code="empty-sitemap")
            message = row.message or f"no sitemap can be read: {row.url} ({row.fate})"
            raise CrawlFailed(message, code=row.reason or "nothing-there")
        if await work.session.scalar(pages.where(CrawlPage.reason == "off-site")):
            raise CrawlFailed(
                "the sitemap lists only pages of other hosts: give that host's address", code="leads-elsewhere"
            )


async def _pass_over(work: Work, crawl: Crawl) -> None:
    """What still waits is not asked for."""
    passed = (
        update(CrawlPage)
        .where(CrawlPage.crawl_id == crawl.id, CrawlPage.fate == "waiting")
        .values(fate="skipped", reason=crawl.reached or "ended", ended_at=datetime.now(UTC))
        .returning(CrawlPage.id)
        .execution_options(synchronize_session=False)
    )
    if count := len((await work.session.scalars(passed)).all()):
        crawl.counts = {**crawl.counts, "skipped": crawl.counts.get("skipped", 0) + count}


async def _miss(work: Work, crawl: Crawl) -> None:
    """Count what a complete crawl did not find; what failed, or grew too large, is still there."""
    found = exists().where(
        CrawlPage.crawl_id == crawl.id,
        CrawlPage.url_hash == WebsitePage.url_hash,
        or_(CrawlPage.fate.in_((*STANDING, "failed")), CrawlPage.reason == "too-large"),
    )
    pages = (WebsitePage.website_id == crawl.website_id, WebsitePage.gone_at.is_(None))
    await work.session.execute(
        update(WebsitePage)
        .where(*pages, ~found)
        .values(missing=WebsitePage.missing + 1)
        .execution_options(synchronize_session=False)
    )
    await work.session.execute(
        update(WebsitePage)
        .where(*pages, WebsitePage.missing >= BELIEVED)
        .values(gone_at=datetime.now(UTC))
        .execution_options(synchronize_session=False)
    )


async def _close(work: Work, turn: Turn, crawl: Crawl, state: str) -> None:
    now = datetime.now(UTC)
    crawl.ended_at, crawl.lease_until, crawl.resume_at = now, None, None
    crawl.seconds = turn.seconds_before + turn.seconds_spent
    await stand(work, turn.website.id, state=state, last_crawl_at=now)
    query = select(Crawl.id).where(Crawl.website_id == crawl.website_id).order_by(Crawl.id.desc()).offset(KEPT)
    older: list[UUID] = list(await work.session.scalars(query))
    if older:
        await work.session.execute(delete(Crawl).where(Crawl.id.in_(older)))
