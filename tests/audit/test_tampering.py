"""Every way to tamper with a log that somebody who owns the database has, found and named."""

import pytest

from folkmoot.audit.chain import ROW, Keys, follow, genesis, seal_of
from folkmoot.audit.reading import copy_out
from folkmoot.kit.access import Principal


@pytest.fixture(autouse=True, params=["at once", "bit by bit"])
def stretches(request, monkeypatch):
    """What is found must not depend on how much is read at a time."""
    if request.param == "bit by bit":
        monkeypatch.setattr("folkmoot.audit.verify.SPAN", 6)
        monkeypatch.setattr("folkmoot.audit.verify.STEP", 4)
        monkeypatch.setattr("folkmoot.audit.verify.CHECKPOINTS", 2)


async def middle(log):
    """A position in the second stretch of four, with two more after it there."""
    return await log.top() - 6


async def test_an_untouched_log_verifies(log):
    told = []
    found = await log.verify(progress=lambda done, of: told.append((done, of)))
    assert found.faults == []
    assert found.events == await log.top() >= 12
    assert (found.pending, found.remembered) == (0, True)
    assert told[-1] == (found.events, found.events)


async def test_a_new_event_is_pending_and_no_fault(app, log):
    async with log.hand() as holder, holder.transaction():
        # An open transaction that writes holds the seal up, for as long as this test needs.
        await holder.execute("SELECT pg_current_xact_id()")
        await log.write(2)
        found = await log.verify()
    assert (found.faults, found.pending) == ([], 2)


async def test_a_changed_row_is_named(log):
    place = await middle(log)
    event = await log.at(place)
    await log.tamper("UPDATE events SET data = jsonb_set(data, '{n}', '77') WHERE id = $1", event)
    fault = await log.fault()
    assert (fault.kind, fault.position, fault.event_id) == ("changed", place, event)
    assert str(event) in fault.detail
    assert "space.created" in fault.detail


async def test_a_change_of_any_column_is_found(log):
    changes = {
        "created_at": "created_at - interval '1 microsecond'",
        "actor_kind": "'user'",
        "actor_id": "gen_random_uuid()",
        "key_id": "gen_random_uuid()",
        "action": "'space.deleted'",
        "object_type": "'x'",
        "object_id": "gen_random_uuid()",
        "space_id": "gen_random_uuid()",
        "user_id": "gen_random_uuid()",
        "request_id": "'x'",
        "ip": "'203.0.113.9'",
        "user_agent": "E'a\\tb\\\\N'",
        "data": """data || '{"a": 1}'""",
        "xid": "xid + 1",
    }
    place = await middle(log)
    event = await log.at(place)
    columns = ", ".join(changes)
    async with log.hand() as connection:
        before = await connection.fetchrow(f"SELECT {columns} FROM events WHERE id = $1", event)
    for column, value in changes.items():
        await log.tamper(f"UPDATE events SET {column} = {value} WHERE id = $1", event)
        fault = await log.fault()
        assert (fault.kind, fault.event_id) == ("changed", event), column
        await log.tamper(f"UPDATE events SET {column} = $2 WHERE id = $1", event, before[column])
        assert (await log.verify()).faults == [], column
    await log.tamper("UPDATE events SET created_at = 'infinity' WHERE id = $1", event)
    assert (await log.fault()).event_id == event


async def test_the_sequence_number_is_sealed_too(log):
    place = await middle(log)
    event = await log.at(place)
    async with log.hand() as connection, connection.transaction():
        await connection.execute("ALTER TABLE events ALTER seq DROP IDENTITY")
        await connection.execute("UPDATE events SET seq = seq + 1000000000 WHERE id = $1", event)
        highest = await connection.fetchval("SELECT max(seq) FROM events WHERE seq < 1000000000")
        await connection.execute(
            f"ALTER TABLE events ALTER seq ADD GENERATED ALWAYS AS IDENTITY (START WITH {highest + 1000})"
        )
    fault = await log.fault()
    assert (fault.kind, fault.event_id) == ("changed", event)


