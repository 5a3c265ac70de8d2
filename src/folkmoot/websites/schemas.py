"""Websites, crawls and the report of a crawl, from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType, field

from folkmoot.kit.structs import Input, Struct
from folkmoot.websites.models import Crawl, CrawlPage, Website, WebsitePage

Url = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=2_000,
        description="Address of a page, or of a sitemap, by http or https.",
        examples=["https://www.example.org/"],
    ),
]
Pattern = Annotated[str, Meta(min_length=1, max_length=200, examples=["/permits/*"])]
Patterns = Annotated[
    list[Pattern],
    Meta(max_length=50, description="Of whole paths; `*` stands for anything.", examples=[["/permits/*"]]),
]
Kind = Literal["links", "sitemap"]
Schedule = Literal["none", "hourly", "daily", "weekly", "monthly"]
Pages = Annotated[int, Meta(ge=1, le=50_000, description="Most pages that one crawl asks for.", examples=[1_000])]
Depth = Annotated[int, Meta(ge=0, le=100, description="Most links from the first page.", examples=[10])]
Bytes = Annotated[
    int, Meta(ge=1_000, le=100_000_000_000, description="Most bytes that one crawl takes.", examples=[1_000_000_000])
]
PageBytes = Annotated[
    int, Meta(ge=1_000, le=1_000_000_000, description="Most bytes of one page or file.", examples=[20_000_000])
]
Seconds = Annotated[
    int,
    Meta(ge=1, le=604_800, description="Longest time that one crawl works, turns together.", examples=[21_600]),
]
MB = 1_000_000


class BasicAuth(Input, frozen=True, kw_only=True, tag="basic", tag_field="kind"):
    """HTTP basic authentication."""

    user: Annotated[str, Meta(min_length=1, max_length=200, examples=["reader"])]
    password: Annotated[str, Meta(max_length=1_000, examples=["not-the-password"])]
    """Write-only."""


class HeaderAuth(Input, frozen=True, kw_only=True, tag="header", tag_field="kind"):
    """A header of one's own, such as `X-Api-Key`."""

    name: Annotated[str, Meta(min_length=1, max_length=100, examples=["X-Api-Key"])]
    value: Annotated[str, Meta(min_length=1, max_length=4_000, examples=["not-the-key"])]
    """Write-only."""


Auth = BasicAuth | HeaderAuth


class WebsiteCreate(Input, frozen=True, kw_only=True):
    url: Url
    kind: Kind = "links"
    """`links` goes from page to page; `sitemap` reads what the site's sitemap lists."""
    include: Patterns = []
    """Only these paths; all if it is empty."""
    exclude: Patterns = []
    max_pages: Pages = 1_000
    max_depth: Depth = 10
    max_bytes: Bytes = 1_000 * MB
    max_page_bytes: PageBytes = 20 * MB
    max_seconds: Seconds = 6 * 3_600
    schedule: Schedule = "none"
    """With one, the first crawl begins at once."""
    download_files: bool = False
    """Whether documents that pages link to, such as PDF, are read as well."""
    auth: Auth | None = None
    """Sent to the website's own host only."""


class WebsiteUpdate(Input, frozen=True, kw_only=True):
    url: Url | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    include: Patterns | UnsetType = UNSET
    exclude: Patterns | UnsetType = UNSET
    max_pages: Pages | UnsetType = UNSET
    max_depth: Depth | UnsetType = UNSET
    max_bytes: Bytes | UnsetType = UNSET
    max_page_bytes: PageBytes | UnsetType = UNSET
    max_seconds: Seconds | UnsetType = UNSET
    schedule: Schedule | UnsetType = UNSET
    download_files: bool | UnsetType = UNSET
    auth: Auth | UnsetType | None = UNSET
    """Null takes it away; a secret that comes back masked stays."""


class CrawlError(Struct, frozen=True, kw_only=True):
    code: str
    message: str
    """A sentence for people."""


class CrawlCounts(Struct, frozen=True, kw_only=True):
    """How many addresses met which fate."""

    waiting: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    redirected: int = 0
    not_found: int = field(default=0)
    gone: int = 0
    skipped: int = 0
    failed: int = 0


