"""Websites, what is known of each of their pages, and crawls with the fate of every address that they met."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Float, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Changing, Tenanted, belongs, referred

TIME = DateTimeUTC(timezone=True)


class Website(Tenanted, Changing):
    """A site whose pages are documents of a collection."""

    __tablename__ = "websites"
    __table_args__ = (
        referred(),
        belongs("collection_id", "collections"),
        belongs("space_id", "spaces"),
        Index("ix_websites_listed", "collection_id", "id"),
        Index("ix_websites_due", "tenant_id", "next_crawl_at"),
    )

    collection_id: Mapped[UUID]
    space_id: Mapped[UUID] = mapped_column(index=True)
    url: Mapped[str]
    """Where a crawl begins, in its one spelling (`address.normal`)."""
    kind: Mapped[str]
    """`links` or `sitemap`."""
    title: Mapped[str] = mapped_column(default="", server_default="")
    """Of the first page."""
    include: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default="[]")
    exclude: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default="[]")
    """Patterns of paths."""
    max_pages: Mapped[int]
    max_depth: Mapped[int]
    max_bytes: Mapped[int] = mapped_column(BigInteger)
    """Of one crawl."""
    max_page_bytes: Mapped[int] = mapped_column(BigInteger)
    max_seconds: Mapped[int]
    schedule: Mapped[str]
    """`none`, `hourly`, `daily`, `weekly` or `monthly`."""
    download_files: Mapped[bool]
    auth: Mapped[bytes | None] = mapped_column(LargeBinary)
    """What signs in there, as JSON, sealed with the tenant's key and this row's id."""
    state: Mapped[str] = mapped_column(default="new", server_default="new")
    """`new`, `queued`, `crawling`, `ready`, `partial`, `failed` or `cancelled`: how the last crawl stands."""
    last_crawl_id: Mapped[UUID | None]
    last_crawl_at: Mapped[datetime | None] = mapped_column(TIME)
    """When the last crawl ended."""
    next_crawl_at: Mapped[datetime | None] = mapped_column(TIME)
    deleted_at: Mapped[datetime | None] = mapped_column(TIME)
    """Since when nobody sees it: its documents are being removed."""


class WebsitePage(Tenanted, Base):
    """One page of a website as it was last seen."""

    __tablename__ = "website_pages"
    __table_args__ = (
        belongs("website_id", "websites"),
        belongs("document_id", "documents", ondelete="SET NULL (document_id)"),
        UniqueConstraint("website_id", "url_hash"),
        Index("ix_website_pages_listed", "website_id", "id"),
        Index("ix_website_pages_text", "website_id", "text_hash"),
        Index("ix_website_pages_bytes", "website_id", "bytes_hash"),
    )

    website_id: Mapped[UUID]
    url: Mapped[str]
    url_hash: Mapped[bytes] = mapped_column(LargeBinary)
    title: Mapped[str] = mapped_column(default="", server_default="")
    media_type: Mapped[str] = mapped_column(default="", server_default="")
    document_id: Mapped[UUID | None] = mapped_column(index=True)
    etag: Mapped[str] = mapped_column(default="", server_default="")
    last_modified: Mapped[str] = mapped_column(default="", server_default="")
    bytes_hash: Mapped[str] = mapped_column(default="", server_default="")
    text_hash: Mapped[str] = mapped_column(default="", server_default="")
    links: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default="[]")
    """Where it leads: a page that is unchanged is not sent again, and its links still count."""
    seen_at: Mapped[datetime] = mapped_column(TIME)
    changed_at: Mapped[datetime] = mapped_column(TIME)
    missing: Mapped[int] = mapped_column(default=0, server_default="0")
    """Complete crawls in a row that did not find it."""
    gone_at: Mapped[datetime | None] = mapped_column(TIME)
    """Since when its document is removed."""


class Crawl(Tenanted, Base):
    """One visit to a website, over many turns of many workers."""

    __tablename__ = "crawls"
    __table_args__ = (
        referred(),
        belongs("website_id", "websites"),
        Index("ix_crawls_listed", "website_id", "id"),
        Index("ix_crawls_open", "tenant_id", "id", postgresql_where=text("status IN ('queued', 'running')")),
        Index("uq_crawls_open", "website_id", unique=True, postgresql_where=text("status IN ('queued', 'running')")),
    )

    website_id: Mapped[UUID]
    status: Mapped[str] = mapped_column(default="queued")
    """`queued`, `running`, `completed`, `failed` or `cancelled`."""
    cause: Mapped[str]
    """`asked` or `schedule`."""
    complete: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether it saw all that there is: only then does what it did not find count as missing."""
    reached: Mapped[str | None]
    """The limit that ended it: `pages`, `bytes`, `seconds` or `addresses`."""
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    origin: Mapped[str] = mapped_column(default="", server_default="")
    """Scheme and host that it stays on."""
    robots: Mapped[str | None]
    """robots.txt as this crawl read it."""
    found: Mapped[int] = mapped_column(default=0, server_default="0")
    """Addresses that it met."""
    fetched: Mapped[int] = mapped_column(default=0, server_default="0")
    """Pages and files that it asked for."""
    counts: Mapped[dict[str, int]] = mapped_column(JSONB, default=dict, server_default="{}")
    """How many addresses met which fate."""
    bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    seconds: Mapped[float] = mapped_column(Float, default=0.0, server_default="0")
    """Spent in turns."""
    strikes: Mapped[int] = mapped_column(default=0, server_default="0")
    """Requests in a row without an answer."""
    shaky: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether something that lists pages could not be read whole."""
    turns: Mapped[int] = mapped_column(default=0, server_default="0")
    """Also says whose turn it is: a worker that finds another number here has lost it."""
    lease_until: Mapped[datetime | None] = mapped_column(TIME)
    resume_at: Mapped[datetime | None] = mapped_column(TIME)
    """Between two turns: when the next is due."""
    told_at: Mapped[datetime | None] = mapped_column(TIME)
    """When progress was last told."""
    started_at: Mapped[datetime | None] = mapped_column(TIME)
    ended_at: Mapped[datetime | None] = mapped_column(TIME)


class CrawlPage(Tenanted, Base):
    """One address that a crawl met: waiting, or what became of it."""

    __tablename__ = "crawl_pages"
    __table_args__ = (
        belongs("crawl_id", "crawls"),
        belongs("document_id", "documents", ondelete="SET NULL (document_id)"),
        UniqueConstraint("crawl_id", "url_hash"),
        Index("ix_crawl_pages_listed", "crawl_id", "id"),
        Index("ix_crawl_pages_fate", "crawl_id", "fate", "id"),
        Index("ix_crawl_pages_waiting", "crawl_id", "depth", "id", postgresql_where=text("fate = 'waiting'")),
    )

    crawl_id: Mapped[UUID]
    url: Mapped[str]
    url_hash: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[str] = mapped_column(default="page", server_default="page")
    """`page` or `sitemap`."""
    depth: Mapped[int]
    """Links from the first page."""
    hops: Mapped[int] = mapped_column(default=0, server_default="0")
    """Redirects in a row that led here."""
    found_on: Mapped[str] = mapped_column(default="", server_default="")
    """The page that leads here."""
    fate: Mapped[str] = mapped_column(default="waiting", server_default="waiting")
    """`waiting`, `new`, `changed`, `unchanged`, `redirected`, `not-found`, `gone`, `skipped`, `failed`, or `read` for a
    sitemap."""
    reason: Mapped[str] = mapped_column(default="", server_default="")
    """Why it was skipped, or the code of the failure."""
    message: Mapped[str] = mapped_column(default="", server_default="")
    target: Mapped[str] = mapped_column(default="", server_default="")
    """Where it redirects to, or what it is a duplicate of."""
    status_code: Mapped[int | None]
    media_type: Mapped[str] = mapped_column(default="", server_default="")
    size: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    document_id: Mapped[UUID | None] = mapped_column(index=True)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    retry_at: Mapped[datetime | None] = mapped_column(TIME)
    alone: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Taken for itself, though it names another as its canonical address: that one cannot be read."""
    ended_at: Mapped[datetime | None] = mapped_column(TIME)
