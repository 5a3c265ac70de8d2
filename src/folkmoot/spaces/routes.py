"""`/spaces`."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from folkmoot.kit.access import Access, Permission, SpaceRole
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, tagged
from folkmoot.kit.work import Work
from folkmoot.spaces.schemas import MemberOut, MemberPut, SpaceCreate, SpaceOut, SpaceUpdate
from folkmoot.spaces.service import SpaceService


class SpaceController(Controller):
    path = "/spaces"
    tags = ["Spaces"]
    opt = needs(Permission.SPACES)

    @get("/", operation_id="list_spaces", summary="List my spaces")
    async def page(self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None) -> Page[SpaceOut]:
        """Newest first."""
        rows, roles, after = await SpaceService(work).page(limit, cursor)
        return Page(items=[SpaceOut.of(row, roles[row.id]) for row in rows], next_cursor=after)

    @post("/", operation_id="create_space", summary="Open a space", opt=needs(Permission.SPACES_CREATE))
    async def create(self, work: NamedDependency[Work], data: JSONBody[SpaceCreate]) -> Response[SpaceOut]:
        """The caller becomes its admin."""
        space = await SpaceService(work).create(data)
        return tagged(SpaceOut.of(space, SpaceRole.ADMIN), space.revision, 201)

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
    async def members(self, work: NamedDependency[Work], space_id: FromPath[UUID]) -> Page[MemberOut]:
        rows = await SpaceService(work).members(space_id)
        return Page(items=[MemberOut.of(row) for row in rows])

    @put("/{space_id:uuid}/members/{user_id:uuid}", operation_id="put_member", summary="Let somebody in")
    async def put_member(
        self,
        work: NamedDependency[Work],
        space_id: FromPath[UUID],
        user_id: FromPath[UUID],
        data: JSONBody[MemberPut],
    ) -> MemberOut:
        """Also changes the role of somebody who is in already."""
        return MemberOut.of(await SpaceService(work).put_member(space_id, user_id, data.role))

    @delete("/{space_id:uuid}/members/{user_id:uuid}", operation_id="remove_member", summary="Take somebody out")
    async def remove_member(
        self, work: NamedDependency[Work], space_id: FromPath[UUID], user_id: FromPath[UUID]
    ) -> None:
        await SpaceService(work).remove_member(space_id, user_id)