class CrawlOut(Struct, frozen=True, kw_only=True):
    id: UUID
    website_id: UUID
    status: str
    """`queued`, `running`, `completed`, `failed` or `cancelled`."""
    cause: str
    """`asked` or `schedule`."""
    complete: bool
    """Whether it saw all that there is. Only such a crawl says that a page has vanished."""
    reached: str | None
    """The limit that ended it: `pages`, `bytes`, `seconds` or `addresses`."""
    error: CrawlError | None
    found: int
    """Addresses that it met."""
    fetched: int
    counts: CrawlCounts
    bytes: int
    seconds: float
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, row: Crawl) -> CrawlOut:
        error = None
        if row.error_code:
            error = CrawlError(code=row.error_code, message=row.error_message or "")
        counts = {name.replace("-", "_"): number for name, number in row.counts.items() if name != "read"}
        return cls(
            id=row.id,
            website_id=row.website_id,
            status=row.status,
            cause=row.cause,
            complete=row.complete,
            reached=row.reached,
            error=error,
            found=row.found,
            fetched=row.fetched,
            counts=CrawlCounts(**counts, waiting=max(0, row.found - sum(row.counts.values()))),
            bytes=row.bytes,
            seconds=round(row.seconds, 1),
            started_at=row.started_at,
            ended_at=row.ended_at,
        )


class WebsiteOut(Struct, frozen=True, kw_only=True):
    id: UUID
    collection_id: UUID
    url: str
    kind: str
    title: str
    include: list[str]
    exclude: list[str]
    max_pages: int
    max_depth: int
    max_bytes: int
    max_page_bytes: int
    max_seconds: int
    schedule: str
    download_files: bool
    auth: Auth | None
    """Its secret is masked."""
    state: str
    """`new`, `queued`, `crawling`, `ready`, `partial` (a limit ended the last crawl), `failed` or `cancelled`."""
    last_crawl: CrawlOut | None
    last_crawl_at: datetime | None
    next_crawl_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Website, auth: Auth | None, last: Crawl | None) -> WebsiteOut:
        own = {name: getattr(row, name) for name in cls.__struct_fields__ if name not in ("auth", "last_crawl")}
        return cls(**own, auth=auth, last_crawl=CrawlOut.of(last) if last else None)


class CrawlPageOut(Struct, frozen=True, kw_only=True):
    id: UUID
    url: str
    kind: str
    """`page` or `sitemap`."""
    depth: int
    found_on: str
    """The page that leads here."""
    fate: str
    """`waiting`, `new`, `changed`, `unchanged`, `redirected`, `not-found`, `gone`, `skipped`, `failed`, or `read` for a
    sitemap."""
    reason: str
    """Why it was skipped, or the code of the failure."""
    message: str
    target: str
    """Where it redirects to, or what it is a duplicate of."""
    status_code: int | None
    media_type: str
    size: int
    document_id: UUID | None
    ended_at: datetime | None

    @classmethod
    def of(cls, row: CrawlPage) -> CrawlPageOut:
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


class WebsitePageOut(Struct, frozen=True, kw_only=True):
    """A page as it was last seen."""

    id: UUID
    url: str
    title: str
    media_type: str
    document_id: UUID | None
    """Null where its document was removed."""
    seen_at: datetime
    changed_at: datetime
    missing: int
    """Complete crawls in a row that did not find it: after the second its document is removed."""
    gone_at: datetime | None

    @classmethod
    def of(cls, row: WebsitePage) -> WebsitePageOut:
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


class WebsiteCheck(Input, frozen=True, kw_only=True):
    url: Url
    auth: Auth | None = None


class WebsiteCheckOut(Struct, frozen=True, kw_only=True):
    """What a crawl of this address would meet."""

    ok: bool
    code: str | None
    """Code of the error."""
    message: str
    url: str
    """Where the address leads in the end."""
    status_code: int | None
    title: str
    robots: Literal["allowed", "forbidden", "unreachable", "unknown"]
    """What robots.txt says of this address."""
    crawl_delay: float
    """Seconds between two requests."""
    sitemaps: list[str]
    """Those that were found."""
