"""`/tool-servers`, `/tools`, and the tools of a space."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.ai.catalogue import Catalogue
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.errors import ValidationFailed
from folkmoot.kit.http import IfMatch, Page, needs, principal_of, tagged
from folkmoot.kit.paging import check_match
from folkmoot.kit.work import Work, begin
from folkmoot.tools.config import merged
from folkmoot.tools.enable import ToolService
from folkmoot.tools.line import ServerFailed
from folkmoot.tools.schemas import (
    CommandOut,
    RefreshOut,
    SpaceToolOut,
    SpaceToolsPut,
    ToolOut,
    ToolServerCreate,
    ToolServerOut,
    ToolServerUpdate,
    ToolUpdate,
)
from folkmoot.tools.servers import Offered, ToolServers
from folkmoot.tools.service import ToolServerService

Check = Annotated[bool, QueryParameter(description="Whether its tools are asked for before it is stored.")]


class ToolServerController(Controller):
    path = "/tool-servers"
    tags = ["Tools"]
    opt = needs(Permission.MODELS)

    @get("/", operation_id="list_tool_servers", summary="List the tool servers")
    async def page(self, app: NamedDependency[App], work: NamedDependency[Work]) -> Page[ToolServerOut]:
        """By name; secrets are masked."""
        service = ToolServerService(app, work)
        return Page(items=[await service.shown(row) for row in await service.every()])

    @get("/commands", operation_id="list_tool_commands", summary="List the commands that may be tool servers")
    async def commands(self, app: NamedDependency[App]) -> Page[CommandOut]:
        """As the operator of the platform has set them."""
        return Page(items=[CommandOut(command=command) for command in app.part(ToolServers).commands])

    @post("/", operation_id="create_tool_server", summary="Connect a tool server")
    async def create(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        data: JSONBody[ToolServerCreate],
        check: Check = True,
    ) -> Response[ToolServerOut]:
        """Its tools are asked for first, and it is refused if that does not work; `check=false` stores it unseen,
        without tools. All tools are off at first."""
        config = merged(data.kind, data.config, {}, app.part(ToolServers).commands)
        async with begin(app.sessions, principal_of(request)) as work:
            await ToolServerService(app, work).check_class(data.clearance_id)
        offered = await _required(app, data.kind, config) if check else None
        async with begin(app.sessions, principal_of(request)) as work:
            service = ToolServerService(app, work)
            row = await service.create(data, config)
            if offered is not None:
                await service.note_tools(row.id, offered)
            return tagged(await service.shown(row), row.revision, 201)

    @get("/{server_id:uuid}", operation_id="get_tool_server", summary="Read a tool server")
    async def read(
        self, app: NamedDependency[App], work: NamedDependency[Work], server_id: FromPath[UUID]
    ) -> Response[ToolServerOut]:
        service = ToolServerService(app, work)
        row = await service.get(server_id)
        return tagged(await service.shown(row), row.revision)

    @patch("/{server_id:uuid}", operation_id="update_tool_server", summary="Change a tool server")
    async def update(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        server_id: FromPath[UUID],
        data: JSONBody[ToolServerUpdate],
        if_match: IfMatch = None,
        check: Check = True,
    ) -> Response[ToolServerOut]:
        """A changed configuration is tried first, and refused if it does not work; `check=false` stores it unseen.
        Switched off, it is called no more, from the next call on."""
        who = principal_of(request)
        async with begin(app.sessions, who) as work:
            service = ToolServerService(app, work)
            before = await service.get(server_id)
            check_match(if_match, before.revision)
            await service.check_class(data.clearance_id)
            config = await service.configured(before, data)
        offered = await _required(app, before.kind, config) if config is not None and check else None
        async with begin(app.sessions, who) as work:
            service = ToolServerService(app, work)
            row = await service.update(before, data, config, if_match)
            if offered is not None:
                await service.note_tools(row.id, offered)
            return tagged(await service.shown(row), row.revision)

    @delete("/{server_id:uuid}", operation_id="delete_tool_server", summary="Remove a tool server")
    async def remove(self, app: NamedDependency[App], work: NamedDependency[Work], server_id: FromPath[UUID]) -> None:
        """With its tools, from every space. Assistants that were given them go on without."""
        await ToolServerService(app, work).delete(server_id)

    @post(
        "/{server_id:uuid}/refresh",
        operation_id="refresh_tool_server",
        summary="Ask a tool server for its tools",
        status_code=200,
    )
    async def refresh(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], server_id: FromPath[UUID]
    ) -> RefreshOut:
        """New tools are off. A tool whose title, description, arguments or hints are others than those that were
        switched on is switched off again, until somebody has looked at it."""
        who = principal_of(request)
        servers = app.part(ToolServers)
        async with begin(app.sessions, who) as work:
            row = await ToolServerService(app, work).get(server_id)
        found: Offered | ServerFailed
        try:
            found = await servers.offers(row.kind, await servers.config_of(row))
        except ServerFailed as error:
            found = error
        async with begin(app.sessions, who) as work:
            service = ToolServerService(app, work)
            if isinstance(found, ServerFailed):
                return await service.note_failure(server_id, found)
            return await service.note_tools(server_id, found)

    @get("/{server_id:uuid}/tools", operation_id="list_server_tools", summary="List the tools of a tool server")
    async def tools(
        self, app: NamedDependency[App], work: NamedDependency[Work], server_id: FromPath[UUID]
    ) -> Page[ToolOut]:
        """By name; also those that are off, or that it does not list any more."""
        rows = await ToolServerService(app, work).tools(server_id)
        return Page(items=[ToolOut.of(row) for row in rows])


class ToolController(Controller):
    path = "/tools"
    tags = ["Tools"]
    opt = needs(Permission.MODELS)

    @get("/{tool_id:uuid}", operation_id="get_tool", summary="Read a tool")
    async def read(self, work: NamedDependency[Work], tool_id: FromPath[UUID]) -> Response[ToolOut]:
        row = await ToolService(work).get(tool_id)
        return tagged(ToolOut.of(row), row.revision)

    @patch("/{tool_id:uuid}", operation_id="update_tool", summary="Switch a tool on or off")
    async def update(
        self,
        work: NamedDependency[Work],
        tool_id: FromPath[UUID],
        data: JSONBody[ToolUpdate],
        if_match: IfMatch = None,
    ) -> Response[ToolOut]:
        """For the organisation, and whether each call is approved by who asks. With `If-Match`, only what you have
        seen is switched on."""
        row = await ToolService(work).update(tool_id, data, if_match)
        return tagged(ToolOut.of(row), row.revision)


class SpaceToolController(Controller):
    path = "/spaces/{space_id:uuid}/tools"
    tags = ["Tools"]
    opt = needs(Permission.SPACES)

    @get("/", operation_id="list_space_tools", summary="List the tools of a space")
    async def page(
        self, app: NamedDependency[App], work: NamedDependency[Work], space_id: FromPath[UUID]
    ) -> Page[SpaceToolOut]:
        """Those that its assistants may be given; for who may choose them, also the others of the organisation."""
        return Page(items=await ToolService(work).of_space(space_id, await app.part(Catalogue).now(work)))

    @put("/", operation_id="put_space_tools", summary="Choose the tools of a space")
    async def put(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        space_id: FromPath[UUID],
        data: JSONBody[SpaceToolsPut],
    ) -> Page[SpaceToolOut]:
        """Among those that are switched on for the organisation. For admins of the space; in a personal space, for its
        owner."""
        service = ToolService(work)
        await service.choose(space_id, data.tool_ids)
        return Page(items=await service.of_space(space_id, await app.part(Catalogue).now(work)))


async def _required(app: App, kind: str, config: dict[str, Any]) -> Offered:
    """What a server lists. Raises `ValidationFailed` naming the field if it cannot be asked."""
    try:
        return await app.part(ToolServers).offers(kind, config)
    except ServerFailed as error:
        raise ValidationFailed(str(error), [(error.field or "config", str(error))]) from None
