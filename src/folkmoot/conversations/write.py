"""Writing an answer: search, ask the model, let it use tools, and pass on what it says.

Whoever goes on after an approval or a restart finds what was done so far in the `Run`, and does not do it again.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from folkmoot_sdk import (
    ChatRequest,
    ModelInfo,
    ProviderState,
    ReasoningDelta,
    TextDelta,
    TextPart,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from folkmoot_sdk import Message as Said

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.route import Choice, Route
from folkmoot.ai.runtime import Answering, Runtime
from folkmoot.conversations import calls, prompt
from folkmoot.conversations.cite import MarkerReader, citation
from folkmoot.conversations.guarded import classes_in
from folkmoot.conversations.retrieve import retrieve
from folkmoot.conversations.run import Run
from folkmoot.conversations.verify import verify
from folkmoot.kit.app import App
from folkmoot.kit.stream import StreamWriter
from folkmoot.tools.offer import Offer

MOST_ROUNDS = 8
"""Calls of the model for one answer; in the last it may use no tool, so that it comes to an end."""


@dataclass
class Round:
    """One call of the model."""

    text: list[str] = field(default_factory=list[str])
    calls: dict[int, ToolCall] = field(default_factory=dict[int, ToolCall])
    """By the index that the model gives them."""
    state: Any = None
    usage: Usage | None = None

    def turn(self) -> Said:
        """As the model is told of it in the next round."""
        text = "".join(self.text)
        return Said(
            role="assistant",
            content=(TextPart(text),) if text else (),
            tool_calls=tuple(self.calls.values()),
            provider_state=self.state,
        )


async def write(app: App, run: Run, writer: StreamWriter) -> None:
    """Bring the answer to its end. Raises `calls.Waits` if it needs the asker's approval, and what models raise."""
    model_id = UUID((run.message.model or {})["id"])
    snapshot = await app.part(Catalogue).of(run.message.tenant_id, need=model_id)
    route = replace(snapshot.route("chat", snapshot.text_of(run.class_ids), model_id), still=_still(app, run))
    if not run.turns:
        await retrieve(app, run, writer)
    offers = await calls.offered(app, run, writer, route.first.info)
    # What an earlier worker left open, before an approval or as it died.
    await calls.finish(app, run, writer, offers)
    done = sum(1 for turn in run.turns if turn.role == "assistant")
    for number in range(done + 1, MOST_ROUNDS + 1):
        said = await _round(app, run, writer, route, offers, last=number >= MOST_ROUNDS)
        if not said.calls or number >= MOST_ROUNDS:
            break
        run.turns.append(said.turn())
        await calls.begin(app, run, number, list(said.calls.values()), offers)
        await calls.finish(app, run, writer, offers)
    await verify(run, writer)


async def _round(app: App, run: Run, writer: StreamWriter, route: Route, offers: list[Offer], *, last: bool) -> Round:
    def build(info: ModelInfo) -> ChatRequest:
        return prompt.build(
            info,
            instructions=run.version.instructions,
            history=run.history,
            question=run.question.content,
            passages=list(run.passages.values()),
            grounded=bool(run.collections),
            parameters=run.version.parameters,
            turns=run.turns,
            tools=[offer.spec for offer in offers],
            last=last,
        )

    said, markers = Round(), MarkerReader(run.passages)
    before = "\n\n" if run.text and run.turns else ""
    try:
        async with aclosing(app.part(Runtime).chat(route, run.account("answer"), build)) as events:
            async for event in events:
                match event:
                    case TextDelta():
                        said.text.append(event.text)
                        if before:
                            _say(run, writer, (before, []))
                            before = ""
                        _say(run, writer, markers.feed(event.text))
                    case ReasoningDelta():
                        thought = event.text.replace("\x00", "")
                        run.reasoning.append(thought)
                        writer.text("reasoning.delta", thought)
                    case ToolCallStarted():
                        said.calls[event.index] = ToolCall(event.id, event.name, "")
                    case ToolCallDelta() if (begun := said.calls.get(event.index)) is not None:
                        said.calls[event.index] = ToolCall(begun.id, begun.name, begun.arguments + event.arguments)
                    case ProviderState():
                        said.state = json.loads(json.dumps(event.data, default=str))
                    case Usage():
                        # Each tells the whole of this call.
                        said.usage = event
                    case Answering() if str(event.model.id) != (run.message.model or {}).get("id"):
                        run.message.model = event.model.described() | {"instead_of": route.first.described()}
                    case _:
                        pass
    finally:
        if said.usage is not None:
            run.add_usage(said.usage)
    _say(run, writer, markers.finish())
    return said


def _say(run: Run, writer: StreamWriter, read: tuple[str, list[tuple[int, str]]]) -> None:
    text, markers = read
    # Text columns cannot hold NUL, and a model may say anything.
    text = text.replace("\x00", "")
    if text:
        run.text.append(text)
        writer.text("text.delta", text)
    for n, sentence in markers:
        cited = citation(run.passages[n], sentence)
        if cited not in run.citations:
            run.citations.append(cited)
            writer.write("citation", cited)


def _still(app: App, run: Run) -> Callable[[Choice], Awaitable[None]]:
    async def still(choice: Choice) -> None:
        async with app.begin(run.principal) as work:
            class_ids = await classes_in(work, run.message.conversation_id, run.space_id)
        snapshot = await app.part(Catalogue).of(run.message.tenant_id)
        snapshot.route("chat", snapshot.text_of(class_ids), choice.model.id)

    return still
