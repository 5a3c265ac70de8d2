"""`/spaces/{id}/assistants` and `/assistants`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.ai.catalogue import Catalogue
from folkmoot.assistants.move import MoveService
from folkmoot.assistants.schemas import (
    AssistantCreate,
    AssistantOut,
    AssistantUpdate,
    MoveIn,
    MoveOut,
    MovingOut,
    UndoneOut,
    VersionOut,
)
from folkmoot.assistants.service import AssistantService
from folkmoot.kit.access import Access, Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, tagged
from folkmoot.kit.work import Work

MoveTo = Annotated[UUID | None, QueryParameter(description="The model that would take over.")]


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


class ModelMoveController(Controller):
    tags = ["Models"]
    opt = needs(Permission.MODELS)

    @get(
        "/models/{model_id:uuid}/assistants",
        operation_id="list_model_assistants",
        summary="List the assistants that use a model",
    )
    async def preview(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        model_id: FromPath[UUID],
        to_model: MoveTo = None,
    ) -> Page[MovingOut]:
        """With `to_model`, as a look at what a move to that model would do. Nothing is changed."""
        models = await app.part(Catalogue).now(work)
        rows = await MoveService(work, models).preview(model_id, to_model)
        return Page(
            items=[
                MovingOut(
                    assistant_id=row.assistant.id,
                    space_id=row.assistant.space_id,
                    name=row.assistant.name if row.visible else None,
                    blocked=row.blocked,
                )
                for row in rows
            ]
        )

    @post("/models/{model_id:uuid}/moves", operation_id="move_model", summary="Move every assistant to another model")
    async def move(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        model_id: FromPath[UUID],
        data: JSONBody[MoveIn],
    ) -> MoveOut:
        """Those whose text may not go to the new model stay; `GET /models/{id}/assistants` names them before."""
        models = await app.part(Catalogue).now(work)
        return MoveOut.of(await MoveService(work, models).move(model_id, data.to_model))

    @get("/models/{model_id:uuid}/moves", operation_id="list_moves", summary="List the moves away from a model")
    async def page(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        model_id: FromPath[UUID],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[MoveOut]:
        models = await app.part(Catalogue).now(work)
        rows, after = await MoveService(work, models).page(model_id, limit, cursor)
        return Page(items=[MoveOut.of(row) for row in rows], next_cursor=after)

    @post(
        "/model-moves/{move_id:uuid}/undo",
        operation_id="undo_move",
        summary="Give the assistants of a move their old model back",
        status_code=200,
    )
    async def undo(self, app: NamedDependency[App], work: NamedDependency[Work], move_id: FromPath[UUID]) -> UndoneOut:
        """Assistants that somebody changed since stay as they are."""
        models = await app.part(Catalogue).now(work)
        back, left = await MoveService(work, models).undo(move_id)
        return UndoneOut(back=back, left=left)
