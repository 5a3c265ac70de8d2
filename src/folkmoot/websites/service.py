"""Websites of a collection: making and changing them, beginning and ending crawls, and reading reports."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import select, update
from uuid_utils.compat import uuid7

from folkmoot.kit.access import Access
from folkmoot.kit.app import App
from folkmoot.kit.crypto import CryptoError
from folkmoot.kit.errors import Conflict, NotFound, ValidationFailed
from folkmoot.kit.jobs import Task
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work
from folkmoot.knowledge.service import CollectionService
from folkmoot.websites import secret
from folkmoot.websites.address import Site, has_user, normal
from folkmoot.websites.models import Crawl, CrawlPage, Website, WebsitePage
from folkmoot.websites.schemas import Auth, WebsiteCreate, WebsiteOut, WebsiteUpdate

OPEN = ("queued", "running")
_STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(weeks=1)}


def next_crawl(schedule: str, after: datetime) -> datetime | None:
    """When the next crawl is due; a month later is the same day, or the last one of a shorter month."""
    if schedule == "monthly":
        year, month = (after.year + 1, 1) if after.month == 12 else (after.year, after.month + 1)
        return after.replace(year=year, month=month, day=min(after.day, monthrange(year, month)[1]))
    step = _STEPS.get(schedule)
    return after + step if step else None


class WebsiteService:
    """Use cases around websites. `crawl` and `remove` are the tasks that do the work, handed in from above."""

    def __init__(self, app: App, work: Work, *, crawl: Task | None = None, remove: Task | None = None) -> None:
        self._app, self._work = app, work
        self._collections = CollectionService(work)
        self._crawl, self._remove = crawl, remove

    async def get(self, website_id: UUID, access: Access) -> Website:
        """A website in a collection where the caller may do this. Raises `NotFound` or `Forbidden`."""
        query = select(Website).where(Website.id == website_id, Website.deleted_at.is_(None))
        website = await self._work.session.scalar(query)
        if website is None:
            raise _no_website()
        try:
            await self._collections.get(website.collection_id, access)
        except NotFound:
            raise _no_website() from None
        return website

    async def page(self, collection_id: UUID, limit: int, cursor: str | None) -> tuple[Sequence[Website], str | None]:
        """The websites of a collection, newest first."""
        await self._collections.get(collection_id, Access.READ)
        query = select(Website).where(Website.collection_id == collection_id, Website.deleted_at.is_(None))
        return await page(self._work.session, query, by=Website.id, limit=limit, cursor=cursor)

    async def create(self, collection_id: UUID, data: WebsiteCreate) -> Website:
        """Store a website. Raises `ValidationFailed` for an address that no page can be at."""
        collection = await self._collections.get(collection_id, Access.EDIT)
        url = checked(data.url)
        fields = {name: getattr(data, name) for name in data.__struct_fields__ if name not in ("url", "auth")}
        website = Website(
            id=uuid7(),
            tenant_id=self._work.principal.tenant,
            collection_id=collection.id,
            space_id=collection.space_id,
            url=url,
            **fields,
            next_crawl_at=None if data.schedule == "none" else datetime.now(UTC),
        )
        if data.auth is not None:
            secret.check(data.auth)
            # There is nothing stored that a mask could stand for.
            website.auth = await self._sealed(website, secret.merged(None, data.auth))
        self._work.session.add(website)
        await self._work.session.flush()
        self._record("website.created", website)
        return website

    async def update(self, website_id: UUID, data: WebsiteUpdate, if_match: str | None) -> Website:
        """Change a website; the next crawl goes by it.

        Raises `Stale`, `Conflict` (`crawl-in-progress`) if the address changes while a crawl is under way, and
        `ValidationFailed` if a stored secret would be sent to another host.
        """
        website = await self.get(website_id, Access.EDIT)
        check_match(if_match, website.revision)
        schedule, site = website.schedule, Site.of(website.url)
        changed = patch(website, data, leave=("url", "auth"))
        if data.url is not UNSET and (url := checked(data.url)) != website.url:
            await self._move(website, url, kept=data.auth is UNSET)
            changed.append("url")
        if data.auth is not UNSET:
            # Whoever may change the address must not learn the stored secret by it.
            stays = Site.of(website.url) == site
            website.auth = None if data.auth is None else await self._replaced(website, data.auth, stays=stays)
            changed.append("auth")
        if website.schedule != schedule:
            last = website.last_crawl_at
            first = None if website.schedule == "none" else datetime.now(UTC)
            website.next_crawl_at = first if last is None else next_crawl(website.schedule, last)
        if changed:
            await self._work.session.flush()
            self._record("website.updated", website, fields=changed)
        return website

    async def _move(self, website: Website, url: str, *, kept: bool) -> None:
        if await self.find_open(website.id) is not None:
            raise Conflict("a crawl is under way: cancel it before the address changes", code="crawl-in-progress")
        if website.auth is not None and kept and Site.of(url) != Site.of(website.url):
            detail = "the address changes where `auth` is sent to: give it again, or null"
            raise ValidationFailed(detail, [("auth", detail)])
        website.url, website.title = url, ""

    async def _replaced(self, website: Website, auth: Auth, *, stays: bool) -> bytes:
        secret.check(auth)
        before = await self._stored(website) if stays else None
        return await self._sealed(website, secret.merged(before, auth))

    async def _stored(self, website: Website) -> Auth | None:
        try:
            return await secret.stored(self._app, website)
        except CryptoError:
            return None

    async def _sealed(self, website: Website, auth: Auth) -> bytes:
        return await secret.seal(self._app, website.tenant_id, website.id, auth)

    async def delete(self, website_id: UUID) -> None:
        """Delete a website; the documents that were read from it go in the background."""
        website = await self.get(website_id, Access.EDIT)
        now = datetime.now(UTC)
        if (crawl := await self.find_open(website.id)) is not None:
            crawl.status, crawl.ended_at, crawl.lease_until = "cancelled", now, None
        website.deleted_at = now
        self._record("website.deleted", website)
        if self._remove is not None:
            self._work.enqueue(self._remove, tenant_id=website.tenant_id, website_id=website.id)

    async def begin_crawl(self, website_id: UUID) -> Crawl:
        """Queue a crawl; the one that is under way if there is one."""
        website = await self.get(website_id, Access.EDIT)
        return await self.queue(website, "asked")

    async def queue(self, website: Website, cause: str) -> Crawl:
        """Queue a crawl of a website that nobody else changes at this moment. Checks no access."""
        # Two at once would both find none under way.
        await self._work.session.execute(select(Website.id).where(Website.id == website.id).with_for_update())
        if (crawl := await self.find_open(website.id)) is None:
            crawl = Crawl(
                id=uuid7(), tenant_id=website.tenant_id, website_id=website.id, cause=cause, status="queued", counts={},
                complete=False, found=0, fetched=0, bytes=0, seconds=0.0,
            )  # fmt: skip
            self._work.session.add(crawl)
            await self._work.session.flush()
            await stand(self._work, website.id, state="queued", last_crawl_id=crawl.id)
        self._record("crawl.queued", website, crawl)
        if self._crawl is not None:
            self._work.enqueue(self._crawl, tenant_id=website.tenant_id, crawl_id=crawl.id)
        return crawl

    async def cancel(self, website_id: UUID) -> Crawl:
        """End the crawl that is under way; what it read stays. Raises `Conflict` (`no-crawl`)."""
        website = await self.get(website_id, Access.EDIT)
        crawl = await self.find_open(website.id, lock=True)
        if crawl is None:
            raise Conflict("no crawl of this website is under way", code="no-crawl")
        crawl.status, crawl.ended_at, crawl.lease_until = "cancelled", datetime.now(UTC), None
        await self._work.session.flush()
        await stand(self._work, website.id, state="cancelled", last_crawl_at=crawl.ended_at)
        self._record("crawl.cancelled", website, crawl)
        return crawl

    async def find_open(self, website_id: UUID, *, lock: bool = False) -> Crawl | None:
        query = select(Crawl).where(Crawl.website_id == website_id, Crawl.status.in_(OPEN))
        return await self._work.session.scalar(query.with_for_update() if lock else query)

    async def crawls(self, website_id: UUID, limit: int, cursor: str | None) -> tuple[Sequence[Crawl], str | None]:
        """The crawls of a website that are kept, newest first."""
        website = await self.get(website_id, Access.READ)
        query = select(Crawl).where(Crawl.website_id == website.id)
        return await page(self._work.session, query, by=Crawl.id, limit=limit, cursor=cursor)

    async def crawl(self, crawl_id: UUID) -> Crawl:
        """Raises `NotFound`."""
        crawl = await self._work.session.scalar(select(Crawl).where(Crawl.id == crawl_id))
        try:
            if crawl is not None:
                await self.get(crawl.website_id, Access.READ)
                return crawl
        except NotFound:
            pass
        raise NotFound("there is no such crawl, or you are not in its space")

    async def report(
        self, crawl_id: UUID, fate: str | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[CrawlPage], str | None]:
        """What became of each address that a crawl met, in the order in which it met them."""
        crawl = await self.crawl(crawl_id)
        query = select(CrawlPage).where(CrawlPage.crawl_id == crawl.id)
        if fate is not None:
            query = query.where(CrawlPage.fate == fate)
        return await page(self._work.session, query, by=CrawlPage.id, limit=limit, cursor=cursor, newest_first=False)

    async def pages(self, website_id: UUID, limit: int, cursor: str | None) -> tuple[Sequence[WebsitePage], str | None]:
        """The pages of a website that are known, in the order in which they were found."""
        website = await self.get(website_id, Access.READ)
        query = select(WebsitePage).where(WebsitePage.website_id == website.id)
        return await page(self._work.session, query, by=WebsitePage.id, limit=limit, cursor=cursor, newest_first=False)

    async def shown(self, websites: Sequence[Website]) -> list[WebsiteOut]:
        """With their last crawls, and secrets masked."""
        ids = [website.last_crawl_id for website in websites if website.last_crawl_id]
        last = {crawl.id: crawl for crawl in await self._work.session.scalars(select(Crawl).where(Crawl.id.in_(ids)))}
        return [
            WebsiteOut.of(
                website,
                secret.masked(await self._stored(website)),
                last.get(website.last_crawl_id) if website.last_crawl_id else None,
            )
            for website in websites
        ]

    def _record(self, action: str, website: Website, crawl: Crawl | None = None, **data: Any) -> None:
        told = {"url": website.url, "collection_id": str(website.collection_id), **data}
        kind, object_id = "website", website.id
        if crawl is not None:
            kind, object_id = "crawl", crawl.id
            told |= {"website_id": str(website.id), "status": crawl.status, "cause": crawl.cause}
        self._work.record(action, kind, object_id, space_id=website.space_id, data=told)


def checked(url: str) -> str:
    """An address in its one spelling. Raises `ValidationFailed`."""
    if has_user(url):
        detail = "an address has no user and password in it: give them in `auth`, where they are kept secret"
    elif (found := normal(url)) is None:
        detail = f"{url[:100]!r} is no address of a page: write it whole, as https://www.example.org/"
    else:
        return found
    raise ValidationFailed(detail, [("url", detail)])


async def stand(work: Work, website_id: UUID, **values: Any) -> None:
    """Note how a website stands. Not an edit, so its revision stays and nobody's `If-Match` fails by it."""
    await work.session.execute(
        update(Website)
        .where(Website.id == website_id)
        .values(**values, updated_at=Website.updated_at)
        .execution_options(synchronize_session="fetch")
    )


def _no_website() -> NotFound:
    return NotFound("there is no such website, or you are not in its space")
