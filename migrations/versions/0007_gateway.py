"""Where a conversation came from: people see those that they had here, not every call of their programs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("origin", sa.String(), server_default="app", nullable=False))
    op.create_index("ix_conversations_user_id_origin", "conversations", ["user_id", "origin", "id"])
    # The new one begins with the same column.
    op.drop_index("ix_conversations_user_id", table_name="conversations")


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
