"""What people do with many documents: filters that are indexed, bulk operations, passwords, a quota of chunks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"


def upgrade() -> None:
    op.add_column("tenants", sa.Column("max_chunks", sa.BigInteger(), nullable=True))
    op.add_column("documents", sa.Column("claim", sa.Uuid(), nullable=True))
    op.add_column("documents", sa.Column("password", sa.LargeBinary(), nullable=True))
    op.drop_index("ix_documents_collection_id", table_name="documents")
    op.drop_index("ix_documents_open", table_name="documents")
    op.create_index("ix_documents_listed", "documents", ["collection_id", "id"])
    op.create_index("ix_documents_counted", "documents", ["collection_id", "status"])
    op.create_index(
        "ix_documents_waiting",
        "documents",
        ["tenant_id", "id"],
        postgresql_where=sa.text("status IN ('queued', 'processing')"),
    )
    op.create_index("ix_documents_modified", "documents", ["collection_id", "modified_at"])
    op.create_index(
        "ix_documents_password", "documents", ["tenant_id"], postgresql_where=sa.text("password IS NOT NULL")
    )
    operations()
    facts()


def operations() -> None:
    op.create_table(
        "bulk_operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("space_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("selection", postgresql.JSONB(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("reached", sa.Uuid(), nullable=True),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id", "tenant_id"],
            ["collections.id", "collections.tenant_id"],
            name=op.f("fk_bulk_operations_collection_id_collections"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_bulk_operations_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_operations")),
    )
    op.create_index(op.f("ix_bulk_operations_tenant_id"), "bulk_operations", ["tenant_id"])
    op.create_index("ix_bulk_operations_listed", "bulk_operations", ["collection_id", "id"])
    op.create_index(
        "ix_bulk_operations_open", "bulk_operations", ["tenant_id"], postgresql_where=sa.text("finished_at IS NULL")
    )
    own = f"tenant_id = {TENANT}"
    op.execute("ALTER TABLE bulk_operations ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE bulk_operations FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY bulk_operations_tenant ON bulk_operations USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON bulk_operations TO {RUNTIME}")


def facts() -> None:
    """Own metadata, one row for each name and value: equality by an index, which row-level security keeps JSON from."""
    op.create_table(
        "document_facts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id", "tenant_id"],
            ["documents.id", "documents.tenant_id"],
            name=op.f("fk_document_facts_document_id_documents"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_document_facts_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collection_id", "name", "value", "document_id", name=op.f("pk_document_facts")),
    )
    op.create_index(op.f("ix_document_facts_document_id"), "document_facts", ["document_id"])
    own = f"tenant_id = {TENANT}"
    op.execute("ALTER TABLE document_facts ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE document_facts FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY document_facts_tenant ON document_facts USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON document_facts TO {RUNTIME}")


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
