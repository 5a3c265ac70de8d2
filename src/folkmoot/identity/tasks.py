"""Sending what people wait for by mail, and forgetting what opens nothing any more."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Float, and_, delete, or_, select

from folkmoot.identity.mailing import DUE, mail_link
from folkmoot.identity.models import Link, Session
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep

QUEUED_PATIENCE = timedelta(seconds=15)
KEPT_DAYS = 90
"""How long an ended session or link stays, for people to see where they were signed in; the log has it for ever."""
FORGET_SECONDS = 3600
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


@sweep
async def forget_ended(app: App, tenant_id: UUID) -> None:
    """Remove sessions and links that ended long ago, once an hour."""
    if not await app.redis.set(f"folkmoot:forgotten:{tenant_id}", "1", nx=True, ex=FORGET_SECONDS):
        return
    before = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
    async with app.begin(Principal.system(tenant_id)) as work:
        await work.session.execute(delete(Session).where(or_(Session.expires_at < before, Session.revoked_at < before)))
        await work.session.execute(delete(Link).where(Link.expires_at < before))
