"""Chunks, citations and subtitles as clients read them."""

import json
from uuid import UUID

import pytest
from folkmoot_sdk import Transcript, TranscriptSegment, Usage
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.conversations.schemas import Citation
from folkmoot.gateway.chunks import DONE, Chunks, counted
from folkmoot.gateway.cited import annotated
from folkmoot.gateway.subtitles import cues, srt, vtt
from folkmoot.gateway.vectors import pack

DOCUMENT, CHUNK = UUID(int=1), UUID(int=2)
USED = Usage(9, 4, cached_input_tokens=3, reasoning_tokens=2)


def data(event: bytes) -> dict:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    return json.loads(event[6:])


def delta(event: bytes) -> dict:
    (choice,) = data(event)["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, None)
    return choice["delta"]


@given(st.text())
def test_any_text_is_one_line_of_json(text):
    text = text.encode("utf-8", "ignore").decode()
    chunks = Chunks('m"\n', usage=False)
    found = data(chunks.text(text))
    assert found["choices"][0]["delta"] == {"content": text}
    assert (found["object"], found["model"]) == ("chat.completion.chunk", 'm"\n')
    assert "usage" not in found


def test_all_chunks_of_an_answer_have_one_id():
    chunks = Chunks("m", usage=False)
    assert len({data(chunks.role())["id"], data(chunks.text("a"))["id"]}) == 1
    assert data(Chunks("m", usage=False).role())["id"] != data(chunks.role())["id"]


def test_each_kind_of_delta():
    chunks = Chunks("m", usage=False)
    assert delta(chunks.role()) == {"role": "assistant", "content": ""}
    assert delta(chunks.reasoning("Hm.")) == {"reasoning_content": "Hm."}
    call = {"index": 1, "id": "c", "type": "function", "function": {"name": "find", "arguments": ""}}
    assert delta(chunks.call(1, "c", "find")) == {"tool_calls": [call]}
    assert delta(chunks.arguments(1, "{")) == {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}


def test_the_end_tells_why_and_what_it_took_only_if_asked():
    end = Chunks("m", usage=False).end("length", counted(USED))
    last, done = end.removesuffix(DONE), end[-len(DONE) :]
    assert done == DONE
    assert data(last)["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]
    asked = Chunks("m", usage=True)
    assert data(asked.text("a"))["usage"] is None
    last, usage, done = asked.end("stop", counted(USED)).split(b"\n\n")[:3]
    assert json.loads(last[6:])["usage"] is None
    told = json.loads(usage[6:])
    assert told["choices"] == []
    assert told["usage"] == {
        "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    assert done == b"data: [DONE]"


def test_an_estimate_says_so():
    assert counted(Usage(1, 2), estimated=True).estimated is True


def cited(n: int, quote: str, page: int | None = 3) -> Citation:
    return Citation(
        n=n, document_id=DOCUMENT, document_name="rules.pdf", chunk_id=CHUNK, page=page, start=5, end=9, quote=quote
    )


def test_each_marker_of_a_message_is_annotated_where_it_stands():
    text = "En häck 🌿 får vara hög [1]. Annars [2] eller [1] och [7]."
    found = annotated(text, [cited(1, "a"), cited(2, "b", None), cited(1, "c")], "https://folkmoot.example")
    assert [text[item.url_citation.start_index : item.url_citation.end_index] for item in found] == [
        "[1]",
        "[2]",
        "[1]",
    ]
    assert [item.folkmoot.quote for item in found] == ["a", "b", "c"]
    assert found[0].url_citation.url == f"https://folkmoot.example/api/v1/documents/{DOCUMENT}/content#page=3"
    assert found[1].url_citation.url == f"https://folkmoot.example/api/v1/documents/{DOCUMENT}/content"
    assert found[0].url_citation.title == "rules.pdf"


def test_a_marker_that_cites_the_same_place_again_has_its_citation():
    found = annotated("A [1]. B [1]. C [1].", [cited(1, "a"), cited(1, "b")], "")
    assert [item.folkmoot.quote for item in found] == ["a", "b", "b"]


SPOKEN = Transcript(
    "Hello & bye",
    (TranscriptSegment(0.0, 1.5, "Hello <b>&"), TranscriptSegment(3661.0004, 3662.9999, "bye\n\nnow --> here")),
    "en",
    3663.0,
)


def test_subtitles_tell_when_what_is_said():
    assert srt(cues(SPOKEN)) == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello <b>&\n\n2\n01:01:01,000 --> 01:01:03,000\nbye now --> here\n"
    )
    assert vtt(cues(SPOKEN)) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello &lt;b>&amp;\n\n"
        "01:01:01.000 --> 01:01:03.000\nbye now --&gt; here\n"
    )


def test_a_transcript_without_times_is_one_cue_if_its_length_is_known():
    assert cues(Transcript("Hello.", seconds=2.0)) == (TranscriptSegment(0.0, 2.0, "Hello."),)
    assert cues(Transcript("Hello.")) == ()


def test_vectors_are_packed_as_small_floats():
    assert pack([1.0, -2.0]) == "AACAPwAAAMA="
    with pytest.raises(OverflowError):
        pack([1e300])
