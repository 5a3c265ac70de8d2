"""The addresses of a crawl: which come next, which are put there, and what became of each. All of it is in the table.

So a crawl goes on where it stopped, whoever goes on with it. Every write first locks the crawl's row and sees that the
turn is still the writer's own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.work import Work
from folkmoot.websites.address import Paths, Site, is_trap, key, suffix
from folkmoot.websites.kinds import FILE_SUFFIXES, is_worth_asking
from folkmoot.websites.models import Crawl, CrawlPage, Website, WebsitePage
from folkmoot.websites.robots import Rules
from folkmoot.websites.visit import Visitor

BATCH = 1_000
NESTED = 5
"""How deep sitemaps may lie in sitemaps."""


class Gone(Exception):
    """The turn is somebody else's by now, or the crawl was ended."""


class CrawlFailed(Exception):
    """The whole crawl cannot go on. The message is for the person whose website it is."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Turn:
    """A stretch of one crawl by one worker."""

    app: App
    website: Website
    crawl_id: UUID
    number: int
    site: Site
    paths: Paths
    rules: Rules = field(default_factory=Rules)
    visitor: Visitor | None = None
    seconds_before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds_spent(self) -> float:
        return time.monotonic() - self.began

    @property
    def principal(self) -> Principal:
        return Principal.system(self.website.tenant_id)

    @property
    def web(self) -> Visitor:
        assert self.visitor is not None
        return self.visitor

    @property
    def most_found(self) -> int:
        """Addresses that one crawl keeps: a report of what is off site must not grow without end."""
        return 10 * self.website.max_pages + 1_000

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[tuple[Work, Crawl]]:
        """A transaction with the crawl's row locked. Raises `Gone`."""
        async with self.app.begin(self.principal) as work:
            query = select(Crawl).where(
                Crawl.id == self.crawl_id, Crawl.turns == self.number, Crawl.status == "running"
            )
            crawl = await work.session.scalar(query.with_for_update())
            if crawl is None:
                raise Gone
            yield work, crawl


@dataclass(frozen=True)
class Found:
    """An address that was met."""

    url: str
    depth: int
    kind: str = "page"
    hops: int = 0
    found_on: str = ""
    fate: str = "waiting"
    reason: str = ""


async def next_page(turn: Turn) -> tuple[CrawlPage, WebsitePage | None] | float | None:
    """The address that comes next, with what is known of it; seconds until there is one; None if there is none."""
    async with turn.app.begin(turn.principal) as work:
        now = datetime.now(UTC)
        mine = (CrawlPage.crawl_id == turn.crawl_id, CrawlPage.fate == "waiting")
        due = or_(CrawlPage.retry_at.is_(None), CrawlPage.retry_at <= now)
        query = select(CrawlPage).where(*mine, due).order_by(CrawlPage.depth, CrawlPage.id).limit(1)
        if (row := await work.session.scalar(query)) is None:
            later = await work.session.scalar(select(func.min(CrawlPage.retry_at)).where(*mine))
            return None if later is None else max(0.05, (later - now).total_seconds())
        return row, await known_page(work.session, turn.website.id, row.url_hash)


async def known_page(session: AsyncSession, website_id: UUID, url_hash: bytes) -> WebsitePage | None:
    return await session.scalar(
        select(WebsitePage).where(WebsitePage.website_id == website_id, WebsitePage.url_hash == url_hash)
    )


async def met(turn: Turn, work: Work, url: str) -> CrawlPage | None:
    """What became of an address in this crawl, if it was met."""
    query = select(CrawlPage).where(CrawlPage.crawl_id == turn.crawl_id, CrawlPage.url_hash == key(url))
    return await work.session.scalar(query)


async def put(turn: Turn, work: Work, crawl: Crawl, found: Sequence[Found]) -> None:
    """Add what the crawl has not met before, in order; what is more than one crawl keeps makes it incomplete."""
    counts: Counter[str] = Counter(crawl.counts)
    for start in range(0, len(found), BATCH):
        batch = found[start : start + BATCH][: max(0, turn.most_found - crawl.found)]
        if len(batch) < len(found[start : start + BATCH]):
            crawl.reached = "addresses"
        if not batch:
            break
        rows = [
            {
                "id": uuid7(),
                "tenant_id": crawl.tenant_id,
                "crawl_id": crawl.id,
                "url": item.url,
                "url_hash": key(item.url),
                "kind": item.kind,
                "depth": item.depth,
                "hops": item.hops,
                "found_on": item.found_on,
                "fate": item.fate,
                "reason": item.reason,
                "ended_at": None if item.fate == "waiting" else datetime.now(UTC),
            }
            for item in batch
        ]
        made = insert(CrawlPage).values(rows).on_conflict_do_nothing().returning(CrawlPage.fate)
        fates = list(await work.session.scalars(made))
        crawl.found += len(fates)
        counts.update(fate for fate in fates if fate != "waiting")
    crawl.counts = dict(counts)


def links_of(turn: Turn, row: CrawlPage, links: Iterable[str]) -> list[Found]:
    """What a page leads to, each address as it is met: to be read, or why it is not."""
    website, depth, found = turn.website, row.depth + 1, list[Found]()
    for link in links:
        url = turn.site.home(link)
        if url == row.url:
            continue
        if website.kind == "sitemap" and not (
            website.download_files and url is not None and suffix(url) in FILE_SUFFIXES
        ):
            # The sitemap says which pages there are; only documents are found on them.
            continue
        reason = _why_not(turn, url, depth)
        found.append(
            Found(url or link, depth, found_on=row.url, fate="skipped" if reason else "waiting", reason=reason)
        )
    return found


def listed_of(turn: Turn, row: CrawlPage, pages: Iterable[str], sitemaps: Iterable[str]) -> list[Found]:
    """What a sitemap lists."""
    found = list[Found]()
    for kind, addresses in (("sitemap", sitemaps), ("page", pages)):
        for address in addresses:
            url = turn.site.home(address)
            depth = row.depth + 1 if kind == "sitemap" else 0
            if kind == "sitemap":
                reason = "off-site" if url is None else "depth" if depth > NESTED else ""
            else:
                reason = _why_not(turn, url, depth)
            fate = "skipped" if reason else "waiting"
            found.append(Found(url or address, depth, kind=kind, found_on=row.url, fate=fate, reason=reason))
    return found


def _why_not(turn: Turn, url: str | None, depth: int) -> str:
    """Why an address is not asked for, as the report says it; empty if it is."""
    website = turn.website
    if url is None:
        return "off-site"
    if depth > website.max_depth:
        return "depth"
    if is_trap(url):
        return "repeats-itself"
    if not turn.paths.allow(url):
        return "excluded"
    return "" if is_worth_asking(url, files=website.download_files) else "type"


async def end(work: Work, crawl: Crawl, row_id: UUID, fate: str, **values: object) -> CrawlPage:
    """Note what became of an address."""
    row = await work.session.get_one(CrawlPage, row_id)
    row.fate, row.ended_at, row.retry_at = fate, datetime.now(UTC), None
    for name, value in values.items():
        setattr(row, name, value)
    crawl.counts = {**crawl.counts, fate: crawl.counts.get(fate, 0) + 1}
    return row
