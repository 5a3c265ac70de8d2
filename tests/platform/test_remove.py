"""Deleting an organisation: nothing of it is left, nothing of another is touched, and a certificate says what went."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select, text

from folkmoot.kit.access import Principal
from folkmoot.kit.jobs import Task
from folkmoot.kit.stream import key_of
from folkmoot.platform import remove as removing
from folkmoot.platform.remove import lease_of, plan, remove
from folkmoot.platform.service import Actor, PlatformService
from folkmoot.platform.tasks import find_unfinished, remove_tenant
from folkmoot.tenants.models import PLATFORM, Certificate
from tests.architecture import tables

SEALED = {"audit_seals", "audit_checkpoints"}
"""What the log's own upkeep may write at any moment."""
GROWING = SEALED | {"events"}


async def fingerprint(superuser, tenant_id) -> dict[str, str]:
    async with superuser.connect() as connection:
        found = await tables.fingerprint(connection, tenant_id)
    return {name: value for name, value in found.items() if name not in SEALED}


async def counts(superuser, tenant_id) -> dict[str, int]:
    async with superuser.connect() as connection:
        names = await tables.table_names(connection) - {"tenants", "deletion_certificates"}
        return {
            name: await connection.scalar(text(f"SELECT count(*) FROM {name} WHERE tenant_id = :t"), {"t": tenant_id})
            for name in names
        }


async def certified(admin, tenant_id, seconds: float = 60) -> dict:
    """The certificate once it is signed."""
    async with asyncio.timeout(seconds):
        while True:
            found = (await admin.get(f"/platform/certificates/{tenant_id}")).json()
            if found["completed_at"]:
                return found
            await asyncio.sleep(0.05)


async def begun(app, tenant_id, name) -> Certificate:
    """As if asked for, and the message to the worker lost."""

    async def nothing(_app, *, tenant_id): ...

    return await PlatformService(app, Actor.command("tester")).delete(
        tenant_id, name, Task("platform.lost", "maintenance", nothing)
    )


async def test_every_row_and_file_goes_and_another_organisation_loses_nothing(
    app, admin, furnish, superuser, sign_in, events
):
    gone, other = await furnish(), await furnish()
    had = await counts(superuser, gone.tenant_id)
    empty = {name for name, number in had.items() if not number}
    assert empty == set(), "a table has no row to lose: furnish it"
    files, size = await app.storage.usage(gone.tenant_id)
    assert files > 0
    await app.redis.set(f"folkmoot:limit:{gone.tenant_id}:x", "1", ex=600)
    await app.redis.set(f"folkmoot:limit:{other.tenant_id}:x", "1", ex=600)
    before, kept = await fingerprint(superuser, other.tenant_id), await app.storage.usage(other.tenant_id)

    asked = await admin.delete(f"/platform/tenants/{gone.tenant_id}", params={"name": gone.name})
    assert asked.status_code == 202, asked.text
    refused = await gone.owner.get("/me")
    assert refused.status_code in (401, 403)
    assert (await sign_in(gone.owner)).status_code in (401, 403)
    certificate = await certified(admin, gone.tenant_id)

    assert set((await counts(superuser, gone.tenant_id)).values()) == {0}
    assert await app.storage.usage(gone.tenant_id) == (0, 0)
    assert not await app.redis.exists(f"folkmoot:limit:{gone.tenant_id}:x", key_of(gone.answer_id))
    assert not await app.redis.exists(lease_of(gone.tenant_id))
    assert (await gone.owner.get("/me")).status_code == 401
    assert (await admin.get(f"/platform/tenants/{gone.tenant_id}")).status_code == 404

    assert await fingerprint(superuser, other.tenant_id) == before
    assert await app.storage.usage(other.tenant_id) == kept
    assert await app.redis.exists(f"folkmoot:limit:{other.tenant_id}:x")
    assert (await other.owner.get("/me")).status_code == 200

    rows = certificate["removed"]["rows"]
    # The request itself wrote one event more, and what ran meanwhile may have added some.
    assert {name: rows[name] for name in had if name not in GROWING} == {
        name: number for name, number in had.items() if name not in GROWING
    }
    assert rows["tenants"] == 1
    assert all(rows[name] >= had[name] for name in GROWING)
    assert (certificate["removed"]["files"], certificate["removed"]["bytes"]) == (files, size)
    assert certificate["tenant_name"] == gone.name
    assert certificate["requested_by"] == f"{admin.user.email} (user {admin.user.id})"

    told = await events(PLATFORM, gone.tenant_id)
    assert [row.action for row in told][-2:] == ["tenant.deletion_requested", "tenant.deleted"]
    assert {row.actor_id for row in told[-2:]} == {admin.user.id}
    assert told[-1].data["rows"] == sum(rows.values())
    assert told[-1].data["tenant"] == gone.name


