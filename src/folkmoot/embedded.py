"""Real PostgreSQL with pgvector and real Redis, from wheels, for `up`, `ask` and the tests.

The engines belong to the process that started them: they listen on Unix sockets in a private
folder, ask for a password all the same, and end when that process ends, even by `kill -9`. What
they know stays in the data folder:

    postgres/  redis/   the files of the two engines; as root, they belong to an unprivileged account
    secrets.json        passwords and the master key, made once: keep a copy wherever a backup goes
    master-key          the master key alone, for the processes of `up`; made from secrets.json
    logs/               what the engines say
    lock                held while a process works with the folder; holds its pid
    runtime.json        where the engines listen just now; gone after an orderly stop
"""

import base64
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from folkmoot.embedded_host import (
    ENVIRONMENT,
    Account,
    DataFolderInUse,
    EmbeddedError,
    EngineFailed,
    EnginesNotRunning,
    Programs,
    end_all,
    engine_failed,
    find_account,
    find_programs,
    here,
    make_sockets,
    open_log,
    read_json,
    read_text,
    redis_answers,
    remove_sockets,
    shared_megabytes,
    take_lock,
    write_private,
    write_private_text,
)

__all__ = [
    "DATABASE",
    "OWNER",
    "RUNTIME",
    "SUPERUSER",
    "DataFolderInUse",
    "EmbeddedError",
    "Endpoints",
    "EngineFailed",
    "Engines",
    "EnginesNotRunning",
    "endpoints_of",
    "master_key_file",
    "put_secret_keys",
    "secret_key",
    "secret_keys",
]

SUPERUSER, OWNER, RUNTIME, DATABASE = "postgres", "folkmoot_owner", "folkmoot_runtime", "folkmoot"

_READY_WITHIN = 120.0
"""Seconds. Far more than a healthy start needs: replaying the log of a crash may take a while."""


@dataclass(frozen=True)
class Endpoints:
    """Where the engines listen. The URLs contain passwords, so the repr shows none of them."""

    superuser_url: str = field(repr=False)
    """Bypasses row-level security: for set-up and for the tests' own clean-up, never for the application."""
    owner_url: str = field(repr=False)
    """Owns the database and runs the migrations."""
    runtime_url: str = field(repr=False)
    """Owns nothing and cannot bypass row-level security: what the application connects as."""
    redis_url: str = field(repr=False)


@dataclass
class _Engine:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    log_begins: int
    stop_signal: int
    is_ready: Callable[[], bool]

    def failed(self, fact: str) -> EngineFailed:
        with self.log.open("rb") as file:
            file.seek(max(self.log_begins, self.log.stat().st_size - 20_000))
            said = file.read().decode(errors="replace")
        return engine_failed(f"{self.name} {fact}", said, f"read {self.log}")


