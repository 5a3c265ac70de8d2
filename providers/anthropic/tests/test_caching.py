"""What stays the same from request to request is marked, and nothing else."""

from __future__ import annotations

import pytest
from folkmoot_sdk import Passage, ToolCall, ToolSpec

from providers.anthropic.tests.conftest import question, said

TOOLS = (ToolSpec("weather", "", {}), ToolSpec("clock", "", {}))
SYSTEM = said("system", "Be brief.")
EARLIER = ("One?", said("assistant", "One."))


def marked(body):
    """Where the break points are: the text or name of each block that has one."""
    blocks = [*body.get("tools", []), *body.get("system", [])]
    blocks += [block for turn in body["messages"] for block in turn["content"]]
    return [block.get("name") or block.get("text") for block in blocks if "cache_control" in block]


async def test_tools_system_and_the_last_earlier_turn_are_marked(sent):
    body = await sent(question(SYSTEM, *EARLIER, "Two?", tools=TOOLS))
    assert marked(body) == ["clock", "Be brief.", "One."]
    assert body["tools"][-1]["cache_control"] == {"type": "ephemeral"}


async def test_a_first_question_marks_no_turn(sent):
    assert marked(await sent(question(SYSTEM, "One?"))) == ["Be brief."]
    assert marked(await sent(question("One?"))) == []


async def test_the_newest_question_is_not_written_to_the_cache_for_its_passages_go(sent):
    asked = said("user", "<passages>\n…\n</passages>\n\nTwo?")
    body = await sent(question(SYSTEM, *EARLIER, asked, tools=TOOLS, grounded=True))
    assert marked(body) == ["clock", "Be brief.", "One."]


async def test_passages_beside_the_question_leave_all_before_it_in_the_cache(sent):
    request = question(SYSTEM, *EARLIER, "Two?", grounded=True, passages=(Passage(1, "Text.", "Name"),))
    assert marked(await sent(request, native_citations=True)) == ["Be brief.", "One."]


async def test_our_own_instructions_come_after_the_mark(sent):
    body = await sent(question(SYSTEM, "One?", json_object=True))
    assert marked(body) == ["Be brief."]
    assert len(body["system"]) == 2


@pytest.mark.parametrize("grounded", [False, True])
async def test_while_tools_run_all_before_their_answers_is_marked(sent, grounded):
    call = said("assistant", tool_calls=(ToolCall("1", "weather", "{}"), ToolCall("2", "clock", "{}")))
    answers = [said("tool", "a", tool_call_id="1"), said("tool", "b", tool_call_id="2")]
    body = await sent(question("One?", call, *answers, tools=TOOLS, grounded=grounded))
    assert "cache_control" in body["messages"][1]["content"][-1]
    assert marked(body) == ["clock", "clock"]


async def test_thoughts_carry_no_mark(sent):
    content = [
        {"type": "tool_use", "id": "1", "name": "weather", "input": {}},
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
    ]
    kept = {"anthropic": 1, "model": "claude-opus-5-5", "content": content}
    call = said("assistant", tool_calls=(ToolCall("1", "weather", "{}"),), provider_state=kept)
    answer = said("tool", "a", tool_call_id="1")
    request = question("One?", call, answer, tools=TOOLS, model="claude-opus-5-5")
    assert marked(await sent(request)) == ["clock", "weather"]
    assert "cache_control" not in content[0]


async def test_it_can_be_switched_off(sent):
    assert marked(await sent(question(SYSTEM, *EARLIER, "Two?", tools=TOOLS), cache_prompts=False)) == []
