"""The commands, each against the engines of the test run; what is expected to fail is one sentence and status 1."""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
import re
from dataclasses import fields
from uuid import UUID, uuid4

import asyncpg
import pytest
from click.testing import CliRunner

from folkmoot.cli import main
from folkmoot.settings import LANES, Settings
from tests.support.server import command

PASSWORD = "correct horse battery staple"


@pytest.fixture
def run(settings, monkeypatch):
    """Run a command here, with the engines of the test run as its settings."""
    for name in ("database_url", "owner_database_url", "redis_url", "storage_url"):
        monkeypatch.setenv(f"FOLKMOOT_{name.upper()}", getattr(settings, name))
    monkeypatch.setenv("FOLKMOOT_SECRET_KEY", ",".join(settings.secret_key))
    monkeypatch.setenv("FOLKMOOT_ADMIN_PASSWORD", PASSWORD)
    monkeypatch.setenv("FOLKMOOT_PASSWORD", PASSWORD)

    def invoke(*arguments: str, input: str | None = None, **variables: str):  # noqa: A002
        return CliRunner().invoke(main, list(arguments), env=variables, input=input)

    return invoke


@pytest.fixture
def events_of(database):
    """(action, kind of actor, account of this machine) of each event about one thing, whichever log it is in."""

    def read(object_id: str):
        async def ask():
            connection = await asyncpg.connect(database["superuser"])
            try:
                return await connection.fetch(
                    "SELECT DISTINCT ON (xid, action) action, actor_kind, data FROM events WHERE object_id = $1"
                    " ORDER BY xid, action",
                    UUID(object_id),
                )
            finally:
                await connection.close()

        rows = asyncio.run(ask())
        return [(row["action"], row["actor_kind"], json.loads(row["data"]).get("operator")) for row in rows]

    return read


@pytest.fixture
def tenant(run):
    name = f"Riverside {uuid4().hex[:8]}"
    done = run("tenant", "create", name, "--admin", email())
    assert done.exit_code == 0, done.output
    return name


def email() -> str:
    return f"{uuid4().hex[:10]}@people.example"


