"""Identity and access: groups, roles, API keys, login methods, links, the sealed log, the platform's own log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"
PLATFORM = "(SELECT folkmoot_is_platform())"
LOOKUP = "(SELECT folkmoot_lookup())"
ONE = "'00000000-0000-0000-0000-000000000000'"

TABLES = (
    "allowed_origins",
    "groups",
    "group_members",
    "roles",
    "role_grants",
    "links",
    "platform_admins",
    "login_methods",
    "external_accounts",
    "api_keys",
    "key_addresses",
    "audit_seals",
    "audit_checkpoints",
    "audit_reasons",
)
# Who has no tenant yet reads just the row that they can name.
LOOKUPS = {
    "tenants": f"lower(name) = {LOOKUP} OR id::text = {LOOKUP}",
    "api_keys": f"secret_hash = {LOOKUP}",
    "login_methods": f"id::text = {LOOKUP}",
    "allowed_origins": f"origin = {LOOKUP}",
}
APPEND_ONLY = ("audit_seals", "audit_checkpoints", "audit_reasons")

# What decides about a person, read under the policies of their tenant: by the guard at each request.
STANDING_COLUMNS = """
    tenant uuid, person uuid, email text, person_name text, state text, roles text[], granted text[],
    platform boolean, second_factor boolean, tenant_name text, tenant_state text, settings jsonb, tenant_limit integer
"""
PERSON = f"""
CREATE FUNCTION folkmoot_person(of_tenant uuid, of_person uuid) RETURNS TABLE ({STANDING_COLUMNS}) LANGUAGE sql STABLE AS $$
    SELECT u.tenant_id, u.id, u.email::text, u.name::text, u.state::text,
        array_prepend(u.role::text, ARRAY(
            SELECT g.role::text FROM group_members m JOIN groups g ON g.id = m.group_id
            WHERE m.user_id = u.id AND g.role IS NOT NULL
        )),
        ARRAY(
            SELECT DISTINCT unnest(r.permissions)::text FROM role_grants x JOIN roles r ON r.id = x.role_id
            WHERE x.user_id = u.id OR x.group_id IN (SELECT group_id FROM group_members WHERE user_id = u.id)
        ),
        EXISTS (SELECT FROM platform_admins p WHERE p.user_id = u.id),
        u.totp_confirmed_at IS NOT NULL,
        t.name::text, t.state::text, t.settings, t.requests_per_minute
    FROM users u JOIN tenants t ON t.id = u.tenant_id
    WHERE u.id = of_person AND u.tenant_id = of_tenant