class Engines:
    """PostgreSQL and Redis on one data folder, for as long as this process holds them.

    Start them from a thread that lives as long as they should, normally the main thread: Linux ends
    them when the thread that started them ends, which is also how they notice that we were killed.
    """

    def __init__(self, data: Path, *, say: Callable[[str], None] = lambda _: None) -> None:
        self.data = data.absolute()
        self._say = say
        self._lock: int | None = None
        self._sockets: Path | None = None
        self._engines: list[_Engine] = []
        self._endpoints: Endpoints | None = None

    @property
    def endpoints(self) -> Endpoints:
        if self._endpoints is None:
            raise EnginesNotRunning(f"the engines of {self.data} are not started: call start() first")
        return self._endpoints

    def start(self) -> Endpoints:
        """Start both engines and wait until they answer; the first time, make the cluster and the roles.

        Raises DataFolderInUse, and EngineFailed with nothing left running.
        """
        if self._endpoints is not None:
            return self._endpoints
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = take_lock(self.data)
            self._endpoints = self._start()
        except OSError as error:
            self.stop()
            raise EngineFailed(
                f"cannot work in data folder {self.data}: {error}. Check its owner, its permissions and "
                "the free space, or choose another folder with --data"
            ) from error
        except BaseException:
            self.stop()
            raise
        return self._endpoints

    def stop(self, timeout: float = 8) -> None:
        """Stop both engines, by force after `timeout` seconds. Nothing committed is lost either way."""
        for engine in self._engines:
            if engine.process.poll() is None:
                engine.process.send_signal(engine.stop_signal)
        deadline = time.monotonic() + timeout
        for engine in self._engines:
            try:
                engine.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                engine.process.kill()
                engine.process.wait()
        lock, sockets = self._lock, self._sockets
        self._engines, self._sockets, self._lock, self._endpoints = [], None, None, None
        if lock is None:
            return
        try:
            end_all(self.data, grace=0.5, patience=0.5)
            (self.data / "runtime.json").unlink(missing_ok=True)
        finally:
            remove_sockets(sockets)
            os.close(lock)

    def alive(self) -> bool:
        """Whether both engines run."""
        return self._endpoints is not None and self.died() is None

    def died(self) -> EngineFailed | None:
        """The reason to give up when an engine ended by itself: a supervisor asks now and then, and raises it."""
        for engine in self._engines:
            code = engine.process.poll()
            if code is not None:
                return engine.failed(f"ended by itself with status {code}")
        return None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> Endpoints:
        cluster, redis = self.data / "postgres", self.data / "redis"
        end_all(self.data, grace=0.5, patience=5, say=self._say)
        runtime = read_json(self.data / "runtime.json")
        remove_sockets(Path(runtime["sockets"]) if "sockets" in runtime else None)

        account = find_account(cluster)
        programs = find_programs(account)
        passwords = _secrets(self.data)
        (self.data / "logs").mkdir(mode=0o700, exist_ok=True)
        redis.mkdir(mode=0o700, exist_ok=True)
        account.own(redis)
        self._sockets = sockets = make_sockets(account)
        # Written before anything runs, so that the next start finds the folder of a start that was killed.
        starting = {"pid": str(os.getpid()), "sockets": str(sockets)}
        write_private(self.data / "runtime.json", starting)

        self._launch_redis(account, programs, sockets / "redis.sock", passwords["redis"])
        if not (cluster / "PG_VERSION").exists():
            self._make_cluster(account, programs, sockets / "password", passwords[SUPERUSER])
        account.own(cluster)
        if Path("/proc/self").exists():
            # Nothing of this folder runs, we have looked. PostgreSQL goes by the pid in the file, and would refuse
            # for a killed server that its parent has not buried yet, or for a stranger with the same number.
            (cluster / "postmaster.pid").unlink(missing_ok=True)
        self._launch_postgres(account, programs, sockets)
        self._wait()
        _set_up_database(programs, sockets, passwords)

        def url(role: str) -> str:
            return f"postgresql://{role}:{passwords[role]}@/{DATABASE}?host={quote(str(sockets))}"

        redis_url = f"unix://:{passwords['redis']}@{quote(str(sockets / 'redis.sock'))}"
        endpoints = Endpoints(url(SUPERUSER), url(OWNER), url(RUNTIME), redis_url)
        write_private(self.data / "runtime.json", starting | asdict(endpoints))
        return endpoints

    def _launch_redis(self, account: Account, programs: Programs, address: Path, password: str) -> None:
        # By standard input: everybody can read a command line, and a file would stay.
        config, feed = os.pipe()
        os.write(
            feed,
            f'port 0\nunixsocket "{address}"\nunixsocketperm 700\nrequirepass {password}\ndir .\nsave ""\n'
            "appendonly yes\nappendfsync everysec\naof-load-truncated yes\n"
            "maxmemory-policy noeviction\ndaemonize no\n".encode(),
        )
        os.close(feed)
        log, begins = open_log(self.data / "logs" / "redis.log")
        command = [str(programs.redis), "-"]
        try:
            process = account.spawn(
                command, cwd=self.data / "redis", log=log, at_parents_death=signal.SIGTERM, stdin=config
            )
        finally:
            os.close(config)
            log.close()

        def is_ready() -> bool:
            return redis_answers(address, password)

        self._engines.append(_Engine("Redis", process, Path(log.name), begins, signal.SIGTERM, is_ready))

    def _make_cluster(self, account: Account, programs: Programs, word: Path, password: str) -> None:
        self._say("making the database, the first time only")
        cluster, new = self.data / "postgres", self.data / "postgres.new"
        if cluster.exists() and any(cluster.iterdir()):
            raise EngineFailed(
                f"{cluster} holds files but no database: restore the data folder from a backup, or move it away"
            )
        shutil.rmtree(new, ignore_errors=True)  # what a start left that was killed half-way
        new.mkdir(mode=0o700)
        account.own(new)
        word.write_text(password)
        account.own(word)
        log, begins = open_log(self.data / "logs" / "initdb.log")
        command = [str(programs.initdb), "-D", here(account, new), "-U", SUPERUSER, f"--pwfile={word}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8", "--no-instructions"]
        with log:
            process = account.spawn(command, cwd=new, log=log, at_parents_death=signal.SIGKILL)
        engine = _Engine("initdb", process, Path(log.name), begins, signal.SIGKILL, lambda: False)
        try:
            code = process.wait(_READY_WITHIN)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            word.unlink(missing_ok=True)
        if code != 0:
            raise engine.failed(f"could not make the database in {new}")
        new.rename(cluster)
        handle = os.open(self.data, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

    def _launch_postgres(self, account: Account, programs: Programs, sockets: Path) -> None:
        cluster = self.data / "postgres"
        settings = {
            "cluster_name": "folkmoot",
            "listen_addresses": "",
            "unix_socket_directories": f'"{sockets}"',
            "unix_socket_permissions": "0700",
            "port": "5432",  # only names the socket
            "shared_buffers": f"{shared_megabytes()}MB",
            "max_connections": "100",
            "autovacuum_naptime": "5s",  # what is read in is asked about at once, and planned badly without statistics
            "jit": "off",  # compiles for longer than these queries run
            "fsync": "on",
            "synchronous_commit": "on",
            "log_checkpoints": "off",
        }
        log, begins = open_log(self.data / "logs" / "postgres.log")
        command = [str(programs.postgres), "-D", here(account, cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with log:
            process = account.spawn(command, cwd=cluster, log=log, at_parents_death=signal.SIGINT)

        def is_ready() -> bool:
            try:
                lines = (cluster / "postmaster.pid").read_text().splitlines()
            except FileNotFoundError:
                return False
            return len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready"

        self._engines.append(_Engine("PostgreSQL", process, Path(log.name), begins, signal.SIGINT, is_ready))

    def _wait(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        waiting = list(self._engines)
        while waiting:
            for engine in list(waiting):
                if (code := engine.process.poll()) is not None:
                    raise engine.failed(f"did not start (status {code})")
                if engine.is_ready():
                    waiting.remove(engine)
                elif time.monotonic() > deadline:
                    raise engine.failed(f"was not ready within {_READY_WITHIN:.0f} s")
            time.sleep(0.005)


def endpoints_of(data: Path) -> Endpoints:
    """Where the engines listen that another process runs on this data folder. Raises EnginesNotRunning."""
    data = data.absolute()
    nobody = EnginesNotRunning(f"no engines run on data folder {data}: start them with `folkmoot up --data {data}`")
    try:
        handle = os.open(data / "lock", os.O_RDONLY)
    except FileNotFoundError:
        raise nobody from None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        raise nobody
    except BlockingIOError:
        found = read_json(data / "runtime.json")
    finally:
        os.close(handle)
    names = ("superuser_url", "owner_url", "runtime_url", "redis_url")
    if not all(name in found for name in names):
        raise EnginesNotRunning(f"the engines of data folder {data} are still starting: try again in a moment")
    return Endpoints(*(found[name] for name in names))


def secret_key(data: Path) -> bytes:
    """The 32-byte master key of this data folder, made on first use; the first, while there are two."""
    return base64.b64decode(secret_keys(data)[0])


def secret_keys(data: Path) -> tuple[str, ...]:
    """The master keys of this data folder in base64: one, and while it is being exchanged two, the new one first."""
    return tuple(_secrets(data.absolute())["secret_key"].split(","))


def master_key_file(data: Path) -> Path:
    """A file with nothing but the master keys, as processes read it; `secrets.json` is what counts."""
    path = data.absolute() / "master-key"
    if read_text(path) != ",".join(secret_keys(data)):
        write_private_text(path, ",".join(secret_keys(data)))
    return path


def put_secret_keys(data: Path, keys: Sequence[str]) -> None:
    """Replace the master keys of this data folder, each file at once or not at all."""
    write_private(data.absolute() / "secrets.json", _secrets(data.absolute()) | {"secret_key": ",".join(keys)})
    master_key_file(data)


def _secrets(data: Path) -> dict[str, str]:
    path = data / "secrets.json"
    if not path.exists():
        if (data / "postgres" / "PG_VERSION").exists():
            raise EngineFailed(f"{path} is missing but its database is there: put it back from a backup")
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = {name: secrets.token_urlsafe(24) for name in (SUPERUSER, OWNER, RUNTIME, "redis")}
        made["secret_key"] = base64.b64encode(secrets.token_bytes(32)).decode()
        draft = path.with_suffix(f".{secrets.token_hex(4)}")
        write_private(draft, made)
        with contextlib.suppress(FileExistsError):  # another process was first: its secrets count
            os.link(draft, path)
        draft.unlink()
    found = read_json(path)
    if not {SUPERUSER, OWNER, RUNTIME, "redis", "secret_key"} <= found.keys():
        raise EngineFailed(f"{path} is damaged: put it back from a backup")
    return found


def _set_up_database(programs: Programs, sockets: Path, passwords: Mapping[str, str]) -> None:
    """Make roles, database and extension, or bring them back to how they should be."""
    roles = "".join(
        f"SELECT 'CREATE ROLE {role}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec\n"
        f"ALTER ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"
        f" PASSWORD '{passwords[role]}';\n"
        for role in (OWNER, RUNTIME)
    )
    script = (
        "SET client_min_messages = warning; SET log_min_error_statement = panic;\n"  # no password in the log
        f"{roles}SELECT 'CREATE DATABASE {DATABASE} OWNER {OWNER}'"
        f" WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec\n"
        f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC; GRANT CONNECT ON DATABASE {DATABASE} TO {RUNTIME};\n"
        f"\\connect {DATABASE}\nSET client_min_messages = warning;\n"
        "CREATE EXTENSION IF NOT EXISTS vector; ALTER EXTENSION vector UPDATE;\n"  # not trusted: owner may not
    )
    command = [str(programs.psql), "-Xq", "-v", "ON_ERROR_STOP=1", "-h", str(sockets), "-U", SUPERUSER]
    done = subprocess.run(
        [*command, "-d", "postgres"],
        check=False,
        input=script,
        capture_output=True,
        text=True,
        env=ENVIRONMENT | {"PGPASSWORD": passwords[SUPERUSER]},
    )
    if done.returncode != 0:
        raise engine_failed("PostgreSQL refused the set-up of its roles", done.stderr, "see the lines below")
