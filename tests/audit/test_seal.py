"""Sealing beside any number of writers, sealers and crashes."""

import asyncio
import base64
import re
import subprocess
import sys
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text

from folkmoot.audit import witness
from folkmoot.audit.chain import COLUMNS, ROW, Keys
from folkmoot.audit.seal import LogBroken, accept, seal
from folkmoot.audit.tasks import seal_events
from folkmoot.audit.verify import accept_lost, lost_logs
from folkmoot.kit.access import Principal
from folkmoot.kit.events import Event
from folkmoot.tenants.models import PLATFORM
from tests.docs.blocks import ROOT
from tests.support.keyrings import Changing

BEGUN = text("SELECT pg_current_xact_id()")
"""From here on, the transaction has its number."""
UNKNOWN = UUID(int=0xDEAD)


def test_every_column_of_an_event_is_sealed():
    assert set(COLUMNS) == set(Event.__table__.columns.keys())


async def test_a_row_is_hashed_the_same_whatever_the_session_says(log):
    await log.write(1, text='tab\t, "quote", back\\slash\nline, å', share=0.1, nothing=None)
    settings = (
        {},
        {
            "timezone": "Asia/Kolkata",
            "DateStyle": "SQL, DMY",
            "IntervalStyle": "iso_8601",
            "bytea_output": "escape",
            "extra_float_digits": "-15",
            "lc_monetary": "C",
        },
    )
    seen = []
    for changes in settings:
        connection = await asyncpg.connect(log.superuser, server_settings=changes)
        parts = []

        async def keep(part, parts=parts):
            parts.append(part)

        query = f"SELECT {ROW} FROM events e WHERE e.tenant_id = '{log.tenant_id}' ORDER BY e.seq"
        await connection.copy_from_query(query, output=keep)
        await connection.close()
        seen.append(b"".join(parts))
    assert seen[0] == seen[1]
    assert len(seen[0].split(b"\n")) > 13


async def test_the_worker_seals_within_seconds(log):
    await log.write(3)
    async with asyncio.timeout(60):
        while await log.pending():  # noqa: ASYNC110 - what it waits for is a row
            await asyncio.sleep(0.1)
    assert (await log.verify()).faults == []


async def test_writers_with_long_transactions_and_late_commits_never_break_the_chain(app, log):
    stop = asyncio.Event()

    async def writer(number):
        for count in range(15):
            async with app.begin(Principal.system(log.tenant_id)) as work:
                # The order of beginning, of writing and of committing all differ.
                await work.session.connection()
                if (number + count) % 3 == 0:
                    work.record("space.created", "space")
                    await work.session.execute(BEGUN)
                await asyncio.sleep((number * count % 7) / 200)
                work.record("space.updated", "space", data={"writer": number, "count": count})

    async def sealer():
        while not stop.is_set():
            await seal(app, log.tenant_id, size=7)

    sealers = [asyncio.create_task(sealer()) for _ in range(2)]
    await asyncio.gather(*(writer(number) for number in range(6)))
    stop.set()
    await asyncio.gather(*sealers)
    await log.seal()
    found = await log.verify()
    assert found.faults == []
    assert (found.events, found.pending) == (await log.top(), 0)
    assert found.events >= 12 + 6 * 15


async def test_a_transaction_that_began_first_and_commits_last_is_waited_for(app, log):
    before = await log.top()
    async with app.begin(Principal.system(log.tenant_id)) as slow:
        await slow.session.execute(BEGUN)
        await log.write(2, "space.updated")
        assert await seal(app, log.tenant_id) == 0
        slow.record("space.deleted", "space")
    await log.seal()
    actions = [
        await log.value("SELECT action FROM events WHERE id = $1", await log.at(before + place)) for place in (1, 2, 3)
    ]
    assert actions == ["space.deleted", "space.updated", "space.updated"]
    assert (await log.verify()).faults == []


