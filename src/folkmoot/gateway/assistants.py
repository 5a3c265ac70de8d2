"""Assistants as models: a conversation for each call, written by a worker and read as it comes.

What the client sends along is the conversation so far. Whoever leaves stops the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import msgspec
from folkmoot_sdk import Usage as Counts
from msgspec import UNSET

from folkmoot.ai.catalogue import Catalogue
from folkmoot.ai.meter import tokens_of
from folkmoot.assistants.models import Assistant
from folkmoot.assistants.service import AssistantService
from folkmoot.conversations import ask as asking
from folkmoot.conversations.answering.follow import follow
from folkmoot.conversations.models import Message
from folkmoot.conversations.prompting.prompt import Turn
from folkmoot.conversations.schemas import Ask, Citation, ConversationCreate, Usage
from folkmoot.conversations.service import ConversationService
from folkmoot.gateway import names
from folkmoot.gateway.answers import ChatAnswer, ChatChoice, ChatCompletion, CompletionUsage, FinishReason, ModelCard
from folkmoot.gateway.chunks import Chunks, counted, encode, new_id
from folkmoot.gateway.cited import annotated
from folkmoot.gateway.errors import Refused, of_answer
from folkmoot.gateway.read import check_answer, role_of, text_of
from folkmoot.gateway.schemas import ChatCompletionRequest
from folkmoot.kit.access import Access, Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotFound
from folkmoot.kit.jobs import Task
from folkmoot.kit.stream import Entry
from folkmoot.kit.structs import Struct
from folkmoot.spaces.models import Space

MOST_LISTED = 1_000


class _Text(Struct, frozen=True):
    text: str


class _Finished(Struct, frozen=True):
    content: str
    reasoning: str
    citations: list[Citation]
    usage: Usage | None
    finish_reason: str | None

    @property
    def reason(self) -> FinishReason:
        match self.finish_reason:
            case "length" | "too-long":
                return "length"
            case "content_filter":
                return "content_filter"
            case _:
                return "stop"


class _Completed(Struct, frozen=True):
    message: _Finished


class _Failed(Struct, frozen=True):
    code: str
    detail: str
    retryable: bool


_text = msgspec.json.Decoder(_Text)
_completed = msgspec.json.Decoder(_Completed)
_failed = msgspec.json.Decoder(_Failed)

MOST_TURNS = 40
"""That are kept of what a client sends: each call stores them anew."""


@dataclass(frozen=True)
class Told:
    """What a client sends to an assistant, understood."""

    history: list[Turn]
    question: Ask


@dataclass(frozen=True)
class Asked:
    """A question that is stored, and whose answer is under way."""

    sent: ChatCompletionRequest
    principal: Principal
    message: Message
    told: Told

    def usage(self, finished: _Finished) -> CompletionUsage:
        """The provider's figures, else an estimate of what was sent and said."""
        if finished.usage is not None:
            return counted(Counts(finished.usage.input_tokens, finished.usage.output_tokens))
        given = sum(tokens_of(turn.text) for turn in self.told.history) + tokens_of(self.told.question.content)
        return counted(Counts(given, tokens_of(finished.content)), estimated=True)


async def cards(app: App, principal: Principal) -> list[ModelCard]:
    """The assistants that the caller may ask."""
    async with app.begin(principal) as work:
        return [_card(*row) for row in await AssistantService(work).askable(MOST_LISTED)]


async def card(app: App, principal: Principal, assistant_id: UUID, model_id: str) -> ModelCard:
    """Raises `NotFound`, and `Forbidden` for the key of an assistant that its maker may not edit any more."""
    async with app.begin(principal) as work:
        try:
            access = Access.READ if principal.assistant_id is None else Access.EDIT
            assistant, _ = await AssistantService(work).get(assistant_id, access)
        except NotFound:
            raise names.no_such_model(model_id) from None
        space = await work.session.get_one(Space, assistant.space_id)
        return _card(assistant, space.name)


def _card(assistant: Assistant, space: str) -> ModelCard:
    return ModelCard(
        id=f"{names.ASSISTANT}{assistant.id}",
        created=int(assistant.created_at.timestamp()),
        owned_by=space,
        name=assistant.name,
        kind="assistant",
    )


