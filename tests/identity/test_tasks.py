"""What ended long ago is forgotten, and what may still be used is not."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, update

from folkmoot.identity.links import Links
from folkmoot.identity.models import Link, Session
from folkmoot.identity.tasks import KEPT_DAYS, forget_ended
from folkmoot.kit.access import Principal

LONG_AGO = datetime.now(UTC) - timedelta(days=KEPT_DAYS + 1)


async def counted(app, owner, model):
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        return await work.session.scalar(select(func.count()).select_from(model))


async def test_sessions_and_links_that_ended_long_ago_are_removed(app, owner, tenancy):
    expired, revoked = await tenancy.colleague(owner), await tenancy.colleague(owner)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await Links(app).make(work, expired.user, "reset")
        await Links(app).make(work, revoked.user, "reset")
        of = Session.user_id
        await work.session.execute(update(Session).where(of == expired.user.id).values(expires_at=LONG_AGO))
        await work.session.execute(update(Session).where(of == revoked.user.id).values(revoked_at=LONG_AGO))
        await work.session.execute(update(Link).where(Link.user_id == expired.user.id).values(expires_at=LONG_AGO))
    await app.redis.delete(f"folkmoot:forgotten:{owner.tenant_id}")
    await forget_ended(app, owner.tenant_id)
    assert (await counted(app, owner, Session), await counted(app, owner, Link)) == (1, 1)
    assert (await owner.get("/me")).status_code == 200


async def test_it_is_done_once_an_hour(app, owner):
    await forget_ended(app, owner.tenant_id)
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await work.session.execute(update(Session).values(revoked_at=LONG_AGO))
    await forget_ended(app, owner.tenant_id)
    assert await counted(app, owner, Session) == 1
