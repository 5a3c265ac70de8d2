"""Long files that a question needs all of: read part by part, with notes that can be cited."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from folkmoot.conversations.attachments import whole
from folkmoot.conversations.attachments.whole import needs_all
from tests.conversations.attachments.test_attachments import ask, asked, attach, of, prompt_of, streamed

PAGES = 400
BOOK = "".join(
    f"## Section {n}\n\nParagraph {n} is about the upkeep of road number {n} in the winter of that year.\n\n"
    for n in range(PAGES)
).encode()


async def small_window(talk, tokens: int = 8_000) -> None:
    """Let the stub's models take so little that the book does not fit."""
    for model in (await talk.person.get("/models")).json()["items"]:
        detail = await talk.person.get(f"/models/{model['id']}")
        changed = await talk.person.patch(
            f"/models/{model['id']}",
            json={"overrides": {"context_window": tokens}},
            headers={"If-Match": detail.headers["etag"]},
        )
        assert changed.status_code == 200, changed.text


def parts(stub) -> list[str]:
    """What the calls that read a part were given."""
    return [
        body["messages"][-1]["content"]
        for request in asked(stub)
        for body in [request.body]
        if "You read one part" in str(body["messages"][0]["content"])
    ]


async def test_every_passage_of_a_long_file_is_read_and_what_the_notes_name_is_cited(talk, stub):
    await small_window(talk)
    (book,) = await attach(talk, ("book.md", BOOK))
    events = await streamed(talk, "Summarise this. [[cite]]", book)
    given = "".join(map(str, parts(stub)))
    assert [n for n in range(PAGES) if f"Paragraph {n} is about" not in given] == []
    assert 2 <= len(parts(stub)) <= whole.MOST_CALLS
    progress = of(events, "reading.progress")
    total = len(parts(stub))
    assert [(told["done"], told["total"]) for told in progress] == [(n, total) for n in range(total + 1)]
    assert "<notes>" in prompt_of(stub)
    (found,) = of(events, "retrieval.completed")
    assert 2 <= len(found["passages"]) <= total
    assert of(events, "message.completed")[0]["message"]["left_out"] == []


async def test_notes_carry_numbers_that_name_the_passage_they_rest_on(talk, stub):
    await small_window(talk)
    (book,) = await attach(talk, ("book.md", BOOK))
    answer = await ask(talk, "List all roads. [[cite]]", book)
    body = prompt_of(stub)
    notes = body.partition("<notes>")[2].partition("</notes>")[0]
    passages = body.partition("<passages>")[2].partition("</passages>")[0]
    checked = 0
    for line in notes.strip().splitlines():
        sentence, _, number = line.rpartition(" [")
        element = passages.partition(f'<passage n="{number.rstrip("]")}"')[2].partition("</passage>")[0]
        if element:
            assert sentence in element, line
            checked += 1
    assert checked
    assert answer["citations"][0]["document_name"] == "book.md"


async def test_reading_counts_in_the_bill_under_its_own_purpose(talk, stub, superuser):
    await small_window(talk)
    (book,) = await attach(talk, ("book.md", BOOK))
    answer = await ask(talk, "Summarise this. [[cite]]", book)
    async with superuser.connect() as connection:
        rows = await connection.execute(
            text("SELECT purpose, input_tokens FROM usage_entries WHERE message_id = :id"), {"id": answer["id"]}
        )
        entries = rows.all()
    reading = [tokens for purpose, tokens in entries if purpose == "reading"]
    assert len(reading) == len(parts(stub))
    assert all(tokens > 0 for tokens in reading)
    assert answer["usage"]["input_tokens"] >= sum(reading)


async def test_notes_that_are_too_long_are_shortened_and_what_has_no_room_even_then_is_told(talk, stub):
    await small_window(talk)
    (book,) = await attach(talk, ("book.md", BOOK))
    # The stub repeats what it is given, so nothing gets shorter.
    answer = await ask(talk, "Summarise this.", book)
    again = [request for request in asked(stub) if "You are given notes" in str(request.body["messages"][0]["content"])]
    assert again
    assert answer["status"] == "complete"
    assert "notes from the files" in answer["left_out"][0]["why"]


async def test_what_is_too_long_to_be_read_whole_is_told(talk, stub, monkeypatch):
    monkeypatch.setattr(whole, "MOST_CALLS", 3)
    await small_window(talk)
    (book,) = await attach(talk, ("book.md", BOOK))
    answer = await ask(talk, "Summarise this.", book)
    assert len(parts(stub)) <= 3
    assert answer["status"] == "complete"
    told = [left for left in answer["left_out"] if left["what"] == "files"]
    assert "book.md" in told[0]["why"]


async def test_a_long_file_that_fits_the_window_goes_along_whole(talk, stub):
    await small_window(talk, 200_000)
    (book,) = await attach(talk, ("book.md", BOOK))
    await ask(talk, "Fasse das Dokument zusammen.", book)
    assert parts(stub) == []
    assert f"Paragraph {PAGES - 1} is about" in prompt_of(stub)


async def test_a_file_in_which_nothing_matters_is_told_to_the_model(talk, stub):
    await small_window(talk)
    (book,) = await attach(talk, ("book.md", BOOK))
    stub.answer = "NOTHING"
    events = await streamed(talk, "List all recipes.", book)
    assert of(events, "retrieval.completed") == []
    assert whole.NOTHING_THERE in prompt_of(stub)


async def test_a_model_that_fails_at_every_part_fails_the_answer(talk, stub):
    await small_window(talk)
    (book,) = await attach(talk, ("book.md", BOOK))
    answer = await ask(talk, "Summarise this. [[status=400]]", book)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "provider-invalid-request")


@pytest.mark.parametrize(
    "question",
    [
        "Summarise this",
        "Can you give me an overview?",
        "List all deadlines",
        "Compare the two offers",
        "What are the main points?",
        "Sammanfatta avtalet",
        "Lista alla datum i filen",
        "Jämför de två anbuden",
        "Oppsummer rapporten",
        "Sammenfat dokumentet",
        "Fasse den Vertrag bitte zusammen",
        "Nenne mir bitte alle Fristen",
        "Gib mir eine Zusammenfassung",
        "Tee yhteenveto",
        "Tiivistä tämä",
        "Fais un résumé",
        "Donne-moi la liste de tous les délais",
        "Haz un resumen",
        "Enumera todos los plazos",
    ],
)
def test_what_needs_all_of_a_file(question):
    assert needs_all(question)


@pytest.mark.parametrize(
    "question",
    [
        "How high may a fence be?",
        "Who signed it?",
        "When does work resume?",
        "Vad är hyran?",
        "Wie hoch ist die Miete?",
        "What is this?",
        "Quel est le loyer ?",
        "¿Cuánto es el alquiler?",
        "Mikä on vuokra?",
        "How many metres?",
    ],
)
def test_what_is_found_in_one_place_does_not_need_all_of_a_file(question):
    assert not needs_all(question)
