"""Full text and vectors of our own shape: numbered chunks, segments of postings, embedding spaces."""

from __future__ import annotations

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