async def test_values_that_run_into_each_other_are_told_apart(log):
    place = await middle(log)
    event = await log.at(place)
    await log.tamper("UPDATE events SET request_id = 'ab', ip = 'c' WHERE id = $1", event)
    one = await row_of(log, event)
    await log.tamper("UPDATE events SET request_id = 'a', ip = 'bc' WHERE id = $1", event)
    assert await row_of(log, event) != one
    await log.tamper("UPDATE events SET request_id = E'ab\\tc', ip = '' WHERE id = $1", event)
    assert await row_of(log, event) != one


async def test_a_removed_event_is_named_by_its_seal(log):
    place = await middle(log)
    event = await log.at(place)
    await log.tamper("DELETE FROM events WHERE id = $1", event)
    fault = await log.fault()
    assert (fault.kind, fault.position, fault.event_id) == ("removed", place, event)


async def test_an_event_that_was_removed_with_its_seal_leaves_a_gap(log):
    place = await middle(log)
    event, after = await log.at(place), await log.at(place + 1)
    await log.tamper("DELETE FROM events WHERE id = $1", event)
    await log.tamper("DELETE FROM audit_seals WHERE event_id = $1", event)
    fault = await log.fault()
    assert (fault.kind, fault.position) == ("removed", place)
    assert str(after) in fault.detail


async def test_an_event_that_was_removed_and_the_rest_numbered_anew(log):
    place = await middle(log)
    event, after = await log.at(place), await log.at(place + 1)
    await log.tamper("DELETE FROM events WHERE id = $1", event)
    await log.tamper("DELETE FROM audit_seals WHERE event_id = $1", event)
    top = await log.top()
    for number in range(place + 1, top + 1):
        await log.tamper(
            "UPDATE audit_seals SET position = position - 1 WHERE tenant_id = $1 AND position = $2",
            log.tenant_id,
            number,
        )
    fault = await log.fault()
    assert (fault.kind, fault.position, fault.event_id) == ("removed", place, after)


async def test_an_event_put_in_among_sealed_ones_is_named(log):
    place = await middle(log)
    event = await log.at(place)
    made = await put_in(log, event)
    fault = await log.fault()
    assert (fault.kind, fault.position, fault.event_id) == ("inserted", place + 1, made)


async def test_an_event_put_in_with_a_seal_of_its_own(log):
    place = await middle(log)
    made = await put_in(log, await log.at(place))
    for number in range(await log.top(), place, -1):
        await log.tamper(
            "UPDATE audit_seals SET position = position + 1 WHERE tenant_id = $1 AND position = $2",
            log.tenant_id,
            number,
        )
    await seal_at(log, made, place + 1)
    fault = await log.fault()
    assert (fault.kind, fault.position, fault.event_id) == ("inserted", place + 1, made)


async def test_a_seal_below_the_first_position_hides_nothing(log):
    made = await put_in(log, await log.at(await middle(log)))
    await seal_at(log, made, -5)
    found = (await log.verify()).faults
    assert [fault.kind for fault in found] == ["inserted", "inserted"]
    assert found[0].position == -5
    assert found[1].event_id == made


async def test_events_that_changed_places_are_named(log):
    place = await middle(log)
    one, other = await log.at(place), await log.at(place + 2)
    for event, position in ((one, -1), (other, place), (one, place + 2)):
        await log.tamper("UPDATE audit_seals SET position = $2 WHERE event_id = $1", event, position)
    fault = await log.fault()
    assert (fault.kind, fault.position, fault.event_id) == ("moved", place, one)


async def test_neighbours_whose_seals_were_swapped_in_place_are_named(log):
    place = await middle(log)
    one, other = await log.at(place), await log.at(place + 1)
    spare = "00000000-0000-0000-0000-00000000beef"
    for old, new in ((one, spare), (other, one), (spare, other)):
        await log.tamper("UPDATE audit_seals SET event_id = $2 WHERE event_id = $1", old, new)
    fault = await log.fault()
    assert (fault.kind, fault.position, fault.event_id) == ("moved", place, one)


