"""What the worker measures: golden questions, and how well models know languages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.jobs import sweep, task
from folkmoot.knowledge.embedding import fitness
from folkmoot.knowledge.golden.service import left_runs, queue_run, run_golden, wanting

QUEUED_PATIENCE = timedelta(seconds=30)
LOOK_SECONDS = 120
"""How often an organisation is looked over: what is looked for changes slowly."""
NIGHT = 1
"""The hour, in UTC, from which on a day's runs are made."""


@task("knowledge.measure_golden", lane="maintenance")
async def measure_golden(app: App, *, tenant_id: str, run_id: str) -> None:
    """Ask the golden questions of a collection."""
    await run_golden(app, UUID(tenant_id), UUID(run_id))


@task("knowledge.measure_fitness", lane="maintenance", attempts=2)
async def measure_fitness(app: App, *, tenant_id: str, space_id: str, language: str, chunk_count: int) -> None:
    """Measure how well the model of an embedding space knows a language."""
    await fitness.measure(app, UUID(tenant_id), fitness.Due(UUID(space_id), language, chunk_count))


@sweep
async def find_left_runs(app: App, tenant_id: UUID) -> None:
    """Do the runs whose call was lost, or whose worker died."""
    async with app.begin(Principal.system(tenant_id)) as work:
        for run_id in await left_runs(work, QUEUED_PATIENCE):
            work.enqueue(measure_golden, tenant_id=tenant_id, run_id=run_id)


@sweep
async def find_unmeasured(app: App, tenant_id: UUID) -> None:
    """Measure what has grown, moved, or waited for the night."""
    if await app.redis.set(f"folkmoot:measured:{tenant_id}", "1", nx=True, ex=LOOK_SECONDS):
        await look_over(app, tenant_id, datetime.now(UTC))


async def look_over(app: App, tenant_id: UUID, now: datetime) -> None:
    """Call for every measurement of an organisation that is due."""
    night = now.replace(hour=NIGHT, minute=0, second=0, microsecond=0)
    if now < night:
        night -= timedelta(days=1)
    async with app.begin(Principal.system(tenant_id)) as work:
        for wanted in await fitness.due(work):
            work.enqueue(
                measure_fitness,
                tenant_id=tenant_id,
                space_id=wanted.space_id,
                language=wanted.language,
                chunk_count=wanted.chunk_count,
            )
        for collection, cause in await wanting(work, night):
            await queue_run(work, collection, cause, measure_golden)
