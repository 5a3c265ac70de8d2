"""What a model is told: everything that fits, the question always."""

from __future__ import annotations

from uuid import uuid4

from folkmoot_sdk import ModelInfo
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.conversations.cite import CitedPassage
from folkmoot.conversations.prompt import CHARACTERS_PER_TOKEN, GROUNDED, NOTHING_FOUND, Turn, build


def passage(n: int, text: str, **more) -> CitedPassage:
    fields = {"page": None, "score": 1.0, "heading": ""} | more
    return CitedPassage(
        n=n, document_id=uuid4(), document_name="rules.pdf", chunk_id=uuid4(), text=text, start=0, **fields
    )


def request(question="How high?", window=8000, passages=(), grounded=False, history=(), takes_passages=False, **more):
    model = ModelInfo("m", "chat", context_window=window, passages=takes_passages)
    fields = {"instructions": "", "parameters": {}} | more
    return build(model, question=question, passages=passages, grounded=grounded, history=history, **fields)


def test_the_question_comes_last_and_alone_if_there_is_nothing_else():
    asked = request("How high?")
    assert [(message.role, message.text) for message in asked.messages] == [("user", "How high?")]


def test_instructions_and_passages_are_the_system_message():
    asked = request(
        instructions="Be brief.", grounded=True, passages=[passage(1, "Fences: 1.2 m.", page=4, heading="Fences")]
    )
    system = asked.messages[0]
    assert system.role == "system"
    assert system.text.startswith("Be brief.")
    assert GROUNDED in system.text
    assert "[1] rules.pdf, page 4 (Fences)\nFences: 1.2 m." in system.text


def test_a_model_that_takes_passages_gets_them_apart_from_the_text():
    asked = request(grounded=True, passages=[passage(1, "Fences: 1.2 m.", page=4)], takes_passages=True)
    assert [message.role for message in asked.messages] == ["user"]
    assert [(item.n, item.text, item.page) for item in asked.passages] == [(1, "Fences: 1.2 m.", 4)]
    assert asked.grounded


def test_a_search_that_found_nothing_is_said_and_no_search_is_not():
    assert NOTHING_FOUND in request(grounded=True).messages[0].text
    assert len(request(grounded=False).messages) == 1


def test_old_markers_are_left_out_because_they_name_other_passages():
    history = [Turn("user", "Is [1] a marker?"), Turn("assistant", "It is high [1].[2]")]
    asked = request(history=history)
    assert [message.text for message in asked.messages[:2]] == ["Is [1] a marker?", "It is high ."]


def test_parameters_of_the_assistant_are_passed_on():
    asked = request(parameters={"temperature": 0.2, "max_output_tokens": 50})
    assert (asked.temperature, asked.max_output_tokens) == (0.2, 50)


def test_the_oldest_turns_are_left_out_first():
    history = [Turn("user" if n % 2 == 0 else "assistant", f"{n:02d}" + "x" * 298) for n in range(20)]
    kept = [message.text[:2] for message in request(window=1000, history=history).messages[:-1]]
    assert 0 < len(kept) < 20
    assert kept == [f"{n:02d}" for n in range(20 - len(kept), 20)]


@given(
    st.lists(st.text(max_size=400), max_size=30),
    st.text(min_size=1, max_size=3000),
    st.integers(200, 4000),
)
def test_the_budget_is_kept_and_the_question_never_cut(texts, question, window):
    history = [Turn("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts)]
    asked = request(question, window=window, history=history)
    assert asked.messages[-1].text == question
    total = sum(len(message.text) for message in asked.messages)
    budget = (window - window // 4) * CHARACTERS_PER_TOKEN
    assert total <= max(budget, len(question))


def test_a_question_longer_than_the_window_goes_without_history():
    asked = request("why? " * 5000, window=1000, history=[Turn("user", "hello"), Turn("assistant", "hi")])
    assert len(asked.messages) == 1
