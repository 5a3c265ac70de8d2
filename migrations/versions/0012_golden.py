"""How well models know languages, golden questions, and what each run of them measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"


def upgrade() -> None:
    make(
        "space_fitness",
        sa.Column("space_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("chunk_count", sa.BigInteger(), nullable=False),
        sa.Column("sampled", sa.Integer(), nullable=False),
        sa.Column("by_text", sa.Float(), nullable=False),
        sa.Column("by_vector", sa.Float(), nullable=False),
        sa.Column("unrelated", sa.Float(), nullable=False),
        sa.Column("spread", sa.Float(), nullable=False),
        belongs("space_fitness", "space_id", "embedding_spaces"),
        sa.UniqueConstraint("space_id", "language", name=op.f("uq_space_fitness_space_id")),
    )
    make(
        "golden_questions",
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("document_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        belongs("golden_questions", "collection_id", "collections"),
    )
    op.create_index("ix_golden_questions_listed", "golden_questions", ["collection_id"])
    make(
        "golden_runs",
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("space_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("embedding_space_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.String(), server_default="queued", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("questions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ndcg", sa.Float(), nullable=True),
        sa.Column("recall", sa.Float(), nullable=True),
        sa.Column("median_ms", sa.Float(), nullable=True),
        sa.Column("drift", sa.Float(), nullable=True),
        sa.Column("answers", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        belongs("golden_runs", "collection_id", "collections"),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_golden_runs_id")),
    )
    op.create_index("ix_golden_runs_listed", "golden_runs", ["collection_id", "id"])
    op.create_index("ix_golden_runs_open", "golden_runs", ["tenant_id", "status"])


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


def belongs(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column, "tenant_id"],
        [f"{to}.id", f"{to}.tenant_id"],
        name=op.f(f"fk_{table}_{column}_{to}"),
        ondelete="CASCADE",
    )


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