async def test_anybody_can_check_the_certificate(app, admin, tenancy):
    person = await tenancy.owner()
    await admin.delete(f"/platform/tenants/{person.tenant_id}", params={"name": person.tenant_name})
    found = await certified(admin, person.tenant_id)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(found["public_key"]))
    signature = base64.b64decode(found["signature"])
    key.verify(signature, found["statement"].encode())
    said = json.loads(found["statement"])
    for name in ("id", "tenant_id", "tenant_name", "requested_by", "requested_at", "completed_at", "removed"):
        assert said[name] == found[name]
    with pytest.raises(InvalidSignature):
        key.verify(signature, found["statement"].replace(person.tenant_name, "Another").encode())
    assert found["valid"] is True
    by_id = (await admin.get(f"/platform/certificates/{found['id']}")).json()
    assert by_id == found
    assert found["id"] in [item["id"] for item in (await admin.get("/platform/certificates")).json()["items"]]


@pytest.mark.parametrize("change", ["tenant_name = 'Another'", "removed = '{}'", "requested_by = 'nobody'"])
async def test_a_changed_certificate_says_so(app, admin, tenancy, superuser, change):
    person = await tenancy.owner()
    await admin.delete(f"/platform/tenants/{person.tenant_id}", params={"name": person.tenant_name})
    assert (await certified(admin, person.tenant_id))["valid"] is True
    async with superuser.begin() as connection:
        statement = f"UPDATE deletion_certificates SET {change} WHERE tenant_id = :t"
        await connection.execute(text(statement), {"t": person.tenant_id})
    assert (await certified(admin, person.tenant_id))["valid"] is False


@pytest.mark.parametrize("name", [None, "", "Somebody else", "{lower}"])
async def test_without_its_name_nothing_is_deleted(admin, tenancy, count, name):
    person = await tenancy.owner()
    params = {} if name is None else {"name": name.format(lower=person.tenant_name.lower())}
    refused = await admin.delete(f"/platform/tenants/{person.tenant_id}", params=params)
    assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed")
    assert await count("deletion_certificates", f"tenant_id = '{person.tenant_id}'") == 0
    assert (await person.get("/me")).status_code == 200


async def test_asked_again_it_is_the_same_deletion_and_cannot_be_stopped(app, admin, tenancy, count):
    person = await tenancy.owner()
    path = f"/platform/tenants/{person.tenant_id}"
    first = await begun(app, person.tenant_id, person.tenant_name)
    # Somebody seems to be at it, so that it stands still for this test.
    await app.redis.set(lease_of(person.tenant_id), "another", ex=60)
    again = await admin.delete(path, params={"name": person.tenant_name})
    assert (again.status_code, again.json()["id"]) == (202, str(first.id))
    assert (again.json()["completed_at"], again.json()["signature"], again.json()["valid"]) == (None, None, None)
    for call in (
        admin.post(f"{path}/resume"),
        admin.post(f"{path}/suspend", json={"reason": "x"}),
        admin.patch(path, json={"max_users": 3}),
    ):
        refused = await call
        assert (refused.status_code, refused.json()["code"]) == (409, "tenant-deleting")
    refused = await person.get("/me")
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant-suspended")
    assert await remove(app, person.tenant_id) is False
    await app.redis.delete(lease_of(person.tenant_id))
    assert await remove(app, person.tenant_id) is True
    assert await remove(app, person.tenant_id) is True
    assert await count("tenants", f"id = '{person.tenant_id}'") == 0


async def test_the_sweep_takes_up_what_a_crash_left(app, admin, tenancy):
    person = await tenancy.owner()
    await begun(app, person.tenant_id, person.tenant_name)
    await find_unfinished(app, person.tenant_id)
    await find_unfinished(app, PLATFORM)
    assert (await certified(admin, person.tenant_id))["valid"] is True


