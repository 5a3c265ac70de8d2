"""The envelope: a data key for each organisation, wrapped with the master key, and what is signed with.

Organisations that are there already have things that are sealed straight from the master key. A row `old` says so,
until `folkmoot keys rotate` has moved them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RUNTIME = "folkmoot_runtime"
TENANT = "(SELECT folkmoot_tenant())"
ONE = "'00000000-0000-0000-0000-000000000000'"

# Both say their tenant themselves, so that one round trip outside of any transaction will do.
READ = """
CREATE FUNCTION folkmoot_keys(of_tenant uuid)
RETURNS TABLE (purposes text[], versions integer[], wrapped bytea[], use_from timestamptz[], until timestamptz[])
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('folkmoot.tenant', of_tenant::text, true);
    RETURN QUERY
    SELECT array_agg(k.purpose::text ORDER BY k.purpose, k.version), array_agg(k.version ORDER BY k.purpose, k.version),
        array_agg(k.wrapped ORDER BY k.purpose, k.version), array_agg(k.use_from ORDER BY k.purpose, k.version),
        array_agg(k.until ORDER BY k.purpose, k.version)
    FROM tenant_keys k WHERE k.tenant_id = of_tenant;
END $$
"""
# A key is not added under another master key than the one that the platform's are wrapped with: whoever rotates
# changes those first, so nobody adds one behind their back under a master key that is about to go.
ADD = f"""
CREATE FUNCTION folkmoot_add_key(of_tenant uuid, of_purpose text, of_version integer, new_key bytea)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF of_tenant <> {ONE} OR of_purpose <> 'seal' THEN
        PERFORM set_config('folkmoot.tenant', {ONE}, true);
        PERFORM FROM tenant_keys k WHERE k.tenant_id = {ONE} AND k.purpose = 'seal'
            AND substring(k.wrapped FOR 5) = substring(new_key FOR 5) FOR SHARE;
        IF NOT FOUND THEN RETURN false; END IF;
    END IF;
    PERFORM set_config('folkmoot.tenant', of_tenant::text, true);
    INSERT INTO tenant_keys (id, tenant_id, purpose, version, wrapped)
        VALUES (gen_random_uuid(), of_tenant, of_purpose, of_version, new_key) ON CONFLICT DO NOTHING;
    RETURN true;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "tenant_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("use_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_keys_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant_keys")),
        sa.UniqueConstraint("tenant_id", "purpose", "version", name=op.f("uq_tenant_keys_tenant_id")),
    )
    op.create_index(op.f("ix_tenant_keys_tenant_id"), "tenant_keys", ["tenant_id"])
    op.execute("SELECT set_config('folkmoot.platform', 'on', true)")
    op.execute(
        "INSERT INTO tenant_keys (id, tenant_id, purpose, version, wrapped)"
        " SELECT gen_random_uuid(), id, 'old', 0, '' FROM tenants"
        " WHERE EXISTS (SELECT FROM tenants WHERE state <> 'platform')"
    )
    op.execute("ALTER TABLE tenant_keys ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tenant_keys FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {TENANT}"
    op.execute(f"CREATE POLICY tenant_keys_tenant ON tenant_keys USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_keys TO {RUNTIME}")
    op.execute(READ)
    op.execute(ADD)


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
