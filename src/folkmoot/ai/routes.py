"""`/models`, `/connections`, `/providers`, and where text could go."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from folkmoot_sdk import config_schema
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.ai.breaker import Breaker
from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.check import find_spec, try_out
from folkmoot.ai.connections import ConnectionService
from folkmoot.ai.egress import egress
from folkmoot.ai.open import OpenConnections
from folkmoot.ai.probe import probe
from folkmoot.ai.schemas import (
    CheckOut,
    ConnectionCheck,
    ConnectionCreate,
    ConnectionOut,
    ConnectionUpdate,
    EgressOut,
    ModelCheckOut,
    ModelDetailOut,
    ModelOut,
    ModelUpdate,
    PriceCreate,
    PriceOut,
    ProviderOut,
)
from folkmoot.ai.service import ModelService
from folkmoot.classification.service import DataClassService
from folkmoot.kit.access import Access, Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import IfMatch, Page, needs, principal_of, tagged
from folkmoot.kit.paging import check_match
from folkmoot.kit.work import Work, begin
from folkmoot.plugins.configuration import decoded
from folkmoot.plugins.manager import PluginManager
from folkmoot.spaces.service import SpaceService

Check = Annotated[bool, QueryParameter(description="Whether to try it before it is stored.")]
AsIf = Annotated[UUID | None, QueryParameter(description="As if it were text of this data class.")]


class ModelController(Controller):
    path = "/models"
    tags = ["Models"]
    opt = needs(Permission.MODELS)

    @get("/", operation_id="list_models", summary="List the models I may use", opt=needs(Permission.SIGNED_IN))
    async def page(self, app: NamedDependency[App], work: NamedDependency[Work]) -> Page[ModelOut]:
        """The default of each kind comes first of its kind."""
        snapshot = await app.part(Catalogue).now(work)
        items: list[ModelOut] = []
        seen: set[str] = set()
        for choice in snapshot.choices:
            if choice.usable:
                items.append(ModelOut.of(choice, default=choice.model.kind not in seen))
                seen.add(choice.model.kind)
        return Page(items=items)

    @get("/{model_id:uuid}", operation_id="get_model", summary="Read a model with all its settings")
    async def read(
        self, app: NamedDependency[App], work: NamedDependency[Work], model_id: FromPath[UUID]
    ) -> Response[ModelDetailOut]:
        return await _shown(app, work, model_id)

    @patch("/{model_id:uuid}", operation_id="update_model", summary="Change what a model may do")
    async def update(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        model_id: FromPath[UUID],
        data: JSONBody[ModelUpdate],
        if_match: IfMatch = None,
    ) -> Response[ModelDetailOut]:
        """Switch it on or off, make it the default, say where it stands and what it may see."""
        await ModelService(work).update(model_id, data, if_match)
        _forget(app, work)
        return await _shown(app, work, model_id)

    @post("/{model_id:uuid}/check", operation_id="check_model", summary="Ask a model for a word", status_code=200)
    async def check(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], model_id: FromPath[UUID]
    ) -> ModelCheckOut:
        """Counts as use."""
        return await probe(app, principal_of(request), model_id)

    @get("/{model_id:uuid}/prices", operation_id="list_prices", summary="List what a model costs and has cost")
    async def prices(self, work: NamedDependency[Work], model_id: FromPath[UUID]) -> Page[PriceOut]:
        """The newest first."""
        return Page(items=[PriceOut.of(row) for row in await ModelService(work).prices(model_id)])

    @post("/{model_id:uuid}/prices", operation_id="add_price", summary="Say what a model costs")
    async def add_price(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        model_id: FromPath[UUID],
        data: JSONBody[PriceCreate],
    ) -> PriceOut:
        """From a moment on; what was spent before stays as it was counted. Goes before the provider's list."""
        row = await ModelService(work).add_price(model_id, data)
        _forget(app, work)
        return PriceOut.of(row)


