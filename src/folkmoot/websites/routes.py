"""`/collections/{id}/websites`, `/websites` and `/crawls`."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, Parameter

from folkmoot.kit.access import Access, Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, tagged
from folkmoot.kit.work import Work
from folkmoot.websites.check import check
from folkmoot.websites.models import Website
from folkmoot.websites.schemas import (
    CrawlOut,
    CrawlPageOut,
    WebsiteCheck,
    WebsiteCheckOut,
    WebsiteCreate,
    WebsiteOut,
    WebsitePageOut,
    WebsiteUpdate,
)
from folkmoot.websites.service import WebsiteService
from folkmoot.websites.tasks import crawl_website, remove_website

Fate = Annotated[
    Literal[
        "waiting", "new", "changed", "unchanged", "redirected", "not-found", "gone", "skipped", "failed", "read"
    ]
    | None,
    Parameter(description="Only addresses with this fate."),
]  # fmt: skip


class WebsiteController(Controller):
    tags = ["Websites"]
    opt = needs(Permission.SPACES)

    @get("/collections/{collection_id:uuid}/websites", operation_id="list_websites", summary="List websites")
    async def page(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        collection_id: FromPath[UUID],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[WebsiteOut]:
        """Those of a collection, newest first."""
        service = WebsiteService(app, work)
        rows, after = await service.page(collection_id, limit, cursor)
        return Page(items=await service.shown(rows), next_cursor=after)

    @post("/collections/{collection_id:uuid}/websites", operation_id="create_website", summary="Add a website")
    async def create(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        collection_id: FromPath[UUID],
        data: JSONBody[WebsiteCreate],
    ) -> Response[WebsiteOut]:
        """Nothing is read before a crawl is asked for, or begins by its schedule."""
        website = await WebsiteService(app, work).create(collection_id, data)
        return await _shown(app, work, website, 201)

    @post("/websites/check", operation_id="check_website", summary="Look at a website", status_code=200)
    async def check(self, app: NamedDependency[App], data: JSONBody[WebsiteCheck]) -> WebsiteCheckOut:
        """Whether it can be reached, what robots.txt says, and where its sitemaps are. Nothing is stored."""
        return await check(app, data)

    @get("/websites/{website_id:uuid}", operation_id="get_website", summary="Read a website")
    async def read(
        self, app: NamedDependency[App], work: NamedDependency[Work], website_id: FromPath[UUID]
    ) -> Response[WebsiteOut]:
        return await _shown(app, work, await WebsiteService(app, work).get(website_id, Access.READ))

    @patch("/websites/{website_id:uuid}", operation_id="update_website", summary="Change a website")
    async def update(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        website_id: FromPath[UUID],
        data: JSONBody[WebsiteUpdate],
        if_match: IfMatch = None,
    ) -> Response[WebsiteOut]:
        """Fields that are absent stay as they are. The next crawl goes by it."""
        return await _shown(app, work, await WebsiteService(app, work).update(website_id, data, if_match))

    @delete("/websites/{website_id:uuid}", operation_id="delete_website", summary="Delete a website")
    async def remove(self, app: NamedDependency[App], work: NamedDependency[Work], website_id: FromPath[UUID]) -> None:
        """The documents that were read from it go with it, in the background."""
        await WebsiteService(app, work, remove=remove_website).delete(website_id)

    @post("/websites/{website_id:uuid}/crawl", operation_id="crawl_website", summary="Crawl a website", status_code=202)
    async def begin(
        self, app: NamedDependency[App], work: NamedDependency[Work], website_id: FromPath[UUID]
    ) -> CrawlOut:
        """Answers with the crawl that is under way if there is one."""
        return CrawlOut.of(await WebsiteService(app, work, crawl=crawl_website).begin_crawl(website_id))

    @post("/websites/{website_id:uuid}/cancel", operation_id="cancel_crawl", summary="End a crawl", status_code=200)
    async def cancel(
        self, app: NamedDependency[App], work: NamedDependency[Work], website_id: FromPath[UUID]
    ) -> CrawlOut:
        """What it has read stays, and nothing counts as missing."""
        return CrawlOut.of(await WebsiteService(app, work).cancel(website_id))

    @get("/websites/{website_id:uuid}/crawls", operation_id="list_crawls", summary="List a website's crawls")
    async def crawls(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        website_id: FromPath[UUID],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[CrawlOut]:
        """Newest first; the last ten are kept."""
        rows, after = await WebsiteService(app, work).crawls(website_id, limit, cursor)
        return Page(items=[CrawlOut.of(row) for row in rows], next_cursor=after)

    @get("/websites/{website_id:uuid}/pages", operation_id="list_website_pages", summary="List a website's pages")
    async def pages(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        website_id: FromPath[UUID],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[WebsitePageOut]:
        """As they were last seen, over all crawls."""
        rows, after = await WebsiteService(app, work).pages(website_id, limit, cursor)
        return Page(items=[WebsitePageOut.of(row) for row in rows], next_cursor=after)


class CrawlController(Controller):
    path = "/crawls"
    tags = ["Websites"]
    opt = needs(Permission.SPACES)

    @get("/{crawl_id:uuid}", operation_id="get_crawl", summary="Read how a crawl stands")
    async def read(self, app: NamedDependency[App], work: NamedDependency[Work], crawl_id: FromPath[UUID]) -> CrawlOut:
        return CrawlOut.of(await WebsiteService(app, work).crawl(crawl_id))

    @get("/{crawl_id:uuid}/pages", operation_id="list_crawl_pages", summary="Read a crawl's report")
    async def report(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        crawl_id: FromPath[UUID],
        fate: Fate = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[CrawlPageOut]:
        """What became of each address, in the order in which they were met."""
        rows, after = await WebsiteService(app, work).report(crawl_id, fate, limit, cursor)
        return Page(items=[CrawlPageOut.of(row) for row in rows], next_cursor=after)


async def _shown(app: App, work: Work, website: Website, status: int = 200) -> Response[WebsiteOut]:
    (shown,) = await WebsiteService(app, work).shown([website])
    return tagged(shown, website.revision, status)
