"""One unit of work: all of it or none, and what follows it only after the commit."""

import asyncio
from dataclasses import replace
from uuid import UUID

import httpx
import pytest
from litestar import Litestar, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import FromPath
from litestar.response import Stream
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from folkmoot.kit import http, jobs
from folkmoot.kit.access import Access, Principal
from folkmoot.kit.app import App
from folkmoot.kit.db import make_engine
from folkmoot.kit.errors import AppError, Conflict
from folkmoot.kit.work import Sessions, Work
from folkmoot.spaces.models import Space
from folkmoot.spaces.service import SpaceService
from folkmoot.tenants.service import TenantService


class Heard(jobs.Jobs):
    """Writes down what is sent instead of queueing it."""

    def __init__(self) -> None:
        self.sent = []

    async def send(self, task, payload, *, delay=0, attempt=1):
        self.sent.append((task.name, payload, delay))


async def nothing(app, /, **payload):
    """A task that is never run."""


NOTHING = jobs.Task("tests.nothing", "maintenance", nothing)


@pytest.fixture
async def tight(app, settings):
    """The application with a single database connection, a queue that writes down and a bell that counts."""
    engine = make_engine(settings.database_url, pool=1)
    rung = []

    async def ring(tenant_id):
        rung.append(tenant_id)

    made = replace(app, sessions=Sessions(engine, Heard(), ring, app.sessions.glances))
    made.rung = rung
    yield made
    await engine.dispose()


