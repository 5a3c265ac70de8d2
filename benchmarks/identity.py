"""What knowing the caller costs: `GET /me` by token and by API key, beside a bare route with one SELECT.

Reference: Litestar on Granian with one asyncpg SELECT by primary key, on the same database, in the same run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import httpx

from benchmarks.load import requests_per_second
from benchmarks.report import Report
from folkmoot.embedded import endpoints_of
from tests.support.server import Server, free_port, until

ROUNDS = 5


def run(report: Report, folder: Path) -> None:
    server = Server(folder / "data").start()
    bare, port = None, free_port()
    try:
        with server.client() as client:
            token = client.headers["Authorization"]
            me = client.get("/me").json()
            key = client.post("/api-keys", json={"name": "Bench"})
        bare = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare"],
            env=os.environ | {"BARE_PORT": str(port), "BARE_DATABASE": endpoints_of(server.data).superuser_url},
        )
        path = f"/users/{me['user']['id']}"
        until(lambda: _answers(f"http://127.0.0.1:{port}{path}"), what="the bare route")
        _measure(report, server, port, path, token, f"Bearer {key.json()['key']}" if key.is_success else None)
    finally:
        if bare is not None:
            bare.terminate()
            bare.wait()
        server.stop()


def _measure(report: Report, server: Server, port: int, path: str, token: str, key: str | None) -> None:
    plain: list[float] = []
    signed: list[float] = []
    keyed: list[float] = []
    for _ in range(ROUNDS):
        # In turns, so that whatever else the machine does falls on all of them.
        plain.append(requests_per_second(port, path, seconds=2))
        signed.append(requests_per_second(server.port, "/api/v1/me", {"Authorization": token}, seconds=2))
        if key is not None:
            keyed.append(requests_per_second(server.port, "/api/v1/me", {"Authorization": key}, seconds=2))
    reference = f"bare route {median(plain):.0f} a second"
    report.line("GET /me by token, time of the bare route", median(plain) / median(signed), "×", 1 / 0.45,
                f"{median(signed):.0f} a second, {median(signed) / median(plain):.0%}; {reference}")  # fmt: skip
    if key is not None:
        report.line("GET /me by API key, time of the bare route", median(plain) / median(keyed), "×", 1 / 0.45,
                    f"{median(keyed):.0f} a second, {median(keyed) / median(plain):.0%}; {reference}")  # fmt: skip


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
