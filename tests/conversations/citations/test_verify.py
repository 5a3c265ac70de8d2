"""What a finished answer says of its own sentences: from the stream, in the stored message, and for each citation."""

from __future__ import annotations

import pytest

from folkmoot.conversations.citations.sentences import claims, is_claim
from folkmoot.conversations.citations.verify import MOST_SENTENCES
from tests.conversations.conftest import Talk, connected

HIGH = "A fence along the street may be 1.2 metres high. [1]"
STONE_AGE = "Farmers of the Stone Age kept their animals behind thorns."


def only(events, name):
    found = [event for event in events if event.event == name]
    assert len(found) == 1
    return found[0].data


async def test_each_sentence_is_checked_once_before_the_end_and_kept(informed, stub):
    stub.answer = f"Hello! {HIGH} {STONE_AGE} Do you need more?"
    events = await informed.stream("How high?")
    assert [event.event for event in events[-2:]] == ["verification.completed", "message.completed"]
    told = only(events, "verification.completed")
    message = events[-1].data["message"]
    assert told["unchecked"] == 0
    assert told["sentences"] == message["sentences"] == (await informed.message(message["id"]))["sentences"]
    first, second = told["sentences"]
    assert message["content"][first["start"] : first["end"]] == HIGH
    assert message["content"][second["start"] : second["end"]] == STONE_AGE
    assert (first["support"], first["n"]) == ("supported", 1)
    assert (second["support"], second["n"], second["document_id"], second["quote"]) == ("not_found", None, None, "")


async def test_what_supports_a_sentence_is_exactly_what_stands_in_the_document(informed, stub):
    # No marker: it is shown all the same what it rests on.
    stub.answer = "Elsewhere fences may be 1.8 metres high."
    events = await informed.stream("How high?")
    [told] = only(events, "verification.completed")["sentences"]
    text = (await informed.person.get(f"/documents/{told['document_id']}/text")).json()["text"]
    assert told["support"] == "supported"
    assert text[told["source_start"] : told["source_end"]] == told["quote"] == "Elsewhere it may be 1.8 metres high."
    assert events[-1].data["message"]["citations"] == []


async def test_a_citation_tells_how_far_its_passage_supports_it(informed, stub):
    stub.answer = f"{HIGH} A fence along the street may be 3.4 metres high. [1]"
    events = await informed.stream("How high?")
    cited = [event.data for event in events if event.event == "citation"]
    assert [each["support"] for each in cited] == ["supported", "not_found"]
    stored = events[-1].data["message"]["citations"]
    assert [each["support"] for each in stored] == ["supported", "not_found"]
    assert [each["quote"] for each in stored] == [each["quote"] for each in cited]
    assert [each["support"] for each in events[-1].data["message"]["sentences"]] == ["supported", "not_found"]


@pytest.fixture
async def two(informed):
    """With a second document, about parking, of which passages come along with those about fences."""
    await informed.person.knows(
        informed.collection,
        (
            "parking.md",
            b"# Parking at fences\n\nA parking permit for the street costs 45 euros and is valid for a year.\n",
        ),
    )
    return informed


async def test_a_sentence_that_names_the_wrong_passage_shows_the_right_one(two, stub):
    stub.answer = "nothing"
    listed = only(await two.stream("Fence or parking permit along the street?"), "retrieval.completed")["passages"]
    by_name = {passage["document_name"]: passage["n"] for passage in listed}
    assert by_name.keys() == {"rules.md", "parking.md"}
    stub.answer = f"A parking permit costs 45 euros. [{by_name['rules.md']}]"
    events = await two.stream("Fence or parking permit along the street?")
    again = only(events, "retrieval.completed")["passages"]
    assert {passage["document_name"]: passage["n"] for passage in again} == by_name
    [told] = only(events, "verification.completed")["sentences"]
    assert (told["support"], told["n"]) == ("supported", by_name["parking.md"])
    cited = only(events, "citation")
    assert (cited["n"], cited["support"]) == (by_name["rules.md"], "not_found")


async def test_an_answer_without_documents_is_not_checked(talk, stub):
    stub.answer = STONE_AGE
    events = await talk.stream("What of fences?")
    assert "verification.completed" not in {event.event for event in events}
    assert events[-1].data["message"]["sentences"] == []


