"""Every operation of the OpenAPI document, called by everybody who must not get through.

As nobody, as the owner of another organisation with this one's ids in path, query and body, as a person without
the right, as a viewer, as a colleague outside the space, with an expired, a revoked and a too narrow API key; and
once more with the checks of the services switched off, so that row-level security stands alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from uuid import uuid4

import pytest
from litestar import Litestar, WebSocket, get, websocket
from sqlalchemy import select, text

from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.assistants.service import AssistantService
from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.service import ConversationService
from folkmoot.keys.authenticate import Keys
from folkmoot.kit.access import ROLES, Access, Permission, Principal, Scope, SpaceRole, scope_of
from folkmoot.kit.errors import NotFound
from folkmoot.kit.openapi import WITHOUT_TOKEN, finish
from folkmoot.kit.recorder import Recorder
from folkmoot.knowledge.models import Collection, Document
from folkmoot.knowledge.service import CollectionService, DocumentService
from folkmoot.spaces.models import Space
from folkmoot.spaces.service import SpaceService
from tests.architecture import routes, tables
from tests.architecture.furnish import SECRET, furnish

PUBLIC = set(WITHOUT_TOKEN)
OPEN = {"forgot_password": 202, "list_ways_in": 200, "start_external_login": 400, "external_login": 503}
"""Public operations that answer strangers, always in the same way."""
OWN = {
    "search_collection",
    "check_website",
    "create_conversation",
    "create_space",
    "create_api_key",
    "logout",
    "provider_logout",
    "change_my_password",
    "end_my_other_sessions",
    "begin_second_factor",
    "confirm_second_factor",
    "remove_second_factor",
    "renew_recovery_codes",
    "start_linking",
    "link_directory_account",
    "v1_transcription",
}
"""Not reading, and yet for everybody: they change only what is the caller's own."""
FOR_EVERYBODY = {"get_data_class"}
"""What all people of an organisation may read."""
LOG = {"events", "audit_seals", "audit_checkpoints"}
"""Refusals are told in the log of the caller's organisation, so it grows."""


@pytest.fixture
async def one(tenancy, superuser):
    return await furnish(tenancy, superuser)


@pytest.fixture
async def other(tenancy, superuser):
    return await furnish(tenancy, superuser)


@pytest.fixture(scope="module")
async def every(api):
    return routes.operations(finish(api.openapi_schema.to_schema()))


@pytest.fixture(scope="module")
def asked(api):
    """By operation, the `opt` of its route."""
    handlers = [handler for route in api.routes for handler in getattr(route, "route_handlers", [])]
    return {handler.operation_id: handler.opt for handler in handlers if handler.operation_id}


async def unchanged(superuser, app, before, tenant, *, but=frozenset()):
    await app.part(Recorder).flush()
    async with superuser.connect() as connection:
        after = await tables.fingerprint(connection, tenant.tenant_id)
    assert {table for table in before if before[table] != after[table]} - set(but) == set()


async def fingerprint(superuser, app, tenant):
    await app.part(Recorder).flush()
    async with superuser.connect() as connection:
        return await tables.fingerprint(connection, tenant.tenant_id)


async def test_nobody_gets_anywhere_without_a_token(one, other, every, stranger, superuser, app):
    before = await fingerprint(superuser, app, one)
    calls = 0
    for operation in every:
        arguments = operation.call(dict.fromkeys(operation.slots, one.ids))
        arguments["url"] = routes.from_root(arguments["url"])
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}):
            response = await stranger.request(**arguments, headers=headers)
            calls += 1
            if operation.id in PUBLIC:
                expected = {OPEN[operation.id]} if operation.id in OPEN else {400, 401}
                assert response.status_code in expected | {503}, f"{operation.id}: {response.text[:200]}"
                assert_tells_nothing(response, one, operation, str(arguments))
            else:
                assert response.status_code == 401, f"{operation.id} answered {response.status_code} to nobody"
                assert response.headers["www-authenticate"] == "Bearer"
    await unchanged(superuser, app, before, one, but=LOG)
    print(f"\n{len(every)} operations, {calls} calls as nobody")
    assert {operation.id for operation in every} >= PUBLIC | OWN


async def test_the_owner_of_another_tenant_gets_nothing_of_this_one(one, other, every, asked, superuser, app):
    before = [await fingerprint(superuser, app, tenant) for tenant in (one, other)]
    calls = 0
    for operation in every:
        if operation.id in PUBLIC:
            continue
        for name, ids in attempts(operation, mine=other.ids, theirs=one.ids):
            call = operation.call(ids)
            response = await other.owner.request(**call)
            calls += 1
            permission = asked[operation.id]["permission"]
            expected = {403} if permission is Permission.PLATFORM or "/audit/" in operation.path else {404}
            assert response.status_code in expected or reads_own(operation, name, response), (
                f"{operation.id} with another tenant's {name}: {response.status_code} {response.text[:300]}"
            )
            assert_tells_nothing(response, one, operation, str(call))
    await unchanged(superuser, app, before[0], one, but={"audit_seals", "audit_checkpoints"})
    await unchanged(superuser, app, before[1], other, but=LOG)
    print(f"\n{len(every)} operations, {calls} calls with another tenant's ids")
    assert calls > len(every) / 2


