"""Files and pictures on a question: read, cited, private, and gone with the conversation."""

from __future__ import annotations

import asyncio
import base64
import io
import zipfile
from uuid import UUID, uuid4

import pytest
from PIL import Image
from sqlalchemy import text

from folkmoot.knowledge.tasks import remove_orphaned_files
from tests.conversations.conftest import Event, parse, said

LEASE = b"# The lease\n\nThe rent is 8,450 kronor a month. The notice is three months.\n"
NOTE = b"The bridge over the brook is closed until May.\n"


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30), **said) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(out, kind, **said)
    return out.getvalue()


async def send(talk, *files: tuple[str, bytes], conversation: str = "", **headers) -> list[dict]:
    response = await talk.person.post(
        f"/conversations/{conversation or talk.id}/files", files=[("file", file) for file in files], headers=headers
    )
    assert response.status_code == 202, response.text
    return response.json()["items"]


async def attach(talk, *files: tuple[str, bytes]) -> list[dict]:
    """Sent, and read through."""
    items = await send(talk, *files)
    for item in items:
        if item["document_id"]:
            await talk.person.read_through(item["document_id"])
    return (await talk.person.get(f"/conversations/{talk.id}/files")).json()["items"][-len(items) :]


async def ask(talk, content: str, *items: dict, **fields) -> dict:
    response = await talk.person.post(
        f"/conversations/{talk.id}/messages",
        json={"content": content, "file_ids": [item["id"] for item in items], **fields},
    )
    assert response.status_code == 201, response.text
    return response.json()


async def streamed(talk, content: str, *items: dict) -> list[Event]:
    response = await talk.person.post(
        f"/conversations/{talk.id}/messages",
        json={"content": content, "file_ids": [item["id"] for item in items]},
        headers={"Accept": "text/event-stream"},
    )
    assert response.status_code == 201, response.text
    return parse(response.text)


def of(events: list[Event], name: str) -> list[dict]:
    return [event.data for event in events if event.event == name]


def prompt_of(stub) -> str:
    """All that the model was told last."""
    parts = []
    for message in asked(stub)[-1].body["messages"]:
        content = message.get("content") or ""
        parts.append(content if isinstance(content, str) else "".join(part.get("text", "") for part in content))
    return "\n".join(parts)


def asked(stub) -> list:
    """The calls of the chat model."""
    return [request for request in stub.requests if request.path.endswith("/chat/completions")]


