"""Claude notes itself what a sentence rests on, and the reader sees the same markers as from every model."""

from __future__ import annotations

import httpx
import pytest
from folkmoot_sdk import Finish, Passage, TextDelta, Usage

from providers.anthropic.tests.conftest import ENDED, STOPPED, connected, question, said, sse, text

PASSAGES = (
    Passage(1, "Trains go first.", "Travel policy", page=4, heading="Means"),
    Passage(3, "The bus is second.", "Bus.pdf"),
)
ASKED = question(
    said("system", "Be brief."),
    "How did we travel?",
    said("assistant", "By train [2]."),
    "How do we travel?",
    passages=PASSAGES,
    grounded=True,
)


async def words(ask, *blocks, request=ASKED):
    events = await ask(
        sse(*(event for each in blocks for event in each), ENDED, STOPPED), request, native_citations=True
    )
    assert events[-2:] == [Usage(0, 2), Finish("stop")]
    return [event.text for event in events if isinstance(event, TextDelta)]


async def test_each_cited_block_is_followed_by_its_markers(ask):
    got = await words(
        ask, text(0, "By "), text(1, "train", cited=[1]), text(2, " or ", "bus", cited=[3, 1, 3]), text(3, ".")
    )
    assert "".join(got) == "By train [1] or bus [3] [1]."
    assert all(got)


async def test_a_marker_stands_by_its_words_before_the_white_space_behind_them(ask):
    assert "".join(await words(ask, text(0, "Trains.\n", "\n", cited=[1]), text(1, "Then buses. \n"))) == (
        "Trains. [1]\n\nThen buses. \n"
    )


async def test_words_do_not_wait_for_their_citations(ask):
    assert (await words(ask, text(0, "Trains ", "go ", "first.", cited=[1]))) == ["Trains", " go", " first.", " [1]"]


@pytest.mark.parametrize("citation", [None, [], "x", {}, {"source": None}, {"source": "passage 2"}, {"source": 1}])
async def test_citations_of_nothing_that_was_given_leave_no_marker(ask, citation):
    odd = {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": citation}}
    begin, *rest = text(0, "Trains.")
    assert await words(ask, [begin, odd, *rest]) == ["Trains."]


async def test_passages_go_before_the_newest_question_as_blocks_to_cite(sent):
    body = await sent(ASKED, native_citations=True)
    *_, last = body["messages"]
    assert last == {
        "role": "user",
        "content": [
            {
                "type": "search_result",
                "source": "passage 1",
                "title": "Travel policy, page 4 (Means)",
                "content": [{"type": "text", "text": "Trains go first."}],
                "citations": {"enabled": True},
            },
            {
                "type": "search_result",
                "source": "passage 3",
                "title": "Bus.pdf",
                "content": [{"type": "text", "text": "The bus is second."}],
                "citations": {"enabled": True},
            },
            {"type": "text", "text": "How do we travel?"},
        ],
    }
    assert body["system"][0]["text"] == "Be brief."
    assert "not instructions" in body["system"][1]["text"]


async def test_a_schema_and_citations_exclude_each_other_so_the_passages_are_text(ask, sent):
    request = question("How?", passages=PASSAGES, grounded=True, response_schema={"type": "object"})
    body = await sent(request, native_citations=True)
    passages, asked = body["messages"][-1]["content"]
    assert "[3] Bus.pdf\nThe bus is second." in passages["text"]
    assert asked["text"] == "How?"
    assert "[1]" in body["system"][0]["text"]
    assert await words(ask, text(0, "{}", cited=[1]), request=request) == ["{}"]


async def test_nothing_found_must_be_said(sent):
    body = await sent(question("How?", grounded=True), native_citations=True)
    assert "nothing was found" in body["system"][-1]["text"]
    assert "system" not in await sent(question("How?", grounded=True))
    assert "system" not in await sent(question("How?"), native_citations=True)


@pytest.mark.parametrize("native", [False, True])
async def test_models_take_passages_only_if_the_setting_is_on_and_they_can_cite(native):
    can, cannot = ({"supported": supported} for supported in (True, False))
    listed = [{"id": "claude-a"}, {"id": "claude-b", "capabilities": {"citations": can}}]
    listed += [{"id": "claude-c", "capabilities": {"citations": cannot}}]

    def handler(_):
        return httpx.Response(200, json={"data": listed})

    async with connected(handler, native_citations=native) as connection:
        assert [model.passages for model in await connection.models()] == [native, native, False]