class ConnectionController(Controller):
    tags = ["Models"]
    opt = needs(Permission.MODELS)

    @get("/providers", operation_id="list_providers", summary="List the kinds of provider that can be connected")
    async def providers(self, app: NamedDependency[App]) -> Page[ProviderOut]:
        """Each with the form of its configuration."""
        specs = sorted(app.part(PluginManager).providers.values(), key=lambda spec: spec.title.casefold())
        return Page(
            items=[
                ProviderOut(
                    kind=spec.kind,
                    title=spec.title,
                    description=spec.description,
                    in_process=spec.in_process,
                    config_schema=config_schema(spec.config),
                )
                for spec in specs
            ]
        )

    @get("/connections", operation_id="list_connections", summary="List the connections")
    async def page(self, app: NamedDependency[App], work: NamedDependency[Work]) -> Page[ConnectionOut]:
        """In the order of their models; secrets are masked."""
        service = ConnectionService(app, work)
        rows = await service.every()
        states = await app.part(Breaker).describe([row.id for row in rows])
        return Page(items=[await service.shown(row, states[row.id].state) for row in rows])

    @post("/connections/check", operation_id="check_connection", summary="Try a configuration", status_code=200)
    async def check(self, app: NamedDependency[App], data: JSONBody[ConnectionCheck]) -> CheckOut:
        """Lists the models, asks one of them for a word, and says what is wrong and in which field. Stores nothing."""
        spec = find_spec(app.part(PluginManager), data.kind)
        return (await try_out(app.part(OpenConnections), spec, decoded(spec, data.config))).out

    @post("/connections", operation_id="create_connection", summary="Connect a provider")
    async def create(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        data: JSONBody[ConnectionCreate],
        check: Check = True,
    ) -> Response[ConnectionOut]:
        """It is tried first, and refused if it does not work; `check=false` stores it unseen, without models."""
        spec = find_spec(app.part(PluginManager), data.kind)
        async with begin(app.sessions, principal_of(request)) as work:
            await ConnectionService(app, work).check_class(data.clearance_id)
        config = decoded(spec, data.config)
        tried = await try_out(app.part(OpenConnections), spec, config) if check else None
        models = tried.require() if tried else []
        async with begin(app.sessions, principal_of(request)) as work:
            service = ConnectionService(app, work)
            row = await service.create(data, config, models)
            if tried is not None:
                await service.note_check(row.id, tried.out, models)
            _forget(app, work)
            return tagged(await service.shown(row), row.revision, 201)

    @get("/connections/{connection_id:uuid}", operation_id="get_connection", summary="Read a connection")
    async def read(
        self, app: NamedDependency[App], work: NamedDependency[Work], connection_id: FromPath[UUID]
    ) -> Response[ConnectionOut]:
        service = ConnectionService(app, work)
        row = await service.get(connection_id)
        state = (await app.part(Breaker).describe([row.id]))[row.id].state
        return tagged(await service.shown(row, state), row.revision)

    @get("/connections/{connection_id:uuid}/models", operation_id="list_connection_models", summary="List its models")
    async def models(
        self, app: NamedDependency[App], work: NamedDependency[Work], connection_id: FromPath[UUID]
    ) -> Page[ModelDetailOut]:
        """Also those that are switched off, or that the provider does not list any more."""
        await ConnectionService(app, work).get(connection_id)
        snapshot = await app.part(Catalogue).now(work)
        first = {kind: rows[0].model.id for kind in KINDS if (rows := snapshot.usable(kind))}
        return Page(
            items=[
                ModelDetailOut.of(choice, default=first.get(choice.model.kind) == choice.model.id)
                for choice in snapshot.choices
                if choice.connection.id == connection_id
            ]
        )

    @patch("/connections/{connection_id:uuid}", operation_id="update_connection", summary="Change a connection")
    async def update(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, Any],
        connection_id: FromPath[UUID],
        data: JSONBody[ConnectionUpdate],
        if_match: IfMatch = None,
        check: Check = True,
    ) -> Response[ConnectionOut]:
        """A changed configuration is tried first, and refused if it does not work; `check=false` stores it unseen."""
        who = principal_of(request)
        async with begin(app.sessions, who) as work:
            service = ConnectionService(app, work)
            before = await service.get(connection_id)
            check_match(if_match, before.revision)
            await service.check_class(data.clearance_id)
            config = await service.configured(before, data)
        tried = None
        if config is not None and check:
            tried = await try_out(app.part(OpenConnections), find_spec(app.part(PluginManager), before.kind), config)
            tried.require()
        async with begin(app.sessions, who) as work:
            service = ConnectionService(app, work)
            row = await service.update(before, data, config, if_match)
            if tried is not None:
                await service.note_check(row.id, tried.out, tried.models)
            _forget(app, work, row.id)
            return tagged(await service.shown(row), row.revision)

    @post(
        "/connections/{connection_id:uuid}/check",
        operation_id="check_stored_connection",
        summary="Try a connection as it is stored, and fetch its models anew",
        status_code=200,
    )
    async def check_stored(
        self, app: NamedDependency[App], request: Request[Any, Any, Any], connection_id: FromPath[UUID]
    ) -> CheckOut:
        """What administrators have said of models stays; models that are not listed any more become unusable."""
        who = principal_of(request)
        async with begin(app.sessions, who) as work:
            service = ConnectionService(app, work)
            row = await service.get(connection_id)
            config = await service.stored(row)
        tried = await try_out(app.part(OpenConnections), find_spec(app.part(PluginManager), row.kind), config)
        async with begin(app.sessions, who) as work:
            await ConnectionService(app, work).note_check(connection_id, tried.out, tried.models)
            _forget(app, work, connection_id if tried.out.ok else None)
        return tried.out

    @delete("/connections/{connection_id:uuid}", operation_id="delete_connection", summary="Remove a connection")
    async def remove(
        self, app: NamedDependency[App], work: NamedDependency[Work], connection_id: FromPath[UUID]
    ) -> None:
        """With its models. Assistants that used them answer with the default model; answers keep their names."""
        await ConnectionService(app, work).delete(connection_id)
        _forget(app, work)