async def test_what_was_rolled_back_leaves_no_gap(app, log):
    async def fail():
        async with app.begin(Principal.system(log.tenant_id)) as work:
            work.record("space.created", "space")
            await work.session.execute(BEGUN)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    await log.write(2)
    top = await log.top()
    await log.seal()
    assert await log.top() == top + 2
    assert (await log.verify()).faults == []


async def test_two_sealers_at_once_seal_each_event_once(app, log):
    await log.write(30)
    while await log.pending():
        await asyncio.gather(*(seal(app, log.tenant_id, size=4) for _ in range(4)))
    found = await log.verify()
    assert (found.faults, found.events) == ([], await log.top())


async def test_a_crash_within_a_batch_leaves_nothing_half(app, log, monkeypatch):
    await log.write(5)
    top = await log.top()

    def crash(*_):
        raise SystemError("the process died here")

    with monkeypatch.context() as broken:
        broken.setattr(Keys, "sign", crash)
        with pytest.raises(SystemError):
            await log.seal(size=2)
        assert await log.top() == top
        assert (await log.verify()).faults == []
    await log.seal(size=2, batches=1)
    assert (await log.verify()).faults == []
    assert await log.top() == top + 5


async def test_the_log_goes_on_in_a_database_that_was_restored_from_a_dump(app, log):
    """A dump keeps the transaction ids of rows; the cluster it is restored to counts from its own."""
    ahead = 10**12
    await log.write(3)
    await log.tamper(
        "UPDATE events e SET xid = xid + $2 WHERE tenant_id = $1"
        " AND NOT EXISTS (SELECT FROM audit_seals s WHERE s.event_id = e.id)",
        log.tenant_id,
        ahead,
    )
    await log.seal()
    for _ in range(2):
        await log.write(3)
        await log.seal()
    found = await log.verify()
    assert (found.faults, found.pending, found.events) == ([], 0, await log.top())
    event = await log.at(await log.top() - 7)
    await log.tamper("UPDATE events SET ip = '192.0.2.1' WHERE id = $1", event)
    assert (await log.fault()).event_id == event


async def test_a_checkpoint_can_be_checked_with_the_public_key_alone(app, log, tenancy):
    owner = await tenancy.person(log.tenant_id, log.name, role="owner")
    state = (await owner.get("/audit/verify")).json()
    page = (await owner.get("/audit/checkpoints", params={"limit": 2})).json()
    rest = (await owner.get("/audit/checkpoints", params={"limit": 200, "cursor": page["next_cursor"]})).json()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(state["public_keys"][0]["public_key"]))
    checkpoints = page["items"] + rest["items"]
    assert [item["number"] for item in checkpoints] == list(range(len(checkpoints), 0, -1))
    for item, before in zip(checkpoints, [*checkpoints[1:], None], strict=True):
        key.verify(base64.b64decode(item["signature"]), item["signed_text"].encode())
        lines = item["signed_text"].splitlines()
        assert lines[1:4] == [str(log.tenant_id), str(item["number"]), str(item["position"])]
        assert lines[6] == item["link"]
        assert before is None or lines[7] == before["link"]
    assert state["position"] >= checkpoints[0]["position"]
    assert state["whole"] is True


async def test_seals_of_an_older_root_verify_while_it_is_kept(app, log):
    store = Changing()
    keyring = await store.keyring()
    now = app.keyring.derivations
    for purpose in ("audit-checkpoint", "audit-seal"):
        store.give(purpose, 9, now(purpose)[0])
    await keyring.look()
    rotated = replace(app, keyring=keyring)
    here = type(log)(rotated, log.superuser, log.tenant_id)
    await here.write(3)
    while await here.pending():
        await seal(rotated, here.tenant_id)
    assert (await here.verify()).faults == []
    for purpose in ("audit-checkpoint", "audit-seal"):
        store.take(purpose, 9)
    await keyring.look()
    fault = await here.fault()
    assert fault.kind == "checkpoint-changed"
    assert "tenant_keys" in fault.detail