$$
"""
# They say their tenant and read under the policies, in one round trip.
STANDING = f"""
CREATE FUNCTION folkmoot_standing(of_tenant uuid, of_person uuid, sign_in uuid)
RETURNS TABLE ({STANDING_COLUMNS}, ended boolean, method text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('folkmoot.tenant', of_tenant::text, true);
    RETURN QUERY
    SELECT p.*, s.revoked_at IS NOT NULL, s.method::text
    FROM folkmoot_person(of_tenant, of_person) p JOIN sessions s ON s.user_id = p.person
    WHERE s.id = sign_in;
END $$
"""
KEY_STANDING = f"""
CREATE FUNCTION folkmoot_key_standing(hash text)
RETURNS TABLE ({STANDING_COLUMNS}, key_id uuid, kind text, assistant uuid, scopes text[], addresses text[],
    origins text[], key_limit integer, tokens_per_month integer, expires_at timestamptz, revoked_at timestamptz)
LANGUAGE plpgsql AS $$
DECLARE k api_keys%ROWTYPE;
BEGIN
    PERFORM set_config('folkmoot.lookup', hash, true);
    SELECT * INTO k FROM api_keys WHERE secret_hash = hash;
    IF NOT FOUND THEN RETURN; END IF;
    PERFORM set_config('folkmoot.tenant', k.tenant_id::text, true);
    RETURN QUERY
    SELECT p.*, k.id, k.kind::text, k.assistant_id, k.scopes::text[], k.addresses::text[], k.origins::text[],
        k.requests_per_minute, k.tokens_per_month, k.expires_at, k.revoked_at
    FROM folkmoot_person(k.tenant_id, k.user_id) p;
END $$
"""


def secure(table: str) -> None:
    own = f"tenant_id = {TENANT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    if table == "platform_admins":
        # Everybody may see who of their own organisation it is; only the platform names and removes them.
        op.execute(
            f"CREATE POLICY {table}_tenant ON {table} USING ({own} AND {PLATFORM}) WITH CHECK ({own} AND {PLATFORM})"
        )
        op.execute(f"CREATE POLICY {table}_seen ON {table} FOR SELECT USING ({own} OR {PLATFORM})")
    else:
        op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({own}) WITH CHECK ({own})")
    rights = "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"
    op.execute(f"GRANT {rights} ON {table} TO {RUNTIME}")


def upgrade() -> None:
    op.create_table(
        "deletion_certificates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_name", sa.String(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed", postgresql.JSONB(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletion_certificates")),
        sa.UniqueConstraint("tenant_id", name=op.f("uq_deletion_certificates_tenant_id")),
    )
    op.create_table(
        "allowed_origins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_allowed_origins_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allowed_origins")),
    )
    op.create_index(op.f("ix_allowed_origins_origin"), "allowed_origins", ["origin"], unique=False)
    op.create_index(op.f("ix_allowed_origins_tenant_id"), "allowed_origins", ["tenant_id"], unique=False)
    op.create_table(
        "audit_checkpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("link", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_audit_checkpoints_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_checkpoints")),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_audit_checkpoints_tenant_id")),
    )
    op.create_index(op.f("ix_audit_checkpoints_tenant_id"), "audit_checkpoints", ["tenant_id"], unique=False)
    op.create_table(
        "audit_seals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_audit_seals_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_seals")),
        sa.UniqueConstraint("tenant_id", "event_id", name="uq_audit_seals_event_id"),
        sa.UniqueConstraint("tenant_id", "position", name="uq_audit_seals_position"),
    )
    op.create_index(op.f("ix_audit_seals_tenant_id"), "audit_seals", ["tenant_id"], unique=False)
    op.create_table(
        "groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_groups_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_groups_tenant_id")),
    )
    op.create_index(op.f("ix_groups_tenant_id"), "groups", ["tenant_id"], unique=False)
    op.create_table(
        "login_methods",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("config", sa.LargeBinary(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("provisioning", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_login_methods_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_methods")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_login_methods_tenant_id")),
    )
    op.create_index(op.f("ix_login_methods_tenant_id"), "login_methods", ["tenant_id"], unique=False)
    op.create_table(
        "roles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("permissions", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_roles_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_roles_tenant_id")),
    )
    op.create_index(op.f("ix_roles_tenant_id"), "roles", ["tenant_id"], unique=False)
    op.create_table(
        "audit_reasons",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_audit_reasons_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_audit_reasons_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_reasons")),
    )
    op.create_index(op.f("ix_audit_reasons_tenant_id"), "audit_reasons", ["tenant_id"], unique=False)
    op.create_index(op.f("ix_audit_reasons_user_id"), "audit_reasons", ["user_id"], unique=False)
    op.create_table(
        "external_accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("login_method_id", sa.Uuid(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["login_method_id"],
            ["login_methods.id"],
            name=op.f("fk_external_accounts_login_method_id_login_methods"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_external_accounts_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_external_accounts_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_accounts")),
        sa.UniqueConstraint("tenant_id", "issuer", "subject", name=op.f("uq_external_accounts_tenant_id")),
    )
    op.create_index(
        op.f("ix_external_accounts_login_method_id"), "external_accounts", ["login_method_id"], unique=False
    )
    op.create_index(op.f("ix_external_accounts_tenant_id"), "external_accounts", ["tenant_id"], unique=False)
    op.create_index(op.f("ix_external_accounts_user_id"), "external_accounts", ["user_id"], unique=False)
    op.create_table(
        "group_members",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("login_method_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_group_members_group_id_groups"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_group_members_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_group_members_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_group_members")),
        sa.UniqueConstraint("group_id", "user_id", name=op.f("uq_group_members_group_id")),
    )
    op.create_index(op.f("ix_group_members_tenant_id"), "group_members", ["tenant_id"], unique=False)
    op.create_index(op.f("ix_group_members_user_id"), "group_members", ["user_id"], unique=False)
    op.create_table(
        "links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mail", sa.String(), server_default="none", nullable=False),
        sa.Column("mail_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("details", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_links_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_links_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
    )
    op.create_index(op.f("ix_links_tenant_id"), "links", ["tenant_id"], unique=False)
    op.create_index(op.f("ix_links_user_id"), "links", ["user_id"], unique=False)
    op.create_table(
        "platform_admins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("granted_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_platform_admins_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_platform_admins_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform_admins")),
        sa.UniqueConstraint("user_id", name=op.f("uq_platform_admins_user_id")),
    )
    op.create_index(op.f("ix_platform_admins_tenant_id"), "platform_admins", ["tenant_id"], unique=False)
    op.create_table(
        "role_grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("group_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name=op.f("ck_role_grants_one_holder")),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_role_grants_group_id_groups"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["role_id"], ["roles.id"], name=op.f("fk_role_grants_role_id_roles"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_role_grants_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_role_grants_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_grants")),
        sa.UniqueConstraint("role_id", "group_id", name="uq_role_grants_group_id"),
        sa.UniqueConstraint("role_id", "user_id", name="uq_role_grants_user_id"),
    )
    op.create_index(op.f("ix_role_grants_group_id"), "role_grants", ["group_id"], unique=False)
    op.create_index(op.f("ix_role_grants_tenant_id"), "role_grants", ["tenant_id"], unique=False)
    op.create_index(op.f("ix_role_grants_user_id"), "role_grants", ["user_id"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("assistant_id", sa.Uuid(), nullable=True),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("addresses", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("origins", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_month", sa.Integer(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaced_by", sa.Uuid(), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_from", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(
            ["assistant_id"], ["assistants.id"], name=op.f("fk_api_keys_assistant_id_assistants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_keys_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_keys_secret_hash")),
    )
    op.create_index(op.f("ix_api_keys_assistant_id"), "api_keys", ["assistant_id"], unique=False)
    op.create_index(op.f("ix_api_keys_tenant_id"), "api_keys", ["tenant_id"], unique=False)
    op.create_index(op.f("ix_api_keys_user_id"), "api_keys", ["user_id"], unique=False)
    op.create_table(
        "key_addresses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("ip", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], name=op.f("fk_key_addresses_key_id_api_keys"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_key_addresses_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_addresses")),
        sa.UniqueConstraint("key_id", "ip", name=op.f("uq_key_addresses_key_id")),
    )
    op.create_index(op.f("ix_key_addresses_tenant_id"), "key_addresses", ["tenant_id"], unique=False)
    op.add_column("assistants", sa.Column("published", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("conversations", sa.Column("key_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_conversations_key_id"), "conversations", ["key_id"], unique=False)
    op.add_column("events", sa.Column("key_id", sa.Uuid(), nullable=True))
    op.add_column("events", sa.Column("user_agent", sa.String(), server_default="", nullable=False))
    op.create_index("ix_events_action", "events", ["tenant_id", "action", "id"], unique=False)
    op.create_index("ix_events_actor", "events", ["tenant_id", "actor_id", "id"], unique=False)
    op.create_index("ix_events_log", "events", ["tenant_id", "id"], unique=False)
    op.create_index("ix_events_object", "events", ["tenant_id", "object_id", "id"], unique=False)
    op.add_column("sessions", sa.Column("method", sa.String(), server_default="password", nullable=False))
    op.add_column("sessions", sa.Column("login_method_id", sa.Uuid(), nullable=True))
    op.add_column("sessions", sa.Column("external_session", sa.String(), nullable=True))
    op.add_column("sessions", sa.Column("logout_hint", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_sessions_external_session"), "sessions", ["external_session"], unique=False)
    op.add_column("space_members", sa.Column("group_id", sa.Uuid(), nullable=True))
    op.alter_column("space_members", "user_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(op.f("ix_space_members_group_id"), "space_members", ["group_id"], unique=False)
    op.create_unique_constraint("uq_space_members_group_id", "space_members", ["space_id", "group_id"])
    op.create_foreign_key(
        op.f("fk_space_members_group_id_groups"), "space_members", "groups", ["group_id"], ["id"], ondelete="CASCADE"
    )
    op.add_column("spaces", sa.Column("kind", sa.String(), server_default="shared", nullable=False))
    op.add_column("spaces", sa.Column("owner_id", sa.Uuid(), nullable=True))
    op.create_index(
        "uq_spaces_organisation",
        "spaces",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'organisation'"),
    )
    op.create_index("uq_spaces_owner_id", "spaces", ["owner_id"], unique=True)
    op.create_foreign_key(op.f("fk_spaces_owner_id_users"), "spaces", "users", ["owner_id"], ["id"], ondelete="CASCADE")
    op.add_column("tenants", sa.Column("state_reason", sa.String(), server_default="", nullable=False))
    op.add_column("tenants", sa.Column("settings", postgresql.JSONB(), server_default="{}", nullable=False))
    op.add_column("tenants", sa.Column("max_users", sa.Integer(), nullable=True))
    op.add_column("tenants", sa.Column("max_storage_bytes", sa.BigInteger(), nullable=True))
    op.add_column("tenants", sa.Column("requests_per_minute", sa.Integer(), nullable=True))
    op.add_column("users", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("totp_secret", sa.LargeBinary(), nullable=True))
    op.add_column("users", sa.Column("totp_confirmed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("totp_used_step", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "users", sa.Column("recovery_codes", postgresql.ARRAY(sa.String()), server_default="{}", nullable=False)
    )
    op.drop_constraint(op.f("uq_users_tenant_id"), "users", type_="unique")
    op.create_index(
        "uq_users_tenant_id_email",
        "users",
        ["tenant_id", "email"],
        unique=True,
        postgresql_where=sa.text("state <> 'deleted'"),
    )
    op.create_check_constraint(
        op.f("ck_spaces_owner_of_personal"), "spaces", "(kind = 'personal') = (owner_id IS NOT NULL)"
    )
    op.create_check_constraint(
        op.f("ck_space_members_one_member"), "space_members", "(user_id IS NULL) <> (group_id IS NULL)"
    )
    # Who signs in names the organisation in any case.
    op.create_index("uq_tenants_lower_name", "tenants", [sa.text("lower(name)")], unique=True)
    for table in TABLES:
        secure(table)
    for table, rule in LOOKUPS.items():
        op.execute(f"CREATE POLICY {table}_lookup ON {table} FOR SELECT USING ({rule})")
    # Certificates outlive their tenants, so they belong to the platform; nobody changes a signed one.
    op.execute("ALTER TABLE deletion_certificates ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE deletion_certificates FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY deletion_certificates_platform ON deletion_certificates USING ({PLATFORM}) WITH CHECK ({PLATFORM})"
    )
    op.execute(
        "CREATE POLICY deletion_certificates_signed ON deletion_certificates AS RESTRICTIVE FOR UPDATE"
        f" USING ({PLATFORM} AND signature IS NULL) WITH CHECK ({PLATFORM})"
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON deletion_certificates TO {RUNTIME}")
    op.execute("SELECT set_config('folkmoot.platform', 'on', true)")
    op.execute(f"INSERT INTO tenants (id, name, state) VALUES ({ONE}, '(the platform)', 'platform')")
    op.execute("DROP FUNCTION folkmoot_standing")
    for function in (PERSON, STANDING, KEY_STANDING):
        op.execute(function)


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
