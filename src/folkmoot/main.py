"""The service: the list of domains, and what stands around them. Read this first."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from litestar import Litestar, Request, Response, Router, get
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import MediaType
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import OpenAPIConfig
from litestar.plugins import InitPlugin
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from folkmoot.ai.routes import ConnectionController, EgressController, ModelController
from folkmoot.assemble import assemble
from folkmoot.assistants.routes import AssistantController, ModelMoveController
from folkmoot.audit.routes import AuditController, PlatformAuditController
from folkmoot.classification.routes import DataClassController
from folkmoot.conversations.attachments.attachment_routes import AttachmentController
from folkmoot.conversations.conversation_routes import HistoryController
from folkmoot.conversations.receipts.receipt_routes import ReceiptController, receipt_keys
from folkmoot.conversations.routes import ConversationController, MessageController
from folkmoot.conversations.tasks import answer_message
from folkmoot.conversations.toolcalls.approval_routes import ApprovalController
from folkmoot.federation.routes import AccountController, ExternalSignInController, LoginMethodController
from folkmoot.feed.routes import FeedController
from folkmoot.gateway.errors import Handlers, elsewhere
from folkmoot.gateway.routes import gateway
from folkmoot.guard import authenticate, guard, note_refusal
from folkmoot.identity.routes import AuthController, MeController, SecondFactorController, SessionController, jwks
from folkmoot.keys.routes import KeyController
from folkmoot.kit import http
from folkmoot.kit.app import App
from folkmoot.kit.db import warm
from folkmoot.kit.edges import edges
from folkmoot.kit.errors import AppError, Forbidden, NotAvailable
from folkmoot.kit.idempotency import before_request, before_send
from folkmoot.kit.log import configure
from folkmoot.kit.openapi import DocumentPlugin, assets, browse, browse_start
from folkmoot.kit.process import die_with_parent, settle
from folkmoot.knowledge.document_routes import DocumentController
from folkmoot.knowledge.embedding.routes import EmbeddingController
from folkmoot.knowledge.golden.routes import GoldenController
from folkmoot.knowledge.routes import CollectionController, OperationController
from folkmoot.people.routes import GroupController, LinkController, RoleController, UserController
from folkmoot.platform.routes import PlatformController
from folkmoot.plugins.routes import PluginController
from folkmoot.settings import Settings
from folkmoot.spaces.routes import SpaceController
from folkmoot.tenants.cors import Origins
from folkmoot.tenants.routes import OrganisationController
from folkmoot.tools.routes import SpaceToolController, ToolController, ToolServerController
from folkmoot.usage.routes import BudgetController, OwnUsageController, UsageController
from folkmoot.websites.routes import CrawlController, WebsiteController

DOMAINS = (
    AuthController,
    ExternalSignInController,
    MeController,
    SessionController,
    SecondFactorController,
    AccountController,
    SpaceController,
    AssistantController,
    CollectionController,
    DocumentController,
    OperationController,
    GoldenController,
    EmbeddingController,
    WebsiteController,
    CrawlController,
    ConversationController,
    HistoryController,
    MessageController,
    ApprovalController,
    AttachmentController,
    ReceiptController,
    ModelController,
    ConnectionController,
    ModelMoveController,
    DataClassController,
    EgressController,
    ToolServerController,
    ToolController,
    SpaceToolController,
    FeedController,
    LinkController,
    UserController,
    GroupController,
    RoleController,
    KeyController,
    OrganisationController,
    BudgetController,
    UsageController,
    OwnUsageController,
    LoginMethodController,
    AuditController,
    PluginController,
    PlatformController,
    PlatformAuditController,
)
DESCRIPTION = """\
Ask your own documents, get cited answers. Errors are `application/problem+json` (RFC 9457) with a stable \
`code`. Lists give `next_cursor` to go on from. `Idempotency-Key` makes a repeated POST harmless."""
VERSION = "0.1.0"


def application() -> Litestar:
    """What each process that serves runs, by the settings of the environment."""
    die_with_parent()
    settings = Settings.from_environment()
    configure(settings.log_level, settings.log_format)
    return create_app(settings)


def create_app(settings: Settings) -> Litestar:
    """The ASGI application; its engines are opened by its lifespan."""

    @contextlib.asynccontextmanager
    async def lifespan(litestar: Litestar) -> AsyncGenerator[None]:
        async with assemble(settings) as app:
            await warm(app.sessions.engine, settings.database_pool)
            litestar.state.app = app
            settle()
            yield

    public = Router(
        path="/",
        opt=http.PUBLIC | {"unlimited": True},
        include_in_schema=False,
        route_handlers=[
            live,
            ready,
            browse,
            browse_start,
            jwks,
            receipt_keys,
            Metrics,
            create_static_files_router(path="/api/assets", directories=[assets()]),
        ],
    )
    service = Litestar(
        route_handlers=[
            Router(path="/api/v1", route_handlers=list(DOMAINS)),
            gateway(answer_message, HANDLERS),
            public,
        ],
        lifespan=[lifespan],
        guards=[guard],
        middleware=[PrometheusConfig(app_name="folkmoot", prefix="folkmoot", group_path=True).middleware],
        dependencies={"work": Provide(http.provide_work), "app": Provide(http.provide_app)},
        exception_handlers=elsewhere(HANDLERS),
        before_request=before_request,
        before_send=[before_send],
        request_max_body_size=settings.max_body_bytes,
        openapi_config=OpenAPIConfig(
            title="Folkmoot",
            version=VERSION,
            description=DESCRIPTION,
            path="/api",
            render_plugins=[DocumentPlugin()],
            use_handler_docstrings=True,
            openapi_router=Router(path="/api", route_handlers=[], include_in_schema=False, opt=http.PUBLIC),
            security=[{"token": []}],
        ),
        state=State({"authenticate": authenticate}),
        plugins=[_NoDefaultLogging()],
    )
    # Around the router as well: an address that leads nowhere has a request id too.
    service.asgi_handler = edges(service.asgi_handler, settings, lambda: service.state.app.part(Origins).may_call)
    return service


class _NoDefaultLogging(InitPlugin):
    """Ours is set up by the process, once."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.logging_config = None
        return app_config


