"""One's own conversations: named, pinned, archived, listed, and found by what was said in them."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from folkmoot.conversations.history import BEGIN, END, Mark, marked


async def change(talk, conversation_id=None, **fields):
    return await talk.person.patch(f"/conversations/{conversation_id or talk.id}", json=fields)


async def listed(talk, **params) -> list[str]:
    response = await talk.person.get("/conversations", params=params)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


async def found(talk, q, **params) -> list[dict]:
    response = await talk.person.get("/conversations/search", params={"q": q, **params})
    assert response.status_code == 200, response.text
    return response.json()["items"]


@pytest.fixture
async def three(talk):
    """Ids of three conversations, the one with the newest activity first."""
    made = [await talk.person.conversation(talk.assistant) for _ in range(3)]
    for conversation in made:
        await talk.person.ask(conversation, "one")
    await talk.person.delete(f"/conversations/{talk.id}")
    return made[::-1]


# Lists


async def test_a_question_brings_its_conversation_to_the_front(talk, three):
    assert await listed(talk) == three
    await talk.person.ask(three[2], "two")
    assert await listed(talk) == [three[2], three[0], three[1]]


async def test_pinned_ones_come_first_and_keep_their_order(talk, three):
    pinned = (await change(talk, three[2], pinned=True)).json()
    assert pinned["pinned"]
    assert pinned["pinned_at"]
    assert await listed(talk) == [three[2], three[0], three[1]]
    await change(talk, three[1], pinned=True)
    assert await listed(talk) == [three[1], three[2], three[0]]
    again = (await change(talk, three[2], pinned=True)).json()
    assert again["pinned_at"] == pinned["pinned_at"]
    assert (await change(talk, three[2], pinned=False)).json()["pinned_at"] is None
    assert await listed(talk) == [three[1], three[0], three[2]]


async def test_naming_pinning_and_archiving_are_no_activity(talk, three):
    before = (await talk.person.get(f"/conversations/{three[2]}")).json()
    after = (await change(talk, three[2], title="  Fences \n and hedges ", pinned=True, archived=True)).json()
    assert after["title"] == "Fences and hedges"
    assert after["updated_at"] == before["updated_at"]
    await change(talk, three[2], pinned=False, archived=False)
    assert await listed(talk) == three


async def test_archived_ones_are_listed_apart(talk, three):
    assert (await change(talk, three[0], archived=True)).json()["archived"]
    assert await listed(talk) == three[1:]
    assert await listed(talk, archived="true") == three[:1]
    # It can be gone on with, and stays where it was put.
    await talk.person.ask(three[0], "two")
    assert await listed(talk, archived="true") == three[:1]


async def test_pages_of_the_list_hold_each_conversation_once(talk, three):
    await change(talk, three[2], pinned=True)
    seen, cursor = [], None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = (await talk.person.get("/conversations", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [three[2], three[0], three[1]]


@pytest.mark.parametrize("cursor", ["x", "ÄÖ", "AAAA", "f" * 34, "A" * 200])
async def test_a_foreign_cursor_is_refused(talk, cursor):
    for path, params in (("/conversations", {}), ("/conversations/search", {"q": "x"})):
        response = await talk.person.get(path, params={**params, "cursor": cursor})
        assert (response.status_code, response.json()["code"]) == (400, "invalid-cursor"), path


async def test_the_list_can_be_of_one_assistant(talk, three):
    space = (await talk.person.get(f"/assistants/{talk.assistant}")).json()["space_id"]
    other = await talk.person.assistant(space, name="Another")
    conversation = await talk.person.conversation(other)
    assert await listed(talk, assistant_id=other) == [conversation]
    assert await listed(talk, assistant_id=talk.assistant) == three
    assert await listed(talk, assistant_id=str(uuid4())) == []


@pytest.mark.parametrize(
    "fields",
    [{"title": ""}, {"title": "  "}, {"title": "x" * 201}, {"title": "\x00"}, {"pinned": "yes"}, {"colour": "red"}],
)
async def test_what_is_no_change_is_refused(talk, fields):
    response = await change(talk, **fields)
    assert (response.status_code, response.json()["code"]) == (400, "validation-failed")


async def test_a_change_leaves_an_event_without_what_was_written(talk, superuser):
    await change(talk, title="Very private")
    await change(talk, title="Very private")
    found = text("SELECT data::text AS told, user_id FROM events WHERE action = 'conversation.updated'"
                 " AND object_id = :c")  # fmt: skip
    async with superuser.connect() as connection:
        (event,) = (await connection.execute(found, {"c": talk.id})).all()
    assert "private" not in event.told
    assert event.user_id == talk.person.user.id


# Search


async def test_a_conversation_is_found_by_what_was_asked_and_answered(talk, stub):
    stub.answer = "Häckar vid gatan får vara högst 80 centimeter."
    answer = await talk.ask("Hur hög får min LIGUSTER bli?")
    for q in ("liguster", "Ligus", "gatan häck", '"får vara högst"', "CENTIMETER", "saknas or häckar"):
        (hit,) = await found(talk, q)
        assert hit["conversation"]["id"] == talk.id, q
    (hit,) = await found(talk, "häck")
    assert (hit["message_id"], hit["role"]) == (answer["id"], "assistant")
    (mark,) = hit["marks"]
    assert hit["text"][mark["start"] : mark["end"]] == "Häckar"
    (hit,) = await found(talk, "liguster")
    assert (hit["message_id"], hit["role"]) == (answer["parent_id"], "user")
    for q in ("gatanx", "häck -gatan", '"vara får"', "liguster häckar"):
        assert await found(talk, q) == [], q


async def test_a_conversation_is_found_by_its_title_archived_or_not(talk):
    await talk.ask("one")
    await change(talk, title="Straßen und Wege", archived=True)
    (hit,) = await found(talk, "straßen")
    assert (hit["conversation"]["id"], hit["message_id"], hit["role"]) == (talk.id, None, None)
    assert [hit["text"][mark["start"] : mark["end"]] for mark in hit["marks"]] == ["Straßen"]


async def test_the_newest_saying_comes_first_and_pages_go_on(talk, three):
    for conversation in (three[1], three[2], three[0]):
        await talk.person.ask(conversation, "a hedge")
    order, cursor = [], None
    while True:
        params = {"q": "hedge", "limit": 1} | ({"cursor": cursor} if cursor else {})
        page = (await talk.person.get("/conversations/search", params=params)).json()
        order += [item["conversation"]["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert order == [three[0], three[2], three[1]]


async def test_what_is_found_is_plain_text_with_places_not_markup(talk, stub):
    stub.answer = f"See <script>alert(1)</script> and {BEGIN}{END} <b>hedges</b> here"
    await talk.ask("one")
    (hit,) = await found(talk, "hedges")
    assert BEGIN not in hit["text"]
    assert [hit["text"][mark["start"] : mark["end"]] for mark in hit["marks"]] == ["hedges"]


@pytest.mark.parametrize(
    "q",
    [
        "'", "''", "'; DROP TABLE messages; --", "a & | ! b", ":*", "\\", "a:*", "!!", "((", "<->", '"', '"a', "-",
        "- -", "or or", "% _ *", "a" * 200, "\u202e\u0301", "💥", "it's", "''':*", "a'b:*'c", "\x01", "http://x/?b=%00",
    ],
)  # fmt: skip
async def test_nothing_that_is_typed_breaks_the_search(talk, q):
    response = await talk.person.get("/conversations/search", params={"q": q})
    assert response.status_code == 200, response.text
    assert response.json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("params", [{}, {"q": ""}, {"q": "x" * 201}, {"q": "\x00"}, {"q": "x", "limit": 51}])
async def test_a_search_that_cannot_be_made_is_refused(talk, params):
    assert (await talk.person.get("/conversations/search", params=params)).status_code == 400


async def test_an_answer_is_found_once_it_is_there_and_as_it_was_edited(talk, stub):
    asking, pending = await talk.begin("Where? [[tokens=60 delay=0.03]]")
    assert await found(talk, "word1") == []
    await asking
    (hit,) = await found(talk, "word1")
    assert hit["message_id"] == pending["id"]
    edit = await talk.person.patch(f"/messages/{pending['id']}", json={"content": "Something else"})
    assert edit.status_code == 200, edit.text
    assert await found(talk, "word1") == []
    assert len(await found(talk, "something")) == 1


async def test_calls_of_programs_and_other_people_s_conversations_are_not_found(talk, tenancy, superuser):
    await talk.ask("a hedge")
    colleague = await tenancy.colleague(talk.person, role="owner")
    assert (await colleague.get("/conversations/search", params={"q": "hedge"})).json()["items"] == []
    async with superuser.begin() as connection:
        await connection.execute(text("UPDATE conversations SET origin = 'api' WHERE id = :c"), {"c": talk.id})
    assert await found(talk, "hedge") == []


async def test_a_long_message_is_searched_up_to_a_bound_and_breaks_nothing(talk):
    await talk.ask("early " + "".join(f"w{number} " for number in range(24_000)) + "late")
    assert len(await found(talk, "early")) == 1
    assert await found(talk, "late") == []


def test_marks_stand_where_the_database_set_them():
    assert marked(f"a {BEGIN}b{END} c {BEGIN}dd{END}") == ("a b c dd", [Mark(start=2, end=3), Mark(start=6, end=8)])
    assert marked("plain") == ("plain", [])
    assert marked("") == ("", [])
