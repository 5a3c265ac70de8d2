"""The supervisor: what it says at the first start, how it revives its parts, what stops it from starting."""

from __future__ import annotations

import re
import signal
import socket
import sys

import pytest

from folkmoot.settings import Settings
from folkmoot.up import Child, Up, UpError, environment_of, settings_for
from tests.support.server import Server, command, gone


@pytest.fixture
def child(tmp_path):
    made = Child("worker", ["settings"], {"FOLKMOOT_PORT": "1"}, tmp_path / "worker.log")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_a_part_that_dies_is_started_again_at_once_and_then_with_pauses(child):
    said = []
    child.start()
    first = child.process
    first.wait(30)
    child.revive(said.append)
    assert child.process is not first
    assert child.deaths == 1
    assert re.search(r"the worker ended \(status 0\).*worker\.log", said[0])
    second = child.process
    second.wait(30)
    child.started += 3600
    child.revive(said.append)
    assert child.process is second, "not before its pause is over"
    child.started -= 7200
    child.revive(said.append)
    assert child.process is not second
    assert child.deaths == 2


def test_a_part_that_runs_is_left_alone(child, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/sleep")
    child.arguments[:] = []
    said = []
    child.start()
    running = child.process
    child.process.poll = lambda: None
    child.revive(said.append)
    assert child.process is running
    assert said == []


def test_the_end_of_the_log_is_what_is_shown(child):
    child.log.write_text("\n".join(f"line {number}" for number in range(100)))
    assert child.tail().splitlines() == [f"line {number}" for number in range(88, 100)]
    child.log.unlink()
    assert child.tail() == ""


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command("up", "--data", tmp_path / "data", "--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_the_parts_are_not_told_the_administrators_password(tmp_path):
    told = environment_of(Settings(admin_password="a secret of some length", database_url="d", secret_key=("k",)))
    assert "a secret" not in str(told)
    assert told["FOLKMOOT_ADMIN_PASSWORD"] == ""


def test_settings_point_at_the_engines_and_keep_the_rest(tmp_path):
    class Points:
        runtime_url, owner_url, redis_url = "runtime", "owner", "redis"

    base = Settings(port=81, answer_seconds=5)
    made = settings_for(tmp_path, Points, base)
    assert (made.database_url, made.owner_database_url, made.redis_url) == ("runtime", "owner", "redis")
    assert (made.port, made.answer_seconds) == (81, 5)
    assert made.storage_url == (tmp_path / "files").as_uri()
    assert len(made.master_keys()[0]) == 32
    assert made == settings_for(tmp_path, Points, base), "the key is made once"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_first_start_prints_a_password_once_and_sigterm_stops_in_order(tmp_path):
    server = Server(tmp_path / "data", FOLKMOOT_ADMIN_PASSWORD="", FOLKMOOT_ADMIN_EMAIL="bo@people.example").start()
    said = server.said()
    password = re.search(r"password \(shown only now\): (\S+)", said).group(1)
    assert "first administrator: bo@people.example" in said
    assert f"http://127.0.0.1:{server.port}/api/docs" in said
    with server.client("bo@people.example", password) as client:
        assert client.get("/me").json()["roles"] == ["owner"]
    family = server.stop(signal.SIGTERM)
    assert server.process.returncode == 0
    assert gone(family)
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "data" / "logs").iterdir())
    assert password not in logs
    server.start()
    family = server.stop()
    assert gone(family)
    assert server.said().count("password (shown only now)") == 1


def test_a_part_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path, monkeypatch):
    made = Up(tmp_path, Settings(port=1), print)
    child = Child("API", ["no-such-command"], {}, tmp_path / "api.log")
    child.start()
    child.process.wait(30)
    made._children.append(child)
    with pytest.raises(UpError, match=r"the API did not start:\n(.|\n)*no-such-command"):
        made._wait_until_ready()
