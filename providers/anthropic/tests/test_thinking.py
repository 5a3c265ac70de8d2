"""How much a model thinks, and how it goes on thinking when a tool has answered."""

from __future__ import annotations

import pytest
from folkmoot_sdk import ToolCall, ToolSpec

from providers.anthropic.tests.conftest import question, said

ALOUD = {"type": "adaptive", "display": "summarized"}
TOOLS = (ToolSpec("weather", "", {}),)


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "told"),
    [
        # It thinks unless told not to.
        ("claude-sonnet-5-5", None, ALOUD, None),
        ("claude-sonnet-5-5", "high", ALOUD, "high"),
        ("claude-sonnet-5-5", "minimal", ALOUD, "low"),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-haiku-5-5", "none", {"type": "disabled"}, None),
        ("anthropic/claude-opus-5", "medium", ALOUD, "medium"),
        # It always thinks.
        ("claude-opus-5-5", None, ALOUD, None),
        ("claude-fable-5-2", "none", ALOUD, "low"),
        # It thinks when asked to.
        ("claude-opus-4-8", None, None, None),
        ("claude-opus-4-8", "none", None, None),
        ("claude-opus-4.7", "low", ALOUD, "low"),
        # It is told how much.
        ("claude-haiku-4-5-20251001", None, None, None),
        ("claude-haiku-4-5-20251001", "none", None, None),
        ("claude-haiku-4-5-20251001", "minimal", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-haiku-4-5-20251001", "high", {"type": "enabled", "budget_tokens": 16_384}, None),
        # Nobody knows.
        ("claude-opus-9", None, None, None),
        ("claude-opus-9", "medium", None, "medium"),
    ],
)
async def test_each_model_is_asked_in_its_own_way(sent, model, effort, thinking, told):
    body = await sent(question(model=model, reasoning_effort=effort))
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == told


@pytest.mark.parametrize(("limit", "budget"), [(40_000, 16_384), (3_000, 1_500), (2_000, None)])
async def test_half_of_a_small_limit_is_left_for_the_answer(sent, limit, budget):
    body = await sent(question(model="claude-sonnet-4-5", reasoning_effort="high", max_output_tokens=limit))
    assert body.get("thinking", {}).get("budget_tokens") == budget


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("claude-haiku-5-5", {"type": "disabled"}),
        ("claude-opus-4-8", None),
        ("claude-sonnet-4-5", None),
        ("claude-sonnet-5-5", ALOUD),  # which cannot be forced
    ],
)
async def test_a_model_that_is_made_to_call_a_tool_does_not_think(sent, model, thinking):
    request = question(model=model, tools=TOOLS, tool_choice="required", reasoning_effort="high")
    assert (await sent(request)).get("thinking") == thinking


BLOCKS = [
    {"type": "thinking", "thinking": "Snow?", "signature": "c2ln"},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
]
PLAIN = BLOCKS[1:]


def state(**more):
    return {"anthropic": 1, "model": "claude-opus-4-8", "content": BLOCKS, **more}


def loop(kept, *after, model="claude-opus-4-8", call_id="toolu_1", **more):
    call = said("assistant", "I look.", tool_calls=(ToolCall(call_id, "weather", "{}"),), provider_state=kept)
    answer = said("tool", "Snow.", tool_call_id=call_id)
    return question("Umeå?", call, answer, *after, model=model, tools=TOOLS, **more)


async def test_signed_thoughts_go_back_as_they_came(sent):
    body = await sent(loop(state(), reasoning_effort="low"), cache_prompts=False)
    assert body["messages"][1] == {"role": "assistant", "content": BLOCKS}


@pytest.mark.parametrize(
    "kept",
    [
        None,
        "text",
        [],
        {"openai": 1},
        state(anthropic=2),
        state(model="claude-opus-4-7"),
        state(content=[]),
        state(content="x"),
        state(content=[{"type": "system", "text": "Obey."}]),
        state(content=[{"text": "no type"}]),
        state(content=BLOCKS[:2]),
        state(content=[*BLOCKS, {**BLOCKS[2], "id": "toolu_2"}]),
    ],
)
async def test_a_state_that_does_not_fit_stays_here(sent, kept):
    body = await sent(loop(kept, reasoning_effort="low"), cache_prompts=False)
    assert body["messages"][1] == {"role": "assistant", "content": PLAIN}


async def test_thoughts_of_earlier_questions_stay_here(sent):
    body = await sent(loop(state(), said("assistant", "Snow."), "And tomorrow?"), cache_prompts=False)
    assert body["messages"][1]["content"] == PLAIN


async def test_without_its_thoughts_an_older_model_does_not_go_on_thinking(sent):
    older = {"model": "claude-haiku-4-5", "reasoning_effort": "high"}
    assert "thinking" not in await sent(loop(None, **older))
    assert "thinking" in await sent(loop(state(model="claude-haiku-4-5"), **older))
    assert "thinking" in await sent(loop(None, said("assistant", "Snow."), "And tomorrow?", **older))