async def test_what_is_claimed_though_nothing_was_found_is_not_found(owner, app, stub):
    await connected(app, owner, stub)
    space = await owner.space()
    assistant = await owner.assistant(space, await owner.collection(space))
    stub.answer = f"The documents do not say so. {STONE_AGE}"
    events = await Talk(owner, await owner.conversation(assistant), assistant).stream("How high may a fence be?")
    assert only(events, "retrieval.completed")["passages"] == []
    [told] = only(events, "verification.completed")["sentences"]
    assert (told["support"], told["n"]) == ("not_found", None)


async def test_markers_that_cite_nothing_leave_no_trace_and_the_sentence_its_verdict(informed, stub):
    stub.answer = f"{STONE_AGE} [99] It was so [0], `x[1]` too."
    events = await informed.stream("What of fences?")
    message = events[-1].data["message"]
    assert message["content"] == f"{STONE_AGE} It was so, `x[1]` too."
    assert message["citations"] == []
    assert message["sentences"][0]["support"] == "not_found"


async def test_a_list_of_markers_is_one_citation_each(informed, stub):
    stub.answer = "A fence along the street may be 1.2 metres high [1, 7]."
    events = await informed.stream("How high?")
    assert events[-1].data["message"]["content"] == "A fence along the street may be 1.2 metres high [1]."
    assert only(events, "citation")["n"] == 1


async def test_what_goes_beyond_the_most_that_is_checked_is_counted(informed, stub):
    stub.answer = " ".join(f"A fence may be {number} metres high." for number in range(MOST_SENTENCES + 7))
    told = only(await informed.stream("How high?"), "verification.completed")
    assert len(told["sentences"]) == MOST_SENTENCES
    assert told["unchecked"] == 7


async def test_an_answer_of_nothing_but_code_claims_nothing(informed, stub):
    stub.answer = "```\nA fence may be 3 metres high. [1]\n```"
    events = await informed.stream("How high?")
    assert only(events, "verification.completed")["sentences"] == []
    assert not [event for event in events if event.event == "citation"]


@pytest.mark.parametrize(
    "sentence",
    [
        "Hello!",
        "Thank you for asking.",
        "Tack för din fråga!",
        "Here is what I found:",
        "How high is it?",
        "The documents do not say how high it may be.",
        "I could not find anything about that in the documents.",
        "Det framgår inte av dokumenten.",
        "Dokumenten säger inget om avgiften.",
        "Die Dokumente enthalten keine Angaben dazu.",
        "Dazu steht nichts in den Unterlagen.",
        "Let me know if you need more.",
        "Hör gärna av dig om du undrar något.",
        "Source: rules.md [1]",
        "**",
        "",
    ],
)
def test_greetings_questions_and_refusals_claim_nothing(sentence):
    assert not is_claim(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Enligt dokumenten krävs inte bygglov.",
        "The documents do not say so, but the fee is 500 kronor.",
        "Personal data may not be stored in text files.",
        "No permit is needed.",
        "Yes, a permit is needed.",
    ],
)
def test_denials_and_what_follows_a_refusal_are_claims(sentence):
    assert is_claim(sentence)


def said(text):
    return [text[span.start : span.end] for span in claims(text)]


def test_items_rows_and_wrapped_lines_are_sentences_and_headings_are_none():
    text = (
        "# Rules\n\n**Fences**\n- First item [1]\n2. Second item\ngoes on here\n\n"
        "| What | Fee |\n|---|---|\n| Permit | 300 kr [2] |\n\nOne sentence. [1][2] Another one."
    )
    assert said(text) == [
        "First item [1]",
        "Second item\ngoes on here",
        "| Permit | 300 kr [2] |",
        "One sentence. [1][2]",
        "Another one.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "It is 1.2 metres, e.g. along the street.",
        "Dr. Keller decides on 3. Mai at 9.30.",
        "Det gäller bl.a. staket enl. kap. 9 i lagen.",
        "Das gilt z. B. am 1. Januar.",
    ],
)
def test_a_full_stop_in_a_number_or_an_abbreviation_ends_no_sentence(text):
    assert said(text) == [text]