def images_of(stub) -> list[bytes]:
    content = asked(stub)[-1].body["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


async def sees(talk, *, vision: bool) -> None:
    """Say whether the stub's models can see."""
    owner = talk.person
    for model in (await owner.get("/models")).json()["items"]:
        detail = await owner.get(f"/models/{model['id']}")
        headers = {"If-Match": detail.headers["etag"]}
        changed = await owner.patch(f"/models/{model['id']}", json={"overrides": {"vision": vision}}, headers=headers)
        assert changed.status_code == 200, changed.text


@pytest.fixture
def held(superuser):
    """Set what a document's row says, as if its worker did: `await held(document_id, status="processing")`."""

    async def hold(document_id: str, **values) -> None:
        values = {"lease_until": None, "retry_at": None, "error_message": None, "progress": 0.4, **values}
        sets = ", ".join(f"{name} = :{name}" for name in values if name not in ("lease_until", "retry_at"))
        far = "lease_until = now() + interval '1 hour', retry_at = now() + interval '1 hour'"
        async with superuser.begin() as connection:
            await connection.execute(
                text(f"UPDATE documents SET {sets}, {far} WHERE id = :id"),
                {name: value for name, value in values.items() if name not in ("lease_until", "retry_at")}
                | {"id": UUID(document_id)},
            )

    return hold


# Sending and listing


async def test_a_file_is_read_and_its_state_is_told(talk):
    (sent,) = await send(talk, ("lease.md", LEASE))
    assert (sent["kind"], sent["name"], sent["size"]) == ("document", "lease.md", len(LEASE))
    assert sent["status"] in ("queued", "processing", "ready")
    await talk.person.read_through(sent["document_id"])
    (listed,) = (await talk.person.get(f"/conversations/{talk.id}/files")).json()["items"]
    assert (listed["id"], listed["status"], listed["progress"], listed["error"]) == (sent["id"], "ready", 1.0, None)
    content = await talk.person.get(f"/documents/{sent['document_id']}/content")
    assert content.content == LEASE


async def test_several_files_come_in_one_request_and_pictures_are_known_by_their_bytes(talk):
    items = await send(talk, ("a.txt", NOTE), ("holiday.txt", picture("JPEG")), ("b.webp", picture("WEBP")))
    assert [item["kind"] for item in items] == ["document", "image", "image"]
    assert [item["media_type"] for item in items][1:] == ["image/jpeg", "image/webp"]
    assert [item["status"] for item in items][1:] == ["ready", "ready"]


async def test_the_same_file_sent_twice_is_one_attachment(talk):
    (first,) = await attach(talk, ("lease.md", LEASE))
    (again,) = await send(talk, ("lease.md", LEASE))
    assert again["id"] == first["id"]
    assert len((await talk.person.get(f"/conversations/{talk.id}/files")).json()["items"]) == 1


async def test_the_same_request_sent_again_with_its_key_stores_nothing_more(talk):
    key = {"Idempotency-Key": str(uuid4())}
    first = await send(talk, ("p.png", data := picture()), **key)
    assert await send(talk, ("p.png", data), **key) == first
    assert len((await talk.person.get(f"/conversations/{talk.id}/files")).json()["items"]) == 1


async def test_a_picture_is_given_back_as_a_download_without_what_its_camera_wrote(talk):
    exif = Image.Exif()
    exif[0x010F] = "Anna's telephone"
    sent_bytes = picture("JPEG", exif=exif.tobytes())
    assert b"Anna's telephone" in sent_bytes
    (sent,) = await send(talk, ("me.jpg", sent_bytes))
    got = await talk.person.get(f"/conversations/{talk.id}/files/{sent['id']}/content")
    assert got.status_code == 200
    assert b"Anna's telephone" not in got.content
    assert Image.open(io.BytesIO(got.content)).size == (40, 30)
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]
    assert sent["size"] == len(got.content)


async def test_a_document_has_its_content_elsewhere(talk):
    (sent,) = await send(talk, ("lease.md", LEASE))
    refused = await talk.person.get(f"/conversations/{talk.id}/files/{sent['id']}/content")
    assert (refused.status_code, refused.json()["code"]) == (409, "not-a-picture")
    assert sent["document_id"] in refused.json()["detail"]


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"nothing", "image-unreadable", 400),
        (picture()[:-40], "image-unreadable", 400),
        (b"\xff\xd8\xff\xe0" + bytes(11 * 1024 * 1024), "image-too-large", 413),
        (picture("PNG", (8_001, 1)), "image-too-large", 413),
    ],
)
async def test_a_broken_or_huge_picture_is_refused_and_nothing_is_kept(talk, count, data, code, status):
    refused = await talk.person.post(f"/conversations/{talk.id}/files", files=[("file", ("x.png", data))])
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert (await talk.person.get(f"/conversations/{talk.id}/files")).json()["items"] == []
    assert await count("files", f"tenant_id = '{talk.person.tenant_id}'") == 0


async def test_a_body_without_files_or_with_too_many_is_refused(talk):
    path = f"/conversations/{talk.id}/files"
    assert (await talk.person.post(path, json={})).status_code == 415
    assert (await talk.person.post(path, files=[("other", ("a.txt", NOTE))])).status_code == 400
    many = [("file", (f"{number}.txt", b"%d" % number)) for number in range(21)]
    refused = await talk.person.post(path, files=many)
    assert (refused.status_code, refused.json()["code"]) == (400, "too-many-files")
    assert len((await talk.person.get(path)).json()["items"]) == 20


