"""Every operation that changes something, done once with success: the log names who, from where and by what request.

The operations come from the OpenAPI document. A new one is called with its example and one's own ids; what needs
more, such as something to delete that no other call needs, is made by the method of `Stage` that has its name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import uuid4

import pytest
from sqlalchemy import text

from folkmoot.identity import links
from folkmoot.kit.openapi import finish
from folkmoot.kit.recorder import Recorder
from folkmoot.platform.admins import PlatformAdminService
from folkmoot.platform.schemas import PlatformAdminGrant
from folkmoot.platform.service import Actor
from tests.architecture import routes
from tests.architecture.furnish import furnish
from tests.architecture.stage import Stage
from tests.federation import conftest as federation

world, browsers, method = federation.world, federation.browsers, federation.method
AGENT = "the walk of events/1.0"
CHANGES_NOTHING = {
    "search_collection": "reads; the question stands in a body",
    "check_website": "looks at an address and stores nothing",
    "v1_embeddings": "asks a model and keeps nothing; what it took is in the ledger",
    "v1_transcription": "asks a model and keeps nothing; what it took is in the ledger",
    "look_at_link": "reads; the token stands in a body",
    "check_login_method": "tries a configuration and stores nothing",
    "check_stored_login_method": "tries a configuration and stores nothing",
    "check_connection": "tries a configuration and stores nothing",
    "check_model": "asks a model for a word; the ledger has what it cost",
    "start_linking": "sends a browser on its way; coming back is the event",
    "begin_second_factor": "counts for nothing before it is confirmed, which is the event",
    "refresh": "goes on with a session; one that begins, ends or is copied is an event",
}
"""Not a change of anything, though not a GET; and why."""
BY_NOBODY = {"forgot_password", "backchannel_logout"}
"""The caller has shown no person: there is no actor to name."""


@dataclass
class Did:
    """One row of the log that a request left."""

    action: str
    actor_kind: str
    actor_id: str
    ip: str
    user_agent: str


def missing(left: list[Did], actor: str | None) -> str | None:
    """What the log lacks after an operation by `actor`, or None."""
    # What a worker did afterwards has the request's id and no address.
    by_caller = [row for row in left if row.ip or row.user_agent]
    if not by_caller:
        return f"no event of the caller, but {[row.action for row in left]}"
    for row in by_caller:
        if not row.ip or row.user_agent != AGENT:
            return f"{row.action} says {row.ip!r} and {row.user_agent!r}"
    # What the system adds by itself, such as the models of a new organisation, names nobody.
    if str(actor) not in {row.actor_id for row in by_caller}:
        return f"nothing names the actor {actor}: {by_caller}"
    if strange := {row.actor_id for row in by_caller if row.actor_kind != "system"} - {str(actor)}:
        return f"{strange} is named, and it was {actor}"
    return None


@pytest.fixture
async def one(tenancy, superuser, app):
    made = await furnish(tenancy, superuser)
    granted = PlatformAdminGrant(tenant_id=made.tenant_id, user_id=made.owner.user.id)
    await PlatformAdminService(app, Actor.command("tester")).grant(granted)
    return made


@pytest.fixture
async def owner(one):
    """Whose organisation the login methods of the walk are in."""
    return one.owner


@pytest.fixture
async def stage(one, tenancy, superuser, method, world, browsers, api):
    return Stage(one, tenancy, superuser, method, world, browsers, api)


@pytest.fixture
def left_by(app, superuser):
    """What a request left in the logs of all organisations."""

    async def reading(request_id: str) -> list[Did]:
        await app.part(Recorder).flush()
        # A forgotten password is looked up beside the request, so that its answer takes no time.
        await asyncio.gather(*links._asking)
        async with superuser.connect() as connection:
            rows = await connection.execute(
                text(
                    "SELECT action, actor_kind, actor_id, ip, user_agent FROM events WHERE request_id = :r ORDER BY seq"
                ),
                {"r": request_id},
            )
            return [Did(row.action, row.actor_kind, str(row.actor_id), row.ip, row.user_agent) for row in rows]

    return reading


async def do(operation, stage, request_id):
    """Do it once, as its example says and its stage was set; the answer, and who it was."""
    prepared = await getattr(stage, operation.id)() if hasattr(Stage, operation.id) else {}
    client = prepared.pop("by", stage.owner)
    actor = prepared.pop("actor", None) or getattr(getattr(client, "user", None), "id", None)
    more = {name: prepared.pop(name) for name in ("json", "params", "data") if name in prepared}
    call = operation.call(dict.fromkeys(operation.slots, stage.one.ids | prepared))
    if "json" not in more and "data" not in more and isinstance(call.get("json"), dict):
        more["json"] = call["json"] | {
            name: f"{uuid4().hex}@people.example" if name.endswith("email") else f"Walk {uuid4().hex}"
            for name in ("name", "email", "admin_email")
            if name in call["json"]
        }
    if "data" in more:
        call.pop("json", None)
    answer = await client.request(**(call | more), headers={"User-Agent": AGENT, "X-Request-ID": request_id})
    return answer, actor


async def test_every_change_is_in_the_log_with_who_and_from_where(stage, api, left_by):
    every = [item for item in routes.operations(finish(api.openapi_schema.to_schema())) if item.writes]
    wrong = {}
    for operation in every:
        if operation.id in CHANGES_NOTHING:
            continue
        request_id = f"walk-{uuid4().hex}"
        answer, actor = await do(operation, stage, request_id)
        if answer.status_code >= 300:
            wrong[operation.id] = f"was not done: {answer.status_code} {answer.text[:300]}"
            continue
        expected = None if operation.id in BY_NOBODY else actor
        if lacks := missing(await left_by(request_id), expected):
            wrong[operation.id] = lacks
    assert wrong == {}
    known = {operation.id for operation in every}
    assert known >= set(CHANGES_NOTHING) | BY_NOBODY
    print(f"\n{len(every) - len(CHANGES_NOTHING)} operations that change something, each in the log")


async def test_what_an_api_key_does_is_in_the_log_under_the_key_and_its_owner(one, superuser, stranger):
    key = await one.owner.made("/api-keys", name="A program", scopes=["write"])
    request_id = f"walk-{uuid4().hex}"
    headers = {"Authorization": f"Bearer {key['key']}", "X-Request-ID": request_id, "User-Agent": AGENT}
    done = await stranger.post("/api/v1/spaces", json={"name": "By a program"}, headers=headers)
    assert done.status_code == 201, done.text
    async with superuser.connect() as connection:
        rows = await connection.execute(
            text("SELECT actor_kind, actor_id, key_id, ip FROM events WHERE request_id = :r AND action LIKE 'space.%'"),
            {"r": request_id},
        )
        (event,) = rows.all()
    assert (event.actor_kind, event.actor_id, str(event.key_id)) == ("key", one.owner.user.id, key["id"])
    assert event.ip


@pytest.mark.parametrize(
    ("left", "fault"),
    [
        ([], "no event"),
        ([Did("document.ready", "system", "None", "", "")], "no event"),
        ([Did("connection.created", "system", "None", "192.0.2.1", AGENT)], "nothing names"),
        ([Did("space.created", "user", "None", "192.0.2.1", AGENT)], "nothing names"),
        ([Did("space.created", "user", "1", "", AGENT)], "says ''"),
        ([Did("space.created", "user", "1", "192.0.2.1", "")], "says"),
        ([Did(action, "user", action, "192.0.2.1", AGENT) for action in ("1", "2")], "{'2'} is named"),
    ],
)
def test_the_walk_would_find_what_is_not_in_the_log(left, fault):
    assert fault in missing(left, "1")


def test_the_stage_has_nothing_for_an_operation_that_is_gone(api):
    known = {item.id for item in routes.operations(finish(api.openapi_schema.to_schema()))}
    assert {name for name in vars(Stage) if not name.startswith("_")} <= known