def reads_own(operation, name, response) -> bool:
    """A filter by an id that is not there gives an empty list of one's own things."""
    if not name.startswith("query:") or response.status_code != 200:
        return False
    if response.headers["content-type"].startswith("text/csv"):
        return len(response.text.splitlines()) == 1
    return response.json()["items"] == []


async def test_lists_tell_nothing_of_another_tenant(one, other, every, asked, tenancy):
    calls = 0
    for operation in every:
        # Renamed, the organisation would not be found by the next caller.
        if (
            operation.slots
            or operation.id in PUBLIC | {"update_organisation"}
            or asked[operation.id]["permission"] is Permission.PLATFORM
        ):
            continue
        caller = await tenancy.colleague(other.owner, role="owner")
        response = await caller.request(**operation.call({}))
        calls += 1
        assert response.status_code < 500, operation.id
        assert_tells_nothing(response, one, operation, "")
    print(f"\n{calls} calls of operations without an id")


async def test_a_person_without_the_right_is_refused(one, every, asked, tenancy, superuser, app):
    person = await tenancy.colleague(one.owner)
    before = await fingerprint(superuser, app, one)
    calls = 0
    for operation in every:
        permission = asked[operation.id].get("permission")
        if operation.id in PUBLIC or permission in ROLES["user"]:
            continue
        response = await person.request(**operation.call(dict.fromkeys(operation.slots, one.ids)))
        calls += 1
        assert response.status_code == 403, f"{operation.id}: {response.status_code} {response.text[:300]}"
        assert_tells_nothing(response, one, operation, str(operation.call(dict.fromkeys(operation.slots, one.ids))))
    await unchanged(superuser, app, before, one, but=LOG)
    print(f"\n{calls} calls without the permission")
    assert calls > 50


async def test_a_viewer_writes_nothing(one, every, tenancy, superuser, app):
    viewer = await tenancy.colleague(one.owner)
    put = await one.owner.put(f"/spaces/{one.ids['space_id']}/members/{viewer.user.id}", json={"role": "viewer"})
    assert put.status_code == 200
    assert (await viewer.get(f"/spaces/{one.ids['space_id']}")).json()["role"] == "viewer"
    calls = await walk_writes(viewer, one, every, superuser, app, allowed=(403, 404))
    print(f"\n{calls} writes tried as viewer")


async def test_a_colleague_outside_the_space_does_not_know_of_it(one, every, asked, tenancy, superuser, app):
    outsider = await tenancy.colleague(one.owner)
    calls = await walk_writes(outsider, one, every, superuser, app, allowed=(403, 404))
    for operation in every:
        paths = [slot for slot in operation.slots if ":" not in slot]
        if paths and not operation.writes and operation.id not in PUBLIC | FOR_EVERYBODY:
            response = await outsider.request(**operation.call(dict.fromkeys(operation.slots, one.ids)))
            calls += 1
            mine = asked[operation.id]["permission"] in ROLES["user"]
            assert response.status_code == (404 if mine else 403), operation.id
    print(f"\n{calls} calls as a colleague who is not in the space")


async def test_a_key_that_has_ended_or_is_too_narrow_opens_nothing(one, every, asked, stranger, superuser, app):
    made = {
        name: await one.owner.made("/api-keys", name=name, scopes=scopes)
        for name, scopes in (
            ("expired", ["read", "write", "chat", "admin"]),
            ("revoked", ["read", "write", "chat", "admin"]),
            ("chat only", ["chat"]),
        )
    }
    assert (await one.owner.delete(f"/api-keys/{made['revoked']['id']}")).status_code == 204
    async with superuser.begin() as connection:
        await connection.execute(
            text("UPDATE api_keys SET expires_at = :at WHERE id = :id"),
            {"at": datetime.now(UTC) - timedelta(seconds=1), "id": made["expired"]["id"]},
        )
    await app.part(Keys).uses.flush()
    before = await fingerprint(superuser, app, one)
    calls = 0
    for operation in every:
        if operation.id in PUBLIC:
            continue
        call = operation.call(dict.fromkeys(operation.slots, one.ids))
        call["url"] = routes.from_root(call["url"])
        opt = asked[operation.id]
        scope = opt.get("scope") or scope_of(opt["permission"], operation.method)
        for name, key in made.items():
            if name == "chat only" and scope is Scope.CHAT and not opt.get("person"):
                continue
            response = await stranger.request(**call, headers={"Authorization": f"Bearer {key['key']}"})
            calls += 1
            expected = 403 if name == "chat only" else 401
            assert response.status_code == expected, f"{operation.id} by a key that is {name}: {response.text[:200]}"
            assert_tells_nothing(response, one, operation, str(call))
    await app.part(Keys).uses.flush()
    await unchanged(superuser, app, before, one, but=LOG | {"api_keys", "key_addresses"})
    print(f"\n{calls} calls with keys")