async def test_a_seal_that_was_changed_is_told_from_a_changed_event(log):
    place = await middle(log)
    event = await log.at(place)
    await log.tamper("UPDATE audit_seals SET mac = sha256('x') WHERE event_id = $1", event)
    found = (await log.verify()).faults
    assert [(fault.kind, fault.event_id) for fault in found] == [("seal-changed", event)]


async def test_a_seal_that_is_gone_while_its_event_is_there(log):
    place = await middle(log)
    event = await log.at(place)
    await log.tamper("DELETE FROM audit_seals WHERE event_id = $1", event)
    found = (await log.verify()).faults
    assert [(fault.kind, fault.position, fault.event_id) for fault in found] == [("seal-removed", place, event)]


async def test_somebody_who_knows_the_scheme_cannot_seal_anew(log):
    """The whole chain is computed again over changed rows, seals and all, by somebody without the key."""
    place = await middle(log)
    event = await log.at(place)
    await log.tamper("UPDATE events SET actor_id = NULL, ip = '' WHERE id = $1", event)
    await log.tamper("UPDATE events SET data = '{}' WHERE id = $1", event)
    link = genesis(log.tenant_id)
    for position in range(1, await log.top() + 1):
        link = follow(link, await row_of(log, await log.at(position)))
        if position >= place:
            await log.tamper(
                "UPDATE audit_seals SET mac = $3 WHERE tenant_id = $1 AND position = $2",
                log.tenant_id,
                position,
                seal_of(b"a guess of what the key may be..", link),
            )
    fault = await log.fault()
    assert (fault.kind, fault.position, fault.event_id) == ("changed", place, event)


async def test_somebody_who_has_the_key_of_seals_is_caught_by_the_checkpoints(app, log):
    place = await middle(log)
    await log.tamper("UPDATE events SET data = '{}' WHERE id = $1", await log.at(place))
    link, key = genesis(log.tenant_id), Keys(app.keyring).of_tenant(log.tenant_id)[0]
    for position in range(1, await log.top() + 1):
        link = follow(link, await row_of(log, await log.at(position)))
        await log.tamper(
            "UPDATE audit_seals SET mac = $3 WHERE tenant_id = $1 AND position = $2",
            log.tenant_id,
            position,
            seal_of(key, link),
        )
    fault = await log.fault()
    assert fault.kind == "rewritten"
    assert place <= fault.position < place + 4
    assert "checkpoint" in fault.detail


async def test_a_changed_checkpoint_is_named(log):
    number = await newest(log) - 1
    for column, value in (
        ("link", "sha256('x')"),
        ("signature", "sha512('x')"),
        ("position", "position + 1"),
        ("xid", "xid + 1"),
        ("seq", "seq - 1"),
        ("created_at", "created_at - interval '1 day'"),
        ("key_id", "'0000000000000000'"),
    ):
        async with log.hand() as connection:
            before = await connection.fetchval(
                f"SELECT {column} FROM audit_checkpoints WHERE tenant_id = $1 AND number = $2", log.tenant_id, number
            )
        await log.tamper(
            f"UPDATE audit_checkpoints SET {column} = {value} WHERE tenant_id = $1 AND number = $2",
            log.tenant_id,
            number,
        )
        fault = await log.fault()
        assert fault.kind == "checkpoint-changed", column
        assert f"checkpoint {number} " in fault.detail
        await log.tamper(
            f"UPDATE audit_checkpoints SET {column} = $3 WHERE tenant_id = $1 AND number = $2",
            log.tenant_id,
            number,
            before,
        )
        assert (await log.verify()).faults == [], column


async def test_a_removed_checkpoint_is_named(log):
    number = await newest(log) - 1
    await log.tamper("DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND number = $2", log.tenant_id, number)
    fault = await log.fault()
    assert fault.kind == "checkpoint-removed"
    assert f"checkpoint {number} " in fault.detail


