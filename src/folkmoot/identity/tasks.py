"""Sending what people wait for by mail."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Float, and_, or_, select

from folkmoot.identity.mailing import DUE, mail_link
from folkmoot.identity.models import Link
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep

QUEUED_PATIENCE = timedelta(seconds=15)
LATE_SECONDS = 5.0
"""How long after its time a message may still come by itself."""


@sweep
async def find_unsent_mail(app: App, tenant_id: UUID) -> None:
    """Queue again what nobody sends: the message was lost, or who sent it died."""
    if not app.settings.smtp_url:
        return
    due = Link.details[DUE].astext.cast(Float)
    async with app.begin(Principal.system(tenant_id)) as work:
        left = await work.session.scalars(
            select(Link.id)
            .where(
                Link.mail == "queued",
                or_(
                    and_(due.is_(None), Link.created_at < datetime.now(UTC) - QUEUED_PATIENCE),
                    due < time.time() - LATE_SECONDS,
                ),
            )
            .limit(1000)
        )
        for link_id in left:
            work.enqueue(mail_link, tenant_id=tenant_id, link_id=link_id)
