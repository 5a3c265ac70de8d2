"""A provider's key is in no log, no error, no event, no export, no table and no stream, whatever the provider says."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from folkmoot.kit.recorder import Recorder
from folkmoot.migrate import METADATA
from tests.support.openai_stub import OpenAIStub

KEY = "sk-proj-The0nlyKeyThatMustNeverBeSeen4711"


@dataclass
class Told:
    answers: list[str]
    logged: list[str]


@pytest.fixture
async def told(owner, caplog, capfd):
    """Everything that a client was told, while a connection is made, used, broken and removed."""
    caplog.set_level(logging.DEBUG)
    answers: list[str] = []
    async with OpenAIStub(api_key=KEY) as stub:

        async def call(method: str, path: str, **fields) -> dict:
            response = await owner.request(method, path, **fields)
            answers.append(response.text + str(response.headers))
            return response.json() if "json" in response.headers.get("content-type", "") else {}

        config = {"api_key": KEY, "base_url": stub.url}
        made = await call("POST", "/connections", json={"kind": "openai", "name": "Ours", "config": config})
        path = f"/connections/{made['id']}"
        await call("POST", "/connections/check", json={"kind": "openai", "config": config})
        await call("POST", "/connections/check", json={"kind": "openai", "config": config | {"silence_limit": KEY}})
        await call("POST", "/connections", json={"kind": "openai", "name": KEY * 9, "config": {"api_key": [KEY]}})
        assistant = await owner.assistant(await owner.space())
        for status, code in ((401, "invalid_api_key"), (429, "insufficient_quota"), (400, "context_length_exceeded")):
            conversation = await owner.conversation(assistant)
            question = f"Hello [[status={status} code={code} repeat-key]]"
            await call("POST", f"/conversations/{conversation}/messages", json={"content": question})
        stub.api_key = "sk-another-one-that-was-rotated"
        await call("POST", f"{path}/check")
        conversation = await owner.conversation(assistant)
        await call("POST", f"/conversations/{conversation}/messages", json={"content": "Hello"})
        for where in (path, "/connections", "/models", f"{path}/models", "/providers", "/plugins", "/usage"):
            await call("GET", where)
        await call("GET", "/usage.csv", params={"by": "entry"})
        await call("PATCH", path, json={"config": {"api_key": "********", "organization": "org-1"}})
        reason = await call("POST", "/audit/reasons", json={"reason": "To look for a key"})
        await call("GET", "/audit/export", params={"reason_id": reason.get("id")})
        await call("DELETE", path)
    out = capfd.readouterr()
    records = caplog.get_records("setup")
    return Told(answers, [caplog.text, out.out, out.err, *(str(record.__dict__) for record in records)])


async def test_what_clients_are_told_has_no_key(told):
    assert len(told.answers) > 15
    assert any("***" in answer and "You sent" in answer for answer in told.answers), "the provider did repeat the key"
    assert [answer for answer in told.answers if KEY in answer] == []


async def test_logs_have_no_key(told):
    assert any("breaker.changed" in line for line in told.logged), "something was logged, so this looked at something"
    assert [line for line in told.logged if KEY in line] == []


async def test_no_table_has_the_key(told, app, superuser):
    await app.part(Recorder).flush()
    async with superuser.connect() as connection:
        for table in METADATA.sorted_tables:
            found = await connection.scalar(
                text(f"SELECT count(*) FROM {table.name} AS row WHERE row::text LIKE :key"), {"key": f"%{KEY}%"}
            )
            assert found == 0, f"{table.name} has the key"
            sealed = await connection.scalar(
                text(f"SELECT count(*) FROM {table.name} AS row WHERE row::text LIKE :key"),
                {"key": f"%{KEY.encode().hex()}%"},
            )
            assert sealed == 0, f"{table.name} has the key as bytes"


async def test_no_stream_or_queue_has_the_key(told, app):
    async for name in app.redis.scan_iter(count=1000):
        try:
            whole = await app.redis.dump(name)
        except Exception:  # noqa: BLE001 - it expired meanwhile
            continue
        assert whole is None or KEY.encode() not in whole, name
