"""`/models`."""

from __future__ import annotations

from litestar import Controller, get
from litestar.di import NamedDependency

from folkmoot.ai.schemas import ModelOut
from folkmoot.ai.service import ModelService
from folkmoot.kit.access import Permission
from folkmoot.kit.http import Page, needs
from folkmoot.kit.work import Work


class ModelController(Controller):
    path = "/models"
    tags = ["Models"]
    opt = needs(Permission.SIGNED_IN)

    @get("/", operation_id="list_models", summary="List the models I may use")
    async def page(self, work: NamedDependency[Work]) -> Page[ModelOut]:
        """The default of each kind comes first of its kind."""
        items: list[ModelOut] = []
        seen: set[str] = set()
        for model, connection in await ModelService(work).list_enabled():
            items.append(ModelOut.of(model, connection, default=model.kind not in seen))
            seen.add(model.kind)
        return Page(items=items)
