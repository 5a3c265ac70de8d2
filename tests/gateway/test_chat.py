"""`/v1/chat/completions` with plain models."""

from tests.gateway.conftest import said


async def test_a_model_answers_as_openai_would(program, upstream):
    answer = await program.chat("How high?")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "chat.completion"
    (choice,) = body["choices"]
    assert choice["message"]["content"] == "How high?"
    print(answer.text, dict(answer.headers))


async def test_stream(program, upstream):
    found = await program.streamed("[[tokens=5]]", stream_options={"include_usage": True})
    print(found)
    assert said(found) == "word0 word1 word2 word3 word4"