@pytest.mark.parametrize(
    "path",
    [
        [],
        ["plugins"],
        ["up"],
        ["ask"],
        ["worker"],
        ["tenant"],
        ["tenant", "create"],
        ["tenant", "list"],
        ["tenant", "show"],
        ["tenant", "suspend"],
        ["tenant", "resume"],
        ["tenant", "passwords"],
        ["tenant", "delete"],
        ["tenant", "certificate"],
        ["platform"],
        ["platform", "admins"],
        ["platform", "grant"],
        ["platform", "revoke"],
        ["user"],
        ["user", "create"],
        ["user", "list"],
        ["user", "password"],
        ["user", "state"],
        ["audit"],
        ["audit", "verify"],
        ["audit", "export"],
        ["audit", "accept"],
        ["receipt"],
        ["receipt", "verify"],
        ["receipt", "keys"],
        ["serve"],
        ["migrate"],
        ["doctor"],
    ],
)
def test_every_command_explains_itself(path):
    done = CliRunner().invoke(main, [*path, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith("Usage:")
    assert len(done.output.splitlines()) > 5
    if path[:1] in (["tenant"], ["platform"], ["user"], ["audit"], ["receipt"], ["serve"], ["migrate"], ["doctor"]):
        assert "Example" in done.output


def test_every_command_has_a_line_of_help():
    lines = CliRunner().invoke(main, ["--help"]).output.partition("Commands:")[2].strip().splitlines()
    assert {line.split()[0] for line in lines} >= {"up", "ask", "serve", "worker", "migrate", "plugins", "settings"}
    assert all(len(line.split()) > 2 for line in lines)


def test_a_worker_may_serve_any_of_the_lanes():
    shown = CliRunner().invoke(main, ["worker", "--help"]).output
    assert f"[{'|'.join(LANES)}]" in shown


def test_settings_lists_each_with_its_meaning():
    output = CliRunner().invoke(main, ["settings"]).output
    for item in fields(Settings):
        assert re.search(rf"^FOLKMOOT_{item.name.upper()}(=.*)?\n    \S.+", output, re.MULTILINE), item.name


def test_plugins_are_listed_with_version_and_hooks():
    done = CliRunner().invoke(main, ["plugins", "list"])
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.output.splitlines()}
    assert "register_parsers" in lines["builtin"]
    assert sum("register_ai_providers" in line for line in lines.values()) >= 2
    assert "broken" not in done.output


def test_a_tenant_is_made_with_its_administrator_and_listed(run):
    name, admin = f"Brookside {uuid4().hex[:8]}", email()
    made = run("tenant", "create", name, "--admin", admin)
    assert made.exit_code == 0, made.output
    assert admin in made.output
    assert PASSWORD not in made.output
    listed = run("tenant", "list").output
    assert re.search(rf"active\s+{name}$", listed, re.MULTILINE)
    users = run("user", "list", "--tenant", name).output
    assert re.search(rf"active\s+owner\s+{admin}", users)


def test_a_password_that_was_made_here_is_shown_once(run):
    made = run("tenant", "create", f"T {uuid4().hex[:8]}", "--admin", email(), FOLKMOOT_ADMIN_PASSWORD="")
    assert re.search(r"password \(shown only now\): \S{12,}", made.output)


def test_a_name_that_is_taken_is_one_sentence(run, tenant):
    again = run("tenant", "create", tenant, "--admin", email())
    assert again.exit_code == 1
    assert "Traceback" not in again.output
    assert again.output.startswith("Error: ")


def test_a_person_is_added_shut_out_and_let_in_again(run, tenant):
    person = email()
    added = run("user", "create", person, "--name", "Bo", "--tenant", tenant)
    assert added.exit_code == 0, added.output
    assert "is user in" in added.output
    assert run("user", "state", person, "inactive", "--tenant", tenant).exit_code == 0
    assert re.search(rf"inactive\s+user\s+{person}", run("user", "list", "--tenant", tenant).output)
    assert run("user", "state", person, "active", "--tenant", tenant).exit_code == 0
    changed = run("user", "password", person, "--tenant", tenant, FOLKMOOT_PASSWORD="another long pass phrase")
    assert changed.exit_code == 0, changed.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["user", "create", "bo@people.example", "--password", "short"], "fewer than 12"),
        (["user", "password", "nobody@people.example"], "nobody@people.example"),
        (["user", "state", "nobody@people.example", "inactive"], "nobody@people.example"),
    ],
)
def test_what_cannot_be_done_to_a_person_is_said(run, tenant, arguments, says):
    done = run(*arguments, "--tenant", tenant)
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


def test_an_organisation_that_is_not_there_is_said(run):
    done = run("user", "list", "--tenant", "Nowhere at all")
    assert done.exit_code == 1
    assert "Nowhere at all" in done.output


def test_a_password_from_a_breach_is_refused(run, tenant):
    done = run("user", "create", email(), "--password", "111111111111", "--tenant", tenant)
    assert done.exit_code == 1
    assert "tried first" in done.output


def test_an_organisation_is_suspended_shown_and_resumed(run, tenant):
    shut = run("tenant", "suspend", tenant, "--reason", "The contract ended.")
    assert shut.exit_code == 0, shut.output
    shown = run("tenant", "show", tenant).output
    assert re.search(r"^state +suspended \(The contract ended\.\)$", shown, re.MULTILINE)
    assert re.search(r"^people +1 \(quota: none\)$", shown, re.MULTILINE)
    assert run("tenant", "resume", tenant).exit_code == 0
    assert re.search(r"^state +active$", run("tenant", "show", tenant).output, re.MULTILINE)


def test_an_organisation_is_suspended_without_a_reason_but_not_with_a_blank_one(run, tenant):
    done = run("tenant", "suspend", tenant, "--reason", " ")
    assert done.exit_code == 2
    assert "--reason" in done.output
    assert re.search(r"^state +active$", run("tenant", "show", tenant).output, re.MULTILINE)
    assert run("tenant", "suspend", tenant).exit_code == 0
    assert re.search(r"^state +suspended$", run("tenant", "show", tenant).output, re.MULTILINE)


