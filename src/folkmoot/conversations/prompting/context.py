"""Fitting what goes along with one question into the window of the model that answers.

Most questions fit by the estimate, and nobody is asked. Where it is close, the model's own tokenizer counts once, and
the estimate is set right by that; where turns have no room, they are summarised, or left out. The asker is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from folkmoot_sdk import ChatRequest, ContextTooLong, ModelInfo, ToolSpec
from sqlalchemy import bindparam, func, select

from folkmoot.ai.policy import Level
from folkmoot.ai.route import Route, Snapshot
from folkmoot.ai.runtime import Build, Runtime
from folkmoot.conversations.answering.go_on import so_far
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.models import Message
from folkmoot.conversations.prompting.prompt import DENSEST, Given, Prompt, Turn, compose, message_tokens, turn_message
from folkmoot.conversations.prompting.summary import summarise
from folkmoot.conversations.prompting.variables import filled
from folkmoot.kit.app import App
from folkmoot.kit.log import get_logger
from folkmoot.kit.stream import StreamWriter

log = get_logger(__name__)

SURE = 0.8
"""What fills no more of the budget than this by the estimate fits, however dense the text."""
COUNTS = 3
"""How often a model counts at most, until what is to be sent fits by its own count."""
CLOSE = 1.02
KEPT = 0.5
"""Of the room for turns, the newest keep so much when the others are summarised, so that it holds for a while."""
DENSER, MOST_DENSE, TRIES = 1.5, 6, 3
"""By so much more is estimated after a model said that it was too long, until less is sent; and how often."""
LEFT_OUT = "the oldest had no room any more"
SUMMARISED = "the oldest went along as a summary"


def _older() -> Any:
    above = select(Message.id, Message.parent_id).where(Message.id == bindparam("newest")).cte("above", recursive=True)
    above = above.union_all(select(Message.id, Message.parent_id).join(above, Message.id == above.c.parent_id))
    return select(func.count()).select_from(above)


OLDER = _older()


class Context:
    """What goes along with one question, for as long as its answer is written."""

    def __init__(
        self,
        app: App,
        run: Run,
        writer: StreamWriter,
        models: Snapshot,
        levels: Sequence[Level],
        route: Route,
        tools: Sequence[ToolSpec],
    ) -> None:
        self._app, self._run, self._writer = app, run, writer
        self._models, self._levels, self._route, self._tools = models, levels, route, tuple(tools)
        self._instructions: str | None = None
        self._per, self._counted = 1.0, False
        """Tokens of the model for one that is estimated, and whether it counted them itself."""
        self._measured = self._summarised = False
        self._unread = 0
        self._prompt: Prompt | None = None
        self._given_last: Given | None = None
        self._tries = 0
        self._told: list[dict[str, Any]] = []

    async def build(self, *, last: bool) -> Build:
        """The requests for the next round. Each raises `ContextTooLong` for a model that the question is too long for.

        Told is what the model that is asked first has no room for.
        """
        if self._instructions is None:
            self._instructions = await filled(self._app, self._run)
            self._unread = await self._count_unread()
        given, first = self._given(last), self._route.first.info
        try:
            prompt = await self._fitted(first, given)
            if (prompt.dropped or self._unread) and await self._shorten(prompt):
                given = self._given(last)
                prompt = await self._fitted(first, given)
        except ContextTooLong:
            # Another model of the route may have room; if none has, the first one's error is the answer's.
            prompt = None
        else:
            self._tell(prompt)
        self._prompt, self._given_last = prompt, given

        def build(info: ModelInfo) -> ChatRequest:
            if info is first and prompt is not None:
                return prompt.request
            known = info is first
            other = compose(info, given, per=self._per if known else 1.0, counted=known and self._counted)
            self._tell(other)
            return other.request

        return build

    def tighten(self) -> bool:
        """After a model said that it was too long: whether there is something that can be left out."""
        if self._prompt is None or self._given_last is None or self._tries >= TRIES:
            return False
        self._tries, self._counted = self._tries + 1, False
        for _ in range(MOST_DENSE):
            self._per *= DENSER
            try:
                less = compose(self._route.first.info, self._given_last, per=self._per)
            except ContextTooLong:
                return False
            if less.request != self._prompt.request:
                log.info("context.tightened", message_id=str(self._run.message.id), per=self._per)
                return True
        return False

    def _given(self, last: bool) -> Given:
        run = self._run
        return Given(
            instructions=self._instructions or "",
            question=run.question.content,
            history=run.history,
            passages=run.given,
            grounded=bool(run.collections or run.attached),
            searched=run.grounded,
            parameters=run.version.parameters,
            turns=[*so_far(run), *run.turns],
            tools=self._tools,
            last=last,
            images=run.images,
            summary=run.summary,
            notes=run.notes,
        )

    async def _fitted(self, model: ModelInfo, given: Given) -> Prompt:
        """As much as fits the model, by its own count where that makes a difference."""
        if not self._counted and self._per == 1.0:
            # Else it was found out already, or guessed after an error.
            try:
                prompt = compose(model, given)
                if not _reduced(prompt) and prompt.tokens <= prompt.budget * SURE:
                    return prompt
            except ContextTooLong:
                pass
            if not self._measured:
                await self._measure(model, given)
        prompt = compose(model, given, per=self._per, counted=self._counted)
        for _ in range(COUNTS - 1):
            if not self._counted or prompt.tokens <= prompt.budget * SURE:
                break
            told = await self._app.part(Runtime).count(self._route, prompt.request)
            most = prompt.budget * self._per
            if told is None or told <= most:
                break
            self._per = told / max(prompt.tokens, 1) * CLOSE
            prompt = compose(model, given, per=self._per, counted=True)
        return prompt

    async def _measure(self, model: ModelInfo, given: Given) -> None:
        """Have the model count the most that could fit, and learn from it how dense this text is."""
        self._measured = True
        wide = compose(model, given, per=DENSEST)
        told = await self._app.part(Runtime).count(self._route, wide.request)
        if told is not None:
            self._per, self._counted = told / max(wide.tokens, 1) * CLOSE, True

    async def _shorten(self, prompt: Prompt) -> bool:
        """Summarise the turns that are to make room, once."""
        run = self._run
        # A client of the gateway sends its turns anew with each call, so none would read it again.
        if self._summarised or run.origin == "api":
            return False
        self._summarised = True
        cut = _cut(run.history, int(prompt.room * KEPT))
        made = await summarise(self._app, run, self._models, self._levels, run.summary, run.history[:cut])
        if made is None:
            return False
        run.summary, run.history = made, run.history[cut:]
        return True

    async def _count_unread(self) -> int:
        if self._run.above is None:
            return 0
        async with self._app.begin(self._run.principal) as work:
            return await work.session.scalar(OLDER, {"newest": self._run.above}) or 0

    def _tell(self, prompt: Prompt) -> None:
        """Once, unless more has to go in a later round."""
        run = self._run
        ours: list[dict[str, Any]] = list(prompt.left_out)
        gone = prompt.dropped + self._unread
        if run.summary is not None:
            ours.insert(0, {"what": "turns", "count": run.summary.messages, "why": SUMMARISED})
        if gone:
            ours.insert(0, {"what": "turns", "count": gone, "why": LEFT_OUT})
        before: list[dict[str, Any]] = run.trace.get("left_out", [])
        # Others tell of files and of pictures, and an earlier worker may have told of the same.
        mine = {(item["what"], item["why"]) for item in (*self._told, *ours)}
        told = [item for item in before if (item["what"], item["why"]) not in mine] + ours
        self._told = ours
        if told != before:
            run.trace["left_out"] = told
            self._writer.write("context.reduced", {"left_out": told})


def _reduced(prompt: Prompt) -> bool:
    return bool(prompt.dropped or prompt.left_out)


def _cut(history: Sequence[Turn], room: int) -> int:
    """How many of the oldest turns go, so that the others have room and begin with a question; only stored ones can."""
    kept, cut = 0, len(history)
    for place in range(len(history) - 1, -1, -1):
        kept += message_tokens(turn_message(history[place]))
        if kept > room:
            break
        if history[place].role == "user":
            cut = place
    while cut and history[cut - 1].id is None:
        cut -= 1
    return cut
