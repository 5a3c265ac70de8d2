"""The receipt of an answer: what it tells, that it is signed, and who may have it."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from folkmoot.conversations.answering.answer import abandon
from folkmoot.conversations.answering.answer import answer as write_answer
from folkmoot.conversations.models import Message, Receipt
from folkmoot.conversations.receipts import issue, statement
from folkmoot.conversations.receipts.receipt import Facts, state
from folkmoot.conversations.receipts.record import Record
from folkmoot.conversations.receipts.statement import Key, Refused, canonical, read_keys, verify
from folkmoot.usage.account import Noted, Spent
from tests.conversations.conftest import connected, said
from tests.support.keyrings import Changing

RULES_HASH = hashlib.sha256(
    b"# Fences\n\nA fence along the street may be 1.2 metres high. Elsewhere it may be 1.8 metres high.\n"
).hexdigest()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def file_of(talk, message_id: str, **query) -> bytes:
    answer = await talk.person.get(f"/messages/{message_id}/receipt", params=query)
    assert answer.status_code == 200, answer.text
    return answer.content


async def receipt_of(talk, message_id: str, **query) -> dict:
    """Its statement, once it is verified with this installation's keys."""
    data = await file_of(talk, message_id, **query)
    verify(data, await trusted(talk.person))
    return json.loads(data)["statement"]


async def trusted(client) -> list[Key]:
    answer = await client.get("http://folkmoot.test/.well-known/receipt-keys.json")
    assert answer.status_code == 200, answer.text
    return read_keys(answer.content)


# what it tells


async def test_a_receipt_tells_how_an_answer_from_documents_came_to_be(informed):
    asked = "How high may a fence be along the street? [[cite]]"
    done = await informed.ask(asked)
    told = await receipt_of(informed, done["id"])
    who = informed.person
    assert (told["tenant_id"], told["asked_by"]) == (str(who.tenant_id), str(who.user.id))
    assert (told["message_id"], told["question_id"]) == (done["id"], done["parent_id"])
    assert told["conversation_id"] == informed.id
    assert told["question"] == {"sha256": sha256(asked), "characters": len(asked)}
    assert told["answer"] == {"sha256": sha256(done["content"]), "characters": len(done["content"])}
    assert (told["status"], told["error"], told["ai_generated"]) == ("complete", None, True)
    assert told["assistant"]["id"] == informed.assistant
    assert told["assistant"]["version_id"] == done["assistant_version_id"]
    assert (told["model"]["name"], told["model"]["provider"]) == ("stub-chat", "openai")
    (prompt,) = told["prompts"]
    assert (prompt["round"], prompt["model"], len(prompt["sha256"])) == (1, "stub-chat", 64)
    assert {item["document_sha256"] for item in told["passages"]} == {RULES_HASH}
    assert all(len(item["chunk_sha256"]) == 64 for item in told["passages"])
    (cited,) = told["citations"]
    assert cited["quote_sha256"] == sha256(done["citations"][0]["quote"])
    assert (cited["start"], cited["end"]) == (done["citations"][0]["start"], done["citations"][0]["end"])
    assert cited["support"] == done["citations"][0]["support"]
    assert [(item["start"], item["end"], item["support"]) for item in told["sentences"]] == [
        (item["start"], item["end"], item["support"]) for item in done["sentences"]
    ]
    assert told["sentences"]
    assert told["asked_at"] <= told["first_text_at"] <= told["finished_at"] <= told["issued_at"]
    assert told["software"]["name"] == "folkmoot"
    assert told["software"]["version"]


async def test_what_it_cost_is_what_the_ledger_has(informed, superuser):
    done = await informed.ask("How high may a fence be?")
    told = (await receipt_of(informed, done["id"]))["usage"]
    sums = "sum(cost), sum(input_tokens), sum(output_tokens), count(*)"
    query = text(f"SELECT {sums} FROM usage_entries WHERE message_id = :m")
    async with superuser.connect() as connection:
        entered = (await connection.execute(query, {"m": UUID(done["id"])})).one()
    assert (told["cost_micros"], told["input_tokens"], told["output_tokens"], len(told["calls"])) == tuple(entered)
    assert told["cost_micros"] > 0
    assert told["currency"] == "USD"
    assert not told["estimated"]


