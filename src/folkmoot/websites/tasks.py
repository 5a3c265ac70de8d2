"""What the worker does for websites."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, exists, or_, select

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep, task
from folkmoot.kit.work import Work
from folkmoot.websites.crawl import AT_ONCE, crawl, running
from folkmoot.websites.keep import remove_documents
from folkmoot.websites.models import Crawl, Website
from folkmoot.websites.service import OPEN, WebsiteService, next_crawl, stand

PATIENCE = timedelta(seconds=15)
"""How long a crawl may wait for the message that was sent before the sweep sends another."""


@task("websites.crawl", lane="crawl")
async def crawl_website(app: App, *, tenant_id: str, crawl_id: str) -> None:
    """Do one turn of a crawl, and queue the next; after the last, let one that waits begin."""
    wait = await crawl(app, UUID(tenant_id), UUID(crawl_id))
    if wait is not None:
        payload = {"tenant_id": tenant_id, "crawl_id": crawl_id}
        await app.sessions.jobs.send(crawl_website, payload, delay=wait)
        return
    async with app.begin(Principal.system(UUID(tenant_id))) as work:
        await _begin_waiting(work, UUID(tenant_id))


@task("websites.remove", lane="crawl")
async def remove_website(app: App, *, tenant_id: str, website_id: str) -> None:
    """Remove the documents of a website that was deleted, and then its row."""
    principal = Principal.system(UUID(tenant_id))
    async with app.begin(principal) as work:
        website = await work.session.get(Website, UUID(website_id))
    if website is None or website.deleted_at is None:
        return
    while await remove_documents(app, website, only_gone=False):
        pass
    async with app.begin(principal) as work:
        await work.session.execute(delete(Website).where(Website.id == website.id))


@sweep
async def find_left_crawls(app: App, tenant_id: UUID) -> None:
    """Begin what is due, and go on with what nobody works at: the message was lost, or the worker died."""
    now = datetime.now(UTC)
    async with app.begin(Principal.system(tenant_id)) as work:
        if not await _is_anything_left(work, now):
            return
        due = select(Website).where(Website.next_crawl_at <= now, Website.deleted_at.is_(None)).limit(100)
        for website in await work.session.scalars(due):
            service = WebsiteService(app, work, crawl=crawl_website)
            await stand(work, website.id, next_crawl_at=next_crawl(website.schedule, now))
            if await service.find_open(website.id) is None:
                await service.queue(website, "schedule")
        left = select(Crawl.id).where(
            Crawl.status == "running",
            or_(Crawl.lease_until < now, Crawl.lease_until.is_(None)),
            or_(Crawl.resume_at < now - PATIENCE, Crawl.resume_at.is_(None)),
        )
        for crawl_id in await work.session.scalars(left):
            work.enqueue(crawl_website, tenant_id=tenant_id, crawl_id=crawl_id)
        await _begin_waiting(work, tenant_id, now - PATIENCE)
        deleted = select(Website.id).where(Website.deleted_at < now - PATIENCE).limit(10)
        for website_id in await work.session.scalars(deleted):
            work.enqueue(remove_website, tenant_id=tenant_id, website_id=website_id)


async def _is_anything_left(work: Work, now: datetime) -> bool:
    """In one question, which is all that the sweep costs an organisation without websites."""
    due = or_(Website.next_crawl_at <= now, Website.deleted_at.is_not(None))
    query = select(or_(exists().where(due), exists().where(Crawl.status.in_(OPEN))))
    return bool(await work.session.scalar(query))


async def _begin_waiting(work: Work, tenant_id: UUID, before: datetime | None = None) -> None:
    """Send for as many crawls as there is room for, the oldest first; only those older than `before`."""
    room = AT_ONCE - await running(work)
    query = select(Crawl.id).where(Crawl.status == OPEN[0]).order_by(Crawl.id).limit(max(0, room))
    if before is not None:
        query = query.where(Crawl.created_at < before)
    for crawl_id in await work.session.scalars(query):
        work.enqueue(crawl_website, tenant_id=tenant_id, crawl_id=crawl_id)