def on_forbidden(request: Request[Any, Any, Any], error: Forbidden) -> Response[bytes]:
    """What a service refused is in the log as well."""
    note_refusal(request, error)
    return http.on_app_error(request, error)


HANDLERS: Handlers = {
    AppError: http.on_app_error,
    Forbidden: on_forbidden,
    ValidationException: http.on_validation,
    HTTPException: http.on_http_exception,
    DBAPIError: http.on_database_error,
    Exception: http.on_crash,
}
"""Errors as `application/problem+json`; under `/v1` the same is told as OpenAI does."""


@get("/health/live", operation_id="live", summary="Is the process alive", media_type=MediaType.JSON)
async def live() -> dict[str, str]:
    return {"status": "alive"}


@get("/health/ready", operation_id="ready", summary="Can it serve", media_type=MediaType.JSON)
async def ready(app: NamedDependency[App]) -> dict[str, str]:
    """Whether PostgreSQL, Redis and a worker answer."""
    try:
        async with app.sessions.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (OSError, DBAPIError) as error:
        raise NotAvailable("PostgreSQL does not answer") from error
    try:
        worker = await app.redis.exists("folkmoot:worker:alive")
    except Exception as error:
        raise NotAvailable("Redis does not answer") from error
    if not worker:
        raise NotAvailable("no worker runs: questions and documents would wait")
    return {"status": "ready"}


class Metrics(PrometheusController):
    """`/metrics`, for Prometheus. It has counts and times, nothing of any tenant."""

    openmetrics_format = True
