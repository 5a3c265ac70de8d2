"""`/spaces/{id}/assistants` and `/assistants`."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from folkmoot.assistants.schemas import AssistantCreate, AssistantOut, AssistantUpdate, VersionOut
from folkmoot.assistants.service import AssistantService
from folkmoot.kit.access import Access, Permission
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, tagged
from folkmoot.kit.work import Work


class AssistantController(Controller):
    tags = ["Assistants"]
    opt = needs(Permission.SPACES)

    @get("/spaces/{space_id:uuid}/assistants", operation_id="list_assistants", summary="List a space's assistants")
    async def page(
        self, work: NamedDependency[Work], space_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[AssistantOut]:
        """Newest first; viewers see those that are published."""
        rows, after = await AssistantService(work).page(space_id, limit, cursor)
        return Page(items=[AssistantOut.of(*row) for row in rows], next_cursor=after)

    @post("/spaces/{space_id:uuid}/assistants", operation_id="create_assistant", summary="Make an assistant")
    async def create(
        self, work: NamedDependency[Work], space_id: FromPath[UUID], data: JSONBody[AssistantCreate]
    ) -> Response[AssistantOut]:
        """Its collections must lie in the same space, or in the organisation's. Viewers see it once it is published."""
        assistant, version = await AssistantService(work).create(space_id, data)
        return tagged(AssistantOut.of(assistant, version), assistant.revision, 201)

    @get("/assistants/{assistant_id:uuid}", operation_id="get_assistant", summary="Read an assistant")
    async def read(self, work: NamedDependency[Work], assistant_id: FromPath[UUID]) -> Response[AssistantOut]:
        assistant, version = await AssistantService(work).get(assistant_id, Access.READ)
        return tagged(AssistantOut.of(assistant, version), assistant.revision)

    @patch("/assistants/{assistant_id:uuid}", operation_id="update_assistant", summary="Change an assistant")
    async def update(
        self,
        work: NamedDependency[Work],
        assistant_id: FromPath[UUID],
        data: JSONBody[AssistantUpdate],
        if_match: IfMatch = None,
    ) -> Response[AssistantOut]:
        """Saves a new version; answers given before keep naming theirs."""
        assistant, version = await AssistantService(work).update(assistant_id, data, if_match)
        return tagged(AssistantOut.of(assistant, version), assistant.revision)

    @delete("/assistants/{assistant_id:uuid}", operation_id="delete_assistant", summary="Delete an assistant")
    async def remove(self, work: NamedDependency[Work], assistant_id: FromPath[UUID]) -> None:
        await AssistantService(work).delete(assistant_id)

    @post(
        "/assistants/{assistant_id:uuid}/publish",
        operation_id="publish_assistant",
        summary="Show an assistant to the viewers of its space",
        status_code=200,
    )
    async def publish(
        self, work: NamedDependency[Work], assistant_id: FromPath[UUID], if_match: IfMatch = None
    ) -> Response[AssistantOut]:
        """Makes no new version."""
        assistant, version = await AssistantService(work).publish(assistant_id, True, if_match)
        return tagged(AssistantOut.of(assistant, version), assistant.revision)

    @post(
        "/assistants/{assistant_id:uuid}/unpublish",
        operation_id="unpublish_assistant",
        summary="Hide an assistant from the viewers of its space",
        status_code=200,
    )
    async def unpublish(
        self, work: NamedDependency[Work], assistant_id: FromPath[UUID], if_match: IfMatch = None
    ) -> Response[AssistantOut]:
        """Viewers who talk with it read what was said, and can ask no more."""
        assistant, version = await AssistantService(work).publish(assistant_id, False, if_match)
        return tagged(AssistantOut.of(assistant, version), assistant.revision)

    @get(
        "/assistants/{assistant_id:uuid}/versions",
        operation_id="list_assistant_versions",
        summary="List the versions of an assistant",
    )
    async def versions(
        self, work: NamedDependency[Work], assistant_id: FromPath[UUID], limit: Limit = 50
    ) -> Page[VersionOut]:
        """Newest first. Not for viewers."""
        rows = await AssistantService(work).versions(assistant_id, limit)
        return Page(items=[VersionOut.of(row) for row in rows])
