"""`folkmoot up`: engines, worker and API on this machine, started together and stopped together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import httpx

from folkmoot import embedded, migrate
from folkmoot.kit.process import die_with_parent
from folkmoot.settings import Settings

READY_SECONDS = 60.0
LEAVE_SECONDS = 7.0
Say = Callable[[str], None]


class UpError(Exception):
    """Something did not start; the sentence says what and what to do."""


def settings_for(data: Path, endpoints: embedded.Endpoints, base: Settings) -> Settings:
    """`base`, pointed at the engines of a data folder."""
    return replace(
        base,
        database_url=endpoints.runtime_url,
        owner_database_url=endpoints.owner_url,
        redis_url=endpoints.redis_url,
        secret_key=embedded.secret_keys(data),
        storage_url=(data.absolute() / "files").as_uri(),
    )


def environment_of(settings: Settings) -> dict[str, str]:
    """What the processes of `up` are told that differs from our own environment."""
    return {
        "FOLKMOOT_DATABASE_URL": settings.database_url,
        "FOLKMOOT_REDIS_URL": settings.redis_url,
        "FOLKMOOT_STORAGE_URL": settings.storage_url,
        "FOLKMOOT_HOST": settings.host,
        "FOLKMOOT_PORT": str(settings.port),
        # Worker and API have no use for these.
        "FOLKMOOT_ADMIN_PASSWORD": "",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass
class Child:
    """One process of ours, started again when it dies."""

    name: str
    arguments: list[str]
    environment: dict[str, str] = field(repr=False)
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0

    def start(self) -> None:
        self.started = time.monotonic()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "folkmoot", *self.arguments],
                env=_without_key(os.environ) | self.environment,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                # Ctrl-C reaches the supervisor alone, which then stops things in order.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def revive(self, say: Say) -> None:
        """Start it again if it died: at once the first time, then with growing pauses."""
        if self.process is None or self.process.poll() is None:
            if time.monotonic() - self.started > 60:
                self.deaths = 0
            return
        pause = min(30.0, 0.5 * 2**self.deaths) if self.deaths else 0.0
        if time.monotonic() - self.started < pause:
            return
        self.deaths += 1
        say(f"the {self.name} ended (status {self.process.returncode}) and is started again; its log is {self.log}")
        self.start()

    def tail(self) -> str:
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
        return ""


class Up:
    """The supervisor."""

    def __init__(self, data: Path, base: Settings, say: Say) -> None:
        self._data, self._base, self._say = data, base, say
        self._engines = embedded.Engines(data, say=say)
        self._children: list[Child] = []
        self._stopping = False

    def run(self) -> None:
        """Start, say where to go, watch, and stop on SIGINT or SIGTERM.

        Raises `embedded.DataFolderInUse`, `embedded.EngineFailed` or `UpError`.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        _check_port(self._base.host, self._base.port)
        begun = time.monotonic()
        try:
            self.start()
            seconds = time.monotonic() - begun
            self._say(
                f"Folkmoot is ready after {seconds:.1f} s at http://{_shown(self._base.host)}:{self._base.port}/api/docs"
            )
            self._say("Press Ctrl-C to stop.")
            while not self._stopping:
                time.sleep(0.2)
                if (failure := self._engines.died()) is not None:
                    raise failure
                for child in self._children:
                    child.revive(self._say)
        except _StoppedError:
            pass
        finally:
            self.stop()

    def start(self) -> Settings:
        """Engines, migrations, worker and API, the first tenant; returns when `/health/ready` says so."""
        endpoints = self._engines.start()
        settings = settings_for(self._data, endpoints, self._base)
        fresh = migrate.upgrade(endpoints.owner_url)
        if fresh:
            # Before anything says that it is ready: whoever asks then can sign in.
            self._say("database migrated")
            self._first(settings)
        # From a file, so that `folkmoot keys rotate --data` can change it under them.
        environment = environment_of(settings) | {"FOLKMOOT_SECRET_KEY_FILE": str(embedded.master_key_file(self._data))}
        logs = self._data / "logs"
        logs.mkdir(exist_ok=True)
        for name, arguments in (("worker", ["worker"]), ("API", ["serve"])):
            child = Child(name, arguments, environment, logs / f"{name.lower()}.log")
            child.start()
            self._children.append(child)
        if not fresh:
            self._first(settings)
        self._wait_until_ready()
        return settings

    def _first(self, settings: Settings) -> None:
        from folkmoot.assemble import assemble
        from folkmoot.platform.service import ensure_first

        async def make() -> None:
            async with assemble(settings) as app:
                made = await ensure_first(app)
            if made is None:
                return
            self._say(f"first administrator: {made.email}")
            if made.generated:
                self._say(f"password (shown only now): {made.password}")

        asyncio.run(make())

    def _wait_until_ready(self) -> None:
        url = f"http://{_shown(self._base.host)}:{self._base.port}/health/ready"
        deadline = time.monotonic() + READY_SECONDS
        with httpx.Client(trust_env=False, timeout=2) as client:
            while time.monotonic() < deadline:
                if self._stopping:
                    raise _StoppedError
                for child in self._children:
                    if child.process is not None and child.process.poll() is not None:
                        raise UpError(f"the {child.name} did not start:\n{child.tail()}")
                with suppress(httpx.TransportError):
                    if client.get(url).status_code == 200:
                        return
                time.sleep(0.05)
        raise UpError(f"{url} was not ready within {READY_SECONDS:.0f} s:\n{self._children[-1].tail()}")

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def stop(self) -> None:
        """Stop everything; nothing of ours runs afterwards."""
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + LEAVE_SECONDS
        for child in self._children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self._engines.stop(timeout=max(1.0, deadline + 2 - time.monotonic()))


class _StoppedError(Exception):
    """Told to stop before everything was up."""


def _without_key(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != "FOLKMOOT_SECRET_KEY"}


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - only what is shown and asked
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UpError(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port") from error