async def test_it_has_no_text_of_people_or_documents(informed):
    done = await informed.ask("Is the zebra fence of Ottilia Quendt allowed? [[cite]]")
    raw = (await file_of(informed, done["id"])).decode()
    assert done["citations"]
    for word in ("zebra", "Ottilia", "Quendt", "street", "metres", "rules.md", informed.person.user.email):
        assert word not in raw, word


async def test_the_prompt_is_named_by_the_hash_of_what_was_sent(talk, monkeypatch):
    sent = []
    real = Record.asks
    monkeypatch.setattr(
        Record, "asks", lambda self, number, request: sent.append(request) or real(self, number, request)
    )
    done = await talk.ask("Hej")
    told = await receipt_of(talk, done["id"])
    hashes = [hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest() for request in sent]
    assert [item["sha256"] for item in told["prompts"]] == hashes
    again = await talk.ask("Hej")
    assert (await receipt_of(talk, again["id"]))["prompts"] != told["prompts"], "the turns before are in it"


async def test_region_and_classes_are_told(owner, app, stub):
    await connected(app, owner, stub)
    (connection,) = [item for item in (await owner.get("/connections")).json()["items"] if item["kind"] == "openai"]
    secret = await owner.made("/data-classes", name="Confidential", level=2, countries=["SE"])
    changed = await owner.patch(
        f"/connections/{connection['id']}", json={"country": "SE", "clearance_id": secret["id"]}
    )
    assert changed.status_code == 200, changed.text
    space = await owner.space()
    assert (await owner.patch(f"/spaces/{space}", json={"data_class_id": secret["id"]})).status_code == 200
    fields = {"instructions": "Be kind.", "temperature": 0.2, "max_output_tokens": 300}
    assistant = await owner.assistant(space, **fields)
    done = await owner.ask(await owner.conversation(assistant), "Hej")
    told = await receipt_of(SimpleNamespace(person=owner), done["id"])
    assert done["status"] == "complete"
    assert (told["model"]["region"], told["model"]["in_process"]) == ("SE", False)
    assert [(item["name"], item["level"]) for item in told["classification"]] == [("Confidential", 2)]
    assert told["parameters"] == {"temperature": "0.2", "max_output_tokens": 300}
    assert told["assistant"]["instructions_sha256"] == sha256("Be kind.")


async def test_an_answer_without_a_model_says_that_nothing_left_the_house(keyless):
    done = await keyless.ask("How high may a fence be along the street?")
    told = await receipt_of(keyless, done["id"])
    assert told["model"]["in_process"] is True
    assert told["usage"]["cost_micros"] == 0


async def test_an_answer_that_broke_off_with_text_has_a_receipt(talk):
    failed = await talk.ask("one two three four five six [[cut=4]]")
    told = await receipt_of(talk, failed["id"])
    assert (told["status"], told["error"]) == ("failed", failed["error"]["code"])
    assert told["answer"]["sha256"] == sha256(failed["content"])
    assert told["usage"]["estimated"], "the model told no usage before the line broke"


async def test_a_stopped_answer_has_a_receipt(talk, app):
    asking, pending = await talk.begin("[[tokens=2000 delay=0.01]]")
    async with asyncio.timeout(20):
        async for entry in app.streams.read(pending["id"]):
            if entry is not None and entry.event == b"text.delta":
                break
    missing = await talk.person.get(f"/messages/{pending['id']}/receipt")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-receipt")
    assert "still being written" in missing.json()["detail"]
    await talk.person.post(f"/messages/{pending['id']}/stop")
    stopped = (await asking).json()
    told = await receipt_of(talk, stopped["id"])
    assert (told["status"], told["answer"]["sha256"]) == ("stopped", sha256(stopped["content"]))


async def test_an_answer_that_said_nothing_has_none(talk):
    failed = await talk.ask("Hej [[status=401 code=invalid_api_key]]")
    missing = await talk.person.get(f"/messages/{failed['id']}/receipt")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-receipt")


async def test_a_question_has_none(talk):
    done = await talk.ask("Hej")
    missing = await talk.person.get(f"/messages/{done['parent_id']}/receipt")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-receipt")
    assert "question" in missing.json()["detail"]