async def test_files_count_in_the_organisations_quota(talk, superuser):
    async with superuser.begin() as connection:
        await connection.execute(
            text("UPDATE tenants SET max_storage_bytes = 60 WHERE id = :id"), {"id": talk.person.tenant_id}
        )
    await send(talk, ("note.txt", NOTE))
    refused = await talk.person.post(f"/conversations/{talk.id}/files", files=[("file", ("lease.md", LEASE))])
    assert (refused.status_code, refused.json()["code"]) == (413, "quota-storage")


# Asking


async def test_a_short_file_goes_along_whole_and_is_cited(talk, stub):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    events = await streamed(talk, "What does it cost? [[cite]]", lease)
    (found,) = of(events, "retrieval.completed")
    assert {passage["document_name"] for passage in found["passages"]} == {"lease.md"}
    assert "8,450 kronor" in prompt_of(stub)
    (cited,) = of(events, "citation")
    document = (await talk.person.get(f"/documents/{cited['document_id']}/text")).json()
    assert document["text"][cited["start"] : cited["end"]] == cited["quote"]
    finished = of(events, "message.completed")[0]["message"]
    question = await talk.message(finished["parent_id"])
    assert question["file_ids"] == [lease["id"]]


async def test_a_file_goes_along_with_every_later_question_on_its_branch(talk, stub):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    await ask(talk, "What is the rent?", lease)
    await talk.ask("And how long is the notice in this lease?")
    assert "three months" in prompt_of(stub)


async def test_a_file_of_another_branch_stays_out(talk, stub):
    first = await talk.ask("Hello there, who are you?")
    (lease,) = await attach(talk, ("lease.md", LEASE))
    (note,) = await attach(talk, ("note.txt", NOTE))
    await ask(talk, "What is the rent in the lease?", lease, parent_id=first["id"])
    await ask(talk, "Which bridge is closed and until when?", note, parent_id=first["id"])
    assert "brook" in prompt_of(stub)
    assert "8,450" not in prompt_of(stub)


async def test_a_file_that_no_question_names_stays_out(talk, stub):
    await attach(talk, ("lease.md", LEASE))
    answer = await talk.ask("What is the rent?")
    assert answer["citations"] == []
    assert "8,450" not in prompt_of(stub)


async def test_files_go_beside_what_the_assistant_knows(informed, stub):
    (lease,) = await attach(informed, ("lease.md", LEASE))
    events = await streamed(informed, "How high may a fence be, and what is the rent?", lease)
    names = [passage["document_name"] for found in of(events, "retrieval.completed") for passage in found["passages"]]
    assert sorted(set(names)) == ["lease.md", "rules.md"]
    numbers = [passage["n"] for found in of(events, "retrieval.completed") for passage in found["passages"]]
    assert len(set(numbers)) == len(numbers)


async def test_thanks_brings_no_file_along(talk, stub):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    await ask(talk, "What is the rent?", lease)
    events = await talk.stream("Thanks!")
    assert of(events, "retrieval.completed") == []


async def test_without_any_model_a_file_still_answers(keyless):
    (lease,) = await attach(keyless, ("lease.md", LEASE))
    answer = await ask(keyless, "How much is the rent a month?", lease)
    assert "8,450 kronor" in answer["content"]
    assert answer["citations"][0]["document_name"] == "lease.md"


async def test_a_long_file_is_searched_and_its_beginning_goes_along(talk, stub):
    filling = "".join(f"Section {n}: paragraph {n} is about the upkeep of road {n} in winter.\n\n" for n in range(4000))
    whole = f"# The road handbook\n\nIt holds for all roads.\n\n{filling}The ferry toll is 37 kronor.\n\n{filling}"
    (book,) = await attach(talk, ("handbook.md", whole.encode()))
    events = await streamed(talk, "How much is the ferry toll?", book)
    (found,) = of(events, "retrieval.completed")
    assert len(found["passages"]) <= 14
    assert "37 kronor" in prompt_of(stub)
    assert "road handbook" in prompt_of(stub)
    assert of(events, "reading.progress") == []


