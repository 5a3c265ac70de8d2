"""Moving collections between embedding models, and how well a model knows a language."""

from __future__ import annotations

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
