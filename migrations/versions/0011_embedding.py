"""Moving collections between embedding models, texts that a model refused, and what its tokens come to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"


def secure(table: str) -> None:
    own = f"tenant_id = {TENANT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {RUNTIME}")


def belongs(table: str, column: str, to: str, ondelete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column, "tenant_id"],
        [f"{to}.id", f"{to}.tenant_id"],
        name=op.f(f"fk_{table}_{column}_{to}"),
        ondelete=ondelete,
    )


def of_tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id_tenants"), ondelete="CASCADE"
    )


def upgrade() -> None:
    op.add_column("embedding_spaces", sa.Column("outdated_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("collections", sa.Column("embeds", sa.Boolean(), server_default=sa.true(), nullable=False))
    # Finds what of a collection is in no approximate index yet, and what lies in one space, to search or remove it.
    op.create_index("ix_chunk_vectors_space", "chunk_vectors", ["space_id", "collection_id", "indexed"])
    refusals()
    rates()
    moves()


def refusals() -> None:
    op.create_table(
        "chunk_refusals",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("space_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["chunk_id", "collection_id", "tenant_id"],
            ["chunks.id", "chunks.collection_id", "chunks.tenant_id"],
            name=op.f("fk_chunk_refusals_chunk_id_chunks"),
            ondelete="CASCADE",
        ),
        belongs("chunk_refusals", "space_id", "embedding_spaces"),
        of_tenant("chunk_refusals"),
        sa.PrimaryKeyConstraint("chunk_id", "space_id", name=op.f("pk_chunk_refusals")),
    )
    op.create_index(op.f("ix_chunk_refusals_space_id"), "chunk_refusals", ["space_id"])
    op.create_index(op.f("ix_chunk_refusals_tenant_id"), "chunk_refusals", ["tenant_id"])
    secure("chunk_refusals")


def rates() -> None:
    op.create_table(
        "token_rates",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("estimated", sa.BigInteger(), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        belongs("token_rates", "model_id", "models"),
        of_tenant("token_rates"),
        sa.PrimaryKeyConstraint("model_id", "language", name=op.f("pk_token_rates")),
    )
    op.create_index(op.f("ix_token_rates_tenant_id"), "token_rates", ["tenant_id"])
    secure("token_rates")


def moves() -> None:
    spaces = ("from_space_id", "to_space_id", "left_space_id")
    op.create_table(
        "embedding_moves",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.String(), server_default="", nullable=False),
        sa.Column("from_space_id", sa.Uuid(), nullable=True),
        sa.Column("from_model", sa.String(), server_default="", nullable=False),
        sa.Column("from_embeds", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("to_space_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(), server_default="filling", nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("done_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refused_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("position", sa.Integer(), server_default="-1", nullable=False),
        sa.Column("clean", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("rounds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("started_by", sa.Uuid(), nullable=True),
        sa.Column("switched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_space_id", sa.Uuid(), nullable=True),
        sa.Column("keep_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        belongs("embedding_moves", "collection_id", "collections"),
        belongs("embedding_moves", "model_id", "models", "SET NULL (model_id)"),
        *(belongs("embedding_moves", name, "embedding_spaces", f"SET NULL ({name})") for name in spaces),
        of_tenant("embedding_moves"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding_moves")),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_embedding_moves_id")),
    )
    for name in ("tenant_id", "collection_id", "model_id", *spaces):
        op.create_index(op.f(f"ix_embedding_moves_{name}"), "embedding_moves", [name])
    filling = sa.text("state = 'filling'")
    op.create_index(
        "uq_embedding_moves_filling", "embedding_moves", ["collection_id"], unique=True, postgresql_where=filling
    )
    op.create_index("ix_embedding_moves_open", "embedding_moves", ["tenant_id", "state"])
    secure("embedding_moves")


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
