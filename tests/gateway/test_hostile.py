"""Whatever a client sends under `/v1`, it is answered, and never with our mistake."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folkmoot.gateway.schemas import ChatCompletionRequest
from folkmoot.gateway.vectors import EmbeddingRequest
from tests.gateway.conftest import told

ASKED = {"role": "user", "content": "Hello."}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def raw(messages: str = '[{"role":"user","content":"a"}]', more: str = "") -> bytes:
    return f'{{"model":"stub-chat","messages":{messages}{more}}}'.encode()


BODIES = {
    "half a surrogate": raw('[{"role":"user","content":"a\\ud800"}]'),
    "two halves the wrong way round": raw('[{"role":"user","content":"\\udc00\\ud800"}]'),
    "half a surrogate before a letter": raw('[{"role":"user","content":"\\ud800\\u0041"}]'),
    "half a surrogate in a tool": raw(
        more=',"tools":[{"type":"function","function":{"name":"a","parameters":{"\\udfff\\u0041":1}}}]'
    ),
    "not UTF-8": b'{"model":"stub-chat","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "a NUL": raw('[{"role":"user","content":"\\u0000"}]'),
    "deep": raw(more=f',"tools":[{{"type":"function","function":{{"name":"a","parameters":{nested(100_000)}}}}}]'),
    "not so deep": raw(more=f',"tools":[{{"type":"function","function":{{"name":"a","parameters":{nested(400)}}}}}]'),
    "just as deep as can be read": raw(
        more=f',"tools":[{{"type":"function","function":{{"name":"a","parameters":{nested(850)}}}}}]'
    ),
    "deep where nobody looks": raw(more=f',"unheard_of":{nested(100_000)}'),
    "deep brackets": b"[" * 1_000_000,
    "a huge number": raw(more=',"seed":' + "9" * 5_000),
    "a huge float": raw(more=',"temperature":1e400'),
    "NaN": raw(more=',"temperature":NaN'),
    "the same field twice": raw(more=',"messages":5'),
    "many tools": json.dumps({"model": "stub-chat", "messages": [ASKED], "tools": [TOOL] * 10_000}).encode(),
    "many messages": json.dumps({"model": "stub-chat", "messages": [ASKED] * 20_000}).encode(),
    "a long model": json.dumps({"model": "x" * 1_000_000, "messages": [ASKED]}).encode(),
    "a model that climbs": json.dumps({"model": "../../etc/passwd", "messages": [ASKED]}).encode(),
    "a model with a NUL": json.dumps({"model": "assistant/\x00", "messages": [ASKED]}).encode(),
    "an assistant that is none": json.dumps({"model": "assistant/' OR 1=1 --", "messages": [ASKED]}).encode(),
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "words": b"hello",
}


@pytest.mark.parametrize("path", ["/chat/completions", "/embeddings"])
@pytest.mark.parametrize("name", BODIES)
async def test_a_hostile_body_is_answered(program, name, path):
    answer = await program.post(path, content=BODIES[name], headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 404), f"{name}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code != 200:
        assert len(told(answer)["message"]) < 1_000


async def test_a_long_message_is_passed_on(program, upstream):
    text = "word " * 800_000
    answer = await program.chat(text + "[[tokens=1]]")
    assert answer.status_code == 200, answer.text[:300]
    assert upstream.asked["messages"][0]["content"].startswith(text)


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "", "application/xml"])
async def test_what_a_body_calls_itself_does_not_matter(program, content_type):
    answer = await program.post("/chat/completions", content=raw(), headers={"Content-Type": content_type})
    assert answer.status_code in (200, 400, 415), answer.text


@pytest.mark.parametrize("assistant_too", [False, True])
async def test_texts_that_cannot_be_stored(program, assistant, assistant_too):
    for content in ("a\x00b", "\ufffe\U0010ffff", "\u202e" * 100, "🌿" * 50_000):
        answer = await program.chat(content, assistant if assistant_too else "stub-chat")
        assert answer.status_code in (200, 400), answer.text[:300]
        if assistant_too and "\x00" in content:
            assert told(answer)["param"] == "messages[0].content"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({*ChatCompletionRequest.__struct_fields__, *EmbeddingRequest.__struct_fields__} - {"model"})
BODY = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)


async def test_made_up_fields_are_never_our_mistake(program, assistant):
    """Bodies are made up first, and sent after: Hypothesis does not wait for anything."""
    bodies: list[dict] = []

    @settings(max_examples=150, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(BODY)
    def gather(body):
        bodies.append(body)

    gather()
    dice, seen = random.Random(7), set()
    for body in bodies:
        model, path = dice.choice(
            [("stub-chat", "/chat/completions"), (assistant, "/chat/completions"), ("stub-embed", "/embeddings")]
        )
        given_body = {"model": model, "messages": [ASKED], "input": "x"} | body
        answer = await program.post(path, json=given_body)
        seen.add(answer.status_code)
        assert answer.status_code in (200, 400), f"{given_body}: {answer.status_code} {answer.text[:300]}"
        if answer.status_code == 400:
            told(answer)
    assert seen == {200, 400}
