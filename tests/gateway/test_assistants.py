"""Assistants as models."""

import json

import msgspec
import pytest

from folkmoot.gateway.assistants import understand
from folkmoot.gateway.errors import Refused
from folkmoot.gateway.schemas import ChatCompletionRequest
from tests.gateway.conftest import as_program, chunks, key_of, said, told
from tests.gateway.test_chat import settled

QUESTION = "[[cite]] How high may a fence be?"
ANSWER = "A fence along the street may be 1.2 metres high. [1]"


def sent(*messages, **fields) -> ChatCompletionRequest:
    return msgspec.convert({"model": "assistant/x", "messages": list(messages), **fields}, ChatCompletionRequest)


def test_a_clients_system_message_is_its_users_word():
    told = understand(
        sent(
            {"role": "system", "content": "Speak Latin."},
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "Me."},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
        )
    )
    assert [(turn.role, turn.text) for turn in told.history] == [
        ("user", "Speak Latin."),
        ("user", "Who?"),
        ("assistant", "Me."),
    ]
    assert told.question.content == "Why?"


def test_of_a_long_talk_the_newest_turns_are_kept():
    turns = [{"role": "user" if n % 2 else "assistant", "content": str(n)} for n in range(200)]
    told = understand(sent(*turns))
    assert [turn.text for turn in told.history] == [str(n) for n in range(159, 199)]


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
TOOL = {"type": "function", "function": {"name": "find"}}
CALL = {"id": "1", "type": "function", "function": {"name": "find"}}
ASKED = {"role": "user", "content": "Why?"}


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([ASKED], {"tools": [TOOL]}, "tools"),
        ([ASKED], {"functions": []}, "tools"),
        ([ASKED], {"response_format": {"type": "json_object"}}, "response_format"),
        ([ASKED], {"n": 2}, "n"),
        ([ASKED], {"logprobs": True}, "logprobs"),
        ([ASKED, {"role": "assistant", "content": "So."}], {}, "messages[1].role"),
        ([{"role": "system", "content": "x"}], {}, "messages[0].role"),
        ([{"role": "tool", "tool_call_id": "1", "content": "x"}, ASKED], {}, "messages[0].role"),
        ([{"role": "assistant", "tool_calls": [CALL]}, ASKED], {}, "messages[0].role"),
        ([{"role": "user", "content": [PICTURE]}], {}, "messages[0].content[0]"),
        ([{"role": "user", "content": "  \n"}], {}, "messages[0].content"),
        ([{"role": "user", "content": "x" * 200_001}], {}, "messages[0].content"),
        ([{"role": "user", "content": "a\x00b"}], {}, "messages[0].content"),
        ([{"role": "user", "content": "a\ud800b"}, ASKED], {}, "messages[0].content"),
        ([{"role": "robot", "content": "x"}, ASKED], {}, "messages[0].role"),
    ],
)
def test_what_an_assistant_does_not_do_is_refused_with_its_field(messages, fields, param):
    with pytest.raises(Refused) as refusal:
        understand(sent(*messages, **fields))
    assert refusal.value.errors[0][0] == param


async def test_it_answers_from_its_knowledge_with_citations(program, assistant, connected):
    answer = await program.chat(QUESTION, assistant)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["model"] == assistant
    message = body["choices"][0]["message"]
    assert message["content"] == ANSWER
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] > 0
    (annotation,) = message["annotations"]
    assert annotation["type"] == "url_citation"
    cited, place = annotation["url_citation"], annotation["folkmoot"]
    assert message["content"][cited["start_index"] : cited["end_index"]] == "[1]"
    assert cited["title"] == "rules.md"
    assert cited["url"].endswith(f"/api/v1/documents/{place['document_id']}/content")
    text = (await connected.get(f"/documents/{place['document_id']}/text")).json()["text"]
    assert text[place["start"] : place["end"]] == place["quote"]


@pytest.mark.parametrize("why", ["length", "content_filter"])
async def test_an_answer_that_is_not_whole_says_why(program, assistant, why):
    question = f"[[tokens=5 finish={why}]] {QUESTION}"
    whole = (await program.chat(question, assistant)).json()
    assert whole["choices"][0]["finish_reason"] == why
    found = await program.streamed(question, assistant)
    assert found[-1]["choices"][0]["finish_reason"] == why