@pytest.mark.parametrize("at", ["_files_first", "_batch", "_rest", "_forget"])
async def test_cut_off_anywhere_it_counts_each_row_once(app, admin, furnish, superuser, monkeypatch, at):
    gone = await furnish()
    had = await counts(superuser, gone.tenant_id)
    files = await app.storage.usage(gone.tenant_id)
    monkeypatch.setattr(removing, "BATCH", 2)
    right, calls = getattr(removing, at), 0

    async def crash(*arguments):
        nonlocal calls
        calls += 1
        if calls == (3 if at == "_batch" else 1):
            if at in ("_files_first", "_batch"):
                await right(*arguments)
            raise ConnectionError("the machine went down")
        return await right(*arguments)

    monkeypatch.setattr(removing, at, crash)
    await app.redis.set(lease_of(gone.tenant_id), "nobody else may help", ex=60)
    await begun(app, gone.tenant_id, gone.name)
    with pytest.raises(ConnectionError):
        await removing._remove(app, gone.tenant_id, lease_of(gone.tenant_id), lambda _: None)
    assert (await admin.get(f"/platform/certificates/{gone.tenant_id}")).json()["completed_at"] is None
    await removing._remove(app, gone.tenant_id, lease_of(gone.tenant_id), lambda _: None)
    await app.redis.delete(lease_of(gone.tenant_id))
    certificate = await certified(admin, gone.tenant_id)
    rows = certificate["removed"]["rows"]
    assert {name: rows[name] for name in had if name not in GROWING} == {
        name: number for name, number in had.items() if name not in GROWING
    }
    assert (certificate["removed"]["files"], certificate["removed"]["bytes"]) == files
    assert certificate["valid"] is True
    assert set((await counts(superuser, gone.tenant_id)).values()) == {0}


async def test_nobody_removes_what_was_not_asked_for(app, owner, count):
    with pytest.raises(ValueError, match="nobody asked"):
        await remove(app, owner.tenant_id)
    async with app.begin(Principal.platform()) as work:
        work.session.add(
            Certificate(
                tenant_id=owner.tenant_id, tenant_name="x", requested_by="x", requested_at=datetime.now(UTC), removed={}
            )
        )
    with pytest.raises(ValueError, match="nobody asked"):
        await removing._rest(app, owner.tenant_id)
    assert await count("users", f"tenant_id = '{owner.tenant_id}'") == 1
    async with app.begin(Principal.platform()) as work:
        # Or the worker beside the tests goes on trying.
        made = await work.session.scalar(select(Certificate).where(Certificate.tenant_id == owner.tenant_id))
        made.completed_at = datetime.now(UTC)


async def test_who_comes_as_another_ends_it_finds_it_done(app, admin, tenancy, monkeypatch):
    gone = await tenancy.owner()
    looked, done = 0, removing._certificate_done

    async def too_early(app, tenant_id):
        nonlocal looked
        looked += 1
        return False if looked == 1 else await done(app, tenant_id)

    await begun(app, gone.tenant_id, gone.tenant_name)
    await certified(admin, gone.tenant_id)
    monkeypatch.setattr(removing, "_certificate_done", too_early)
    assert await remove(app, gone.tenant_id)


def test_a_table_is_emptied_alone_only_if_all_that_refer_to_it_are():
    found = plan(
        [
            ("chunks", True, ["vectors"]),
            ("events", False, []),
            ("messages", True, ["messages"]),
            ("talks", True, ["messages"]),
            ("users", True, ["events"]),
            ("vectors", True, []),
        ]
    )
    assert found.alone == ["vectors", "chunks"]
    assert found.every == ["chunks", "events", "messages", "talks", "users", "vectors"]


async def test_the_large_tables_are_emptied_bit_by_bit(app):
    async with app.begin(Principal.platform()) as work:
        found = await removing._plan(work.session)
    assert {"chunks", "chunk_vectors", "documents", "document_texts", "files"} <= set(found.alone)
    assert {"events", "users", "messages"} <= set(found.every) - set(found.alone)
    assert "deletion_certificates" not in found.every


def test_the_task_stands_in_its_lane():
    assert (remove_tenant.name, remove_tenant.lane) == ("platform.remove_tenant", "maintenance")
