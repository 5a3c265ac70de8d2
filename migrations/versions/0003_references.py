"""References stay within a tenant: foreign keys by (id, tenant_id), since they are checked past row-level security."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REFERRED = (
    "api_keys",
    "assistant_versions",
    "assistants",
    "chunks",
    "collections",
    "connections",
    "conversations",
    "documents",
    "files",
    "groups",
    "login_methods",
    "messages",
    "models",
    "roles",
    "spaces",
    "users",
)
# Table, column, the table that it refers to, and what becomes of it when that row goes.
REFERENCES = (
    ("api_keys", "assistant_id", "assistants", "CASCADE"),
    ("api_keys", "user_id", "users", "CASCADE"),
    ("assistant_versions", "assistant_id", "assistants", "CASCADE"),
    ("assistant_versions", "model_id", "models", "SET NULL"),
    ("assistants", "space_id", "spaces", "CASCADE"),
    ("audit_reasons", "user_id", "users", "CASCADE"),
    ("chunk_vectors", "chunk_id", "chunks", "CASCADE"),
    ("chunk_vectors", "collection_id", "collections", "CASCADE"),
    ("chunk_vectors", "model_id", "models", "CASCADE"),
    ("chunks", "collection_id", "collections", "CASCADE"),
    ("chunks", "document_id", "documents", "CASCADE"),
    ("collections", "space_id", "spaces", "CASCADE"),
    ("conversations", "assistant_id", "assistants", "SET NULL"),
    ("conversations", "user_id", "users", "CASCADE"),
    ("document_texts", "document_id", "documents", "CASCADE"),
    ("documents", "collection_id", "collections", "CASCADE"),
    ("documents", "file_id", "files", ""),
    ("documents", "space_id", "spaces", "CASCADE"),
    ("external_accounts", "login_method_id", "login_methods", "CASCADE"),
    ("external_accounts", "user_id", "users", "CASCADE"),
    ("group_members", "group_id", "groups", "CASCADE"),
    ("group_members", "user_id", "users", "CASCADE"),
    ("key_addresses", "key_id", "api_keys", "CASCADE"),
    ("links", "user_id", "users", "CASCADE"),
    ("messages", "assistant_version_id", "assistant_versions", "SET NULL"),
    ("messages", "conversation_id", "conversations", "CASCADE"),
    ("messages", "parent_id", "messages", "CASCADE"),
    ("models", "connection_id", "connections", "CASCADE"),
    ("platform_admins", "user_id", "users", "CASCADE"),
    ("role_grants", "group_id", "groups", "CASCADE"),
    ("role_grants", "role_id", "roles", "CASCADE"),
    ("role_grants", "user_id", "users", "CASCADE"),
    ("sessions", "user_id", "users", "CASCADE"),
    ("space_members", "group_id", "groups", "CASCADE"),
    ("space_members", "space_id", "spaces", "CASCADE"),
    ("space_members", "user_id", "users", "CASCADE"),
    ("spaces", "owner_id", "users", "CASCADE"),
)


def upgrade() -> None:
    for table in REFERRED:
        op.create_unique_constraint(f"uq_{table}_id", table, ["id", "tenant_id"])
    for table, column, to, gone in REFERENCES:
        name = f"fk_{table}_{column}_{to}"
        op.drop_constraint(name, table, type_="foreignkey")
        # Setting both columns to null would take the row from its tenant.
        ondelete = f"SET NULL ({column})" if gone == "SET NULL" else gone or None
        op.create_foreign_key(name, table, to, [column, "tenant_id"], ["id", "tenant_id"], ondelete=ondelete)


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
