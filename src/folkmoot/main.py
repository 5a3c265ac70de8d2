"""The service: the list of domains, and what stands around them. Read this first."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import AsyncGenerator
from typing import Any, cast

from litestar import Litestar, Router, get
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import MediaType
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import OpenAPIConfig
from litestar.plugins import InitPlugin
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from folkmoot.ai.routes import ModelController
from folkmoot.assemble import assemble
from folkmoot.assistants.routes import AssistantController
from folkmoot.audit.routes import AuditController
from folkmoot.conversations.routes import ConversationController, MessageController
from folkmoot.federation.routes import ExternalSignInController, LoginMethodController
from folkmoot.feed.routes import FeedController
from folkmoot.guard import authenticate, guard
from folkmoot.identity.routes import AuthController, MeController, SecondFactorController, SessionController
from folkmoot.keys.routes import KeyController
from folkmoot.kit import http
from folkmoot.kit.app import App
from folkmoot.kit.caller import Caller, called_by
from folkmoot.kit.db import warm
from folkmoot.kit.errors import AppError, NotAvailable
from folkmoot.kit.idempotency import before_request, before_send
from folkmoot.kit.log import configure
from folkmoot.kit.openapi import BrowsePlugin, DocumentPlugin, assets
from folkmoot.kit.process import die_with_parent, settle
from folkmoot.knowledge.routes import CollectionController, DocumentController
from folkmoot.people.routes import GroupController, RoleController, UserController
from folkmoot.platform.routes import PlatformController
from folkmoot.plugins.routes import PluginController
from folkmoot.settings import Settings
from folkmoot.spaces.routes import SpaceController
from folkmoot.tenants.routes import OrganisationController

DOMAINS = (
    AuthController,
    ExternalSignInController,
    MeController,
    SessionController,
    SecondFactorController,
    SpaceController,
    AssistantController,
    CollectionController,
    DocumentController,
    ConversationController,
    MessageController,
    ModelController,
    FeedController,
    UserController,
    GroupController,
    RoleController,
    KeyController,
    OrganisationController,
    LoginMethodController,
    AuditController,
    PluginController,
    PlatformController,
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
        opt=http.PUBLIC,
        include_in_schema=False,
        route_handlers=[live, ready, Metrics, create_static_files_router(path="/api/assets", directories=[assets()])],
    )
    service = Litestar(
        route_handlers=[Router(path="/api/v1", route_handlers=list(DOMAINS)), public],
        lifespan=[lifespan],
        guards=[guard],
        middleware=[PrometheusConfig(app_name="folkmoot", prefix="folkmoot", group_path=True).middleware],
        dependencies={"work": Provide(http.provide_work), "app": Provide(http.provide_app)},
        exception_handlers={
            AppError: http.on_app_error,
            ValidationException: http.on_validation,
            HTTPException: http.on_http_exception,
            DBAPIError: http.on_database_error,
            Exception: http.on_crash,
        },
        before_request=before_request,
        before_send=[before_send],
        request_max_body_size=settings.max_body_bytes,
        openapi_config=OpenAPIConfig(
            title="Folkmoot",
            version=VERSION,
            description=DESCRIPTION,
            path="/api",
            render_plugins=[DocumentPlugin(), BrowsePlugin()],
            use_handler_docstrings=True,
            openapi_router=Router(path="/api", route_handlers=[], include_in_schema=False, opt=http.PUBLIC),
            security=[{"token": []}],
        ),
        state=State({"authenticate": authenticate}),
        plugins=[_NoDefaultLogging()],
    )
    # Around the router as well: an address that leads nowhere has a request id too.
    service.asgi_handler = request_context(service.asgi_handler)
    return service


class _NoDefaultLogging(InitPlugin):
    """Ours is set up by the process, once."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.logging_config = None
        return app_config


REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_context(app: ASGIApp) -> ASGIApp:
    """Give the request its id, for the answer, the log and the events."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        client = cast("dict[str, Any]", scope).get("client")
        agent = headers.get(b"user-agent", b"").decode("latin-1")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        with called_by(Caller(request_id, client[0] if client else "", agent)):
            await app(scope, receive, answer)

    return middleware


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
