"""The index of a document's chunks has their numbers, so that a filter need not read the chunks."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    change("INCLUDE (tenant_id, collection_id, number)")


def downgrade() -> None:
    change("")


def change(include: str) -> None:
    op.drop_constraint("uq_chunks_document_id", "chunks")
    op.execute(
        "ALTER TABLE chunks ADD CONSTRAINT uq_chunks_document_id"
        f" UNIQUE (document_id, ordinal) {include} DEFERRABLE INITIALLY DEFERRED"
    )
