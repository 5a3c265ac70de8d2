"""Websites that are crawled, and what became of each page."""

from __future__ import annotations

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("go back by restoring the backup from before the upgrade")