def test_passwords_are_switched_on_again_from_the_machine(run, tenant, events_of, database):
    async def shut():
        connection = await asyncpg.connect(database["superuser"])
        try:
            await connection.execute(
                "UPDATE tenants SET settings = '{\"password_login\": false}' WHERE name = $1", tenant
            )
            return str(await connection.fetchval("SELECT id FROM tenants WHERE name = $1", tenant))
        finally:
            await connection.close()

    tenant_id = asyncio.run(shut())
    done = run("tenant", "passwords", tenant, "on")
    assert (done.exit_code, done.output) == (0, f"passwords are on in {tenant}\n")
    assert ("organisation.updated", "platform", getpass.getuser()) in events_of(tenant_id)
    # On now, so that this changes something, and there is no other way in.
    refused = run("tenant", "passwords", tenant, "off")
    assert refused.exit_code == 1
    assert "no login method is enabled" in refused.output


def test_an_organisation_is_deleted_with_a_certificate_that_can_be_read_later(run, tenant, events_of):
    done = run("tenant", "delete", tenant, "--yes", tenant)
    assert done.exit_code == 0, done.output
    certificate = json.loads(done.stdout)
    assert certificate["tenant_name"] == tenant
    assert certificate["requested_by"] == f"operator {getpass.getuser()}"
    assert certificate["valid"] is True
    assert certificate["removed"]["rows"]["users"] == 1
    assert "the signature holds" in done.stderr
    assert re.search(r"^removed \d+ rows", done.stderr, re.MULTILINE)
    for name in (tenant, certificate["id"], certificate["tenant_id"]):
        assert json.loads(run("tenant", "certificate", name).stdout) == certificate
    assert tenant not in run("tenant", "list").output
    assert events_of(certificate["tenant_id"]) == [
        ("tenant.created", "platform", getpass.getuser()),
        ("tenant.deletion_requested", "platform", getpass.getuser()),
        ("tenant.deleted", "platform", getpass.getuser()),
    ]


@pytest.mark.parametrize("typed", ["", "Somebody else", "{tenant} "])
def test_without_its_name_no_organisation_is_deleted(run, tenant, typed):
    done = run("tenant", "delete", tenant, "--yes", typed.format(tenant=tenant))
    assert done.exit_code == 1
    assert "nothing was deleted" in done.output
    assert tenant in run("tenant", "list").output


def test_the_name_is_asked_for(run, tenant, settings):
    assert run("tenant", "delete", tenant, input="no\n").exit_code == 1
    assert tenant in run("tenant", "list").output
    done = run("tenant", "delete", tenant, input=f"{tenant}\n")
    assert done.exit_code == 0, done.output
    assert "Type its name" in done.stderr
    assert json.loads(done.stdout)["valid"] is True


def test_no_certificate_is_said(run):
    done = run("tenant", "certificate", "Nowhere at all")
    assert done.exit_code == 1
    assert "Nowhere at all" in done.output


def test_a_platform_administrator_is_named_listed_and_taken_away(run, tenant):
    one, two = email(), email()
    for person in (one, two):
        assert run("user", "create", person, "--tenant", tenant).exit_code == 0
        named = run("platform", "grant", person, "--tenant", tenant)
        assert named.exit_code == 0, named.output
    listed = run("platform", "admins").output
    assert re.search(rf"active +{one}  {tenant}  \(by operator {getpass.getuser()}\)", listed)
    again = run("platform", "grant", one, "--tenant", tenant)
    assert again.exit_code == 1
    assert "already" in again.output
    assert run("platform", "revoke", one, "--tenant", tenant).exit_code == 0
    assert one not in run("platform", "admins").output
    twice = run("platform", "revoke", one, "--tenant", tenant)
    assert twice.exit_code == 1
    assert "does not administer the installation" in twice.output


def test_the_log_names_the_account_that_ran_a_command(run, tenant, events_of):
    person = email()
    run("user", "create", person, "--tenant", tenant)
    user_id = re.search(rf"(\S+)  active +user +{person}", run("user", "list", "--tenant", tenant).output)[1]
    assert events_of(user_id) == [("user.created", "platform", getpass.getuser())]


