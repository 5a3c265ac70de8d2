"""Models that misbehave, and questions without measure: each has a clear end that is stored, and the talk goes on."""

from __future__ import annotations

import asyncio

import pytest
from folkmoot_sdk import ProviderState

from folkmoot.conversations.answering import write
from folkmoot.conversations.answering.round import Round
from tests.conversations.conftest import said


async def ends(talk, question: str) -> tuple[list, dict]:
    """(events, the stored answer) of a question, which say the same."""
    events = await talk.stream(question)
    message_id = events[0].data["message_id"]
    stored = await talk.message(message_id)
    assert said(events) == stored["content"]
    if stored["status"] == "failed":
        assert (events[-1].event, events[-1].data) == ("message.failed", stored["error"])
    else:
        assert (events[-1].event, events[-1].data) == ("message.completed", {"message": stored})
    assert [event.id for event in events] == sorted({event.id for event in events})
    return events, stored


@pytest.mark.parametrize(
    ("told", "code", "retryable"),
    [
        ("empty", "empty-answer", True),
        ("blank", "empty-answer", True),
        ("thinks", "empty-answer", True),
        ("empty finish=length", "empty-answer", True),
        ("empty finish=content_filter", "content-refused", False),
        ("empty finish=something-new", "empty-answer", True),
        ("garbage", "provider-bad-response", True),
        ("html", "provider-bad-response", True),
        ("error-in-200", "provider-bad-response", True),
        ("cut=0", "provider-unavailable", True),
    ],
)
async def test_a_model_that_says_nothing_fails_the_answer_for_a_reason(talk, told, code, retryable):
    _, failed = await ends(talk, f"Hej [[{told}]]")
    assert (failed["status"], failed["content"]) == ("failed", "")
    assert (failed["error"]["code"], failed["error"]["retryable"]) == (code, retryable)
    assert len(failed["error"]["detail"].split()) > 3
    assert (await talk.ask("And now?"))["status"] == "complete"


async def test_what_was_only_thought_is_kept_apart(talk):
    _, failed = await ends(talk, "Hej [[thinks]]")
    assert (failed["reasoning"], failed["content"]) == ("Hmm. ", "")
    assert failed["usage"], "it cost something all the same"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_was_cut_off_by_its_model_says_so(talk, reason):
    _, done = await ends(talk, f"Hej igen [[finish={reason}]]")
    assert (done["status"], done["content"], done["finish_reason"]) == ("complete", "Hej igen", reason)
    _, whole = await ends(talk, "Hej igen")
    assert whole["finish_reason"] == "stop"


async def test_a_question_has_no_finish_reason(talk):
    done = await talk.ask("Hej")
    assert (await talk.message(done["parent_id"]))["finish_reason"] is None


async def test_an_answer_without_end_is_stopped_and_kept(talk, stub, monkeypatch):
    monkeypatch.setattr(write, "MOST_ANSWER", 1_000)
    _, stopped = await ends(talk, "[[tokens=100000]]")
    assert (stopped["status"], stopped["finish_reason"], stopped["error"]) == ("stopped", "too-long", None)
    assert len(stopped["content"]) == 1_000
    async with asyncio.timeout(10):
        while stub.streaming:  # noqa: ASYNC110 - the model is not kept talking
            await asyncio.sleep(0.01)


async def test_a_model_that_thinks_without_end_fails(talk, stub, monkeypatch):
    monkeypatch.setattr(write, "MOST_ANSWER", 1_000)
    stub.act = lambda _: [{"reasoning_content": "Hmm. " * 100}] * 10 + [{"content": "So."}]
    _, failed = await ends(talk, "Hej")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "provider-bad-response")
    assert len(failed["reasoning"]) <= 1_000


async def test_what_no_column_can_hold_is_left_out_of_the_text(talk, stub):
    odd = [{"content": "a\x00b"}, {"content": "\ud83d"}, {"reasoning_content": "\x00\udc00x"}, {"content": "c"}]
    stub.act = lambda _: odd
    events, done = await ends(talk, "Hej")
    assert done["status"] in ("complete", "failed")
    assert "\x00" not in done["content"] + done["reasoning"]
    assert said(events).encode()
    assert (await talk.ask("And the next?"))["status"] in ("complete", "failed")


async def test_markers_that_cite_nothing_are_left_out(informed, stub):
    stub.answer = "High [99] fences [0][1] are [123] fine [12345]."
    _, done = await ends(informed, "How high may a fence be?")
    assert {cited["n"] for cited in done["citations"]} == {1}
    assert "[99]" not in done["content"]
    assert "[0]" not in done["content"]
    assert "[1]" in done["content"]


async def test_white_space_before_the_first_word_is_kept_as_it_was(talk, stub):
    stub.act = lambda _: [{"content": "\n"}, {"content": "  "}, {"content": "  x = 1"}, {"content": " "}]
    _, done = await ends(talk, "Hej")
    assert done["content"] == "\n    x = 1 "


@pytest.mark.parametrize(
    ("size", "status", "code"),
    [(200_001, 400, "validation-failed"), (2_000_000, 400, "validation-failed"), (5_000_000, 413, "content-too-large")],
)
async def test_a_question_without_measure_is_refused_and_nothing_is_stored(talk, stub, size, status, code):
    refused = await talk.person.post(f"/conversations/{talk.id}/messages", json={"content": "a " * (size // 2 + 1)})
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert await talk.messages() == []
    assert not [request for request in stub.requests if request.path.endswith("completions")]


@pytest.mark.parametrize("content", ["", "   ", "\x00", "a\x00b"])
async def test_a_question_of_nothing_is_refused(talk, content):
    refused = await talk.person.post(f"/conversations/{talk.id}/messages", json={"content": content})
    assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed")
    assert await talk.messages() == []


# A round, without a server


@pytest.mark.parametrize("data", [float("nan"), {"a": "\x00"}, {"a": object()}, "\ud800", {"deep": [[[1]]]}])
def test_the_state_of_a_provider_is_kept_if_a_row_can_hold_it(data):
    said_ = Round()
    said_.takes(ProviderState(data))
    assert "\x00" not in str(said_.state)
    assert said_.state is None or str(said_.state).encode()


def test_a_state_without_measure_is_not_kept():
    said_ = Round()
    said_.takes(ProviderState("x" * 5_000_000))
    assert said_.state is None
