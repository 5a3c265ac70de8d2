"""An installation of several API processes and workers, each of which can be killed and started again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import psutil

from folkmoot import migrate
from folkmoot.assemble import assemble
from folkmoot.embedded import Endpoints, Engines, master_key_file
from folkmoot.kit.process import die_with_parent
from folkmoot.platform.service import ensure_first
from folkmoot.settings import Settings
from folkmoot.up import environment_of, settings_for
from tests.support.server import EMAIL, PASSWORD, environment, free_port, until


class Part:
    """One process, and those below it."""

    def __init__(self, name: str, arguments: list[str], variables: dict[str, str], log: Path) -> None:
        self.name, self.log = name, log
        self._arguments, self._variables = arguments, variables
        self.process: subprocess.Popen[bytes] | None = None
        self._before = 0
        """Length of the log when it was started last."""

    def start(self) -> None:
        self._before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "folkmoot", *self._arguments],
                env=self._variables,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )

    def said(self, words: str) -> bool:
        """Whether its log has these since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self._before)
            return words.encode() in log.read()

    def kill(self) -> None:
        """`kill -9` of it and all below it."""
        assert self.process is not None
        try:
            top = psutil.Process(self.process.pid)
            family = [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        for found in family:
            try:
                found.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait(20)
        psutil.wait_procs(family, 20)

    def stop(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


class Installation:
    """Engines in this process; APIs and workers as processes of their own, on ports of their own."""

    def __init__(self, folder: Path, *, apis: int = 2, workers: int = 2, **variables: str) -> None:
        self.engines = Engines(folder / "data")
        self.points: Endpoints = self.engines.start()
        migrate.upgrade(self.points.owner_url)
        told = environment(FOLKMOOT_LOG_LEVEL="info", FOLKMOOT_LOG_FORMAT="text", **variables)
        base = Settings(admin_email=EMAIL, admin_password=PASSWORD, openai_api_key=variables.get("OPENAI_API_KEY", ""),
                        openai_base_url=variables.get("OPENAI_BASE_URL", ""))  # fmt: skip
        settings = settings_for(folder / "data", self.points, base)
        asyncio.run(_first(settings))
        told |= environment_of(settings) | {"FOLKMOOT_SECRET_KEY_FILE": str(master_key_file(folder / "data"))}
        self.ports = [free_port() for _ in range(apis)]
        self.apis = [
            Part(f"API {n}", ["serve"], told | {"FOLKMOOT_PORT": str(port)}, folder / f"api-{n}.log")
            for n, port in enumerate(self.ports, start=1)
        ]
        self.workers = [
            Part(f"worker {n}", ["worker"], told, folder / f"worker-{n}.log") for n in range(1, workers + 1)
        ]
        for part in self.parts:
            part.start()
        self.wait_until_ready()

    @property
    def parts(self) -> list[Part]:
        return [*self.apis, *self.workers]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/api/v1" for port in self.ports]

    def wait_until_ready(self, seconds: float = 180) -> None:
        """Until every process does its work."""
        for port in self.ports:
            until(lambda port=port: self._ready(port), seconds, f"port {port} ready")
        for worker in self.workers:
            until(lambda worker=worker: worker.said("worker.ready"), seconds, f"{worker.name} ready")

    def _ready(self, port: int) -> bool:
        for part in self.parts:
            assert part.process is not None
            assert part.process.poll() is None, f"{part.name}: {part.log.read_text()[-2000:]}"
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        for part in self.parts:
            part.stop()
        self.engines.stop()

    def token(self) -> str:
        body = {"email": EMAIL, "password": PASSWORD}
        signed = httpx.post(f"{self.urls[0]}/auth/login", json=body, timeout=30)
        assert signed.status_code in (200, 201), signed.text
        return signed.json()["access_token"]

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[list[httpx.AsyncClient]]:
        """One signed-in client for each API process."""
        headers = {"Authorization": f"Bearer {await asyncio.to_thread(self.token)}"}
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=0)
        made = [
            httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False, limits=limits)
            for url in self.urls
        ]
        try:
            yield made
        finally:
            for client in made:
                await client.aclose()


async def _first(settings: Settings) -> None:
    async with assemble(settings) as app:
        await ensure_first(app)


@contextmanager
def installation(folder: Path, **options) -> Iterator[Installation]:
    made = Installation(folder, **options)
    try:
        yield made
    finally:
        made.close()


async def conversation(client: httpx.AsyncClient, assistant: str) -> str:
    answer = await client.post(f"/assistants/{assistant}/conversations")
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def assistant(client: httpx.AsyncClient) -> str:
    space = await client.post("/spaces", json={"name": "Bench"})
    assert space.status_code == 201, space.text
    made = await client.post(f"/spaces/{space.json()['id']}/assistants", json={"name": "Bench"})
    assert made.status_code == 201, made.text
    return made.json()["id"]