async def test_nothing_is_added_to_a_log_whose_end_was_forged(app, log):
    await log.tamper(
        "UPDATE audit_checkpoints SET link = sha256('x') WHERE tenant_id = $1 AND position = $2",
        log.tenant_id,
        top := await log.top(),
    )
    await log.write(1)
    with pytest.raises(LogBroken):
        await log.seal()
    await seal_events(app, log.tenant_id)
    assert await log.top() == top


async def test_the_service_itself_cannot_change_or_remove_seals(app, log):
    for statement in (
        "UPDATE audit_seals SET position = 0",
        "DELETE FROM audit_seals",
        "UPDATE audit_checkpoints SET number = 0",
        "DELETE FROM audit_checkpoints",
        "DELETE FROM audit_reasons",
        "UPDATE events SET ip = ''",
        "DELETE FROM events",
        "TRUNCATE audit_seals",
    ):
        connection = await asyncpg.connect(app.settings.database_url)
        try:
            await connection.execute("SELECT set_config('folkmoot.tenant', $1, false)", str(log.tenant_id))
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        finally:
            await connection.close()


async def test_the_log_of_the_platform_is_sealed_too(app, database, log):
    platform = type(log)(app, database["superuser"], PLATFORM)
    await platform.write(2, "tenant.created")
    await platform.seal()
    found = await platform.verify()
    assert found.faults == []
    assert found.events >= 2


async def test_an_end_that_a_restored_backup_lacks_is_accepted_in_so_many_words(app, log):
    head = await witness.recall(app.redis, log.tenant_id)
    await witness.remember(app.redis, log.tenant_id, replace(head, position=head.position + 9))
    assert (await log.fault()).kind == "cut-off"
    await log.write(20)
    await log.seal()
    assert (await log.fault()).kind == "rewritten"
    said = await accept(app, log.tenant_id, "restored the backup of yesterday", "root")
    assert str(head.position + 9) in said
    assert (await log.verify()).faults == []
    await log.seal()
    assert await accept(app, log.tenant_id, "once more", "root") is None
    assert (await log.verify()).faults == []
    assert (
        await log.value(
            "SELECT data->>'reason' FROM events WHERE tenant_id = $1 AND action = 'audit.end_accepted'", log.tenant_id
        )
        == "restored the backup of yesterday"
    )


async def test_a_log_that_vanished_with_its_organisation_is_missed(app, log):
    gone = UNKNOWN
    await witness.remember(app.redis, gone, witness.Head(3, 40, b"x" * 32))
    assert gone in [tenant_id for tenant_id, _ in await lost_logs(app)]
    assert log.tenant_id not in [tenant_id for tenant_id, _ in await lost_logs(app)]
    assert await accept_lost(app, "restored the backup of yesterday", "root") >= 1
    assert await lost_logs(app) == []


async def test_a_log_that_redis_forgot_still_verifies_and_says_so(app, log):
    await witness.forget(app.redis, log.tenant_id)
    found = await log.verify()
    assert (found.faults, found.remembered) == ([], False)
    await log.write(1)
    await log.seal()
    async with asyncio.timeout(20):
        while not (await log.verify()).remembered:  # noqa: ASYNC110 - the worker's sweep may be the one that sealed
            await asyncio.sleep(0.05)


async def test_the_recipe_for_auditors_gives_the_links_of_the_checkpoints(log):
    """What the guide prints is run as it stands, without a line of ours."""
    page = (ROOT / "docs" / "guides" / "read-the-log.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```sql\nCOPY \((.*?)\) TO STDOUT\n```", page, re.DOTALL)
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    parts = []

    async def keep(part):
        parts.append(part)

    async with log.hand() as connection:
        await connection.copy_from_query(query.replace("…", str(log.tenant_id)), output=keep)
        marks = await connection.fetch(
            "SELECT position, link FROM audit_checkpoints WHERE tenant_id = $1", log.tenant_id
        )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, str(log.tenant_id)],
        input=b"".join(parts),
        capture_output=True,
        check=True,
    )
    links = dict(line.split() for line in done.stdout.decode().splitlines())
    assert len(marks) >= 4
    assert all(links[str(mark["position"])] == mark["link"].hex() for mark in marks)
