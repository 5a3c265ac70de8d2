"""Readers that are cut off, workers that die or are overtaken, streams that are lost: nothing that was seen is."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import update

from folkmoot.conversations.answering.answer import _finish, _renew, answer
from folkmoot.conversations.answering.claim import claim
from folkmoot.conversations.answering.follow import follow
from folkmoot.conversations.answering.run import Running
from folkmoot.conversations.models import Message
from folkmoot.conversations.tasks import find_left_answers
from folkmoot.kit import stream
from folkmoot.kit.access import Principal
from folkmoot.kit.stream import key_of
from tests.conversations.conftest import eventually, said

CUTS = 10


@pytest.fixture
async def unheard(monkeypatch):
    """Keeps the worker from answering: the test does so itself."""

    async def nothing(*_):
        return None

    monkeypatch.setattr("folkmoot.conversations.tasks.answer", nothing)


async def change(app, talk, message_id: str, **values) -> None:
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        await work.session.execute(update(Message).where(Message.id == UUID(message_id)).values(**values))


async def row_of(app, talk, message_id: str) -> Message:
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        return await work.session.get_one(Message, UUID(message_id))


def lapsed() -> datetime:
    """When the lease of a worker that died has run out."""
    return datetime.now(UTC) - timedelta(seconds=1)


async def test_a_reader_that_is_cut_off_ten_times_has_the_same_text_byte_for_byte(talk, app):
    asking, pending = await talk.begin("[[tokens=120 delay=0.01]]")
    message = await row_of(app, talk, pending["id"])
    principal, chance = Principal.system(talk.person.tenant_id), random.Random(4)
    principal = replace(principal, kind="user", user_id=talk.person.user.id)
    text, last, cuts, ended = "", 0, 0, False
    async with asyncio.timeout(30):
        while not ended:
            left = chance.randint(1, 5) if cuts < CUTS else 10_000
            async with aclosing(follow(app, principal, message, after=last)) as entries:
                async for entry in entries:
                    if entry is None:
                        continue
                    assert entry.number > last, "numbers only grow"
                    last, left = entry.number, left - 1
                    if entry.event == b"text.delta":
                        text += msgspec.json.decode(entry.data)["text"]
                    ended = entry.event in stream.ENDS
                    if left <= 0:
                        cuts += 1
                        break
    done = (await asking).json()
    assert cuts == CUTS
    assert text == done["content"] == " ".join(f"word{number}" for number in range(120))
    assert said(await talk.again(done["id"])) == text


async def test_a_question_whose_request_was_killed_before_anybody_heard_is_found_and_answered(talk, app, unheard):
    asking, pending = await talk.begin("Hej")
    await app.redis.delete(key_of(pending["id"]))
    await change(app, talk, pending["id"], created_at=datetime.now(UTC) - timedelta(seconds=30))
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    events = await talk.again(pending["id"])
    assert events[0].event == "message.created", "as any other stream begins"
    assert events[-1].event == "message.completed"
    assert said(events) == "Hej"
    asking.cancel()


async def test_what_readers_saw_of_a_killed_answer_is_kept_although_it_was_not_stored_yet(talk, app, unheard):
    asking, pending = await talk.begin("Hej")
    run = await claim(app, talk.person.tenant_id, UUID(pending["id"]))
    writer = await app.streams.writer(pending["id"])
    for word in ("Saved ", "and seen, ", "and only seen."):
        writer.text("text.delta", word)
        await writer.flush()
    run.says("Saved ")
    values = {"status": "streaming", "lease_until": lapsed(), **run.said()}
    await change(app, talk, pending["id"], **values)
    await find_left_answers(app, talk.person.tenant_id)
    failed = (await asking).json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "interrupted")
    assert failed["content"] == "Saved and seen, and only seen."
    events = await talk.again(pending["id"])
    assert said(events) == failed["content"]
    assert events[-1].event == "message.failed"


async def test_without_its_stream_a_killed_answer_keeps_what_was_stored(talk, app, unheard):
    asking, pending = await talk.begin("Hej")
    await claim(app, talk.person.tenant_id, UUID(pending["id"]))
    await change(app, talk, pending["id"], status="streaming", content="Stored.", lease_until=lapsed())
    await app.redis.delete(key_of(pending["id"]))
    await find_left_answers(app, talk.person.tenant_id)
    failed = (await asking).json()
    assert (failed["status"], failed["content"]) == ("failed", "Stored.")


async def test_a_worker_that_died_within_its_first_words_is_not_answered_over(talk, app, unheard, stub):
    """Its row still says that nothing was said; its readers know better."""
    asking, pending = await talk.begin("Hej")
    await claim(app, talk.person.tenant_id, UUID(pending["id"]))
    writer = await app.streams.writer(pending["id"])
    writer.text("text.delta", "Half a sen")
    await writer.flush()
    await change(app, talk, pending["id"], lease_until=lapsed())
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    failed = (await asking).json()
    assert (failed["status"], failed["error"]["code"], failed["content"]) == ("failed", "interrupted", "Half a sen")
    assert failed["error"]["retryable"]
    assert not [request for request in stub.requests if request.path.endswith("completions")]


async def test_a_worker_that_wakes_after_it_was_overtaken_changes_nothing(talk, app, unheard):
    asking, pending = await talk.begin("Hej")
    old = await claim(app, talk.person.tenant_id, UUID(pending["id"]))
    sleeping = await app.streams.writer(pending["id"])
    await change(app, talk, pending["id"], lease_until=lapsed())
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    done = (await asking).json()
    assert (done["status"], done["content"]) == ("complete", "Hej")
    sleeping.text("text.delta", "from the grave")
    sleeping.write("message.completed", {"message": {}})
    await sleeping.flush()
    old.says("from the grave")
    await _finish(app, old, sleeping, "complete", None)
    assert await talk.message(pending["id"]) == done
    events = await talk.again(pending["id"])
    assert said(events) == "Hej"
    assert events[-1].data["message"] == done
    assert len([event for event in events if event.event == "message.completed"]) == 1
    receipt = (await talk.person.get(f"/messages/{pending['id']}/receipt")).json()
    assert receipt["number"] == 1


async def test_a_worker_that_wakes_while_another_answers_cannot_say_a_word_in_between(talk, app, unheard):
    asking, pending = await talk.begin("Hej [[tokens=30 delay=0.02]]")
    old = await claim(app, talk.person.tenant_id, UUID(pending["id"]))
    sleeping = await app.streams.writer(pending["id"])
    await change(app, talk, pending["id"], lease_until=lapsed())
    answering = asyncio.create_task(answer(app, talk.person.tenant_id, UUID(pending["id"])))
    async with asyncio.timeout(20):
        async for entry in app.streams.read(pending["id"]):
            if entry is not None and entry.event == b"text.delta":
                break
    sleeping.text("text.delta", "from the grave")
    await sleeping.flush()
    await answering
    done = (await asking).json()
    assert done["status"] == "complete"
    assert said(await talk.again(pending["id"])) == done["content"] == " ".join(f"word{n}" for n in range(30))
    assert (await row_of(app, talk, pending["id"])).claim != old.message.claim


async def test_a_worker_learns_by_its_next_renewal_that_it_was_overtaken(talk, app, unheard, monkeypatch):
    monkeypatch.setattr("folkmoot.conversations.answering.answer.RENEW_SECONDS", 0.01)
    asking, pending = await talk.begin("Hej")
    old = await claim(app, talk.person.tenant_id, UUID(pending["id"]))
    await change(app, talk, pending["id"], lease_until=lapsed())
    assert await claim(app, talk.person.tenant_id, UUID(pending["id"])) is not None
    told: list[UUID] = []
    monkeypatch.setattr(app.part(Running), "stop", told.append)
    old.says("mine")
    renewing = asyncio.create_task(_renew(app, old))
    await eventually(lambda: told)
    renewing.cancel()
    row = await row_of(app, talk, pending["id"])
    assert (row.status, row.content) == ("pending", "")
    await change(app, talk, pending["id"], lease_until=lapsed())
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    assert (await asking).json()["status"] == "complete"


async def test_a_database_that_is_away_for_a_moment_ends_no_answer(talk, app, unheard, monkeypatch):
    monkeypatch.setattr("folkmoot.conversations.answering.answer.RENEW_SECONDS", 0.01)
    asking, pending = await talk.begin("Hej")
    run = await claim(app, talk.person.tenant_id, UUID(pending["id"]))
    tried: list[int] = []

    def begin(principal):
        tried.append(1)
        if len(tried) < 3:
            raise ConnectionRefusedError("the database is away")
        return app.begin(principal)

    run.says("Said meanwhile.")
    renewing = asyncio.create_task(_renew(SimpleNamespace(begin=begin, part=app.part), run))
    await eventually(lambda: len(tried) > 4)
    renewing.cancel()
    row = await row_of(app, talk, pending["id"])
    assert (row.status, row.content) == ("streaming", "Said meanwhile.")
    await _finish(app, run, await app.streams.writer(pending["id"]), "complete", None)
    assert (await asking).json()["content"] == "Said meanwhile."


async def test_a_reader_whose_stream_redis_lost_hears_the_end_from_the_row(talk, app, unheard, monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.1)
    asking, pending = await talk.begin("Hej")
    await app.redis.delete(key_of(pending["id"]))
    following = asyncio.create_task(talk.again(pending["id"], after=1))
    await answer(app, talk.person.tenant_id, UUID(pending["id"]))
    await app.redis.delete(key_of(pending["id"]))
    events = await asyncio.wait_for(following, 15)
    assert events[-1].event == "message.completed"
    assert events[-1].data["message"]["content"] == "Hej"
    asking.cancel()
