"""Reading and exporting the log through the API."""

import asyncio
import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from folkmoot.audit.export import defused, export
from folkmoot.audit.seal import seal
from folkmoot.audit.service import Filter, LogService
from folkmoot.identity.models import PlatformAdmin
from folkmoot.kit.access import Permission, Principal
from folkmoot.kit.db import make_engine
from folkmoot.kit.errors import Forbidden
from folkmoot.tenants.models import PLATFORM

REASON = "Case 2026-114: who changed what, and when"


async def reason_of(person, path="/audit"):
    return (await person.made(f"{path}/reasons", reason=REASON))["id"]


async def all_of(person, path="/audit/events", **query):
    found, cursor = [], None
    while True:
        page = await person.get(path, params={**query, **({"cursor": cursor} if cursor else {})})
        assert page.status_code == 200, page.text
        found += page.json()["items"]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return found


async def write(app, tenant_id, action="space.updated", principal=None, **fields):
    async with app.begin(principal or Principal.system(tenant_id)) as work:
        work.record(action, fields.pop("object_type", "space"), fields.pop("object_id", None), **fields)


@pytest.fixture
async def administrator(app, owner):
    """The owner, who also administers the installation."""
    async with app.begin(Principal(tenant_id=owner.tenant_id, kind="platform")) as work:
        work.session.add(PlatformAdmin(tenant_id=owner.tenant_id, user_id=owner.user.id, granted_by="the tests"))
    return owner


async def test_reading_needs_a_reason_and_the_reason_is_an_event(owner):
    refused = await owner.get("/audit/events")
    assert (refused.status_code, refused.json()["code"]) == (403, "reason-required")
    stated = await owner.post("/audit/reasons", json={"reason": f"  {REASON}  "})
    assert stated.status_code == 201
    expires, made = (datetime.fromisoformat(stated.json()[name]) for name in ("expires_at", "created_at"))
    assert expires - made == timedelta(hours=1)
    (opened,) = await all_of(owner, reason_id=stated.json()["id"], action="audit.opened")
    assert opened["data"] == {"reason": REASON}
    assert (opened["actor_id"], opened["actor_kind"]) == (str(owner.user.id), "user")
    assert (opened["actor_email"], opened["actor_name"]) == (owner.user.email, "Ada")
    assert opened["object_id"] == stated.json()["id"]


@pytest.mark.parametrize("reason", ["", "short", " " * 30, "x" * 2001, "a\x00 reason that is long", None, 7])
async def test_a_reason_that_says_nothing_is_refused(owner, reason):
    answer = await owner.post("/audit/reasons", json={"reason": reason})
    assert (answer.status_code, answer.json()["code"]) == (400, "validation-failed")


async def test_only_whoever_stated_a_reason_reads_by_it_and_for_an_hour(owner, tenancy, superuser):
    reason = await reason_of(owner)
    colleague = await tenancy.colleague(owner, role="owner")
    stranger = await tenancy.owner()
    for person, given in ((colleague, reason), (stranger, reason), (owner, str(uuid4()))):
        for path in ("/audit/events", "/audit/export?format=csv", "/audit/export?format=jsonl"):
            answer = await person.get(path, params={"reason_id": given, "format": "csv"})
            assert (answer.status_code, answer.json()["code"]) == (403, "reason-required")
    assert (await owner.get("/audit/events", params={"reason_id": "nonsense"})).status_code == 400
    async with superuser.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE audit_reasons SET expires_at = now() - interval '1 second' WHERE id = '{reason}'"
        )
    assert (await owner.get("/audit/events", params={"reason_id": reason})).json()["code"] == "reason-required"


async def test_who_may_not_read_the_log_cannot_even_state_a_reason(owner, tenancy, stranger):
    for role in ("user", "ai-configurator"):
        colleague = await tenancy.colleague(owner, role=role)
        answers = [await colleague.post("/audit/reasons", json={"reason": REASON})]
        for path in ("/audit/events", "/audit/export?format=csv", "/audit/verify", "/audit/checkpoints"):
            answers.append(await colleague.get(path))
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "forbidden")}
    assert (await stranger.get("/api/v1/audit/events")).status_code == 401


async def test_filters_narrow_what_is_read(app, owner, tenancy):
    reason = await reason_of(owner)
    colleague = await tenancy.colleague(owner)
    mine, other = uuid4(), uuid4()
    theirs = Principal(tenant_id=owner.tenant_id, user_id=colleague.user.id, kind="user")
    await write(app, owner.tenant_id, object_id=mine)
    await write(app, owner.tenant_id, "space.deleted", object_id=mine, principal=theirs)
    await write(app, owner.tenant_id, "spaces_like.updated", object_id=other, object_type="other")

    async def found(**query):
        return [event["action"] for event in await all_of(owner, reason_id=reason, **query)]

    assert await found(object_id=str(mine)) == ["space.deleted", "space.updated"]
    assert await found(object_id=str(mine), actor_id=str(colleague.user.id)) == ["space.deleted"]
    assert await found(action="space.deleted") == ["space.deleted"]
    assert await found(action="space.") == ["space.deleted", "space.updated"]
    assert await found(action="space") == await found(action="nothing.") == []
    assert await found(object_type="other") == ["spaces_like.updated"]
    assert await found(actor_id=str(uuid4())) == []
    assert (await owner.get("/audit/events", params={"reason_id": reason, "action": "a\x00"})).status_code == 400


