"""Workers that do nothing, and parsers that never end."""

from __future__ import annotations

import pytest

from folkmoot.parsing.pool import ParserPool
from tests.knowledge.stuck import Stuck


@pytest.fixture
async def held(monkeypatch):
    """Keeps the worker from reading: the documents of the test stay queued."""

    async def nothing(*_):
        return None

    monkeypatch.setattr("folkmoot.knowledge.tasks.ingest", nothing)


@pytest.fixture
async def stuck(monkeypatch):
    """Files whose names begin with `slow` are read until `stuck.go` is set, which the end of the test does."""
    made = Stuck(ParserPool.parse)

    def parse(pool, file, **options):
        return made.parse(pool, file, **options)

    monkeypatch.setattr(ParserPool, "parse", parse)
    yield made
    made.go.set()
