"""How fast a long conversation opens, and is found among many: `python -m benchmarks conversation`.

At the server: the whole request through the application, from its first byte to its last, without a network. Reference,
in the same run: one bare SELECT of the same rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import asyncpg
from uuid_utils.compat import uuid7

from benchmarks.house import within
from benchmarks.report import Report
from folkmoot.assemble import assemble
from folkmoot.embedded import Endpoints
from folkmoot.main import create_app
from folkmoot.settings import Settings
from tests.support.people import Person, Tenancy

MESSAGES = 500
OTHERS = 100_000
"""Messages of other people in the same organisation."""
TIMES = 30
OPENS = 50.0
FINDS = 50.0
"""Milliseconds."""
SENTENCE = "A fence along the street may be 1.2 metres high where nobody else is kept from seeing [{n}]. "
QUOTE = "Along streets and squares fences must not be higher than 1.2 metres, measured from the pavement. " * 2
_ADD = """
INSERT INTO messages (id, tenant_id, conversation_id, parent_id, role, content, reasoning, status, stop_requested,
    collection_ids, passages, citations, sentences, trace, model, usage, finished_at)
VALUES ($1, $2, $3, $4, $5, $6, '', 'complete', false, '[]', $7, $8, $9, $10, $11, $12, now())
"""
_BARE = "SELECT id FROM messages WHERE conversation_id = $1 AND words @@ to_tsquery('simple', 'hedge:*') LIMIT 20"
_OTHERS = """
INSERT INTO messages (id, tenant_id, conversation_id, role, content, reasoning, status, stop_requested, collection_ids,
    passages, citations, finished_at)
SELECT uuidv7(), $1, $2, 'assistant', 'A fence or a hedge of number ' || i || repeat(' may be as high as this', 20), '',
    'complete', false, '[]', '[]', '[]', now() FROM generate_series(1, $3::int) AS i
"""


def run(report: Report, folder: Path) -> None:
    within(folder, lambda settings, points: _measure(report, settings, points))


async def _measure(report: Report, settings: Settings, points: Endpoints) -> None:
    async with assemble(settings) as app, asyncpg.create_pool(points.superuser_url, min_size=1, max_size=2) as bare:
        litestar = create_app(settings)
        litestar.state.app = app
        tenancy = Tenancy(app, litestar)
        owner = await tenancy.owner()
        other = await tenancy.colleague(owner)
        assistant = await owner.assistant(await owner.space())
        conversation = UUID(await owner.conversation(assistant))
        await _fill(bare, owner, conversation)
        theirs = UUID(await owner.conversation(assistant))
        await bare.execute("UPDATE conversations SET user_id = $1 WHERE id = $2", other.user.id, theirs)
        await bare.execute(_OTHERS, owner.tenant_id, theirs, OTHERS)
        await bare.execute("VACUUM ANALYZE messages")
        await bare.execute("ANALYZE conversations")

        rows = "SELECT * FROM messages WHERE conversation_id = $1 ORDER BY id LIMIT 1001"
        path = f"/conversations/{conversation}/messages"
        bare_ms = await _took(lambda: bare.fetch(rows, conversation))
        used = time.process_time()
        opens_ms = await _took(lambda: _get(owner, path, MESSAGES, limit=1000))
        own_ms = (time.process_time() - used) / TIMES * 1000
        reference = f"a bare SELECT of its rows {bare_ms:.1f} ms"
        report.line(f"opening a conversation of {MESSAGES} messages", opens_ms, "ms", OPENS, reference)
        report.note(f"of that, {own_ms:.1f} ms of a core for the server and the client in its process")
        leaf = str(await bare.fetchval("SELECT max(id::text) FROM messages WHERE conversation_id = $1", conversation))
        branch_ms = await _took(lambda: _get(owner, path, MESSAGES, limit=1000, branch=leaf))
        report.line("opening it as one branch", branch_ms, "ms", OPENS, reference)

        bare_ms = await _took(lambda: bare.fetch(_BARE, theirs))
        reference = f"among {OTHERS:,} messages of others; a bare SELECT of those {bare_ms:.1f} ms"
        for said, many in (("fence", 1), ("nobody-said-this", 0)):
            finds_ms = await _took(partial(_get, owner, "/conversations/search", many, q=said))
            report.line(f"finding {said} in one's own", finds_ms, "ms", FINDS, reference)
        await tenancy.close()


async def _took(call: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds at the median."""
    took: list[float] = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        await call()
        took.append(time.perf_counter() - begun)
    return median(took) * 1000


async def _get(person: Person, path: str, many: int, **params: object) -> None:
    response = await person.get(path, params=params)
    # Every item has one; taking a megabyte of JSON apart would be measured too.
    items = response.content.count(b'"created_at":')
    if response.status_code != 200 or items != many:
        raise RuntimeError(f"{path} answered {response.status_code}: {response.text[:300]}")


async def _fill(bare: asyncpg.Pool, owner: Person, conversation: UUID) -> None:
    """Questions and answers of a page each, with citations and checked sentences."""
    ids = sorted(uuid7() for _ in range(MESSAGES))
    document, chunk = str(uuid4()), str(uuid4())
    passages = [
        {"n": n, "document_id": document, "document_name": "rules.pdf", "chunk_id": chunk, "page": 3, "score": 0.5}
        for n in range(1, 9)
    ]
    cited = [
        {"n": n, "document_id": document, "document_name": "rules.pdf", "chunk_id": chunk, "page": 3, "start": 10,
         "end": 10 + len(QUOTE), "quote": QUOTE, "support": "supported"}
        for n in range(1, 5)
    ]  # fmt: skip
    sentences = [
        {"start": n * 100, "end": n * 100 + 90, "support": "supported", "n": 1, "document_id": document,
         "quote": QUOTE, "source_start": 10, "source_end": 10 + len(QUOTE)}
        for n in range(12)
    ]  # fmt: skip
    model = json.dumps({"id": str(uuid4()), "name": "stub-chat", "provider": "openai"})
    usage = json.dumps({"input_tokens": 2000, "output_tokens": 400})
    rows = []
    for place, message_id in enumerate(ids):
        parent = ids[place - 1] if place else None
        shared = (message_id, owner.tenant_id, conversation, parent)
        if place % 2 == 0:
            rows.append((*shared, "user", f"How high may fence {place} be?", "[]", "[]", "[]", "{}", None, None))
            continue
        content = "".join(SENTENCE.format(n=1 + n % 4) for n in range(14))
        told = (json.dumps(passages), json.dumps(cited), json.dumps(sentences), '{"retrieval": {"kind": "search"}}')
        rows.append((*shared, "assistant", content, *told, model, usage))
    await bare.executemany(_ADD, rows)