def serving(app: App, principal: Principal, *handlers):
    """A client of a small service with the same habits as the real one."""

    async def sign_in(scope, receive, send):
        scope["principal"] = principal
        await litestar(scope, receive, send)

    litestar = Litestar(
        list(handlers),
        state=State({"app": app}),
        dependencies={"work": Provide(http.provide_work), "app": Provide(http.provide_app)},
        exception_handlers={
            AppError: http.on_app_error,
            ValidationException: http.on_validation,
            HTTPException: http.on_http_exception,
            DBAPIError: http.on_database_error,
            Exception: http.on_crash,
        },
        openapi_config=None,
    )
    transport = httpx.ASGITransport(sign_in, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://small.test", timeout=20)


def of(owner) -> Principal:
    return Principal(tenant_id=owner.tenant_id, user_id=owner.user.id, kind="user")


async def test_a_failed_commit_is_a_conflict_not_a_success(tight, owner, superuser, count):
    """Two chunks of one document with the same place: PostgreSQL says so only at the commit."""
    collection = await owner.collection()
    (document,) = await owner.knows(collection, ("a.txt", b"One line of text."))
    reached = []

    @post("/")
    async def handler(work: NamedDependency[Work]) -> dict[str, bool]:
        await work.session.execute(
            text(
                "INSERT INTO chunks (id, tenant_id, collection_id, document_id, number, ordinal, text, context, start,"
                ' "end", token_count, content_hash, language, term_count) SELECT gen_random_uuid(), tenant_id,'
                ' collection_id, document_id, 1000, ordinal, text, context, start, "end", token_count, content_hash,'
                " language, term_count FROM chunks WHERE document_id = :document"
            ),
            {"document": document["id"]},
        )
        work.record("test.doubled", "document")
        work.enqueue(NOTHING)
        reached.append(True)
        return {"stored": True}

    async with serving(tight, of(owner), handler) as client:
        response = await client.post("/")
    assert reached == [True]
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "already-exists"
    assert await count("chunks", f"document_id = '{document['id']}'") == document["chunk_count"]
    assert await count("events", f"tenant_id = '{owner.tenant_id}' AND action = 'test.doubled'") == 0
    assert tight.sessions.jobs.sent == []
    assert tight.rung == []


@pytest.mark.parametrize("error", [Conflict("no", code="made-up"), RuntimeError("crash"), ValueError("crash")])
async def test_an_error_rolls_back_and_enqueues_nothing(tight, owner, count, error):
    @post("/")
    async def handler(work: NamedDependency[Work]) -> None:
        work.session.add(Space(tenant_id=work.principal.tenant, name="Lost"))
        await work.session.flush()
        work.record("test.lost", "space")
        work.enqueue(NOTHING)
        raise error

    async with serving(tight, of(owner), handler) as client:
        response = await client.post("/")
    assert response.status_code == (409 if isinstance(error, Conflict) else 500)
    assert response.json()["code"] == ("made-up" if isinstance(error, Conflict) else "internal-error")
    assert "crash" not in response.text
    assert await count("spaces", f"tenant_id = '{owner.tenant_id}'") == 0
    assert await count("events", f"tenant_id = '{owner.tenant_id}' AND action = 'test.lost'") == 0
    assert tight.sessions.jobs.sent == []
    assert tight.rung == []


async def test_the_rest_of_the_answer_waits_for_the_commit(tight, owner, count):
    """What is enqueued, announced and answered comes after the commit, in one go with its event."""
    name = f"Kept {owner.tenant_id}"
    seen = []

    @post("/")
    async def handler(work: NamedDependency[Work]) -> Response[dict[str, bool]]:
        work.session.add(Space(tenant_id=work.principal.tenant, name=name))
        await work.session.flush()
        work.record("test.kept", "space")
        work.enqueue(NOTHING, delay=2, number=1)

        async def look() -> None:
            seen.append((await count("spaces", f"name = '{name}'"), list(tight.sessions.jobs.sent)))

        work.after_commit(look)
        assert await count("spaces", f"name = '{name}'") == 0
        assert tight.sessions.jobs.sent == []
        return Response({"stored": True})

    async with serving(tight, of(owner), handler) as client:
        response = await client.post("/")
    assert response.status_code == 201
    assert seen == [(1, [("tests.nothing", {"number": 1}, 2)])]
    assert await count("events", f"tenant_id = '{owner.tenant_id}' AND action = 'test.kept'") == 1
    assert tight.rung == [owner.tenant_id]


async def test_a_stream_holds_no_connection_while_it_flows(tight, owner):
    """With one connection in the pool, the body can only query if the request has let it go."""
    flowing, done = asyncio.Event(), asyncio.Event()

    @post("/stream")
    async def stream(work: NamedDependency[Work], app: NamedDependency[App]) -> Stream:
        await work.session.execute(text("SELECT 1"))

        async def body():
            flowing.set()
            async with app.begin(work.principal) as inner:
                yield str(await inner.session.scalar(text("SELECT 41 + 1"))).encode()
            await done.wait()

        return Stream(body())

    @post("/quick")
    async def quick(work: NamedDependency[Work]) -> int:
        return await work.session.scalar(text("SELECT 7"))

    async with serving(tight, of(owner), stream, quick) as client:
        streaming = asyncio.create_task(client.post("/stream"))
        await flowing.wait()
        assert (await client.post("/quick")).json() == 7
        done.set()
        assert (await streaming).text == "42"
    assert tight.sessions.engine.pool.checkedout() == 0


async def test_no_connection_is_lost_to_errors(tight, owner):
    @post("/")
    async def handler(work: NamedDependency[Work]) -> None:
        await work.session.execute(text("SELECT 1 / 0"))

    async with serving(tight, of(owner), handler) as client:
        for _ in range(5):
            assert (await client.post("/")).status_code == 400
    assert tight.sessions.engine.pool.checkedout() == 0


async def test_the_tenant_is_forgotten_with_the_transaction(tight, owner):
    async with tight.begin(of(owner)) as work:
        assert await work.session.scalar(text("SELECT folkmoot_tenant()")) == owner.tenant_id
    async with tight.begin(Principal()) as work:
        assert await work.session.scalar(text("SELECT folkmoot_tenant()")) is None
        assert await work.session.scalar(text("SELECT count(*) FROM spaces")) == 0


async def test_a_new_tenant_is_entered_in_its_own_transaction(tight, unique):
    async with tight.begin(Principal.platform()) as work:
        tenant = await TenantService(work).create(f"New {unique}")
        assert work.principal.tenant_id == tenant.id
        work.session.add(Space(tenant_id=tenant.id, name="First"))
    assert tight.rung == [tenant.id]


async def test_two_edits_at_once_do_not_overwrite_each_other(app, owner):
    """Both read the same revision; the one that is written later is told so, and may try again."""
    space = await owner.space()
    both = asyncio.Barrier(2)

    @post("/{name:str}")
    async def handler(work: NamedDependency[Work], name: FromPath[str]) -> None:
        row, _ = await SpaceService(work).get(UUID(space), Access.MANAGE)
        await both.wait()
        row.name = name

    async with serving(app, of(owner), handler) as client:
        answers = await asyncio.gather(client.post("/A"), client.post("/B"))
    (lost,) = [answer for answer in answers if answer.status_code != 201]
    assert (lost.status_code, lost.json()["code"]) == (409, "try-again")
    kept = "A" if lost is answers[1] else "B"
    assert (await owner.get(f"/spaces/{space}")).json()["name"] == kept