async def test_what_lies_in_an_archive_goes_along(talk, stub):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner/lease.md", LEASE)
        archive.writestr("broken.pdf", b"%PDF-1.7 nothing")
    (item,) = await send(talk, ("all.zip", packed.getvalue()))
    events = await streamed(talk, "What is the rent?", item)
    assert "8,450" in prompt_of(stub)
    (left,) = of(events, "message.completed")[0]["message"]["left_out"]
    assert (left["what"], left["count"]) == ("files", 1)
    assert "broken.pdf" in left["why"]


# Waiting


async def test_an_answer_waits_for_a_file_that_is_still_read_and_says_so(talk, stub, held):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    await held(lease["document_id"], status="processing", progress=0.4)
    asking, answer = await talk.begin("What is the rent?", file_ids=[lease["id"]])
    await asyncio.sleep(0.3)
    assert (await talk.message(answer["id"]))["status"] == "pending"
    await held(lease["document_id"], status="processing", progress=0.8)
    await asyncio.sleep(1.2)
    await held(lease["document_id"], status="ready", progress=1.0)
    assert (await asking).json()["status"] == "complete"
    events = await talk.again(answer["id"])
    waits = [state for told in of(events, "files.waiting") for state in told["files"]]
    assert [(state["id"], state["name"], state["status"]) for state in waits] == [
        (lease["id"], "lease.md", "processing")
    ] * 2
    assert [state["progress"] for state in waits] == [0.4, 0.8]
    assert "8,450" in prompt_of(stub)


async def test_a_waiting_answer_can_be_stopped(talk, stub, held):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    await held(lease["document_id"], status="processing")
    asking, answer = await talk.begin("What is the rent?", file_ids=[lease["id"]])
    await asyncio.sleep(0.2)
    assert (await talk.person.post(f"/messages/{answer['id']}/stop")).status_code == 202
    assert (await asking).json()["status"] == "stopped"
    assert asked(stub) == []


async def test_an_answer_gives_up_on_a_file_that_takes_too_long(talk, stub, held, app):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    await held(lease["document_id"], status="queued", progress=0.0)
    object.__setattr__(app.settings, "attachment_seconds", 1)
    try:
        answer = await ask(talk, "What is the rent?", lease)
    finally:
        object.__setattr__(app.settings, "attachment_seconds", 300)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "file-not-ready")
    assert answer["error"]["retryable"] is True
    assert "lease.md" in answer["error"]["detail"]
    assert asked(stub) == []


async def test_a_file_that_cannot_be_read_ends_the_answer_with_its_reason(talk, stub):
    (broken,) = await attach(talk, ("minutes.pdf", b"%PDF-1.7 nothing at all"))
    assert broken["status"] == "failed"
    assert broken["error"]["message"]
    answer = await ask(talk, "What was decided?", broken)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "file-unreadable")
    assert "minutes.pdf" in answer["error"]["detail"]
    assert asked(stub) == []
    # The next question goes on without it, and is told.
    later = await talk.ask("What is the capital of Sweden?")
    assert later["status"] == "complete"
    assert "minutes.pdf" in later["left_out"][0]["why"]


async def test_a_file_deleted_since_is_told_and_the_question_answered(talk, stub):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    await ask(talk, "What is the rent?", lease)
    assert (await talk.person.delete(f"/documents/{lease['document_id']}")).status_code == 204
    later = await talk.ask("How long is the notice in the lease?")
    assert later["status"] == "complete"
    assert [left["what"] for left in later["left_out"]] == ["files"]


# Pictures


