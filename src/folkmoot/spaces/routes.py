"""`/spaces`."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from folkmoot.kit.access import Access, Permission, SpaceRole
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, tagged
from folkmoot.kit.work import Work
from folkmoot.spaces.members import MemberService
from folkmoot.spaces.orphans import Orphans
from folkmoot.spaces.schemas import MemberOut, MemberPut, OrphanOut, SpaceCreate, SpaceOut, SpaceUpdate
from folkmoot.spaces.service import SpaceService


class SpaceController(Controller):
    path = "/spaces"
    tags = ["Spaces"]
    opt = needs(Permission.SPACES)

    @get("/", operation_id="list_spaces", summary="List my spaces")
    async def page(self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None) -> Page[SpaceOut]:
        """Newest first; the personal one among them once it is there, the organisation's for its admins."""
        rows, roles, after = await SpaceService(work).page(limit, cursor)
        return Page(items=[SpaceOut.of(row, roles[row.id]) for row in rows], next_cursor=after)

    @post("/", operation_id="create_space", summary="Open a space", opt=needs(Permission.SPACES_CREATE))
    async def create(self, work: NamedDependency[Work], data: JSONBody[SpaceCreate]) -> Response[SpaceOut]:
        """The caller becomes its admin."""
        space = await SpaceService(work).create(data)
        return tagged(SpaceOut.of(space, SpaceRole.ADMIN), space.revision, 201)

    @get("/personal", operation_id="get_personal_space", summary="Read my personal space")
    async def personal(self, work: NamedDependency[Work]) -> Response[SpaceOut]:
        """Made on first use. Nobody else is ever in it, administrators included."""
        space, role = await SpaceService(work).personal()
        return tagged(SpaceOut.of(space, role), space.revision)

    @get("/organisation", operation_id="get_organisation_space", summary="Read the organisation space")
    async def organisation(self, work: NamedDependency[Work]) -> Response[SpaceOut]:
        """Made on first use. Everybody may read its collections and use them in assistants of other spaces; people
        with the permission `commons` are its admins. It holds no assistants."""
        space, role = await SpaceService(work).organisation()
        return tagged(SpaceOut.of(space, role), space.revision)

    @get(
        "/orphaned",
        operation_id="list_orphaned_spaces",
        summary="List the spaces that have no admin any more",
        opt=needs(Permission.ADMIN),
    )
    async def orphaned(self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None) -> Page[OrphanOut]:
        """Newest first: those whose last admin was shut out or deleted. `PUT /spaces/{id}/members/{user_id}` appoints
        one; nobody appoints themself."""
        rows, after = await Orphans(work).page(limit, cursor)
        return Page(items=[OrphanOut.of(row) for row in rows], next_cursor=after)

    @get("/{space_id:uuid}", operation_id="get_space", summary="Read a space")
    async def read(self, work: NamedDependency[Work], space_id: FromPath[UUID]) -> Response[SpaceOut]:
        space, role = await SpaceService(work).get(space_id, Access.READ)
        return tagged(SpaceOut.of(space, role), space.revision)

    @patch("/{space_id:uuid}", operation_id="update_space", summary="Change a space")
    async def update(
        self,
        work: NamedDependency[Work],
        space_id: FromPath[UUID],
        data: JSONBody[SpaceUpdate],
        if_match: IfMatch = None,
    ) -> Response[SpaceOut]:
        """Fields that are absent stay as they are."""
        space, role = await SpaceService(work).update(space_id, data, if_match)
        return tagged(SpaceOut.of(space, role), space.revision)

    @delete("/{space_id:uuid}", operation_id="delete_space", summary="Delete a space with all that lies in it")
    async def remove(self, work: NamedDependency[Work], space_id: FromPath[UUID]) -> None:
        await SpaceService(work).delete(space_id)

    @get("/{space_id:uuid}/members", operation_id="list_members", summary="List who is in a space")
    async def members(
        self, work: NamedDependency[Work], space_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[MemberOut]:
        """People and groups, in the order of joining."""
        items, after = await MemberService(work).page(space_id, limit, cursor)
        return Page(items=items, next_cursor=after)

    @put("/{space_id:uuid}/members/{user_id:uuid}", operation_id="put_member", summary="Let somebody in")
    async def put_member(
        self,
        work: NamedDependency[Work],
        space_id: FromPath[UUID],
        user_id: FromPath[UUID],
        data: JSONBody[MemberPut],
    ) -> MemberOut:
        """Also changes the role of somebody who is in already. Of a space without admin, who administers the
        organisation appoints one."""
        return await MemberService(work).put_user(space_id, user_id, data.role)

    @delete("/{space_id:uuid}/members/{user_id:uuid}", operation_id="remove_member", summary="Take somebody out")
    async def remove_member(
        self, work: NamedDependency[Work], space_id: FromPath[UUID], user_id: FromPath[UUID]
    ) -> None:
        """Anybody may leave by themself. The last admin stays."""
        await MemberService(work).remove_user(space_id, user_id)

    @put("/{space_id:uuid}/groups/{group_id:uuid}", operation_id="put_group_in_space", summary="Let a group in")
    async def put_group(
        self,
        work: NamedDependency[Work],
        space_id: FromPath[UUID],
        group_id: FromPath[UUID],
        data: JSONBody[MemberPut],
    ) -> MemberOut:
        """Its members have the role, unless they have a higher one already; also changes a group's role."""
        return await MemberService(work).put_group(space_id, group_id, data.role)

    @delete(
        "/{space_id:uuid}/groups/{group_id:uuid}",
        operation_id="remove_group_from_space",
        summary="Take a group out",
    )
    async def remove_group(
        self, work: NamedDependency[Work], space_id: FromPath[UUID], group_id: FromPath[UUID]
    ) -> None:
        """Who is also in by themself, or through another group, stays."""
        await MemberService(work).remove_group(space_id, group_id)
