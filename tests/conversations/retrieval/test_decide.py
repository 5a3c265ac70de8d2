"""Which messages are searched for, which go on from what was said, and what then goes along."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import select

from benchmarks.followups import read
from folkmoot.conversations.models import Message
from folkmoot.conversations.prompting.prompt import Turn
from folkmoot.conversations.retrieval import retrieve
from folkmoot.conversations.retrieval.decide import decide, refers_back
from folkmoot.conversations.retrieval.small_talk import is_small_talk
from folkmoot.kit.access import Principal

BEFORE = [Turn("user", "How high may a garden fence be?"), Turn("assistant", "It may be 1.2 metres high [1].")]


async def traced(app, talk, message: dict) -> dict:
    """How the answer says that its passages came to be."""
    async with app.begin(Principal.system(talk.person.tenant_id)) as work:
        trace = await work.session.scalar(select(Message.trace).where(Message.id == UUID(message["id"])))
    return trace.get("retrieval", {})


def searches(stub) -> str:
    """The whole prompt of the newest question."""
    return str([request for request in stub.requests if request.path.endswith("completions")][-1].body["messages"])


@pytest.mark.parametrize(
    "said",
    [
        "thanks", "Thank you so much!", "Thanks for your quick answer, that helps", "Hello", "Hi there!", "bye",
        "Hello, how are you?", "tack", "Tack så mycket!", "Tack för hjälpen", "Hej, hur mår du?", "Hejdå",
        "ok, danke", "Vielen Dank für die schnelle Auskunft!", "Guten Morgen", "Danke, tschüss", "Mange tak",
        "Tak for hjælpen", "Tusen takk", "Ha en god dag!", "Kiitos", "Paljon kiitoksia avusta", "Hyvää päivää",
        "Merci beaucoup pour votre aide", "Bonjour !", "Au revoir", "¡Muchas gracias!", "Hola", "Hasta luego",
        "👍", "🙏😊", "!", "No, thanks",
    ],
)  # fmt: skip
def test_thanks_and_greetings_are_not_searched_for(said):
    assert not decide(said, []).search
    assert not decide(said, BEFORE).search


@pytest.mark.parametrize("said", ["ok", "Great!", "I see", "Det var allt", "Alles klar", "nej", "Perfecto", "yes"])
def test_what_is_said_to_an_answer_is_searched_for_only_without_one(said):
    assert not decide(said, BEFORE).search
    assert decide(said, []).search, "it may be a word to look up"


@pytest.mark.parametrize(
    "said",
    [
        "Fences?", "Fences", "Thanks, and how high may it be?", "Tack?", "tak", "Fine?", "fine", "Tack vare vem?",
        "Hej! Hur hög får en altan vara?", "Danke, was kostet das?", "ok and for sheds", "?", "??", "1", "help",
        "Help me", "More", "Is Thanksgiving a holiday?", "hi-vis vests", "Bye-laws", "the answer", "your information",
        "Gracias a quién pago la tasa", "Merci de m'envoyer le formulaire", "Danke für das Formular zur Hundesteuer",
        "Thanks but that is wrong", "hello world fence", "goodbye fee", "no dogs", "yes or no",
    ],
)  # fmt: skip
def test_a_real_question_is_never_passed_over(said):
    assert decide(said, []).search
    assert decide(said, BEFORE).search


def test_what_takes_up_an_offer_is_searched_for_with_what_was_offered():
    offered = [*BEFORE[:1], Turn("assistant", "It may be 1.2 metres [1]. Shall I also tell you what a permit costs?")]
    for said in ("Yes please", "ja", "Ja gerne!", "ok"):
        decision = decide(said, offered)
        assert decision.search
        assert decision.refers_back
    assert not decide("No thanks", offered).search
    assert not decide("Yes please", BEFORE).search


@pytest.mark.parametrize(
    "question",
    [
        "And in winter?", "What about sheds?", "How much is it?", "Why?", "In winter?", "Who decides about it?",
        "What is the fee?", "Is that also so in summer?", "May they be taller?", "Och på vintern?", "Vad kostar det?",
        "Hur länge gäller den?", "Och om det snöar?", "Und im Winter?", "Was kostet das?", "Wie lange gilt sie?",
        "Was ist mit Hecken?", "Og om vinteren?", "Hvad med hegn?", "Entä talvella?", "Et en hiver ?",
        "Combien ça coûte ?", "¿Y en invierno?", "In simpler words, please", "Är du säker?",
    ],
)  # fmt: skip
def test_a_question_that_leaves_its_subject_out_goes_on_from_the_one_before(question):
    assert refers_back(question, ["How high may a garden fence be?"]) is not None
    assert decide(question, BEFORE).refers_back
    assert not decide(question, []).refers_back, "there is nothing to go on from"


@pytest.mark.parametrize(
    "question",
    [
        "How high may a garden fence be?", "Is it allowed to build a shed next to the neighbour's garage?",
        "If a fence is rotten, may it be replaced?", "Is there a fee for boat sheds?", "Why is the tap water brown?",
        "What is a hygiene certificate?", "Which parking rules hold this winter in the old town?",
        "Hur högt får ett plank vara?", "Är det tillåtet att elda i trädgården?", "Finns det en simhall i Vik?",
        "Den nya skolan i Vik, när öppnar den?", "Wie hoch darf ein Zaun sein?", "Ist es erlaubt, hier zu grillen?",
        "Gibt es ein Hallenbad in Wiek?", "Wann öffnet das Hallenbad?", "Können Sie mir die Öffnungszeiten des Museums"
        " nennen?", "Faut-il un permis pour un abri de jardin ?", "¿Hay una tasa para perros de rescate?",
    ],
)  # fmt: skip
def test_a_question_that_stands_alone_is_left_alone(question):
    assert refers_back(question, ["When is the library open?"]) is None


def test_on_the_measured_set_no_question_is_passed_over_and_most_are_rightly_decided():
    _, items = read()
    wrong = [(item.question, item.decided()) for item in items if item.decided() != item.truth]
    assert len(items) >= 100
    assert len(wrong) <= len(items) // 20, wrong
    assert not [item for item in items if item.truth != "small-talk" and item.decided() == "small-talk"]


@pytest.mark.parametrize("hostile", ["a" * 100_000, "thanks " * 20_000, "it " * 50_000, "\x00", "\ud800", "?" * 9_999])
def test_a_strange_message_is_decided_at_once(hostile):
    decide(hostile, BEFORE)
    assert decide(hostile, [Turn("user", hostile), Turn("assistant", hostile)]) is not None
    assert is_small_talk("thanks " * 13, answered=False)


async def test_thanks_bring_no_passages_and_nothing_is_said_of_documents(informed, app, stub):
    await informed.ask("How high may a fence be?")
    events = await informed.stream("Thanks a lot!")
    assert "retrieval.completed" not in [event.event for event in events]
    message = events[-1].data["message"]
    assert message["citations"] == []
    assert await traced(app, informed, message) == {
        "kind": "nothing",
        "query": "",
        "why": "the message is small talk",
    }
    assert "1.2 metres" not in str(stub.requests[-1].body["messages"][-1])
    assert "nothing was found" not in searches(stub)


async def test_small_sources_go_along_whole(informed, app, stub, monkeypatch):
    monkeypatch.setattr(retrieve, "PASSAGES", 1)
    await informed.person.knows(informed.collection, ("boats.md", b"# Boats\n\nBoats are moored at the west pier.\n"))
    events = await informed.stream("How high may a fence be?")
    found = next(event.data for event in events if event.event == "retrieval.completed")
    names = [passage["document_name"] for passage in found["passages"]]
    assert names[0] == "rules.md"
    assert "boats.md" in names
    assert found["passages"][0]["score"] > 0
    assert found["passages"][-1]["score"] == 0
    assert [passage["n"] for passage in found["passages"]] == list(range(1, len(names) + 1))
    assert "west pier" in searches(stub)
    assert (await traced(app, informed, events[-1].data["message"]))["kind"] == "whole"


async def test_what_quotes_only_gets_only_what_was_found(keyless, app):
    await keyless.person.knows(keyless.collection, ("boats.md", b"# Boats\n\nBoats are moored at the west pier.\n"))
    events = await keyless.stream("How high may a fence be?")
    found = next(event.data for event in events if event.event == "retrieval.completed")
    assert {passage["document_name"] for passage in found["passages"]} == {"rules.md"}
    assert (await traced(app, keyless, events[-1].data["message"]))["kind"] == "search"


async def test_large_sources_are_searched(informed, app, stub, monkeypatch):
    monkeypatch.setattr(retrieve, "FEW_TOKENS", 5)
    monkeypatch.setattr(retrieve, "PASSAGES", 1)
    await informed.person.knows(informed.collection, ("boats.md", b"# Boats\n\nBoats are moored at the west pier.\n"))
    answer = await informed.ask("How high may a fence be?")
    assert "west pier" not in searches(stub)
    assert (await traced(app, informed, answer))["kind"] == "search"


async def remade(talk, **fields) -> None:
    response = await talk.person.patch(f"/assistants/{talk.assistant}", json=fields)
    assert response.status_code == 200, response.text
    for name, value in fields.items():
        assert response.json()[name] == value


async def test_an_assistant_says_what_goes_along(informed, app, stub, monkeypatch):
    monkeypatch.setattr(retrieve, "PASSAGES", 1)
    await informed.person.knows(informed.collection, ("boats.md", b"# Boats\n\nBoats are moored at the west pier.\n"))
    await remade(informed, retrieval="search")
    assert (await traced(app, informed, await informed.ask("How high may a fence be?")))["kind"] == "search"
    assert "west pier" not in searches(stub)
    assert (await traced(app, informed, await informed.ask("Thanks")))["kind"] == "search"
    await remade(informed, retrieval="off")
    assert (await traced(app, informed, await informed.ask("How high may a fence be?")))["kind"] == "nothing"
    await remade(informed, retrieval="documents")
    assert (await traced(app, informed, await informed.ask("How high may a fence be?")))["kind"] == "whole"
    await remade(informed, retrieval="auto")
    fresh = await informed.person.get(f"/assistants/{informed.assistant}")
    assert fresh.json()["retrieval"] == "auto"


async def test_an_unknown_way_to_look_is_refused(informed):
    response = await informed.person.patch(f"/assistants/{informed.assistant}", json={"retrieval": "everything"})
    assert response.status_code == 400
    assert "retrieval" in response.text


async def test_a_new_assistant_decides_by_itself_unless_it_is_told(owner):
    space = await owner.space()
    made = [
        await owner.made(f"/spaces/{space}/assistants", name="A", **fields) for fields in ({}, {"retrieval": "off"})
    ]
    assert [one["retrieval"] for one in made] == ["auto", "off"]
    again = await owner.patch(f"/assistants/{made[1]['id']}", json={"name": "B"})
    assert again.json()["retrieval"] == "off", "what is not named stays"