async def test_the_last_checkpoint_taken_away_leaves_seals_without_one(log):
    await log.tamper(
        "DELETE FROM audit_checkpoints WHERE tenant_id = $1 AND number = $2", log.tenant_id, await newest(log)
    )
    assert (await log.fault()).kind == "checkpoint-removed"
    await log.tamper("DELETE FROM audit_checkpoints WHERE tenant_id = $1", log.tenant_id)
    assert (await log.fault()).kind == "checkpoint-removed"


async def test_a_checkpoint_of_another_log_is_not_taken_for_one_of_this(log):
    other = await log.other()
    await log.tamper(
        "UPDATE audit_checkpoints SET tenant_id = $2 WHERE tenant_id = $1 AND number = 2",
        log.tenant_id,
        other.tenant_id,
    )
    assert (await log.fault()).kind == "checkpoint-removed"


async def test_an_end_that_was_cut_off_is_found(log):
    top = await log.top()
    await cut(log, top - 4)
    fault = await log.fault()
    assert (fault.kind, fault.position) == ("cut-off", top - 3)
    await log.write(6)
    await log.seal()
    fault = await log.fault()
    assert (fault.kind, fault.position) == ("rewritten", top)
    assert "Redis" in fault.detail


async def test_a_whole_log_that_was_emptied_is_found(log):
    await cut(log, 0)
    assert (await log.fault()).kind == "cut-off"


async def test_what_was_tampered_with_after_a_fault_is_found_too(log):
    top = await log.top()
    first, second = await log.at(top - 10), await log.at(top - 1)
    for event in (first, second):
        await log.tamper("UPDATE events SET ip = '198.51.100.7' WHERE id = $1", event)
    assert [fault.event_id for fault in (await log.verify()).faults] == [first, second]


async def test_an_event_moved_to_another_log_is_missed_here_and_strange_there(log):
    other = await log.other()
    for _ in range(2):
        await other.write(1)
        await other.seal()
    event = await log.at(await middle(log))
    first = await log.value("SELECT xid FROM events WHERE id = $1", await other.at(2))
    await log.tamper("UPDATE events SET tenant_id = $2, xid = $3 WHERE id = $1", event, other.tenant_id, first)
    assert ((await log.fault()).kind, (await log.fault()).event_id) == ("removed", event)
    fault = await other.fault()
    assert (fault.kind, fault.event_id) == ("inserted", event)


async def newest(log):
    return await log.value("SELECT max(number) FROM audit_checkpoints WHERE tenant_id = $1", log.tenant_id)


async def row_of(log, event):
    async with log.app.begin(Principal.system(log.tenant_id)) as work:
        return (await copy_out(work, f"SELECT {ROW} FROM events e WHERE e.id = '{event}'"))[0]


async def put_in(log, after):
    """A row that looks like its neighbour, and has its transaction."""
    return await log.value(
        "INSERT INTO events (id, tenant_id, xid, actor_kind, action, object_type, request_id, ip, user_agent, data)"
        " SELECT gen_random_uuid(), tenant_id, xid, 'user', 'session.started', 'session', '', '', '', '{}'"
        " FROM events WHERE id = $1 RETURNING id",
        after,
    )


async def seal_at(log, event, position):
    await log.tamper(
        "INSERT INTO audit_seals (id, tenant_id, position, event_id, mac) VALUES ($1, $2, $3, $1, sha256('x'))",
        event,
        log.tenant_id,
        position,
    )


async def cut(log, position):
    """Take away all after a position that a checkpoint has."""
    await log.tamper(
        "DELETE FROM events WHERE id IN (SELECT event_id FROM audit_seals WHERE tenant_id = $1 AND position > $2)",
        log.tenant_id,
        position,
    )
    for table in ("audit_seals", "audit_checkpoints"):
        await log.tamper(f"DELETE FROM {table} WHERE tenant_id = $1 AND position > $2", log.tenant_id, position)
