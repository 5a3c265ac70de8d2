"""How fast the log is sealed, verified and read: `python -m benchmarks.audit --rows 1000000`.

References, in the same run: reading the same rows with COPY, counting them, and the bare query of the page.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from uuid import UUID

import asyncpg

from benchmarks.house import within
from benchmarks.report import Report
from folkmoot.assemble import assemble
from folkmoot.audit.seal import seal
from folkmoot.audit.verify import verify
from folkmoot.embedded import Endpoints
from folkmoot.kit.app import App
from folkmoot.main import create_app
from folkmoot.settings import Settings
from tests.support.people import Person, Tenancy

ROWS = 1_000_000
DAYS = 365
ACTORS = 200
PAGES = 200
CHUNK = 5_000

_USERS = """
INSERT INTO users (id, tenant_id, email, name, role)
SELECT uuidv7(), $1, 'person' || n || '@bench.example', 'Person ' || n, 'user' FROM generate_series(1, $2::int) n
RETURNING id
"""
# Some people do much and most do little; what they do follows no pattern.
_EVENTS = """
INSERT INTO events (id, tenant_id, actor_kind, actor_id, action, object_type, object_id, request_id, ip, user_agent,
                    data, created_at)
SELECT uuidv7(shift), $1, 'user', ($2::uuid[])[1 + floor(array_length($2, 1) * power(random(), 3))::int],
    (ARRAY['session.started', 'session.ended', 'session.failed', 'message.asked', 'message.completed',
           'document.ready', 'space.updated', 'assistant.updated'])[1 + floor(8 * random())::int],
    'thing', gen_random_uuid(), md5(n::text), '192.0.2.' || n % 250,
    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    jsonb_build_object('name', 'Building permits', 'revision', n % 90), now() + shift
FROM (SELECT n, make_interval(secs => -$3::float * (1 - n / $4::float)) AS shift
      FROM generate_series($5::int, $6::int) n) s
"""


def run(report: Report, folder: Path, rows: int = ROWS) -> None:
    within(
        folder,
        lambda settings, points: _measure(report, settings, points, rows),
        requests_per_user=0,
        requests_per_tenant=0,
    )


async def _measure(report: Report, settings: Settings, points: Endpoints, rows: int) -> None:
    database = await asyncpg.connect(points.superuser_url)
    async with assemble(settings) as app:
        api = create_app(settings)
        api.state.app = app
        tenancy = Tenancy(app, api)
        owner = await tenancy.owner()
        people = [row["id"] for row in await database.fetch(_USERS, owner.tenant_id, ACTORS)]
        await _fill(database, owner.tenant_id, people, rows)
        await _sealed(report, app, owner.tenant_id, rows)
        await _verified(report, app, database, owner.tenant_id, rows)
        await _read(report, owner, database, people)
        await tenancy.close()
    await database.close()


async def _fill(database: asyncpg.Connection, tenant_id: UUID, people: list[UUID], rows: int) -> None:
    begun = time.perf_counter()
    for start in range(1, rows + 1, CHUNK):
        end = min(start + CHUNK - 1, rows)
        await database.execute(_EVENTS, tenant_id, people, DAYS * 86_400.0, float(rows), start, end)
    await database.execute("VACUUM ANALYZE events")
    print(f"     {rows} events put in within {time.perf_counter() - begun:.0f} s", flush=True)


async def _sealed(report: Report, app: App, tenant_id: UUID, rows: int) -> None:
    begun = time.perf_counter()
    while await seal(app, tenant_id):
        pass
    took = time.perf_counter() - begun
    report.line(f"sealing {rows} events", took, "s", rows / 25_000, f"{rows / took:.0f} a second; goal 25000 a second")


async def _verified(report: Report, app: App, database: asyncpg.Connection, tenant_id: UUID, rows: int) -> None:
    query = f"SELECT * FROM events WHERE tenant_id = '{tenant_id}' ORDER BY xid, seq"
    copied = await _timed(database.copy_from_query(query, output=_nowhere))
    counted = await _timed(database.fetchval("SELECT count(*) FROM events WHERE tenant_id = $1", tenant_id))
    begun = time.perf_counter()
    found = await verify(app, tenant_id)
    took = time.perf_counter() - begun
    assert not found.faults, found.faults[0]
    assert found.events >= rows
    report.line(
        f"audit verify of {found.events} events",
        took,
        "s",
        rows / 50_000,
        f"{found.events / took:.0f} a second; COPY of the rows alone {copied:.2f} s, counting them {counted:.2f} s",
    )


async def _read(report: Report, owner: Person, database: asyncpg.Connection, people: list[UUID]) -> None:
    reason = (await owner.made("/audit/reasons", reason="To measure how long it takes"))["id"]
    dice = random.Random(7)
    ours: list[float] = []
    bare: list[float] = []
    shown = 0
    for number in range(PAGES + 20):
        actor = dice.choice(people)
        since = datetime.now(UTC) - timedelta(days=dice.uniform(1, DAYS))
        until = since + timedelta(days=dice.choice((1, 7, 30)))
        query = {"reason_id": reason, "actor_id": str(actor), "from": since.isoformat(), "to": until.isoformat()}
        begun = time.perf_counter()
        page = await owner.get("/audit/events", params=query)
        took = time.perf_counter() - begun
        assert page.status_code == 200, page.text
        alone = await _timed(
            database.fetch(
                "SELECT * FROM events WHERE tenant_id = $1 AND actor_id = $2 AND created_at >= $3 AND created_at < $4"
                " ORDER BY id DESC LIMIT 50",
                owner.tenant_id,
                actor,
                since,
                until,
            )
        )
        if number >= 20:
            ours.append(took)
            bare.append(alone)
            shown += len(page.json()["items"])
    _page(report, "a page by actor and date, median", median(ours), bare, shown)
    _page(report, "a page by actor and date, 95th percentile", _p95(ours), bare, shown)
    others: list[tuple[str, dict[str, str]]] = [
        ("a page by family of actions", {"action": "session."}),
        ("a page by an action that there is not", {"action": "nothing.happened"}),
        ("a page by nothing", {}),
    ]
    for name, narrowed in others:
        times = [
            await _timed(owner.get("/audit/events", params={"reason_id": reason, **narrowed}))
            for _ in range(PAGES // 4)
        ]
        report.line(f"{name}, 95th percentile", _p95(times) * 1000, "ms", 20, f"median {median(times) * 1000:.1f} ms")


def _page(report: Report, what: str, seconds: float, bare: list[float], shown: int) -> None:
    report.line(
        what,
        seconds * 1000,
        "ms",
        20,
        f"bare query without our bounds {median(bare) * 1000:.1f} ms, 95th {_p95(bare) * 1000:.1f} ms;"
        f" {shown / PAGES:.0f} events a page",
    )


def _p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


async def _nowhere(_: bytes) -> None:
    pass


async def _timed(waited: object) -> float:
    begun = time.perf_counter()
    await waited  # type: ignore[misc]
    return time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    report = Report()
    with tempfile.TemporaryDirectory(prefix="folkmoot-bench-") as folder:
        run(report, Path(folder), rows)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