# Row-level security alone


def without_checks() -> ExitStack:
    """The services find things by their id alone, and everybody may do everything."""

    def get(model):
        async def found(self, thing_id, access=None, **_options):
            row = await self._work.session.scalar(select(model).where(model.id == thing_id))
            if row is None:
                raise NotFound("there is no such thing here")
            return row

        return found

    async def space(self, space_id, access=None, **_options):
        return await get(Space)(self, space_id), SpaceRole.ADMIN

    async def assistant(self, assistant_id, access=None, **_options):
        row = await get(Assistant)(self, assistant_id)
        newest = select(AssistantVersion).where(
            AssistantVersion.assistant_id == row.id, AssistantVersion.number == row.version
        )
        return row, await self._work.session.scalar(newest)

    stack = ExitStack()
    for target, name, new in (
        (Principal, "require", lambda self, permission: None),
        (SpaceService, "get", space),
        (SpaceService, "mine", lambda self, *_: select(Space.id)),
        (SpaceService, "check", lambda *_arguments, **_more: SpaceRole.ADMIN),
        (AssistantService, "get", assistant),
        (CollectionService, "get", get(Collection)),
        (DocumentService, "get", get(Document)),
        (ConversationService, "get", get(Conversation)),
        (ConversationService, "message", get(Message)),
    ):
        stack.enter_context(patch.object(target, name, new))
    stack.enter_context(patch("folkmoot.kit.http.authorise", lambda *_: None))
    return stack


async def test_row_level_security_alone_lets_nothing_through(one, other, every, asked, superuser, app):
    before = await fingerprint(superuser, app, one)
    calls = 0
    with without_checks():
        # The doors are open: somebody who is in no space of their own organisation reads and writes there.
        path = f"/spaces/{other.ids['space_id']}"
        assert (await other.colleague.get(path)).status_code == 200
        assert (await other.colleague.patch(path, json={"description": "by nobody in it"})).status_code == 200
        for operation in every:
            opt = asked[operation.id]
            if operation.id in PUBLIC or opt["permission"] is Permission.PLATFORM:
                continue
            for name, ids in attempts(operation, mine=other.ids, theirs=one.ids):
                call = operation.call(ids)
                response = await other.owner.request(**call)
                calls += 1
                assert response.status_code in (400, 403, 404, 409) or reads_own(operation, name, response), (
                    f"{operation.id} with another tenant's {name}: {response.status_code} {response.text[:300]}"
                )
                assert_tells_nothing(response, one, operation, str(call))
    await unchanged(superuser, app, before, one, but={"audit_seals", "audit_checkpoints"})
    print(f"\n{calls} calls with the checks of the services switched off")
    assert calls > 80


async def walk_writes(client, one, every, superuser, app, allowed) -> int:
    before = await fingerprint(superuser, app, one)
    calls = 0
    for operation in every:
        if not operation.writes or operation.id in PUBLIC | OWN:
            continue
        response = await client.request(**operation.call(dict.fromkeys(operation.slots, one.ids)))
        calls += 1
        assert response.status_code in allowed, f"{operation.id}: {response.status_code} {response.text[:300]}"
    await unchanged(superuser, app, before, one, but=LOG)
    return calls


def attempts(operation, mine, theirs):
    """Everything theirs, then each id alone theirs and the rest one's own."""
    if operation.slots:
        name = operation.slots[0] if len(operation.slots) == 1 else "everything"
        yield name, dict.fromkeys(operation.slots, theirs)
    if len(operation.slots) > 1:
        for slot in operation.slots:
            yield slot, dict.fromkeys(operation.slots, mine) | {slot: theirs}


def assert_tells_nothing(response, one, operation, sent):
    """Nothing of the tenant `one` is in the answer, but for ids that we sent ourselves."""
    assert SECRET not in response.text, operation.id
    for name, value in one.ids.items():
        if value not in sent:
            assert value not in response.text, f"{operation.id} tells the {name} of another tenant"


def test_the_walk_fails_for_an_id_that_it_cannot_fill_in():
    said = {"operationId": "new", "requestBody": {"content": {"application/json": {"example": {"x_id": str(uuid4())}}}}}
    with pytest.raises(AssertionError, match="x_id"):
        routes.operations({"paths": {"/api/v1/new": {"post": {**said, "responses": {}}}}})


def test_the_check_of_routes_finds_one_without_permission():
    @get("/bare", opt={})
    async def bare() -> None: ...

    @websocket("/socket")
    async def socket(socket: WebSocket) -> None: ...

    unguarded, public = routes.open_handlers(Litestar([bare, socket], openapi_config=None))
    assert sorted(unguarded) == ["/bare (bare)", "/socket (socket)"]
    assert public == set()


def test_access_has_no_value_that_the_walks_do_not_know():
    assert {item.value for item in Access} == {"read", "drafts", "edit", "publish", "manage"}