class EgressController(Controller):
    tags = ["Data classes"]

    @get(
        "/spaces/{space_id:uuid}/egress",
        operation_id="space_egress",
        summary="Where could text of this space go",
        opt=needs(Permission.SPACES),
    )
    async def of_space(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        space_id: FromPath[UUID],
        data_class_id: AsIf = None,
    ) -> EgressOut:
        """A dry run: nothing is sent. With `data_class_id`, as if the space had that class."""
        space, _ = await SpaceService(work).get(space_id, Access.READ)
        return await _egress(app, work, data_class_id or space.data_class_id)

    @get(
        "/egress",
        operation_id="class_egress",
        summary="Where could text of a data class go",
        opt=needs(Permission.MODELS),
    )
    async def of_class(
        self, app: NamedDependency[App], work: NamedDependency[Work], data_class_id: AsIf = None
    ) -> EgressOut:
        """A dry run: nothing is sent. Without `data_class_id`, text of spaces that have no class of their own."""
        return await _egress(app, work, data_class_id)


KINDS = ("chat", "embedding", "rerank", "transcription")


async def _shown(app: App, work: Work, model_id: UUID) -> Response[ModelDetailOut]:
    model = await ModelService(work).get(model_id)
    snapshot = await app.part(Catalogue).now(work)
    choice = snapshot.find(model_id)
    assert choice is not None
    first = next(iter(snapshot.usable(model.kind)), None)
    return tagged(ModelDetailOut.of(choice, default=first is choice), model.revision)


async def _egress(app: App, work: Work, class_id: UUID | None) -> EgressOut:
    if class_id is not None:
        await DataClassService(work).get(class_id)
    snapshot = await app.part(Catalogue).now(work)
    return egress(snapshot, snapshot.text_of([class_id]))


def _forget(app: App, work: Work, connection_id: UUID | None = None) -> None:
    """What this process remembers of the organisation's models is not so any more, once it is committed.

    A connection that was changed, or works again, is not left alone for what it did before.
    """
    tenant_id = work.principal.tenant

    async def forget() -> None:
        app.part(Catalogue).forget(tenant_id)
        if connection_id is not None:
            await app.part(Breaker).forget(connection_id)

    work.after_commit(forget)
