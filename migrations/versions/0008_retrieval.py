"""Full text and vectors of our own shape: numbered chunks, segments of postings, embedding spaces.

What was read before keeps its text and is searched again once it is read anew, which the worker's sweep sees to.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"
PARTS = 16
"""Partitions of `chunk_vectors`: by collection, so that large collections seldom share an index."""
DIMENSIONS = (384, 512, 768, 1024, 1536, 2048, 2560, 3072)
"""Those that have an approximate index; vectors of other lengths are compared one by one."""


def secure(table: str) -> None:
    own = f"tenant_id = {TENANT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {RUNTIME}")


def belongs(table: str, column: str, to: str, ondelete: str | None = "CASCADE") -> sa.ForeignKeyConstraint:
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


def now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def upgrade() -> None:
    spaces()
    documents()
    texts()
    vectors()


def spaces() -> None:
    op.create_table(
        "embedding_spaces",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(), server_default="", nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        now("created_at"),
        belongs("embedding_spaces", "model_id", "models"),
        of_tenant("embedding_spaces"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding_spaces")),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_embedding_spaces_id")),
        sa.UniqueConstraint("model_id", "version", "dimensions", name=op.f("uq_embedding_spaces_model_id")),
    )
    op.create_index(op.f("ix_embedding_spaces_tenant_id"), "embedding_spaces", ["tenant_id"])
    secure("embedding_spaces")
    op.add_column("collections", sa.Column("embedding_space_id", sa.Uuid(), nullable=True))
    op.add_column("collections", sa.Column("next_number", sa.Integer(), server_default="0", nullable=False))
    op.add_column("collections", sa.Column("large", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_foreign_key(
        op.f("fk_collections_embedding_space_id_embedding_spaces"),
        "collections",
        "embedding_spaces",
        ["embedding_space_id", "tenant_id"],
        ["id", "tenant_id"],
        ondelete="SET NULL (embedding_space_id)",
    )
    op.create_index(op.f("ix_collections_embedding_space_id"), "collections", ["embedding_space_id"])


def documents() -> None:
    op.add_column("documents", sa.Column("parent_id", sa.Uuid(), nullable=True))
    op.add_column("documents", sa.Column("title", sa.String(), server_default="", nullable=False))
    op.add_column("documents", sa.Column("url", sa.String(), server_default="", nullable=False))
    op.add_column("documents", sa.Column("metadata", postgresql.JSONB(), server_default="{}", nullable=False))
    op.add_column("documents", sa.Column("modified_at", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(
        op.f("fk_documents_parent_id_documents"),
        "documents",
        "documents",
        ["parent_id", "tenant_id"],
        ["id", "tenant_id"],
        ondelete="SET NULL (parent_id)",
    )
    op.create_index(op.f("ix_documents_parent_id"), "documents", ["parent_id"])
    op.create_index("ix_documents_same", "documents", ["collection_id", "content_hash"])


def texts() -> None:
    op.drop_index("ix_chunks_tsv", table_name="chunks")
    op.drop_column("chunks", "tsv")
    op.add_column("chunks", sa.Column("number", sa.Integer(), server_default="0", nullable=False))
    op.execute(
        "UPDATE chunks c SET number = n.number FROM (SELECT id,"
        " row_number() OVER (PARTITION BY collection_id ORDER BY id) - 1 AS number FROM chunks) n WHERE n.id = c.id"
    )
    op.execute(
        "UPDATE collections SET next_number = n.chunks FROM"
        " (SELECT collection_id, count(*) AS chunks FROM chunks GROUP BY collection_id) n"
        " WHERE n.collection_id = collections.id"
    )
    op.alter_column("chunks", "number", server_default=None)
    op.drop_index("ix_chunks_collection_id", table_name="chunks")
    op.create_index("ix_chunks_number", "chunks", ["collection_id", "number"], unique=True)
    op.drop_constraint("fk_chunk_vectors_chunk_id_chunks", "chunk_vectors", type_="foreignkey")
    op.drop_constraint("uq_chunks_id", "chunks", type_="unique")
    op.create_unique_constraint("uq_chunks_id", "chunks", ["id", "collection_id", "tenant_id"])
    op.create_table(
        "text_segments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("term_total", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("languages", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        now("created_at"),
        belongs("text_segments", "collection_id", "collections"),
        of_tenant("text_segments"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_text_segments")),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_text_segments_id")),
    )
    op.create_index(op.f("ix_text_segments_collection_id"), "text_segments", ["collection_id"])
    op.create_index(op.f("ix_text_segments_tenant_id"), "text_segments", ["tenant_id"])
    op.create_table(
        "text_blocks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("segment_id", sa.Uuid(), nullable=False),
        sa.Column("first_key", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        belongs("text_blocks", "segment_id", "text_segments"),
        of_tenant("text_blocks"),
        sa.PrimaryKeyConstraint("segment_id", "first_key", name=op.f("pk_text_blocks")),
    )
    op.create_index(op.f("ix_text_blocks_tenant_id"), "text_blocks", ["tenant_id"])
    op.create_table(
        "text_deletions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("term_total", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        now("created_at"),
        belongs("text_deletions", "collection_id", "collections"),
        of_tenant("text_deletions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_text_deletions")),
    )
    op.create_index(op.f("ix_text_deletions_collection_id"), "text_deletions", ["collection_id"])
    op.create_index(op.f("ix_text_deletions_tenant_id"), "text_deletions", ["tenant_id"])
    for table in ("text_segments", "text_blocks", "text_deletions"):
        secure(table)
    # Numbers do not compress, and a compressed value cannot be read in part.
    op.execute("ALTER TABLE text_blocks ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE text_segments ALTER COLUMN chunks SET STORAGE EXTERNAL")
    # Each document is read anew into the new index.
    op.execute(
        "UPDATE documents SET status = 'queued', step = '', attempts = 0, progress = 0, retry_at = NULL"
        " WHERE status IN ('ready', 'processing')"
    )


def vectors() -> None:
    op.drop_table("chunk_vectors")
    op.create_table(
        "chunk_vectors",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("space_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("indexed", sa.Boolean(), nullable=False),
        sa.Column("embedding", HALFVEC(), nullable=False),
        sa.ForeignKeyConstraint(
            ["chunk_id", "collection_id", "tenant_id"],
            ["chunks.id", "chunks.collection_id", "chunks.tenant_id"],
            name=op.f("fk_chunk_vectors_chunk_id_chunks"),
            ondelete="CASCADE",
        ),
        belongs("chunk_vectors", "space_id", "embedding_spaces"),
        of_tenant("chunk_vectors"),
        sa.PrimaryKeyConstraint("collection_id", "chunk_id", "space_id", name=op.f("pk_chunk_vectors")),
        sa.CheckConstraint("vector_dims(embedding) = dimensions", name=op.f("ck_chunk_vectors_dimensions")),
        postgresql_partition_by="HASH (collection_id)",
    )
    op.create_index("ix_chunk_vectors_document", "chunk_vectors", ["collection_id", "document_id"])
    for part in range(PARTS):
        name = f"chunk_vectors_{part}"
        op.execute(
            f"CREATE TABLE {name} PARTITION OF chunk_vectors FOR VALUES WITH (MODULUS {PARTS}, REMAINDER {part})"
            # A vector of 1,024 dimensions stays in its row: looked up elsewhere, comparing it takes ten times as long.
            " WITH (toast_tuple_target = 8160)"
        )
        op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
        own = f"tenant_id = {TENANT}"
        op.execute(f"CREATE POLICY {name}_tenant ON {name} USING ({own}) WITH CHECK ({own})")
    secure("chunk_vectors")
    for dimensions in DIMENSIONS:
        op.execute(
            f"CREATE INDEX ix_chunk_vectors_{dimensions} ON chunk_vectors"
            f" USING hnsw ((embedding::halfvec({dimensions})) halfvec_ip_ops)"
            f" WHERE dimensions = {dimensions} AND indexed"
        )


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
