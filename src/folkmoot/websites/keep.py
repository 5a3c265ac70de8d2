"""Storing what a crawl read: bytes first, then the document, its page and the crawl's report in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import or_, select
from uuid_utils.compat import uuid7

from folkmoot.files.models import File
from folkmoot.files.service import FileService
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import ContentTooLarge
from folkmoot.kit.jobs import TASKS, Task
from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Collection, Document
from folkmoot.knowledge.service import DocumentService, Origin
from folkmoot.websites import page as pages
from folkmoot.websites.address import key
from folkmoot.websites.fetch import Answer, FetchFailed
from folkmoot.websites.frontier import Found, Gone, Turn, end, known_page, put
from folkmoot.websites.kinds import kind_of, name_of
from folkmoot.websites.models import Crawl, CrawlPage, Website, WebsitePage
from folkmoot.websites.page import Page
from folkmoot.websites.service import stand

PIECE = 256 * 1024
BATCH = 50


class NoRoom(Exception):
    """The organisation's files take as much as they may."""


def ingest() -> Task | None:
    """The task that reads a document: by its name, since tasks stand above."""
    return TASKS.get("knowledge.ingest_document")


def seen(page: WebsitePage, answer: Answer) -> None:
    """Note that a page was found again, and by what to ask for it the next time."""
    page.seen_at, page.missing, page.gone_at = datetime.now(UTC), 0, None
    page.etag = answer.headers.get("etag", page.etag)[:500]
    page.last_modified = answer.headers.get("last-modified", page.last_modified)[:100]


async def same_elsewhere(turn: Turn, row: CrawlPage, bytes_hash: str, text_hash: str) -> str | None:
    """The address of another page of the website that has the same content, and was not missed lately."""
    async with turn.app.begin(turn.principal) as work:
        same = WebsitePage.bytes_hash == bytes_hash
        if text_hash:
            same = or_(same, WebsitePage.text_hash == text_hash)
        query = select(WebsitePage.url).where(
            WebsitePage.website_id == turn.website.id,
            WebsitePage.url_hash != row.url_hash,
            WebsitePage.document_id.is_not(None),
            WebsitePage.missing == 0,
            same,
        )
        own = await known_page(work.session, turn.website.id, row.url_hash)
        if own is not None and own.document_id is not None:
            # Both had documents before they became the same: neither is the other's.
            return None
        return await work.session.scalar(query.order_by(WebsitePage.id).limit(1))


async def keep(turn: Turn, row: CrawlPage, answer: Answer, found: Page | None, lead: Sequence[Found] = ()) -> None:
    """Make a document of it, or give the one that there is its new bytes. Raises `FetchFailed`, `NoRoom`, `Gone`."""
    known = await _known(turn, row)
    text_hash = found.text_hash if found is not None else ""
    if known is not None and known.document_id is not None and text_hash and known.text_hash == text_hash:
        await _store(turn, row, answer, found, lead, None)
        return
    file = await _receive(turn, answer, found)
    old: list[File] = []
    try:
        old = await _store(turn, row, answer, found, lead, file)
    except BaseException:
        # Nobody refers to it.
        old = [file]
        raise
    finally:
        for each in old:
            await FileService(turn.app).remove(each.tenant_id, each.id)


async def _known(turn: Turn, row: CrawlPage) -> WebsitePage | None:
    async with turn.app.begin(turn.principal) as work:
        return await known_page(work.session, turn.website.id, row.url_hash)


async def _receive(turn: Turn, answer: Answer, found: Page | None) -> File:
    async def pieces() -> AsyncIterator[bytes]:
        if found is not None:
            yield pages.as_stored(answer.read(), answer.charset)
            return
        assert answer.body is not None
        answer.body.seek(0)
        while piece := answer.body.read(PIECE):
            yield piece

    name = name_of(answer, kind_of(answer))
    try:
        return await FileService(turn.app).receive(turn.principal, name, pieces())
    except ContentTooLarge as error:
        if error.code == "quota-storage":
            raise NoRoom(error.detail) from None
        raise FetchFailed(error.detail, code="too-large") from None


async def _store(
    turn: Turn, row: CrawlPage, answer: Answer, found: Page | None, lead: Sequence[Found], file: File | None
) -> list[File]:
    """Write all of it. Without a file, the main text is what it was. Returns files that nobody needs any more."""
    now, old = datetime.now(UTC), list[File]()
    async with turn.writing() as (work, crawl):
        await put(turn, work, crawl, lead)
        page = await known_page(work.session, turn.website.id, row.url_hash)
        if page is None:
            page = WebsitePage(
                id=uuid7(), tenant_id=crawl.tenant_id, website_id=turn.website.id, url=row.url, url_hash=key(row.url),
                changed_at=now, seen_at=now, missing=0, etag="", last_modified="",
            )  # fmt: skip
            work.session.add(page)
        # What a server does not say this time does not hold any more.
        page.etag = page.last_modified = ""
        seen(page, answer)
        page.bytes_hash, page.media_type = answer.sha256, answer.media_type[:200]
        if found is not None:
            page.title, page.text_hash, page.links = found.title.replace("\x00", ""), found.text_hash, found.links
        fate = "unchanged"
        if file is not None:
            page.changed_at = now
            fate, old = await _document(work, turn, page, file, answer)
        if page.title and (page.url == turn.site.origin + "/" or not (row.depth or row.found_on)):
            await stand(work, turn.website.id, title=page.title)
        ended = await end(work, crawl, row.id, fate, status_code=answer.status)
        ended.document_id, ended.media_type, ended.size = page.document_id, page.media_type, answer.size
        _count(crawl, answer)
    return old


def _count(crawl: Crawl, answer: Answer) -> None:
    crawl.strikes = 0
    crawl.fetched += 1
    crawl.bytes += answer.size


async def _document(work: Work, turn: Turn, page: WebsitePage, file: File, answer: Answer) -> tuple[str, list[File]]:
    origin = Origin(url=page.url, title=page.title, modified_at=answer.modified_at)
    service = DocumentService(work, ingest())
    if page.document_id is not None:
        document = await work.session.get(Document, page.document_id, with_for_update=True)
        if document is not None:
            return "changed", [await service.replace(document, file, answer.media_type, origin)]
    collection = await work.session.get(Collection, turn.website.collection_id)
    if collection is None:
        raise Gone
    document = await service.add(collection, file, answer.media_type, origin)
    await work.session.flush()
    page.document_id = document.id
    return "new", [file] if document.file_id != file.id else []


async def remove_documents(app: App, website: Website, *, only_gone: bool) -> bool:
    """Remove some of a website's documents: those of pages that are gone, or any. Whether there may be more."""
    async with app.begin(Principal.system(website.tenant_id)) as work:
        query = select(WebsitePage).where(WebsitePage.website_id == website.id, WebsitePage.document_id.is_not(None))
        if only_gone:
            query = query.where(WebsitePage.gone_at.is_not(None))
        pages_found = list(await work.session.scalars(query.order_by(WebsitePage.id).limit(BATCH)))
        ids = [page.document_id for page in pages_found]
        documents = list(await work.session.scalars(select(Document).where(Document.id.in_(ids))))
        for page in pages_found:
            page.document_id, page.etag, page.last_modified = None, "", ""
        await work.session.flush()
        files = await DocumentService(work).remove(documents) if documents else []
    for file in files:
        await FileService(app).remove(file.tenant_id, file.id)
    return len(pages_found) == BATCH