def understand(sent: ChatCompletionRequest) -> Told:
    """The question and the turns before it. Raises `Refused` for what an assistant does not do.

    What a client says as `system` is its user's word here: an assistant has instructions of its own.
    """
    check_answer(sent)
    if sent.tools or sent.functions is not None:
        raise Refused("tools", "an assistant uses its own tools: leave `tools` out, or ask a plain model")
    if sent.response_format is not None and sent.response_format.type != "text":
        raise Refused("response_format", "an assistant answers in text: leave `response_format` out")
    turns: list[Turn] = []
    for place, message in enumerate(sent.messages):
        role = role_of(message, place)
        if role == "tool" or message.tool_calls:
            raise Refused(f"messages[{place}].role", "an assistant takes no answers of tools: leave them out")
        text = text_of(message, place)
        if "\x00" in text or not _whole(text):
            raise Refused(f"messages[{place}].content", "the text has a character that cannot be stored")
        turns.append(Turn("assistant" if role == "assistant" else "user", text))
    last = len(turns) - 1
    if role_of(sent.messages[last], last) != "user":
        raise Refused(f"messages[{last}].role", "the last message is the question, so its role is `user`")
    try:
        question = msgspec.convert({"content": turns.pop().text}, Ask)
    except msgspec.ValidationError:
        most = "the question is empty, or has more than 200,000 characters"
        raise Refused(f"messages[{last}].content", most) from None
    return Told([turn for turn in turns if turn.text][-MOST_TURNS:], question)


def _whole(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


async def ask(app: App, principal: Principal, assistant_id: UUID, sent: ChatCompletionRequest, answer: Task) -> Asked:
    """Store the conversation with its question, and have it answered.

    Raises `Refused`, `NotFound` (`model-not-found`), and what `ConversationService.ask` raises.
    """
    told = understand(sent)
    models = await app.part(Catalogue).of(principal.tenant)
    async with app.begin(principal) as work:
        service = ConversationService(work)
        try:
            conversation = await service.create(assistant_id, ConversationCreate(), origin="api")
        except NotFound:
            raise names.no_such_model(sent.model) from None
        message = await asking.ask(
            work,
            conversation.id,
            told.question,
            key=None,
            answer=answer,
            streams=app.streams,
            models=models,
            history=told.history,
        )
    return Asked(sent, principal, message, told)


async def _entries(app: App, asked: Asked) -> AsyncGenerator[Entry]:
    """The events of the answer. It is stopped if nobody reads to its end."""
    ended = False
    try:
        async with aclosing(follow(app, asked.principal, asked.message)) as entries:
            async for entry in entries:
                if entry is None:
                    continue
                ended = entry.event in (b"message.completed", b"message.failed")
                yield entry
    finally:
        if not ended:
            await asyncio.shield(_stop(app, asked))


async def _stop(app: App, asked: Asked) -> None:
    async with app.begin(asked.principal) as work:
        await ConversationService(work).stop(asked.message.id)


async def whole(app: App, asked: Asked) -> AsyncGenerator[bytes]:
    """The answer in one piece, once it is finished. Raises the `AppError` that says why there is none."""
    async with aclosing(_entries(app, asked)) as entries:
        async for entry in entries:
            if entry.event == b"message.failed":
                raise _failure(entry)
            if entry.event == b"message.completed":
                finished = _completed.decode(entry.data).message
                cited = annotated(finished.content, finished.citations, app.settings.url())
                message = ChatAnswer(
                    content=finished.content,
                    reasoning_content=finished.reasoning or UNSET,
                    annotations=cited or UNSET,
                )
                answer = ChatCompletion(
                    id=new_id(),
                    created=int(time.time()),
                    model=asked.sent.model,
                    choices=[ChatChoice(message=message, finish_reason=finished.reason)],
                    usage=asked.usage(finished),
                )
                yield encode(answer)


async def frames(app: App, asked: Asked) -> AsyncGenerator[bytes]:
    """The answer as server-sent events while it comes. Raises as `whole` does."""
    options = asked.sent.stream_options
    chunks = Chunks(asked.sent.model, usage=options is not None and options.include_usage is True)
    head = chunks.role()
    async with aclosing(_entries(app, asked)) as entries:
        async for entry in entries:
            match entry.event:
                case b"text.delta":
                    yield head + chunks.text(_text.decode(entry.data).text)
                case b"reasoning.delta":
                    yield head + chunks.reasoning(_text.decode(entry.data).text)
                case b"message.completed":
                    finished = _completed.decode(entry.data).message
                    cited = annotated(finished.content, finished.citations, app.settings.url())
                    last = chunks.annotations(cited) if cited else b""
                    yield head + last + chunks.end(finished.reason, asked.usage(finished))
                case b"message.failed":
                    raise _failure(entry)
                case _:
                    continue
            head = b""


def _failure(entry: Entry) -> Exception:
    failed = _failed.decode(entry.data)
    return of_answer(failed.code, failed.detail, retryable=failed.retryable)