async def test_an_answer_whose_worker_died_has_one_made_of_what_is_stored(informed, app, monkeypatch):
    async def nothing(*_):
        return None

    monkeypatch.setattr("folkmoot.conversations.tasks.answer", nothing)
    asking, pending = await informed.begin("How high may a fence be?")
    writer = await app.streams.writer(pending["id"])
    passage = {"n": 1, "document_id": str(uuid4()), "document_name": "x", "chunk_id": str(uuid4()), "page": 1}
    writer.write("retrieval.completed", {"passages": [passage | {"score": 0.5}], "relevant": True})
    writer.text("text.delta", "It may be ")
    writer.text("text.delta", "1.2 metres high.")
    await writer.flush()
    await abandon(app, informed.person.tenant_id, UUID(pending["id"]), "interrupted", "Broken off", "ask again")
    failed = (await asking).json()
    assert (failed["status"], failed["content"]) == ("failed", "It may be 1.2 metres high.")
    told = await receipt_of(informed, failed["id"])
    assert told["answer"]["sha256"] == sha256("It may be 1.2 metres high.")
    assert [item["document_id"] for item in told["passages"]] == [passage["document_id"]]
    assert told["passages"][0]["document_sha256"] is None
    assert told["usage"]["estimated"]


async def test_answer_and_receipt_are_stored_together_or_not_at_all(talk, app, monkeypatch, count):
    async def nothing(*_):
        return None

    monkeypatch.setattr("folkmoot.conversations.tasks.answer", nothing)
    asking, pending = await talk.begin("Hej")
    with monkeypatch.context() as broken:
        broken.setattr(issue, "KEEP", text("SELECT 1/0"))
        with pytest.raises(DBAPIError):
            await write_answer(app, talk.person.tenant_id, UUID(pending["id"]))
    assert (await talk.message(pending["id"]))["status"] == "pending"
    assert await count("receipts", f"message_id = '{pending['id']}'") == 0
    await abandon(app, talk.person.tenant_id, UUID(pending["id"]), "interrupted", "Broken off", "ask again")
    failed = (await asking).json()
    assert (failed["status"], failed["content"]) == ("failed", "Hej")
    assert (await receipt_of(talk, failed["id"]))["status"] == "failed"


async def test_a_mistake_in_a_receipt_does_not_cost_the_answer(talk, monkeypatch):
    monkeypatch.setattr(issue, "state", lambda _: 1 / 0)
    done = await talk.ask("Hej")
    assert (done["status"], done["content"]) == ("complete", "Hej")
    missing = await talk.person.get(f"/messages/{done['id']}/receipt")
    assert missing.json()["code"] == "no-receipt"


# tools


