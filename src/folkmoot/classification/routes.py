"""`/data-classes`."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from folkmoot.classification.schemas import DataClassCreate, DataClassOut, DataClassUpdate
from folkmoot.classification.service import DataClassService
from folkmoot.kit.access import Permission
from folkmoot.kit.http import IfMatch, Page, needs, tagged
from folkmoot.kit.work import Work


class DataClassController(Controller):
    path = "/data-classes"
    tags = ["Data classes"]
    opt = needs(Permission.ADMIN)

    @get("/", operation_id="list_data_classes", summary="List the data classes", opt=needs(Permission.SIGNED_IN))
    async def page(self, work: NamedDependency[Work]) -> Page[DataClassOut]:
        """The least confidential first."""
        return Page(items=[DataClassOut.of(row) for row in await DataClassService(work).every()])

    @post("/", operation_id="create_data_class", summary="Name a level of confidentiality")
    async def create(self, work: NamedDependency[Work], data: JSONBody[DataClassCreate]) -> Response[DataClassOut]:
        """No model is cleared for it at first: say so on connections and models."""
        row = await DataClassService(work).create(data)
        return tagged(DataClassOut.of(row), row.revision, 201)

    @get(
        "/{class_id:uuid}",
        operation_id="get_data_class",
        summary="Read a data class",
        opt=needs(Permission.SIGNED_IN),
    )
    async def read(self, work: NamedDependency[Work], class_id: FromPath[UUID]) -> Response[DataClassOut]:
        row = await DataClassService(work).get(class_id)
        return tagged(DataClassOut.of(row), row.revision)

    @patch("/{class_id:uuid}", operation_id="update_data_class", summary="Change a data class")
    async def update(
        self,
        work: NamedDependency[Work],
        class_id: FromPath[UUID],
        data: JSONBody[DataClassUpdate],
        if_match: IfMatch = None,
    ) -> Response[DataClassOut]:
        """What it asks of models holds within half a second, everywhere."""
        row = await DataClassService(work).update(class_id, data, if_match)
        return tagged(DataClassOut.of(row), row.revision)

    @delete("/{class_id:uuid}", operation_id="delete_data_class", summary="Delete a data class")
    async def remove(self, work: NamedDependency[Work], class_id: FromPath[UUID]) -> None:
        """Refused while a space or a model has it."""
        await DataClassService(work).delete(class_id)
