"""`/users`, `/groups` and `/roles`; and `/auth/forgot` and `/auth/link`, for those who are let in by a link."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.identity.links import Links
from folkmoot.kit.access import GRANTABLE, Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import PUBLIC, Cursor, IfMatch, Limit, Page, needs, tagged
from folkmoot.kit.work import Work
from folkmoot.people import leave, schemas
from folkmoot.people.groups import GroupService
from folkmoot.people.roles import RoleService, meanings
from folkmoot.people.service import PeopleService

PRIVATE = {"Cache-Control": "no-store"}
Search = Annotated[str | None, QueryParameter(max_length=200, description="Only those with this in name or e-mail.")]
GroupSearch = Annotated[
    str | None, QueryParameter(max_length=200, description="Only those with this in name or description.")
]
Find = Annotated[str, QueryParameter(min_length=2, max_length=200, description="A part of a name or an e-mail.")]
InState = Annotated[
    schemas.State | None, QueryParameter(name="state", description="Without it, all but the deleted ones.")
]
InGroup = Annotated[UUID | None, QueryParameter(description="Only those who are in this group.")]


class UserController(Controller):
    path = "/users"
    tags = ["People"]
    opt = needs(Permission.PEOPLE)

    @get("/", operation_id="list_users", summary="List the people of the organisation")
    async def page(
        self,
        work: NamedDependency[Work],
        app: NamedDependency[App],
        limit: Limit = 50,
        cursor: Cursor = None,
        in_state: InState = None,
        q: Search = None,
        group_id: InGroup = None,
    ) -> Page[schemas.PersonOut]:
        """Newest first, each with what they may do."""
        rows, after = await PeopleService(work, app).page(limit, cursor, state=in_state, term=q, group_id=group_id)
        return Page(items=rows, next_cursor=after)

    @post("/", operation_id="invite_user", summary="Invite somebody")
    async def invite(
        self, work: NamedDependency[Work], app: NamedDependency[App], data: JSONBody[schemas.PersonInvite]
    ) -> Response[schemas.InvitedOut]:
        """They come in by a link: sent by mail, or in the answer if the installation has no mail server."""
        user, link, url = await PeopleService(work, app).invite(data)
        return Response(schemas.InvitedOut.of(user, link, url), status_code=201, headers=PRIVATE)

    @get(
        "/directory",
        operation_id="find_users",
        summary="Find colleagues to choose from",
        opt=needs(Permission.SPACES),
    )
    async def directory(
        self, work: NamedDependency[Work], app: NamedDependency[App], q: Find
    ) -> Page[schemas.DirectoryEntry]:
        """At most twenty active people, by name."""
        rows = await PeopleService(work, app).directory(q)
        return Page(items=[schemas.DirectoryEntry.of(row) for row in rows])

    @get("/{user_id:uuid}", operation_id="get_user", summary="Read somebody's account")
    async def read(
        self, work: NamedDependency[Work], app: NamedDependency[App], user_id: FromPath[UUID]
    ) -> Response[schemas.PersonOut]:
        return tagged(*await PeopleService(work, app).get(user_id))

    @patch("/{user_id:uuid}", operation_id="update_user", summary="Change somebody's name, role or state")
    async def update(
        self,
        work: NamedDependency[Work],
        app: NamedDependency[App],
        user_id: FromPath[UUID],
        data: JSONBody[schemas.PersonUpdate],
        if_match: IfMatch = None,
    ) -> Response[schemas.PersonOut]:
        """Nobody changes their own role or state; the last owner stays."""
        return tagged(*await PeopleService(work, app).update(user_id, data, if_match))

    @delete("/{user_id:uuid}", operation_id="delete_user", summary="Delete an account")
    async def remove(self, work: NamedDependency[Work], app: NamedDependency[App], user_id: FromPath[UUID]) -> None:
        """Sessions and keys end at once, the personal space goes; name and e-mail stay until they are erased."""
        await leave.delete_person(work, app, user_id)

    @post(
        "/{user_id:uuid}/erase",
        operation_id="erase_user",
        summary="Remove the personal data of a deleted account",
        status_code=204,
    )
    async def erase(self, work: NamedDependency[Work], user_id: FromPath[UUID]) -> None:
        """Name, e-mail, addresses and conversations go for good; the log names the account by its id."""
        await leave.erase_person(work, user_id)

    @post("/{user_id:uuid}/invitation", operation_id="invite_user_again", summary="Make a new invitation")
    async def invite_again(
        self, work: NamedDependency[Work], app: NamedDependency[App], user_id: FromPath[UUID]
    ) -> Response[schemas.Handed]:
        """The one before is no longer good."""
        made = await PeopleService(work, app).invite_again(user_id)
        return Response(schemas.Handed.of(*made), status_code=201, headers=PRIVATE)

    @post(
        "/{user_id:uuid}/reset",
        operation_id="reset_user",
        summary="Let somebody set a new password",
        opt=needs(Permission.PEOPLE, person=True),
    )
    async def reset(
        self, work: NamedDependency[Work], app: NamedDependency[App], user_id: FromPath[UUID]
    ) -> Response[schemas.Handed]:
        """By a link; the old password is good until it is used."""
        made = await PeopleService(work, app).reset(user_id)
        return Response(schemas.Handed.of(*made), status_code=201, headers=PRIVATE)

    @delete("/{user_id:uuid}/sessions", operation_id="end_user_sessions", summary="Sign somebody out everywhere")
    async def end_sessions(
        self, work: NamedDependency[Work], app: NamedDependency[App], user_id: FromPath[UUID]
    ) -> None:
        await PeopleService(work, app).end_sessions(user_id)

    @delete(
        "/{user_id:uuid}/second-factor",
        operation_id="remove_user_second_factor",
        summary="Take away a second factor that was lost",
        opt=needs(Permission.PEOPLE, person=True),
    )
    async def remove_second_factor(
        self, work: NamedDependency[Work], app: NamedDependency[App], user_id: FromPath[UUID]
    ) -> None:
        """The person is signed out everywhere."""
        await PeopleService(work, app).remove_second_factor(user_id)

    @put(
        "/{user_id:uuid}/roles/{role_id:uuid}",
        operation_id="grant_role",
        summary="Give somebody a custom role",
        status_code=204,
    )
    async def grant(self, work: NamedDependency[Work], user_id: FromPath[UUID], role_id: FromPath[UUID]) -> None:
        await RoleService(work).grant(user_id, role_id)

    @delete("/{user_id:uuid}/roles/{role_id:uuid}", operation_id="revoke_role", summary="Take a custom role away")
    async def revoke(self, work: NamedDependency[Work], user_id: FromPath[UUID], role_id: FromPath[UUID]) -> None:
        await RoleService(work).revoke(user_id, role_id)


class GroupController(Controller):
    path = "/groups"
    tags = ["People"]
    opt = needs(Permission.PEOPLE)

    @get("/", operation_id="list_groups", summary="List the groups")
    async def page(
        self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None, q: GroupSearch = None
    ) -> Page[schemas.GroupOut]:
        """Newest first."""
        rows, after = await GroupService(work).page(limit, cursor, term=q)
        return Page(items=rows, next_cursor=after)

    @post("/", operation_id="create_group", summary="Make a group")
    async def create(
        self, work: NamedDependency[Work], data: JSONBody[schemas.GroupCreate]
    ) -> Response[schemas.GroupOut]:
        made, revision = await GroupService(work).create(data)
        return tagged(made, revision, 201)

    @get(
        "/directory",
        operation_id="find_groups",
        summary="Find groups to choose from",
        opt=needs(Permission.SPACES),
    )
    async def directory(self, work: NamedDependency[Work], q: Find) -> Page[schemas.GroupEntry]:
        """At most twenty, by name."""
        return Page(items=await GroupService(work).directory(q))

    @get("/{group_id:uuid}", operation_id="get_group", summary="Read a group")
    async def read(self, work: NamedDependency[Work], group_id: FromPath[UUID]) -> Response[schemas.GroupOut]:
        return tagged(*await GroupService(work).get(group_id))

    @patch("/{group_id:uuid}", operation_id="update_group", summary="Change a group")
    async def update(
        self,
        work: NamedDependency[Work],
        group_id: FromPath[UUID],
        data: JSONBody[schemas.GroupUpdate],
        if_match: IfMatch = None,
    ) -> Response[schemas.GroupOut]:
        """Fields that are absent stay as they are; `role: null` takes the role away."""
        return tagged(*await GroupService(work).update(group_id, data, if_match))

    @delete("/{group_id:uuid}", operation_id="delete_group", summary="Delete a group")
    async def remove(self, work: NamedDependency[Work], group_id: FromPath[UUID]) -> None:
        """Its members lose what they had through it."""
        await GroupService(work).delete(group_id)

    @get("/{group_id:uuid}/members", operation_id="list_group_members", summary="List who is in a group")
    async def members(
        self, work: NamedDependency[Work], group_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[schemas.GroupMemberOut]:
        """Who came last is first."""
        rows, after = await GroupService(work).members(group_id, limit, cursor)
        return Page(items=[schemas.GroupMemberOut.of(*row) for row in rows], next_cursor=after)

    @put(
        "/{group_id:uuid}/members/{user_id:uuid}", operation_id="put_group_member", summary="Put somebody into a group"
    )
    async def put_member(
        self, work: NamedDependency[Work], group_id: FromPath[UUID], user_id: FromPath[UUID]
    ) -> schemas.GroupMemberOut:
        return schemas.GroupMemberOut.of(*await GroupService(work).put_member(group_id, user_id))

    @delete(
        "/{group_id:uuid}/members/{user_id:uuid}",
        operation_id="remove_group_member",
        summary="Take somebody out of a group",
    )
    async def remove_member(
        self, work: NamedDependency[Work], group_id: FromPath[UUID], user_id: FromPath[UUID]
    ) -> None:
        """Whom a login method put in, only that takes out."""
        await GroupService(work).remove_member(group_id, user_id)

    @put(
        "/{group_id:uuid}/roles/{role_id:uuid}",
        operation_id="grant_group_role",
        summary="Give a group a custom role",
        status_code=204,
    )
    async def grant(self, work: NamedDependency[Work], group_id: FromPath[UUID], role_id: FromPath[UUID]) -> None:
        await GroupService(work).grant(group_id, role_id)

    @delete(
        "/{group_id:uuid}/roles/{role_id:uuid}",
        operation_id="revoke_group_role",
        summary="Take a custom role from a group",
    )
    async def revoke(self, work: NamedDependency[Work], group_id: FromPath[UUID], role_id: FromPath[UUID]) -> None:
        await GroupService(work).revoke(group_id, role_id)


class RoleController(Controller):
    path = "/roles"
    tags = ["People"]
    opt = needs(Permission.PEOPLE)

    @get("/", operation_id="list_roles", summary="List the roles")
    async def page(
        self, work: NamedDependency[Work], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[schemas.RoleOut]:
        """The predefined ones first, then custom ones, newest first."""
        rows, after = await RoleService(work).page(limit, cursor)
        return Page(items=rows, next_cursor=after)

    @get("/permissions", operation_id="list_permissions", summary="List what a custom role may hold")
    async def permissions(self) -> Page[schemas.PermissionOut]:
        found = meanings()
        return Page(
            items=[
                schemas.PermissionOut(name=permission.value, meaning=found[permission])
                for permission in Permission
                if permission in GRANTABLE
            ]
        )

    @post("/", operation_id="create_role", summary="Make a custom role")
    async def create(
        self, work: NamedDependency[Work], data: JSONBody[schemas.RoleCreate]
    ) -> Response[schemas.RoleOut]:
        role = await RoleService(work).create(data)
        return tagged(schemas.RoleOut.of(role), role.revision, 201)

    @get("/{role_id:uuid}", operation_id="get_role", summary="Read a custom role")
    async def read(self, work: NamedDependency[Work], role_id: FromPath[UUID]) -> Response[schemas.RoleOut]:
        role = await RoleService(work).get(role_id)
        return tagged(schemas.RoleOut.of(role), role.revision)

    @patch("/{role_id:uuid}", operation_id="update_role", summary="Change a custom role")
    async def update(
        self,
        work: NamedDependency[Work],
        role_id: FromPath[UUID],
        data: JSONBody[schemas.RoleUpdate],
        if_match: IfMatch = None,
    ) -> Response[schemas.RoleOut]:
        """It changes at once for everybody who has it."""
        role = await RoleService(work).update(role_id, data, if_match)
        return tagged(schemas.RoleOut.of(role), role.revision)

    @delete("/{role_id:uuid}", operation_id="delete_role", summary="Delete a custom role")
    async def remove(self, work: NamedDependency[Work], role_id: FromPath[UUID]) -> None:
        """Who has it loses it."""
        await RoleService(work).delete(role_id)


class LinkController(Controller):
    path = "/auth"
    tags = ["Signing in"]
    opt = PUBLIC

    @post(
        "/forgot",
        operation_id="forgot_password",
        summary="Ask for a link to set a new password",
        status_code=202,
    )
    async def forgot(self, app: NamedDependency[App], data: JSONBody[schemas.Forgot]) -> schemas.ForgotOut:
        """The answer is the same whether the e-mail is known or not."""
        await Links(app).forgot(data.email, data.tenant)
        return schemas.ForgotOut(
            detail="if there is an account with this e-mail, a link to set a new password is on its way, or an"
            " administrator was told"
        )

    @post("/link", operation_id="look_at_link", summary="See what a link is for", status_code=200)
    async def look(self, app: NamedDependency[App], data: JSONBody[schemas.LinkLook]) -> Response[schemas.LinkOut]:
        """Does not use it."""
        opened = await Links(app).look(data.token)
        return Response(schemas.LinkOut.of(opened, app.settings.password_min_length), headers=PRIVATE)

    @post("/link/accept", operation_id="accept_link", summary="Set a password by a link", status_code=200)
    async def accept(self, app: NamedDependency[App], data: JSONBody[schemas.LinkAccept]) -> schemas.AcceptedOut:
        """Who was invited becomes active; all sessions end, and a second factor stays."""
        opened = await Links(app).accept(data.token, data.password, data.name)
        return schemas.AcceptedOut(email=opened.user.email, organisation=opened.tenant.name)