def test_the_doctor_finds_nothing_wrong(run):
    done = run("doctor")
    assert done.exit_code == 0, done.output
    assert "FAIL" not in done.output
    for part in ("PostgreSQL", "runtime role", "pgvector", "migrations", "Redis", "storage"):
        assert re.search(rf"^ok\s+{part}$", done.output, re.MULTILINE), part


def test_the_doctor_names_each_thing_that_is_missing(run, database):
    done = run(
        "doctor",
        FOLKMOOT_DATABASE_URL=database["superuser"],
        FOLKMOOT_REDIS_URL="redis://127.0.0.1:1/0",
        FOLKMOOT_SECRET_KEY="short",
    )
    assert done.exit_code == 1
    assert re.search(r"^FAIL runtime role: .*bypasses", done.output, re.MULTILINE)
    assert re.search(r"^FAIL Redis: cannot connect", done.output, re.MULTILINE)
    assert re.search(r"^FAIL storage: FOLKMOOT_SECRET_KEY", done.output, re.MULTILINE)
    assert "correct horse" not in done.output


def test_the_doctor_looks_on_where_nothing_is_set():
    done = CliRunner().invoke(main, ["doctor"], env={"FOLKMOOT_DATABASE_URL": "postgresql://u@127.0.0.1:1/d"})
    assert done.exit_code == 1
    assert re.search(r"^FAIL PostgreSQL: cannot connect", done.output, re.MULTILINE)
    assert re.search(r"^FAIL Redis: cannot connect", done.output, re.MULTILINE)
    assert re.search(r"^FAIL storage: ", done.output, re.MULTILINE)


def test_migrating_twice_does_nothing_the_second_time(run):
    done = run("migrate")
    assert (done.exit_code, done.output.strip()) == (0, "nothing to do")


def test_a_data_folder_that_nobody_runs_is_said(run, tmp_path):
    done = run("tenant", "list", "--data", str(tmp_path / "none"))
    assert done.exit_code == 1
    assert "folkmoot up" in done.output


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"FOLKMOOT_DATABASE_URL": ""}, "FOLKMOOT_DATABASE_URL is not set"),
        ({"FOLKMOOT_SECRET_KEY": "eA=="}, "FOLKMOOT_SECRET_KEY must be 32 random bytes"),
        ({"FOLKMOOT_PORT": "many"}, "FOLKMOOT_PORT is 'many'"),
        ({"FOLKMOOT_LOG_LEVEL": "loud"}, "FOLKMOOT_LOG_LEVEL"),
        ({"FOLKMOOT_LANES": "chat,express"}, "express"),
        ({"FOLKMOOT_NET_ALLOW": "ldap://directory"}, "FOLKMOOT_NET_ALLOW has 'ldap://directory'"),
        ({"FOLKMOOT_SMTP_URL": "mail.example:587"}, "FOLKMOOT_SMTP_URL must be"),
        ({"FOLKMOOT_PLUGINS_REQUIRED": "nowhere"}, "the plugin 'nowhere' is required"),
        ({"FOLKMOOT_PUBLIC_URL": "folkmoot.example"}, "FOLKMOOT_PUBLIC_URL is 'folkmoot.example'"),
    ],
)
def test_a_wrong_setting_is_named(run, variables, says):
    done = run("tenant", "list", **variables)
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "variables", [{"FOLKMOOT_DATABASE_URL": ""}, {"FOLKMOOT_SECRET_KEY": base64.b64encode(bytes(32)).decode()}]
)
def test_serving_is_refused_in_one_sentence_before_any_process_starts(run, variables):
    done = run("serve", **variables)
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: {next(iter(variables))} is ")
    assert len(done.output.splitlines()) == 1


@pytest.mark.slow
def test_the_command_is_installed_and_quick_to_explain_itself():
    done = command("--version")
    assert done.returncode == 0
    assert "folkmoot" in done.stdout
    heavy = command("settings", PYTHONPROFILEIMPORTTIME="1").stderr
    assert "folkmoot.settings" in heavy
    for module in ("sqlalchemy", "litestar", "taskiq"):
        assert f" {module}\n" not in heavy, f"`settings` imports {module}"
