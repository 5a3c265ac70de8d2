"""Data classes, what connections and models may see and cost, moves between models, and which key asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"
TABLES = {
    "data_classes": "SELECT, INSERT, UPDATE, DELETE",
    "model_prices": "SELECT, INSERT",
    "model_moves": "SELECT, INSERT, UPDATE, DELETE",
}
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "data_classes",
        *_tenanted("data_classes"),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("countries", postgresql.ARRAY(sa.String()), server_default="{}", nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default="false", nullable=False),
        _created(),
        *_changing(),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_data_classes_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_data_classes_tenant_id")),
        sa.UniqueConstraint("tenant_id", "level", name="uq_data_classes_level"),
    )
    op.create_index(op.f("ix_data_classes_tenant_id"), "data_classes", ["tenant_id"])
    op.create_index(
        "uq_data_classes_default", "data_classes", ["tenant_id"], unique=True, postgresql_where=sa.text("is_default")
    )

    op.add_column("spaces", sa.Column("data_class_id", sa.Uuid()))
    _refer("spaces", "data_class_id", "data_classes", None)

    op.add_column("connections", sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("connections", sa.Column("rank", sa.Integer(), server_default="0", nullable=False))
    op.add_column("connections", sa.Column("country", sa.String()))
    op.add_column("connections", sa.Column("clearance_id", sa.Uuid()))
    op.add_column("connections", sa.Column("max_concurrent", sa.Integer()))
    op.add_column("connections", sa.Column("checked_at", TIME))
    op.add_column("connections", sa.Column("check_code", sa.String(), server_default="", nullable=False))
    op.add_column("connections", sa.Column("check_message", sa.String(), server_default="", nullable=False))
    _refer("connections", "clearance_id", "data_classes", None)
    # A connection stands where the first of its models does.
    op.execute(
        "UPDATE connections c SET rank = coalesce((SELECT min(rank) FROM models m WHERE m.connection_id = c.id), 0)"
    )

    op.add_column("models", sa.Column("overrides", postgresql.JSONB(), server_default="{}", nullable=False))
    op.add_column("models", sa.Column("offered", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("models", sa.Column("country", sa.String()))
    op.add_column("models", sa.Column("clearance_id", sa.Uuid()))
    op.add_column("models", sa.Column("fallback_ids", postgresql.ARRAY(sa.Uuid())))
    op.add_column("models", sa.Column("deprecated_at", TIME))
    op.add_column("models", sa.Column("replacement_id", sa.Uuid()))
    _refer("models", "clearance_id", "data_classes", None)
    _refer("models", "replacement_id", "models", "SET NULL (replacement_id)", index=False)
    # Until now only a model that was not listed any more was switched off.
    op.execute("UPDATE models SET offered = false, enabled = true WHERE NOT enabled")

    op.create_table(
        "model_prices",
        *_tenanted("model_prices"),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("valid_from", TIME, nullable=False),
        sa.Column("input", sa.BigInteger(), nullable=False),
        sa.Column("output", sa.BigInteger(), nullable=False),
        sa.Column("cached_input", sa.BigInteger()),
        sa.Column("cache_write", sa.BigInteger()),
        sa.Column("request", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("audio_minute", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("as_of", sa.String(), server_default="", nullable=False),
        sa.Column("created_by", sa.Uuid()),
        _created(),
        _belongs("model_prices", "model_id", "models"),
    )
    op.create_index(op.f("ix_model_prices_tenant_id"), "model_prices", ["tenant_id"])
    op.create_index("ix_model_prices_model_id_valid_from", "model_prices", ["model_id", "valid_from"])

    op.create_table(
        "model_moves",
        *_tenanted("model_moves"),
        sa.Column("from_id", sa.Uuid(), nullable=False),
        sa.Column("to_id", sa.Uuid(), nullable=False),
        sa.Column("moved", postgresql.JSONB(), nullable=False),
        sa.Column("moved_by", sa.Uuid()),
        sa.Column("undone_at", TIME),
        _created(),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_model_moves_id")),
        _belongs("model_moves", "from_id", "models"),
        _belongs("model_moves", "to_id", "models"),
    )
    for column in ("tenant_id", "from_id", "to_id"):
        op.create_index(op.f(f"ix_model_moves_{column}"), "model_moves", [column])

    op.add_column("messages", sa.Column("key_id", sa.Uuid()))

    for table, rights in TABLES.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        own = f"tenant_id = {TENANT}"
        op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT {rights} ON {table} TO {RUNTIME}")


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


def _created() -> sa.Column:
    return sa.Column("created_at", TIME, server_default=sa.text("now()"), nullable=False)


def _changing() -> list[sa.Column]:
    return [
        sa.Column("updated_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
    ]


def _belongs(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column, "tenant_id"], [f"{to}.id", f"{to}.tenant_id"], name=op.f(f"fk_{table}_{column}_{to}"),
        ondelete="CASCADE",
    )  # fmt: skip


def _refer(table: str, column: str, to: str, gone: str | None, *, index: bool = True) -> None:
    name = f"fk_{table}_{column}_{to}"
    op.create_foreign_key(name, table, to, [column, "tenant_id"], ["id", "tenant_id"], ondelete=gone)
    if index:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
