"""Websites that are crawled, and what became of each page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"
TABLES = ("websites", "website_pages", "crawls", "crawl_pages")
TIME = sa.DateTime(timezone=True)
OPEN = sa.text("status IN ('queued', 'running')")


def upgrade() -> None:
    op.create_table(
        "websites",
        *_tenanted("websites"),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("space_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        _text("title"),
        sa.Column("include", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("exclude", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("max_pages", sa.Integer(), nullable=False),
        sa.Column("max_depth", sa.Integer(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
        sa.Column("max_page_bytes", sa.BigInteger(), nullable=False),
        sa.Column("max_seconds", sa.Integer(), nullable=False),
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("download_files", sa.Boolean(), nullable=False),
        sa.Column("auth", sa.LargeBinary()),
        sa.Column("state", sa.String(), server_default="new", nullable=False),
        sa.Column("last_crawl_id", sa.Uuid()),
        sa.Column("last_crawl_at", TIME),
        sa.Column("next_crawl_at", TIME),
        sa.Column("deleted_at", TIME),
        _created(),
        sa.Column("updated_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_websites_id")),
        _belongs("websites", "collection_id", "collections"),
        _belongs("websites", "space_id", "spaces"),
    )
    op.create_index("ix_websites_listed", "websites", ["collection_id", "id"])
    op.create_index("ix_websites_due", "websites", ["tenant_id", "next_crawl_at"])
    op.create_index(op.f("ix_websites_space_id"), "websites", ["space_id"])

    op.create_table(
        "website_pages",
        *_tenanted("website_pages"),
        sa.Column("website_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("url_hash", sa.LargeBinary(), nullable=False),
        _text("title"),
        _text("media_type"),
        sa.Column("document_id", sa.Uuid()),
        _text("etag"),
        _text("last_modified"),
        _text("bytes_hash"),
        _text("text_hash"),
        sa.Column("links", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        _number("missing"),
        sa.Column("gone_at", TIME),
        _created(),
        sa.UniqueConstraint("website_id", "url_hash", name=op.f("uq_website_pages_website_id")),
        _belongs("website_pages", "website_id", "websites"),
        _belongs("website_pages", "document_id", "documents", "SET NULL (document_id)"),
    )
    op.create_index("ix_website_pages_listed", "website_pages", ["website_id", "id"])
    op.create_index("ix_website_pages_text", "website_pages", ["website_id", "text_hash"])
    op.create_index("ix_website_pages_bytes", "website_pages", ["website_id", "bytes_hash"])
    op.create_index(op.f("ix_website_pages_document_id"), "website_pages", ["document_id"])

    op.create_table(
        "crawls",
        *_tenanted("crawls"),
        sa.Column("website_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("complete", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("reached", sa.String()),
        sa.Column("error_code", sa.String()),
        sa.Column("error_message", sa.String()),
        _text("origin"),
        sa.Column("robots", sa.String()),
        _number("found"),
        _number("fetched"),
        sa.Column("counts", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seconds", sa.Float(), server_default="0", nullable=False),
        _number("strikes"),
        sa.Column("shaky", sa.Boolean(), server_default="false", nullable=False),
        _number("turns"),
        sa.Column("lease_until", TIME),
        sa.Column("resume_at", TIME),
        sa.Column("told_at", TIME),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        _created(),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_crawls_id")),
        _belongs("crawls", "website_id", "websites"),
    )
    op.create_index("ix_crawls_listed", "crawls", ["website_id", "id"])
    op.create_index("ix_crawls_open", "crawls", ["tenant_id", "id"], postgresql_where=OPEN)
    op.create_index("uq_crawls_open", "crawls", ["website_id"], unique=True, postgresql_where=OPEN)

    op.create_table(
        "crawl_pages",
        *_tenanted("crawl_pages"),
        sa.Column("crawl_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("url_hash", sa.LargeBinary(), nullable=False),
        _text("kind", "page"),
        sa.Column("depth", sa.Integer(), nullable=False),
        _number("hops"),
        _text("found_on"),
        _text("fate", "waiting"),
        _text("reason"),
        _text("message"),
        _text("target"),
        sa.Column("status_code", sa.Integer()),
        _text("media_type"),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("document_id", sa.Uuid()),
        _number("attempts"),
        sa.Column("retry_at", TIME),
        sa.Column("alone", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ended_at", TIME),
        _created(),
        sa.UniqueConstraint("crawl_id", "url_hash", name=op.f("uq_crawl_pages_crawl_id")),
        _belongs("crawl_pages", "crawl_id", "crawls"),
        _belongs("crawl_pages", "document_id", "documents", "SET NULL (document_id)"),
    )
    op.create_index("ix_crawl_pages_listed", "crawl_pages", ["crawl_id", "id"])
    op.create_index("ix_crawl_pages_fate", "crawl_pages", ["crawl_id", "fate", "id"])
    op.create_index(
        "ix_crawl_pages_waiting", "crawl_pages", ["crawl_id", "depth", "id"],
        postgresql_where=sa.text("fate = 'waiting'"),
    )  # fmt: skip
    op.create_index(op.f("ix_crawl_pages_document_id"), "crawl_pages", ["document_id"])

    for table in TABLES:
        op.create_index(op.f(f"ix_{table}_tenant_id"), table, ["tenant_id"])
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        own = f"tenant_id = {TENANT}"
        op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {RUNTIME}")


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")


def _tenanted(table: str) -> list[sa.Column | sa.Constraint]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def _text(name: str, default: str = "") -> sa.Column:
    return sa.Column(name, sa.String(), server_default=default, nullable=False)


def _number(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), server_default="0", nullable=False)


def _created() -> sa.Column:
    return sa.Column("created_at", TIME, server_default=sa.text("now()"), nullable=False)


def _belongs(table: str, column: str, to: str, gone: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column, "tenant_id"], [f"{to}.id", f"{to}.tenant_id"], name=op.f(f"fk_{table}_{column}_{to}"), ondelete=gone
    )