async def test_a_picture_goes_to_a_model_that_sees(talk, stub):
    await sees(talk, vision=True)
    exif = Image.Exif()
    exif[0x010F] = "Anna's telephone"
    (sent,) = await send(talk, ("me.jpg", picture("JPEG", exif=exif.tobytes())))
    answer = await ask(talk, "What is in this picture?", sent)
    assert answer["left_out"] == []
    (given,) = images_of(stub)
    assert Image.open(io.BytesIO(given)).size == (40, 30)
    assert b"Anna's telephone" not in given
    await talk.ask("And what is to the left of it?")
    assert images_of(stub) == [given]


async def test_a_model_that_does_not_see_answers_without_it_and_says_so(talk, stub):
    await sees(talk, vision=False)
    (sent,) = await send(talk, ("me.png", picture()))
    events = await streamed(talk, "What is in this picture?", sent)
    (reduced,) = of(events, "context.reduced")
    assert [(left["what"], left["count"]) for left in reduced["left_out"]] == [("images", 1)]
    assert said(events)
    assert of(events, "message.completed")[0]["message"]["left_out"] == reduced["left_out"]


async def test_more_pictures_than_go_into_one_request_are_left_out(talk, stub):
    await sees(talk, vision=True)
    sent = await send(talk, *[(f"{n}.png", picture()) for n in range(12)])
    answer = await ask(talk, "What is in these pictures?", *sent)
    assert len(images_of(stub)) <= 10
    assert sum(left["count"] for left in answer["left_out"]) == 12 - len(images_of(stub))
    assert "pictures" in answer["left_out"][0]["why"]


# Whose they are


async def test_nobody_else_finds_a_file_administrators_included(talk, tenancy):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    (shot,) = await send(talk, ("p.png", picture()))
    paths = [
        f"/conversations/{talk.id}/files",
        f"/conversations/{talk.id}/files/{shot['id']}/content",
        f"/documents/{lease['document_id']}",
        f"/documents/{lease['document_id']}/content",
        f"/documents/{lease['document_id']}/text",
        f"/documents/{lease['document_id']}/chunks",
    ]
    for role in ("owner", "user"):
        other = await tenancy.colleague(talk.person, role=role)
        for path in paths:
            assert (await other.get(path)).status_code == 404, path
        assert (await other.delete(f"/conversations/{talk.id}/files/{shot['id']}")).status_code == 404
        sent = await other.post(f"/conversations/{talk.id}/files", files=[("file", ("a.txt", NOTE))])
        assert sent.status_code == 404


async def test_a_question_takes_no_file_of_another_conversation(talk, tenancy):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    other = await talk.person.conversation(talk.assistant)
    for name in (lease["id"], str(uuid4()), lease["document_id"]):
        refused = await talk.person.post(
            f"/conversations/{other}/messages", json={"content": "What is the rent?", "file_ids": [name]}
        )
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    assert (await talk.person.get(f"/conversations/{other}/messages")).json()["items"] == []


async def test_no_list_shows_where_files_are_kept(talk, superuser):
    await attach(talk, ("lease.md", LEASE))
    async with superuser.connect() as connection:
        hidden = await connection.execute(
            text("SELECT id, space_id FROM collections WHERE purpose = 'attachments' AND tenant_id = :tenant"),
            {"tenant": talk.person.tenant_id},
        )
        ((collection, space),) = hidden.all()
    listed = await talk.person.get(f"/spaces/{space}/collections")
    assert listed.status_code == 200
    assert listed.json()["items"] == []
    person = talk.person
    assert (await person.get(f"/collections/{collection}")).status_code == 404
    assert (await person.delete(f"/collections/{collection}")).status_code == 404
    assert (await person.get(f"/collections/{collection}/documents")).status_code == 404
    assert (await person.get(f"/collections/{collection}/status")).status_code == 404
    assert (await person.get(f"/collections/{collection}/embedding")).status_code == 404
    searched = await person.post(f"/collections/{collection}/search", json={"query": "rent"})
    assert searched.status_code == 404
    website = await person.post(f"/collections/{collection}/websites", json={"url": "https://www.example.org/"})
    assert website.status_code == 404
    sent = await person.post(f"/collections/{collection}/documents", files=[("file", ("a.txt", NOTE))])
    assert sent.status_code == 404
    for where in (space, await person.space()):
        given = {"name": "Thief", "collection_ids": [str(collection)]}
        assert (await person.post(f"/spaces/{where}/assistants", json=given)).status_code == 404


