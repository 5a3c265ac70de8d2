"""Writing an answer: search, ask the model, let it use tools, and pass on what it says.

Whoever goes on after an approval or a restart finds what was done so far in the `Run`, and does not do it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from uuid import UUID

from folkmoot_sdk import (
    BadResponse,
    ChatRequest,
    ContextTooLong,
    ModelInfo,
    ReasoningDelta,
    TextDelta,
    ToolSpec,
)

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.guard import storable
from folkmoot.ai.route import Choice, Route
from folkmoot.ai.runtime import Answering, Build, Runtime
from folkmoot.conversations.answering.ends import Enough, Unanswered
from folkmoot.conversations.answering.go_on import has_its_passages
from folkmoot.conversations.answering.round import Round
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.attachments.attached import attach, await_files
from folkmoot.conversations.citations.cite import MarkerReader
from folkmoot.conversations.citations.verify import cite, verify
from folkmoot.conversations.guarded import classes_in
from folkmoot.conversations.prompting.context import Context
from folkmoot.conversations.retrieval.retrieve import retrieve
from folkmoot.conversations.toolcalls import calls
from folkmoot.kit.app import App
from folkmoot.kit.stream import StreamWriter

MOST_ROUNDS = 8
"""Calls of the model for one answer; in the last it may use no tool, so that it comes to an end."""
MOST_IDLE = 2
"""Rounds of nothing but calls that were made before, after which it may use no tool any more."""
MOST_ANSWER = 1_000_000
"""Characters of an answer, and of what its model thinks aloud."""


async def write(app: App, run: Run, writer: StreamWriter) -> None:
    """Bring the answer to its end.

    Raises `calls.Waits` if it needs the asker's approval, what stands in `ends.py`, and what models raise.
    """
    model_id = UUID((run.message.model or {})["id"])
    snapshot = await app.part(Catalogue).of(run.message.tenant_id, need=model_id, classes=run.class_ids)
    levels = snapshot.text_of(run.class_ids)
    run.record.begins(snapshot, levels)
    route = replace(snapshot.route("chat", levels, model_id), still=_still(app, run))
    files = await await_files(app, run, writer)
    if not run.turns and not has_its_passages(run):
        await retrieve(app, run, writer)
    await attach(app, run, writer, route, files)
    offers = await calls.offered(app, run, writer, route.first.info)
    run.record.offered = [offer.spec.name for offer in offers]
    # What an earlier worker left open, before an approval or as it died.
    await calls.finish(app, run, writer, offers)
    specs = [offer.spec for offer in offers] or _gone(run)
    context = Context(app, run, writer, snapshot, levels, route, specs)
    number, idle = 1 + sum(1 for turn in run.turns if turn.role == "assistant"), 0
    while True:
        last = number >= MOST_ROUNDS or idle >= MOST_IDLE or not offers
        said = await _fitting(app, run, writer, route, context, last=last)
        if not said.begun or last:
            break
        run.turns.append(said.turn(number, run.turns))
        idle = 0 if await calls.begin(app, run, writer, number, said.calls, offers) else idle + 1
        await calls.finish(app, run, writer, offers)
        number += 1
    run.trace["finish"] = "tool-loop" if said.begun else said.reason
    if not "".join(run.text).strip():
        raise _unanswered(said)
    await verify(run, writer)


def _gone(run: Run) -> list[ToolSpec]:
    """Tools that were called before and may not be any more: some services refuse calls of tools they do not know."""
    names = {call.name for turn in run.turns for call in turn.tool_calls}
    return [ToolSpec(name, "Not there any more.", {"type": "object"}) for name in sorted(names)]


def _unanswered(said: Round) -> Unanswered:
    if said.begun:
        detail = "the model called tools again and again and said nothing: ask in another way"
        return Unanswered(detail, code="tool-loop")
    match said.reason:
        case "content_filter":
            detail = "the model's service does not answer this by its own rules: ask in another way"
            return Unanswered(detail, code="content-refused", retryable=False)
        case "length":
            detail = "the model had used up what it may write before it said anything: ask for less at once"
        case _:
            detail = "the model said nothing: ask again, or choose another model"
    return Unanswered(detail, code="empty-answer")


async def _fitting(app: App, run: Run, writer: StreamWriter, route: Route, context: Context, *, last: bool) -> Round:
    """One round, again with less if the model finds that it is too long."""
    said = len(run.text)
    while True:
        try:
            return await _round(app, run, writer, route, await context.build(last=last))
        except ContextTooLong:
            if len(run.text) > said or not context.tighten():
                raise


async def _round(app: App, run: Run, writer: StreamWriter, route: Route, request: Build) -> Round:
    def build(info: ModelInfo) -> ChatRequest:
        return run.asks(request(info))

    said, markers = Round(), MarkerReader(run.passages)
    try:
        async with aclosing(app.part(Runtime).chat(route, run.account("answer"), build)) as events:
            async for event in events:
                match event:
                    case TextDelta():
                        _hear(run, writer, said, markers, event.text)
                    case ReasoningDelta():
                        _think(run, writer, said, event.text)
                    case Answering():
                        run.record.answers(event.model.choice)
                        if str(event.model.id) != (run.message.model or {}).get("id"):
                            run.message.model = event.model.described() | {"instead_of": route.first.described()}
                    case _:
                        said.takes(event)
    finally:
        if said.usage is not None:
            run.add_usage(said.usage)
    _say(run, writer, markers.finish())
    return said


def _hear(run: Run, writer: StreamWriter, said: Round, markers: MarkerReader, text: str) -> None:
    # A model may say anything, and text columns and JSON cannot hold all of it.
    text = storable(text)
    room = MOST_ANSWER - run.size - len(said.held)
    said.text.append(text)
    if shown := _begun(run, said, text[: max(room, 0)]):
        _say(run, writer, markers.feed(shown))
    if len(text) > room:
        raise Enough


def _think(run: Run, writer: StreamWriter, said: Round, text: str) -> None:
    thought = storable(text)
    said.thought += len(thought)
    if said.thought > MOST_ANSWER:
        raise BadResponse("the model thinks without end: ask again, or choose another model")
    run.reasoning.append(thought)
    writer.text("reasoning.delta", thought)


def _begun(run: Run, said: Round, text: str) -> str:
    """What can be shown now: white space waits for the first word, and a further part begins a paragraph of its own."""
    if said.spoken:
        return text
    said.held += text
    if said.held.isspace():
        return ""
    said.spoken = True
    if not run.turns or not run.text:
        return said.held
    before = run.text[-1]
    joint = "" if before.endswith("\n\n") else "\n" if before.endswith("\n") else "\n\n"
    return joint + said.held.lstrip("\n")


def _say(run: Run, writer: StreamWriter, read: tuple[str, list[tuple[int, str]]]) -> None:
    text, markers = read
    if text:
        run.record.says()
        run.says(text)
        writer.text("text.delta", text)
    for n, sentence in markers:
        cited = cite(run, n, sentence)
        if cited not in run.citations:
            run.citations.append(cited)
            writer.write("citation", cited)


def _still(app: App, run: Run) -> Callable[[Choice], Awaitable[None]]:
    async def still(choice: Choice) -> None:
        async with app.begin(run.principal) as work:
            class_ids = await classes_in(work, run.message.conversation_id, run.space_id)
        snapshot = await app.part(Catalogue).of(run.message.tenant_id, classes=class_ids)
        snapshot.route("chat", snapshot.text_of(class_ids), choice.model.id)

    return still
