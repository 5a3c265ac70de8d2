"""Groups of people, made as an administrator would have made them."""

from __future__ import annotations

from uuid import uuid4

from folkmoot.kit.access import Principal
from folkmoot.people.models import Group, GroupMember


async def make_group(app, of, *people, name: str = "") -> str:
    """The id of a new group in the organisation of `of`, with these people in it."""
    async with app.begin(Principal.system(of.tenant_id)) as work:
        made = Group(tenant_id=of.tenant_id, name=name or f"Group {uuid4().hex[:6]}")
        work.session.add(made)
        await work.session.flush()
        for person in people:
            work.session.add(GroupMember(tenant_id=of.tenant_id, group_id=made.id, user_id=person.user.id))
    return str(made.id)
