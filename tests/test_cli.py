"""The commands, each against the engines of the test run; what is expected to fail is one sentence and status 1."""

from __future__ import annotations

import re
from dataclasses import fields
from uuid import uuid4

import pytest
from click.testing import CliRunner

from folkmoot.cli import main
from folkmoot.settings import Settings
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

    def invoke(*arguments: str, **variables: str):
        return CliRunner().invoke(main, list(arguments), env=variables)

    return invoke


@pytest.fixture
def tenant(run):
    name = f"Riverside {uuid4().hex[:8]}"
    done = run("tenant", "create", name, "--admin", email())
    assert done.exit_code == 0, done.output
    return name


def email() -> str:
    return f"{uuid4().hex[:10]}@people.example"


@pytest.mark.parametrize(
    "path", [[], ["plugins"], ["tenant"], ["user"], ["up"], ["ask"], ["worker"], ["tenant", "create"]]
)
def test_every_command_explains_itself(path):
    done = CliRunner().invoke(main, [*path, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith("Usage:")
    assert len(done.output.splitlines()) > 5


def test_every_command_has_a_line_of_help():
    lines = CliRunner().invoke(main, ["--help"]).output.partition("Commands:")[2].strip().splitlines()
    assert {line.split()[0] for line in lines} >= {"up", "ask", "serve", "worker", "migrate", "plugins", "settings"}
    assert all(len(line.split()) > 2 for line in lines)


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
        (["user", "create", "bo@people.example", "--password", "short"], "shorter than 12"),
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
    ],
)
def test_a_wrong_setting_is_named(run, variables, says):
    done = run("tenant", "list", **variables)
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


@pytest.mark.slow
def test_the_command_is_installed_and_quick_to_explain_itself():
    done = command("--version")
    assert done.returncode == 0
    assert "folkmoot" in done.stdout
    heavy = command("settings", PYTHONPROFILEIMPORTTIME="1").stderr
    assert "folkmoot.settings" in heavy
    for module in ("sqlalchemy", "litestar", "taskiq"):
        assert f" {module}\n" not in heavy, f"`settings` imports {module}"