async def test_it_streams_the_text_and_then_its_citations(program, assistant):
    found = await program.streamed(QUESTION, assistant, stream_options={"include_usage": True})
    assert said(found) == ANSWER
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    cited = [c["delta"]["annotations"] for chunk in found for c in chunk["choices"] if "annotations" in c["delta"]]
    assert [item["folkmoot"]["n"] for item in cited[0]] == [1]
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-1]["usage"]["total_tokens"] > 0
    whole = (await program.chat(QUESTION, assistant)).json()["choices"][0]["message"]
    assert whole["annotations"][0]["url_citation"] == cited[0][0]["url_citation"]


async def test_the_talk_so_far_comes_along_and_is_stored(program, assistant, connected, upstream):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a fence?"},
        {"role": "assistant", "content": "A barrier [1]."},
        {"role": "user", "content": "How high may it be?"},
    ]
    answer = await program.post("/chat/completions", json={"model": assistant, "messages": messages})
    assert answer.status_code == 200, answer.text
    told = [(item["role"], item["content"]) for item in upstream.asked["messages"] if item["role"] != "system"]
    *before, newest = [text for _, text in told]
    assert before == ["Be brief.", "What is a fence?", "A barrier ."]
    assert newest.split("</passages>\n\n")[-1] == "How high may it be?", "after the passages, if some were found"
    mine = (await connected.get("/conversations")).json()["items"]
    assert mine == []
    (stored,) = (await connected.get("/conversations", params={"origin": "api"})).json()["items"]
    assert (stored["origin"], stored["title"]) == ("api", "How high may it be?")
    rows = (await connected.get(f"/conversations/{stored['id']}/messages")).json()["items"]
    assert [(row["role"], row["content"]) for row in rows[:4]] == [
        ("user", "Be brief."),
        ("user", "What is a fence?"),
        ("assistant", "A barrier [1]."),
        ("user", "How high may it be?"),
    ]
    assert [row["parent_id"] for row in rows[1:]] == [row["id"] for row in rows[:-1]]


async def test_what_it_takes_counts_for_the_assistant_and_the_key(program, assistant, connected):
    assert (await program.chat("How high?", assistant)).status_code == 200
    entries = [entry for entry in await settled(connected) if entry["purpose"] == "answer"]
    assert [entry["assistant_id"] for entry in entries] == [assistant.removeprefix("assistant/")]
    assert entries[0]["key_id"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_fails_before_it_begins_has_its_own_status(program, assistant, stream):
    answer = await program.chat("[[status=400 code=context_length_exceeded]]", assistant, stream=stream)
    assert (answer.status_code, told(answer)["code"]) == (400, "context_length_exceeded")


async def test_an_answer_that_breaks_off_ends_its_stream_with_the_error(program, assistant):
    answer = await program.chat("[[tokens=9 delay=0.02 cut=5]]", assistant, stream=True)
    assert answer.status_code == 200
    events = [event for event in answer.text.split("\n\n") if event]
    assert "[DONE]" not in answer.text
    assert "word0" in answer.text
    assert json.loads(events[-1].removeprefix("data: "))["error"]["type"] == "server_error"


async def test_a_key_that_has_spent_its_month_is_refused(api, connected, assistant):
    async with as_program(api, await key_of(connected, tokens_per_month=1)) as client:
        assert (await client.chat("How high?", assistant)).status_code in (200, 429)
        await settled(connected)
        refusal = await client.chat("How high?", assistant)
        assert (refusal.status_code, told(refusal)["code"]) == (429, "insufficient_quota")


async def test_confidential_text_does_not_reach_a_model_that_is_not_cleared(program, connected, assistant, upstream):
    made = await connected.made("/data-classes", name="Secret", level=9)
    card = (await program.get(f"/models/{assistant}")).json()
    spaces = (await connected.get("/spaces")).json()["items"]
    space = next(item["id"] for item in spaces if item["name"] == card["owned_by"])
    changed = await connected.patch(f"/spaces/{space}", json={"data_class_id": made["id"]})
    assert changed.status_code == 200, changed.text
    upstream.requests.clear()
    answer = await program.chat("How high?", assistant)
    # What answers within this process may see it; nobody else did.
    assert answer.status_code in (200, 503)
    assert [item.path for item in upstream.requests if "chat" in item.path] == []


async def test_an_assistant_without_knowledge_has_no_annotations(program, connected):
    bare = f"assistant/{await connected.assistant(await connected.space())}"
    answer = await program.chat("Hello.", bare)
    assert "annotations" not in answer.json()["choices"][0]["message"]
    assert said(chunks((await program.chat("Hello.", bare, stream=True)).text)) == "Hello."
