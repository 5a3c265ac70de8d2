"""Sending links by mail. The row of the link is the outbox: `mail` says how far it is.

The queue holds the link's id, never its token. Whoever sends claims the link for a while first, so that a message
and the sweep do not both send it; who dies in between leaves a claim that runs out. The transaction is closed
while the mail server talks.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select

from folkmoot.identity.link_tokens import link_url
from folkmoot.identity.models import Link, User
from folkmoot.kit import mail
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import task
from folkmoot.kit.log import get_logger
from folkmoot.tenants.models import Tenant

log = get_logger(__name__)
MOST_ATTEMPTS = 20
"""Over about ten hours; a link that expires before is given up then."""
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 3_600.0
CLAIM_SECONDS = 120.0
DUE = "mail_at"
"""In `Link.details`: when the next attempt may be made, in seconds of the epoch."""


@dataclass(frozen=True)
class _Claimed:
    link: Link
    user: User
    tenant: Tenant


@task("identity.mail_link", lane="maintenance")
async def mail_link(app: App, *, tenant_id: str, link_id: str) -> None:
    """Send one link, or find that there is nothing (left) to send."""
    await deliver(app, UUID(tenant_id), UUID(link_id))


async def deliver(app: App, tenant_id: UUID, link_id: UUID) -> None:
    """Send a link that is queued and due. What fails and may pass is queued again, with growing pauses."""
    if not app.settings.smtp_url:
        return
    claimed = await _claim(app, tenant_id, link_id)
    if claimed is None:
        return
    try:
        written = write(app, claimed.link, claimed.user, claimed.tenant)
        await mail.send(mail.Server.from_url(app.settings.smtp_url), written)
    except mail.MailError as error:
        log.warning("mail.not_sent", link_id=str(link_id), error=str(error), code=error.code)
        await _failed(app, claimed.link, error)
        return
    async with app.begin(Principal.system(tenant_id)) as work:
        link = await work.session.get(Link, link_id, with_for_update={"key_share": True})
        if link is not None:
            link.mail, link.details = "sent", _without_due(link)


async def _claim(app: App, tenant_id: UUID, link_id: UUID) -> _Claimed | None:
    now = time.time()
    async with app.begin(Principal.system(tenant_id)) as work:
        link = await work.session.scalar(
            select(Link)
            .where(Link.id == link_id, Link.mail == "queued")
            .with_for_update(skip_locked=True, key_share=True)
        )
        if link is None or float(link.details.get(DUE, 0)) > now:
            return None
        user = await work.session.get(User, link.user_id)
        tenant = await work.session.get(Tenant, tenant_id)
        if user is None or tenant is None or link.used_at is not None or user.state not in ("invited", "active"):
            # Replaced, or for somebody who may not come in any more: there is nobody to tell.
            link.mail, link.details = "none", _without_due(link)
            return None
        if link.expires_at <= datetime.now(UTC):
            link.mail, link.details = "failed", _without_due(link)
            work.record("mail.failed", "link", link.id, user_id=user.id, data={"reason": "expired"})
            return None
        link.mail_attempts += 1
        link.details = {**link.details, DUE: now + CLAIM_SECONDS}
    return _Claimed(link, user, tenant)


async def _failed(app: App, tried: Link, error: mail.MailError) -> None:
    async with app.begin(Principal.system(tried.tenant_id)) as work:
        link = await work.session.get(Link, tried.id, with_for_update={"key_share": True})
        if link is None or link.mail != "queued":
            return
        if error.permanent or link.mail_attempts >= MOST_ATTEMPTS:
            link.mail, link.details = "failed", _without_due(link)
            # The server's own words would put the address into the log.
            data = {"reason": "refused" if error.permanent else "not-reached", "smtp_code": error.code}
            work.record("mail.failed", "link", link.id, user_id=link.user_id, data=data)
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (link.mail_attempts - 1)) * random.uniform(1, 1.25)
        link.details = {**link.details, DUE: time.time() + pause}
        work.enqueue(mail_link, delay=pause, tenant_id=link.tenant_id, link_id=link.id)


def _without_due(link: Link) -> dict[str, object]:
    return {name: value for name, value in link.details.items() if name != DUE}


def write(app: App, link: Link, user: User, tenant: Tenant) -> mail.EmailMessage:
    """The mail with a link, in English and Swedish. Raises `MailError` for an address that cannot be written to."""
    organisation = mail.one_line(tenant.name, 100)
    until = link.expires_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    subject, text = TEXTS[link.purpose]
    filled = {"organisation": organisation, "url": link_url(app, link), "until": until}
    return mail.message(
        sender=app.settings.mail_from,
        to=user.email,
        subject=subject.format(**filled),
        text=text.format(**filled),
    )


TEXTS = {
    "invitation": (
        "{organisation}: your invitation / din inbjudan",
        """\
You are invited to use Folkmoot at {organisation}. Open this link to begin:

{url}

It is yours alone, works once, and is good until {until}.

--

Du är inbjuden att använda Folkmoot hos {organisation}. Öppna länken ovan för att börja. Den är bara din, fungerar en
gång och gäller till {until}.
""",
    ),
    "reset": (
        "{organisation}: a new password / nytt lösenord",
        """\
Somebody asked for a new password for your account at {organisation}. Open this link to set one:

{url}

It works once, and is good until {until}. If you did not ask for it, do nothing: your password stays as it is.

--

Någon har bett om ett nytt lösenord för ditt konto hos {organisation}. Öppna länken ovan för att välja ett. Den fungerar
en gång och gäller till {until}. Om du inte har bett om det behöver du inte göra något: ditt lösenord är oförändrat.
""",
    ),
}
