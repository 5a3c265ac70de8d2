"""Conversations as trees, attachments, tools with approval, summaries, receipts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"
WORDS = """\
CASE WHEN finished_at IS NOT NULL OR role::text = 'user'::text \
THEN to_tsvector('simple'::regconfig, "left"(content::text, 100000)) ELSE NULL::tsvector END"""


def upgrade() -> None:
    collections()
    conversations()
    messages()
    tools()
    receipts()


def collections() -> None:
    op.add_column("collections", sa.Column("purpose", sa.String(), server_default="knowledge", nullable=False))


def conversations() -> None:
    op.add_column("conversations", sa.Column("collection_id", sa.Uuid(), nullable=True))
    op.add_column("conversations", sa.Column("titled_by", sa.String(), server_default="", nullable=False))
    op.add_column("conversations", sa.Column("pinned_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversations", sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversations", json("approved_tools", "[]"))
    op.create_foreign_key(
        op.f("fk_conversations_collection_id_collections"),
        "conversations",
        "collections",
        ["collection_id", "tenant_id"],
        ["id", "tenant_id"],
        ondelete="SET NULL (collection_id)",
    )
    op.create_index(op.f("ix_conversations_collection_id"), "conversations", ["collection_id"])


def messages() -> None:
    op.add_column("messages", sa.Column("continues_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_messages_continues_id"), "messages", ["continues_id"])
    op.create_foreign_key(
        op.f("fk_messages_continues_id_messages"),
        "messages",
        "messages",
        ["continues_id", "tenant_id"],
        ["id", "tenant_id"],
        ondelete="SET NULL (continues_id)",
    )
    for name in ("file_ids", "turns", "sentences", "edits"):
        op.add_column("messages", json(name, "[]"))
    op.add_column("messages", json("trace", "{}"))
    op.add_column("messages", sa.Column("feedback", postgresql.JSONB(), nullable=True))
    op.add_column("messages", sa.Column("claim", sa.Uuid(), nullable=True))
    op.add_column("messages", sa.Column("turned_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("messages", sa.Column("stream_at", sa.Integer(), server_default="0", nullable=False))
    op.add_column("messages", sa.Column("words", postgresql.TSVECTOR(), sa.Computed(WORDS, persisted=True)))
    make(
        "attachments",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        belongs("attachments", "conversation_id", "conversations"),
        belongs("attachments", "document_id", "documents"),
        belongs("attachments", "file_id", "files", ondelete=None),
    )
    op.create_index(op.f("ix_attachments_conversation_id"), "attachments", ["conversation_id"])
    op.create_index(op.f("ix_attachments_document_id"), "attachments", ["document_id"])
    op.create_index(op.f("ix_attachments_file_id"), "attachments", ["file_id"])
    make(
        "summaries",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("model", postgresql.JSONB(), nullable=False),
        belongs("summaries", "conversation_id", "conversations"),
        belongs("summaries", "message_id", "messages"),
        sa.UniqueConstraint("message_id", name=op.f("uq_summaries_message_id")),
    )
    op.create_index(op.f("ix_summaries_conversation_id"), "summaries", ["conversation_id"])


def tools() -> None:
    op.add_column(
        "assistant_versions", sa.Column("tool_ids", postgresql.ARRAY(sa.Uuid()), server_default="{}", nullable=False)
    )
    op.add_column("assistant_versions", sa.Column("builtin_tools", postgresql.ARRAY(sa.String()), nullable=True))
    make(
        "tool_servers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("config", sa.LargeBinary(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("country", sa.String(), nullable=True),
        sa.Column("clearance_id", sa.Uuid(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("check_code", sa.String(), server_default="", nullable=False),
        sa.Column("check_message", sa.String(), server_default="", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        belongs("tool_servers", "clearance_id", "data_classes", ondelete=None),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_tool_servers_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_tool_servers_tenant_id")),
    )
    op.create_index(op.f("ix_tool_servers_clearance_id"), "tool_servers", ["clearance_id"])
    make(
        "tools",
        sa.Column("server_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        json("parameters", "{}"),
        json("hints", "{}"),
        sa.Column("enabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("approval", sa.String(), server_default="always", nullable=False),
        sa.Column("offered", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        belongs("tools", "server_id", "tool_servers"),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_tools_id")),
        sa.UniqueConstraint("server_id", "name", name=op.f("uq_tools_server_id")),
    )
    make(
        "space_tools",
        sa.Column("space_id", sa.Uuid(), nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        belongs("space_tools", "space_id", "spaces"),
        belongs("space_tools", "tool_id", "tools"),
        sa.UniqueConstraint("space_id", "tool_id", name=op.f("uq_space_tools_space_id")),
    )
    op.create_index(op.f("ix_space_tools_tool_id"), "space_tools", ["tool_id"])
    make(
        "tool_calls",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=True),
        sa.Column("arguments", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("result", sa.String(), server_default="", nullable=False),
        sa.Column("error", sa.String(), server_default="", nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        belongs("tool_calls", "message_id", "messages"),
        sa.UniqueConstraint("message_id", "call_id", name=op.f("uq_tool_calls_message_id")),
    )


def receipts() -> None:
    make(
        "receipts",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("statement", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        belongs("receipts", "message_id", "messages"),
        sa.UniqueConstraint("message_id", "number", name=op.f("uq_receipts_message_id")),
    )
    # What was signed is never changed; it goes with its message.
    op.execute(f"REVOKE UPDATE, DELETE ON receipts FROM {RUNTIME}")


def json(name: str, default: str) -> sa.Column[object]:
    return sa.Column(name, postgresql.JSONB(), server_default=default, nullable=False)


def make(table: str, *parts: sa.schema.SchemaItem) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        *parts,
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_tenant_id"), table, ["tenant_id"])
    own = f"tenant_id = {TENANT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {RUNTIME}")


def belongs(table: str, column: str, to: str, *, ondelete: str | None = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column, "tenant_id"],
        [f"{to}.id", f"{to}.tenant_id"],
        name=op.f(f"fk_{table}_{column}_{to}"),
        ondelete=ondelete,
    )


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