async def ended(talk, message_id: str) -> dict:
    async with asyncio.timeout(20):
        while (message := await talk.message(message_id))["status"] in ("pending", "streaming"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return message


async def test_calls_of_tools_stand_in_it_with_who_approved_them(talk, tools):
    tools.has("look", "It is raining in Lund.")
    tools.has("send", "sent", approval=True)
    waits = await talk.ask('[[saying=Wait]] [[call look {"text": "Lund"}]] [[call send {"text": "Umbrella"}]] Well?')
    assert waits["status"] == "waiting_for_approval"
    missing = await talk.person.get(f"/messages/{waits['id']}/receipt")
    assert missing.json()["code"] == "no-receipt", "it has not ended"
    decided = {"call_id": "1-2", "approved": True}
    assert (await talk.person.post(f"/messages/{waits['id']}/approvals", json=decided)).status_code == 200
    done = await ended(talk, waits["id"])
    told = await receipt_of(talk, done["id"])
    look, send = told["tools"]
    assert (look["name"], look["status"], look["decided_by"]) == ("look", "done", None)
    assert look["arguments_sha256"] == sha256('{"text": "Lund"}')
    assert look["result_sha256"] == sha256("It is raining in Lund.")
    assert (send["name"], send["status"], send["decided_by"]) == ("send", "done", str(talk.person.user.id))
    assert send["decided_at"] < send["finished_at"]
    assert {"look", "send"} <= set(told["tools_offered"])
    assert [item["round"] for item in told["prompts"]] == [1, 2], "what was noted before the approval is still there"
    calls = [call for call in told["usage"]["calls"] if call["purpose"] == "answer"]
    assert len(calls) == 2
    assert told["answer"]["sha256"] == sha256(done["content"])
    raw = (await file_of(talk, done["id"])).decode()
    assert "Lund" not in raw
    assert "Umbrella" not in raw


async def test_an_answer_that_is_stopped_while_it_waits_has_a_receipt(talk, tools):
    tools.has("send", "sent", approval=True)
    waits = await talk.ask('[[saying=Wait]] [[call send {"text": "Umbrella"}]] Well?')
    await talk.person.post(f"/messages/{waits['id']}/stop")
    stopped = await ended(talk, waits["id"])
    assert (stopped["status"], stopped["content"]) == ("stopped", "Wait")
    told = await receipt_of(talk, stopped["id"])
    assert (told["status"], told["answer"]["sha256"]) == ("stopped", sha256("Wait"))
    (send,) = told["tools"]
    assert send["status"] != "done"
    assert send["decided_by"] is None
    assert [item["round"] for item in told["prompts"]] == [1]
    assert told["usage"]["cost_micros"] > 0
    assert not told["usage"]["estimated"], "nothing of it is missing"


async def test_an_answer_that_goes_on_names_the_one_that_broke_off(talk):
    broken = await talk.ask("one two three four five six [[cut=4]]")
    gone_on = await talk.person.post(f"/messages/{broken['id']}/continue")
    assert gone_on.status_code in (200, 201), gone_on.text
    done = await ended(talk, gone_on.json()["id"])
    told = await receipt_of(talk, done["id"])
    assert told["continues_id"] == broken["id"]
    assert told["answer"]["sha256"] == sha256(done["content"])


async def test_what_was_searched_for_is_told_by_its_hash(informed):
    done = await informed.ask("How high may a fence be?")
    (searched,) = (await receipt_of(informed, done["id"]))["searches"]
    assert searched["kind"] in ("search", "whole")
    assert searched["sha256"] == sha256("How high may a fence be?")
    thanks = await informed.ask("Thanks!")
    (nothing,) = (await receipt_of(informed, thanks["id"]))["searches"]
    assert (nothing["kind"], nothing["sha256"]) == ("nothing", None)


async def test_an_attachment_is_told_by_the_hash_of_its_file(talk):
    data = b"A permit of 1974 for the fence of Ottilia Quendt."
    sent = await talk.person.post(f"/conversations/{talk.id}/files", files=[("file", ("permit.txt", data))])
    assert sent.status_code == 202, sent.text
    file_id = sent.json()["items"][0]["id"]
    body = {"content": "Is it still good?", "file_ids": [file_id]}
    done = (await talk.person.post(f"/conversations/{talk.id}/messages", json=body)).json()
    assert done["status"] == "complete", done
    (file,) = (await receipt_of(talk, done["id"]))["attachments"]
    assert (file["id"], file["kind"], file["size"]) == (file_id, "document", len(data))
    assert file["sha256"] == hashlib.sha256(data).hexdigest()
    raw = (await file_of(talk, done["id"])).decode()
    assert "permit.txt" not in raw
    assert "Quendt" not in raw


# who may have it


async def test_nobody_else_gets_a_receipt(talk, tenancy, stranger):
    done = await talk.ask("Hej")
    colleague = await tenancy.colleague(talk.person, role="owner")
    other = await tenancy.owner()
    for client in (colleague, other):
        for answer in (
            await client.get(f"/messages/{done['id']}/receipt"),
            await client.patch(f"/messages/{done['id']}", json={"content": "mine"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert (await stranger.get(f"/api/v1/messages/{done['id']}/receipt")).status_code == 401
    assert (await talk.message(done["id"]))["content"] == "Hej"


async def test_it_is_a_file_to_download(talk):
    done = await talk.ask("Hej")
    answer = await talk.person.get(f"/messages/{done['id']}/receipt")
    assert answer.headers["content-disposition"] == f'attachment; filename="receipt-{done["id"]}-1.json"'
    assert answer.headers["content-type"].startswith("application/json")
    assert set(answer.json()) == {"statement", "signature", "key_id", "public_key", "algorithm", "number"}


async def test_deleting_the_conversation_deletes_its_receipts_and_the_file_stays_good(talk, count):
    done = await talk.ask("Hej")
    data, keys = await file_of(talk, done["id"]), await trusted(talk.person)
    assert await count("receipts", f"message_id = '{done['id']}'") == 1
    assert (await talk.person.delete(f"/conversations/{talk.id}")).status_code == 204
    assert await count("receipts", f"message_id = '{done['id']}'") == 0
    assert str(verify(data, keys).message_id) == done["id"]


# edits


async def test_an_edit_stands_beside_what_the_assistant_wrote_and_a_further_receipt_tells_of_it(informed):
    done = await informed.ask("How high may a fence be? [[cite]]")
    first = await file_of(informed, done["id"])
    edited = await informed.person.patch(f"/messages/{done['id']}", json={"content": "At most 1.2 metres. [1]"})
    assert edited.status_code == 200, edited.text
    shown = edited.json()
    assert (shown["content"], shown["original"]) == ("At most 1.2 metres. [1]", done["content"])
    assert shown["edited_at"]
    assert shown["sentences"] == [], "what was checked was another text"
    assert [item["n"] for item in shown["citations"]] == [1]
    assert "support" not in shown["citations"][0]
    told = await receipt_of(informed, done["id"])
    assert told["number"] == 2
    assert told["previous_sha256"] == hashlib.sha256(canonical(json.loads(first)["statement"])).hexdigest()
    (edit,) = told["edits"]
    assert (edit["before_sha256"], edit["after_sha256"]) == (sha256(done["content"]), sha256("At most 1.2 metres. [1]"))
    assert edit["by"] == str(informed.person.user.id)
    assert told["answer"]["sha256"] == sha256(done["content"]), "what the assistant wrote stays told"
    assert await file_of(informed, done["id"], number=1) == first
    again = await informed.person.patch(f"/messages/{done['id']}", json={"content": "Ask the office."})
    assert again.json()["citations"] == [], "a citation goes with its marker"
    assert again.json()["original"] == done["content"]
    assert len((await receipt_of(informed, done["id"]))["edits"]) == 2
    gone = await informed.person.get(f"/messages/{done['id']}/receipt", params={"number": 9})
    assert (gone.status_code, gone.json()["code"]) == (404, "no-receipt")


async def test_reading_an_edited_answer_again_gives_the_edited_text(talk):
    done = await talk.ask("Hej")
    before = await talk.again(done["id"])
    edited = (await talk.person.patch(f"/messages/{done['id']}", json={"content": "Good evening."})).json()
    events = await talk.again(done["id"])
    assert said(events) == "Good evening."
    assert events[-1].data["message"] == edited
    (end,) = await talk.again(done["id"], after=before[-2].id)
    assert end.data["message"]["content"] == "Good evening."


async def test_the_same_text_again_is_no_edit(talk):
    done = await talk.ask("Hej")
    same = await talk.person.patch(f"/messages/{done['id']}", json={"content": "Hej"})
    assert (same.status_code, same.json()["edited_at"]) == (200, None)
    assert (await receipt_of(talk, done["id"]))["number"] == 1


async def test_later_turns_go_on_from_the_edited_text(talk, stub):
    done = await talk.ask("Hej")
    await talk.person.patch(f"/messages/{done['id']}", json={"content": "Good evening to you."})
    await talk.ask("And then?")
    told = [str(message["content"]) for message in stub.requests[-1].body["messages"]]
    assert any("Good evening to you." in text for text in told)


async def test_questions_and_open_answers_are_not_edited(talk, app):
    done = await talk.ask("Hej")
    question = await talk.person.patch(f"/messages/{done['parent_id']}", json={"content": "x"})
    assert (question.status_code, question.json()["code"]) == (400, "bad-request")
    asking, pending = await talk.begin("[[tokens=200 delay=0.05]]")
    early = await talk.person.patch(f"/messages/{pending['id']}", json={"content": "x"})
    assert (early.status_code, early.json()["code"]) == (409, "answer-in-progress")
    await talk.person.post(f"/messages/{pending['id']}/stop")
    await asking


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": "  "}, {"content": "a\x00b"}, {"content": 3},
                                  {"content": "x", "status": "complete"}, {"content": "x" * 1_000_001}])  # fmt: skip
async def test_an_edit_that_is_none_is_refused(talk, body):
    done = await talk.ask("Hej")
    answer = await talk.person.patch(f"/messages/{done['id']}", json=body)
    assert answer.status_code == 400, answer.text
    assert (await talk.message(done["id"]))["content"] == "Hej"


async def test_an_edit_is_an_event_without_its_text(talk, superuser):
    done = await talk.ask("Hej")
    await talk.person.patch(f"/messages/{done['id']}", json={"content": "Zebra"})
    query = text("SELECT user_id, data::text FROM events WHERE object_id = :m AND action = 'message.edited'")
    async with superuser.connect() as connection:
        (row,) = (await connection.execute(query, {"m": UUID(done["id"])})).all()
    assert row.user_id == talk.person.user.id
    assert "Zebra" not in row.data


# keys


async def test_the_keys_are_there_for_everybody(stranger, app):
    answer = await stranger.get("/.well-known/receipt-keys.json")
    assert answer.status_code == 200
    (key, *_) = answer.json()["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert read_keys(answer.content)[0] == issue.keys(app.keyring)[0]


async def test_a_receipt_is_good_after_master_key_and_root_were_changed():
    store = Changing()
    keyring = await store.keyring()
    data = signed(keyring)
    store.rewrap(b"n" * 32)
    fresh = await store.keyring()
    assert issue.keys(fresh) == issue.keys(keyring), "a new master key changes nothing"
    assert verify(data, issue.keys(fresh))
    await store.new_root(fresh, keep=[issue.PURPOSE])
    assert len(issue.keys(fresh)) == 2
    assert verify(data, issue.keys(fresh)), "what an older root signed can still be checked"
    newer = signed(fresh)
    assert json.loads(newer)["key_id"] != json.loads(data)["key_id"]
    assert verify(newer, issue.keys(fresh))
    with pytest.raises(Refused, match="not among those"):
        verify(newer, issue.keys(keyring)[:1])


# tampering


def facts(content: str = "A fence may be 1.2 metres high. [1]") -> Facts:
    now, ids = datetime.now(UTC), {"tenant_id": uuid4(), "conversation_id": uuid4()}
    question = Message(id=uuid4(), **ids, role="user", content="How high?", created_at=now, file_ids=[])
    passages = [
        {"n": n, "document_id": str(uuid4()), "chunk_id": str(uuid4()), "page": n, "score": 0.123456}
        for n in range(1, 9)
    ]
    answer = Message(
        id=uuid4(),
        **ids,
        role="assistant",
        content=content,
        status="complete",
        created_at=now,
        finished_at=now,
        model={"id": str(uuid4()), "name": "modèle \U0001f98a\x7f\u2028", "provider": "openai"},
        citations=[],
        sentences=[],
        trace={},
    )
    spent = Spent(model_id=uuid4(), model="m", provider="p", connection_id=None, input_tokens=5, cost=10**12)
    record = Record(noted=[Noted("answer", spent)] * 3, currency="EUR", region="SE")
    return Facts(answer, question, uuid4(), uuid4(), None, record, passages, dict.fromkeys(range(1, 9), "text" * 200))


def signed(keyring, made=None) -> bytes:
    """A receipt as it is handed out."""
    said = canonical(made or state(facts()))
    private, key = statement.key_of(keyring.derive(issue.PURPOSE))
    row = Receipt(statement=said.decode(), signature=private.sign(said), number=1, key_id=key.id)
    return issue.handed_out(row, key)


@pytest.fixture
async def keyring():
    return await Changing().keyring()


def leaves(value, place=()):
    """(place, value) of everything in a document that is no container."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from leaves(item, (*place, name))
    else:
        yield place, value


async def test_any_byte_that_is_changed_is_found(keyring):
    data, keys = signed(keyring), issue.keys(keyring)
    assert verify(data, keys)
    for at in range(0, len(data), 3):
        broken = bytearray(data)
        broken[at] ^= 1 << at % 7
        with pytest.raises(Refused):
            verify(bytes(broken), keys)


async def test_any_value_that_is_changed_is_found(keyring):
    receipt, keys = json.loads(signed(keyring)), issue.keys(keyring)
    places = list(leaves(receipt))
    assert len(places) > 60
    for place, value in places:
        for other in ("x", 7, None, True, 0.5, [], {"a": 1}):
            if other == value and type(other) is type(value):
                continue
            changed = copy.deepcopy(receipt)
            *path, last = place
            holder = changed
            for step in path:
                holder = holder[step]
            holder[last] = other
            with pytest.raises(Refused):
                verify(json.dumps(changed).encode(), keys)


async def test_what_is_put_in_or_left_out_is_found(keyring):
    receipt, keys = json.loads(signed(keyring)), issue.keys(keyring)
    for name in receipt["statement"]:
        less = copy.deepcopy(receipt)
        del less["statement"][name]
        with pytest.raises(Refused, match=r"does not fit|number"):
            verify(json.dumps(less).encode(), keys)
    for holder in (receipt, receipt["statement"]):
        holder["approved"] = True
        with pytest.raises(Refused):
            verify(json.dumps(receipt).encode(), keys)
        del holder["approved"]
    assert verify(json.dumps(receipt, indent=3).encode(), keys), "white space around it says nothing"


async def test_a_name_that_stands_twice_is_refused(keyring):
    data = signed(keyring).replace(b'"number":1', b'"number":2,"number":1', 1)
    with pytest.raises(Refused, match="twice"):
        verify(data, issue.keys(keyring))


async def test_a_forger_with_a_key_of_their_own_is_found(keyring):
    forger = await Changing(b"f" * 32).keyring()
    forged = signed(forger)
    assert verify(forged, None), "by itself it is whole"
    with pytest.raises(Refused, match="not among those that you trust"):
        verify(forged, issue.keys(keyring))
    mine = json.loads(forged) | {"public_key": issue.keys(keyring)[0].text, "key_id": issue.keys(keyring)[0].id}
    with pytest.raises(Refused, match="does not fit"):
        verify(json.dumps(mine).encode(), issue.keys(keyring))


async def test_a_statement_cannot_be_put_under_the_signature_of_another(keyring):
    one, other = json.loads(signed(keyring)), json.loads(signed(keyring))
    with pytest.raises(Refused, match="does not fit"):
        verify(json.dumps(one | {"statement": other["statement"]}).encode(), issue.keys(keyring))


async def test_something_else_that_we_signed_is_no_receipt(keyring):
    private, key = statement.key_of(keyring.derive(issue.PURPOSE))
    other = {"type": "folkmoot.other", "number": 1}
    row = Receipt(
        statement=canonical(other).decode(), signature=private.sign(canonical(other)), number=1, key_id=key.id
    )
    with pytest.raises(Refused, match="yet not as this version"):
        verify(issue.handed_out(row, key), issue.keys(keyring))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"\xff\xfe{}", b'{"a":NaN}', b'{"a":1e400}', b"[" * 100_000),
        *(b'{"a":' * 100_000, b'{"a":99999999999999999999}', b"\x00" * 100, b"x" * (statement.MOST_BYTES + 1)),
        json.dumps({"statement": {}, "signature": "", "key_id": "", "public_key": "", "algorithm": "Ed25519",
                    "number": 1}).encode(),
        b'{"statement":{"a":"\\ud800"},"signature":"","key_id":"","public_key":"","algorithm":"none","number":1}',
    ],
)  # fmt: skip
def test_what_is_no_receipt_is_refused_in_a_sentence(data):
    with pytest.raises(Refused) as refusal:
        verify(data, None)
    assert len(str(refusal.value).split()) > 4
    assert len(str(refusal.value)) < 500


async def test_a_receipt_that_was_cut_off_is_refused(keyring):
    data = signed(keyring)
    for length in range(0, len(data), 97):
        with pytest.raises(Refused):
            verify(data[:length], None)


async def test_canonical_json_is_that_of_rfc_8785(keyring):
    said = canonical(state(facts())).decode()
    assert said == json.dumps(json.loads(said), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert all(not isinstance(value, float) for _, value in leaves(json.loads(said)))


@pytest.mark.parametrize("given", ["", "x", "A" * 43, "zz" * 32, "ab" * 31, "=" * 44])
def test_a_text_that_is_no_key_is_refused(given):
    if given == "A" * 43:
        assert statement.read_key(given).public == bytes(32)
        return
    with pytest.raises(Refused, match="32 bytes"):
        statement.read_key(given)


async def test_building_and_signing_takes_no_time_to_speak_of(keyring):
    many = facts("word " * 2000)
    assert len(canonical(state(many))) < 10_000
    private, _ = statement.key_of(keyring.derive(issue.PURPOSE))
    begun = time.process_time()
    for _ in range(50):
        private.sign(canonical(state(replace(many))))
    # A bound far above what it takes (a third of a millisecond), so that only a mistake of kind fails.
    assert (time.process_time() - begun) / 50 < 0.02