async def test_dates_narrow_what_is_read_to_the_microsecond(app, owner):
    reason = await reason_of(owner)
    for _ in range(3):
        await write(app, owner.tenant_id, "space.archived")
    newest, middle, oldest = await all_of(owner, reason_id=reason, action="space.archived")

    async def found(**query):
        return [event["id"] for event in await all_of(owner, reason_id=reason, action="space.archived", **query)]

    assert await found(**{"from": middle["created_at"]}) == [newest["id"], middle["id"]]
    assert await found(to=middle["created_at"]) == [oldest["id"]]
    assert await found(**{"from": middle["created_at"], "to": newest["created_at"]}) == [middle["id"]]
    assert await found(**{"from": "1600-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}) == await found()
    assert await found(**{"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-14:00"}) == await found()
    elsewhere = datetime.fromisoformat(middle["created_at"]).astimezone(UTC).replace(tzinfo=None).isoformat()
    assert await found(to=elsewhere) == [oldest["id"]]
    wrong = await owner.get(
        "/audit/events", params={"reason_id": reason, "from": newest["created_at"], "to": oldest["created_at"]}
    )
    assert (wrong.status_code, wrong.json()["code"]) == (400, "validation-failed")
    assert (await owner.get("/audit/events", params={"reason_id": reason, "from": "yesterday"})).status_code == 400


async def test_pages_follow_each_other_without_a_gap_while_events_are_written(app, owner):
    reason = await reason_of(owner)
    for _ in range(7):
        await write(app, owner.tenant_id, "space.archived")
    seen, cursor = [], None
    while True:
        query = {"reason_id": reason, "action": "space.archived", "limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await owner.get("/audit/events", params=query)).json()
        seen += [event["id"] for event in page["items"]]
        await write(app, owner.tenant_id, "space.archived")
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)
    bad = await owner.get("/audit/events", params={"reason_id": reason, "cursor": "!"})
    assert bad.json()["code"] == "invalid-cursor"


async def test_events_of_another_organisation_are_never_read(owner, tenancy):
    stranger = await tenancy.owner()
    await stranger.space("theirs")
    reason = await reason_of(owner)
    told = json.dumps(await all_of(owner, reason_id=reason, limit=200))
    assert "theirs" not in told
    assert str(stranger.user.id) not in told
    assert await all_of(owner, reason_id=reason, actor_id=str(stranger.user.id)) == []


async def test_somebody_whose_personal_data_were_removed_shows_no_name(owner, tenancy, superuser):
    colleague = await tenancy.colleague(owner)
    await colleague.space("mine")
    reason = await reason_of(owner)
    async with superuser.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE users SET erased_at = now() WHERE id = '{colleague.user.id}'")
    found = await all_of(owner, reason_id=reason, actor_id=str(colleague.user.id), action="space.created")
    assert [(event["actor_name"], event["actor_email"]) for event in found] == [(None, None)]


async def test_csv_has_a_header_and_runs_no_formula(app, owner):
    for value in ("=1+1", "+1", "-1", "@SUM(A1)", "\ttab", "\rreturn"):
        await write(app, owner.tenant_id, "space.archived", object_type=value)
    reason = await reason_of(owner)
    answer = await owner.get("/audit/export", params={"reason_id": reason, "format": "csv", "action": "space.archived"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="folkmoot-log-')
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["object_type"] for row in reversed(rows)] == [
        "'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\ttab", "'\rreturn",
    ]  # fmt: skip
    assert all(row["action"] == "space.archived" and row["actor_name"] == "" for row in rows)


@pytest.mark.parametrize("cell", ["", "plain", "a=b", "1-2", '"=1"', " =1"])
def test_harmless_cells_stay_as_they_are(cell):
    assert defused(cell) == cell


async def test_json_lines_are_the_whole_log_and_the_export_is_an_event_first(app, owner, monkeypatch):
    monkeypatch.setattr("folkmoot.audit.export.BATCH", 3)
    for number in range(8):
        await write(app, owner.tenant_id, "space.archived", data={"n": number})
    reason = await reason_of(owner)
    answer = await owner.get("/audit/export", params={"reason_id": reason, "format": "jsonl"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[0]["action"] == "audit.exported"
    assert lines[0]["data"] == {"reason": REASON, "format": "jsonl", "filter": {}}
    assert [line["data"]["n"] for line in lines if line["action"] == "space.archived"] == list(range(7, -1, -1))
    listed = await all_of(owner, reason_id=reason, limit=200)
    assert [line["id"] for line in lines] == [event["id"] for event in listed]
    wrong = await owner.get("/audit/export", params={"reason_id": reason, "format": "xml"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "validation-failed")


async def test_an_export_holds_no_connection_while_the_client_reads(app, owner, monkeypatch):
    monkeypatch.setattr("folkmoot.audit.export.BATCH", 2)
    for _ in range(6):
        await write(app, owner.tenant_id, "space.archived")
    principal = Principal(
        tenant_id=owner.tenant_id,
        user_id=owner.user.id,
        kind="user",
        permissions=Principal.system(PLATFORM).permissions,
    )
    engine = make_engine(app.settings.database_url, pool=1)
    alone = replace(app, sessions=replace(app.sessions, engine=engine))
    parts = 0
    try:
        async for _ in export(alone, principal, Filter(action="space.archived"), "jsonl"):
            parts += 1
            # The one connection is free, or this would wait for the export and the export for this.
            async with asyncio.timeout(10), alone.begin(principal) as work:
                assert await work.session.scalar(text("SELECT 1")) == 1
    finally:
        await engine.dispose()
    assert parts == 3


async def test_an_export_ends_when_the_person_loses_the_right(app, owner, tenancy, superuser, monkeypatch):
    monkeypatch.setattr("folkmoot.audit.export.BATCH", 2)
    for _ in range(6):
        await write(app, owner.tenant_id, "space.archived")
    principal = Principal(
        tenant_id=owner.tenant_id,
        user_id=owner.user.id,
        kind="user",
        permissions=Principal.system(PLATFORM).permissions,
    )
    got = []

    async def read():
        async for part in export(app, principal, Filter(action="space.archived"), "jsonl"):
            got.append(part)
            async with superuser.begin() as connection:
                await connection.exec_driver_sql(f"UPDATE users SET role = 'user' WHERE id = '{owner.user.id}'")

    with pytest.raises(Forbidden):
        await read()
    assert len(got) == 1


async def test_the_state_tells_how_far_the_log_is_sealed(app, owner):
    state = (await owner.get("/audit/verify")).json()
    assert set(state) == {"position", "pending", "whole", "checkpoint", "public_keys"}
    assert state["position"] + state["pending"] > 0
    assert state["public_keys"][0]["algorithm"] == "Ed25519"


async def test_the_platforms_log_is_for_those_who_administer_the_installation(app, administrator, tenancy):
    outsider = await tenancy.owner()
    for path in ("events", "export?format=csv", "verify", "checkpoints"):
        assert (await outsider.get(f"/platform/audit/{path}")).status_code == 403
    assert (await outsider.post("/platform/audit/reasons", json={"reason": REASON})).status_code == 403
    await write(app, PLATFORM, "tenant.created")
    reason = await reason_of(administrator, "/platform/audit")
    found = await administrator.get("/platform/audit/events", params={"reason_id": reason, "limit": 200})
    actions = [event["action"] for event in found.json()["items"]]
    assert {"audit.opened", "tenant.created"} <= set(actions)
    assert str(administrator.user.id) in [event["actor_id"] for event in found.json()["items"]]
    out = await administrator.get("/platform/audit/export", params={"reason_id": reason, "format": "jsonl"})
    assert json.loads(out.text.splitlines()[0])["action"] == "audit.exported"
    assert (await administrator.get("/platform/audit/verify")).json()["public_keys"]
    assert (await administrator.get("/platform/audit/checkpoints")).status_code == 200


async def test_a_reason_opens_the_log_in_which_it_stands_and_no_other(administrator):
    here, there = await reason_of(administrator), await reason_of(administrator, "/platform/audit")
    for path, reason in (("/audit/events", there), ("/platform/audit/events", here)):
        answer = await administrator.get(path, params={"reason_id": reason})
        assert (answer.status_code, answer.json()["code"]) == (403, "reason-required")


async def test_the_platforms_log_is_entered_by_nobody_without_the_permission(app, owner):
    async with app.begin(Principal(tenant_id=owner.tenant_id, user_id=owner.user.id, kind="user")) as work:
        for permission in (Permission.AUDIT, Permission.PLATFORM):
            with pytest.raises(Forbidden):
                LogService(work, permission)


async def test_a_reader_sees_where_an_event_is_sealed(app, owner):
    reason = await reason_of(owner)
    positions = []
    while not positions or None in positions:
        await seal(app, owner.tenant_id)
        positions = [event["position"] for event in await all_of(owner, reason_id=reason, limit=200)]
    assert positions == list(range(len(positions), 0, -1))
