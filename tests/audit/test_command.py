"""`folkmoot audit` as people run it."""

import asyncio
import csv
import io
import json
from dataclasses import fields, replace

import pytest
from click.testing import CliRunner

from folkmoot.audit import witness
from folkmoot.commands.audit import audit


@pytest.fixture
def run(settings):
    """Runs the command on these engines, in a thread with a loop of its own."""
    environment = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if value not in (None, "", ()):
            environment[f"FOLKMOOT_{item.name.upper()}"] = ",".join(value) if isinstance(value, tuple) else str(value)

    async def running(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, audit, arguments, env=environment)

    return running


async def test_verify_counts_and_ends_with_0_when_all_is_whole(run, log):
    done = await run("verify", "--tenant", log.name)
    assert done.exit_code == 0, done.output
    assert f"whole    {log.name}: {await log.top()} events, " in done.stdout
    assert "the log is whole" in done.stdout
    assert done.stderr == ""


async def test_verify_ends_with_1_and_names_the_first_row(run, log):
    top = await log.top()
    first, then = await log.at(top - 10), await log.at(top - 1)
    for event in (first, then):
        await log.tamper("UPDATE events SET ip = '192.0.2.9' WHERE id = $1", event)
    done = await run("verify", "--tenant", log.name)
    assert done.exit_code == 1
    assert f"TAMPERED {log.name}" in done.stdout
    named = [line for line in done.stderr.splitlines() if "first:" in line]
    assert len(named) == 1
    assert f"changed at position {top - 10}: event {first} " in named[0]
    assert str(then) in done.stderr
    assert "the log was tampered with" in done.stderr


async def test_verify_goes_through_the_logs_of_all_organisations_and_of_the_platform(run, log):
    other = await log.other()
    event = await other.at(1)
    await other.tamper("DELETE FROM events WHERE id = $1", event)
    done = await run("verify")
    assert done.exit_code == 1
    assert "(the platform): " in done.stdout
    assert f"whole    {log.name}: " in done.stdout
    assert f"{other.name}: first: removed at position 1: event {event} " in done.stderr
    await other.tamper("DELETE FROM tenants WHERE id = $1", other.tenant_id)
    await witness.forget(log.app.redis, other.tenant_id)


async def test_an_organisation_that_is_not_there_is_said(run):
    done = await run("verify", "--tenant", "Nowhere")
    assert done.exit_code == 1
    assert "Nowhere" in str(done.exception)


async def test_export_prints_the_log_and_leaves_its_reason_there(run, log):
    done = await run("export", "--tenant", log.name, "--reason", "Case 2026-114", "--format", "jsonl")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["action"] == "audit.exported"
    assert lines[0]["data"]["reason"] == "Case 2026-114"
    assert lines[0]["actor_kind"] == "platform"
    assert lines[-1]["action"] == "tenant.created"
    done = await run(
        "export", "--tenant", log.name, "--reason", "Case 2026-114", "--format", "csv", "--action", "space."
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["action"] for row in rows} == {"space.created"}
    refused = await run("export", "--tenant", log.name, "--reason", "because")
    assert refused.exit_code == 2


@pytest.mark.parametrize(("form", "lines"), [("csv", 1), ("jsonl", 0)])
async def test_export_says_when_nothing_fits(run, log, form, lines):
    done = await run("export", "--tenant", log.name, "--reason", "Case 2026-114", "--format", form, "--action", "usr.")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == lines
    assert f"no event of {log.name} fits" in done.stderr


async def test_accept_says_that_nothing_was_missing(run, log):
    done = await run("accept", "--tenant", log.name, "--reason", "Restored the backup of today")
    assert done.exit_code == 0, done.output
    assert "nothing was accepted" in done.stdout


async def test_accept_takes_the_end_as_it_is(run, log):
    head = await witness.recall(log.app.redis, log.tenant_id)
    await witness.remember(log.app.redis, log.tenant_id, replace(head, position=head.position + 5))
    found = await run("verify", "--tenant", log.name)
    assert found.exit_code == 1
    assert f"cut-off at position {head.position + 1}" in found.stderr
    done = await run("accept", "--tenant", log.name, "--reason", "Restored the backup of today")
    assert done.exit_code == 0, done.output
    assert f"it had reached position {head.position + 5}" in done.stdout
    assert (await run("verify", "--tenant", log.name)).exit_code == 0