async def test_the_personal_spaces_class_binds_the_answers_from_the_first_file_on(talk, stub, superuser):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    person = talk.person
    secret = await person.made("/data-classes", name="Secret", level=9)
    async with superuser.begin() as connection:
        await connection.execute(
            text("UPDATE spaces SET data_class_id = :class WHERE owner_id = :owner"),
            {"class": UUID(secret["id"]), "owner": person.user.id},
        )
    before = await talk.ask("Hello, who are you?")
    assert before["model"]["provider"] == "openai"
    # The only model that is cleared for it reads in this process.
    for answer in (await ask(talk, "What is the rent?", lease), await talk.ask("How long is the notice?")):
        assert answer["model"]["provider"] == "extractive"
    assert "8,450" not in prompt_of(stub)


# Going away


async def test_a_file_that_no_question_names_can_be_taken_away(talk, count):
    (lease,) = await attach(talk, ("lease.md", LEASE))
    (shot,) = await send(talk, ("p.png", picture()))
    for item in (lease, shot):
        assert (await talk.person.delete(f"/conversations/{talk.id}/files/{item['id']}")).status_code == 204
        assert (await talk.person.delete(f"/conversations/{talk.id}/files/{item['id']}")).status_code == 404
    mine = f"tenant_id = '{talk.person.tenant_id}'"
    assert [await count(table, mine) for table in ("attachments", "documents", "chunks", "files")] == [0, 0, 0, 0]


async def test_a_file_that_was_asked_about_stays(talk):
    (shot,) = await send(talk, ("p.png", picture()))
    await ask(talk, "What is this?", shot)
    refused = await talk.person.delete(f"/conversations/{talk.id}/files/{shot['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "file-in-use")


async def test_files_go_with_their_conversation(talk, count):
    items = await attach(talk, ("lease.md", LEASE))
    items += await send(talk, ("p.png", picture()))
    await ask(talk, "What is this?", *items)
    assert (await talk.person.delete(f"/conversations/{talk.id}")).status_code == 204
    mine = f"tenant_id = '{talk.person.tenant_id}'"
    async with asyncio.timeout(15):
        while await count("files", mine):  # noqa: ASYNC110 - the worker tells nobody here
            await asyncio.sleep(0.05)
    tables = ("attachments", "documents", "document_texts", "chunks", "collections")
    assert [await count(table, mine) for table in tables] == [0] * len(tables)


async def test_the_sweep_leaves_pictures_and_takes_what_an_erased_person_had(talk, tenancy, superuser, count, app):
    admin = talk.person
    person = await tenancy.colleague(admin)
    conversation = await person.conversation(await admin.assistant(await _shared_with(admin, person)))
    sent = await person.post(f"/conversations/{conversation}/files", files=[("file", ("p.png", picture()))])
    assert sent.status_code == 202, sent.text
    mine = f"tenant_id = '{admin.tenant_id}'"

    async def swept() -> int:
        async with superuser.begin() as connection:
            await connection.execute(text(f"UPDATE files SET created_at = now() - interval '1 day' WHERE {mine}"))
        await remove_orphaned_files(app, admin.tenant_id)
        return await count("files", mine)

    assert await swept() == 1
    assert (await admin.delete(f"/users/{person.user.id}")).status_code == 204
    assert (await admin.post(f"/users/{person.user.id}/erase")).status_code in (200, 204)
    assert await swept() == 0
    assert await count("attachments", mine) == 0


async def _shared_with(admin, person) -> str:
    space = await admin.space()
    added = await admin.put(f"/spaces/{space}/members/{person.user.id}", json={"role": "editor"})
    assert added.status_code < 300, added.text
    return space
