"""`/conversations` and `/messages`: asking, and reading the answer as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_args
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Reference, Schema
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.response import Stream

from folkmoot.ai.catalogue import Catalogue
from folkmoot.conversations import ask as asking
from folkmoot.conversations import feedback, tree
from folkmoot.conversations.answering.follow import follow, told
from folkmoot.conversations.events import AnswerEvent
from folkmoot.conversations.models import Message
from folkmoot.conversations.schemas import Anew, Ask, ConversationCreate, ConversationOut, MessageOut, Origin, Rate
from folkmoot.conversations.service import ConversationService
from folkmoot.conversations.shown import shown
from folkmoot.conversations.tasks import answer_message
from folkmoot.kit.access import Permission, Principal, Scope
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest
from folkmoot.kit.http import Cursor, Limit, Page, needs, principal_of
from folkmoot.kit.work import Work

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key", max_length=200, description="The same key again gives the same answer again."
    ),
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", max_length=40, description="`id` of the last event that was read."),
]
Archived = Annotated[bool, QueryParameter(description="Those that were archived, instead of the others.")]
OfAssistant = Annotated[UUID | None, QueryParameter(description="Only those with this assistant.")]
Branch = Annotated[UUID | None, QueryParameter(description="Only this message and those above it.")]
Most = Annotated[int, QueryParameter(ge=1, le=1_000, description="Most messages to return.")]
Verb = Callable[..., Awaitable[Message]]
From = Annotated[Origin, QueryParameter(description="`api`: those that programs had through `/v1`.")]
EVENTS = ResponseSpec(
    AnswerEvent,
    media_type="text/event-stream",
    generate_examples=False,
    description="The events of the answer; `event` stands in the event's name, the rest in its data.",
)


CHAT = needs(Permission.SPACES, scope=Scope.CHAT)
OPEN_TO_KEYS = needs(Permission.SPACES, scope=Scope.CHAT, assistant_key=True)
"""The key of an assistant lists and deletes nothing: pages that hold it show it to everybody who visits them."""


@dataclass
class AskOperation(Operation):
    """Asking answers in two forms, by the `Accept` header; Litestar knows the JSON one from the annotation."""

    def __post_init__(self) -> None:
        schemas = [Reference(ref=f"#/components/schemas/{kind.__name__}") for kind in get_args(AnswerEvent)]
        for status, response in (self.responses or {}).items():
            if status == "201" and isinstance(response, OpenAPIResponse) and response.content is not None:
                events = OpenAPIMediaType(schema=Schema(one_of=schemas))
                response.content = {**response.content, "text/event-stream": events}


class ConversationController(Controller):
    tags = ["Conversations"]
    opt = needs(Permission.SPACES, scope=Scope.CHAT)

    @post(
        "/assistants/{assistant_id:uuid}/conversations",
        operation_id="create_conversation",
        summary="Begin a conversation",
        opt=OPEN_TO_KEYS,
    )
    async def create(
        self,
        work: NamedDependency[Work],
        assistant_id: FromPath[UUID],
        data: JSONBody[ConversationCreate | None] = None,
    ) -> ConversationOut:
        """It is private to the caller."""
        return ConversationOut.of(await ConversationService(work).create(assistant_id, data or ConversationCreate()))

    @get("/conversations", operation_id="list_conversations", summary="List my conversations")
    async def page(
        self,
        work: NamedDependency[Work],
        limit: Limit = 50,
        cursor: Cursor = None,
        origin: From = "app",
        archived: Archived = False,
        assistant_id: OfAssistant = None,
    ) -> Page[ConversationOut]:
        """Pinned ones first, then those where something was asked last. Of programs' calls the newest first."""
        rows, after = await ConversationService(work).page(
            limit, cursor, origin=origin, archived=archived, assistant_id=assistant_id
        )
        return Page(items=[ConversationOut.of(row) for row in rows], next_cursor=after)

    @get(
        "/conversations/{conversation_id:uuid}",
        operation_id="get_conversation",
        summary="Read a conversation",
        opt=OPEN_TO_KEYS,
    )
    async def read(self, work: NamedDependency[Work], conversation_id: FromPath[UUID]) -> ConversationOut:
        return ConversationOut.of(await ConversationService(work).get(conversation_id))

    @delete(
        "/conversations/{conversation_id:uuid}", operation_id="delete_conversation", summary="Delete a conversation"
    )
    async def remove(
        self, app: NamedDependency[App], work: NamedDependency[Work], conversation_id: FromPath[UUID]
    ) -> None:
        """Its messages and files go with it. Answers that are under way end."""
        await ConversationService(work).delete(conversation_id, app.streams)

    @get(
        "/conversations/{conversation_id:uuid}/messages",
        operation_id="list_messages",
        summary="List a conversation's messages",
        opt=OPEN_TO_KEYS,
    )
    async def messages(
        self,
        work: NamedDependency[Work],
        conversation_id: FromPath[UUID],
        limit: Most = 50,
        cursor: Cursor = None,
        branch: Branch = None,
    ) -> Response[Page[MessageOut]]:
        """Oldest first. Questions and answers form a tree by `parent_id`; `branch` picks the way to one of them."""
        items, after = await shown(work, conversation_id, limit, cursor, branch)
        body = msgspec.json.encode(Page(items=items, next_cursor=after))
        return cast("Response[Page[MessageOut]]", Response(body, media_type="application/json"))

    @post(
        "/conversations/{conversation_id:uuid}/messages",
        operation_id="ask",
        summary="Ask",
        operation_class=AskOperation,
        opt={**OPEN_TO_KEYS, "idempotent": True},
    )
    async def ask(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, State],
        conversation_id: FromPath[UUID],
        data: JSONBody[Ask],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[MessageOut]:
        """With `Accept: text/event-stream` the answer streams; else the call waits and returns it finished,
        or once it waits for an approval.

        A client that goes away loses nothing: `GET /messages/{id}/events` gives the same stream again.
        """
        principal = principal_of(request)
        models = await app.part(Catalogue).of(principal.tenant)
        async with app.begin(principal) as work:
            message = await asking.ask(
                work,
                conversation_id,
                data,
                key=idempotency_key,
                answer=answer_message,
                streams=app.streams,
                models=models,
            )
        return await _answered(app, request, message)


class MessageController(Controller):
    path = "/messages"
    tags = ["Conversations"]
    opt = OPEN_TO_KEYS

    @get("/{message_id:uuid}", operation_id="get_message", summary="Read a message")
    async def read(self, work: NamedDependency[Work], message_id: FromPath[UUID]) -> MessageOut:
        return MessageOut.of(await ConversationService(work).message(message_id))

    @get(
        "/{message_id:uuid}/events",
        operation_id="message_events",
        summary="Read an answer's stream again",
        responses={200: EVENTS},
    )
    async def events(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, State],
        message_id: FromPath[UUID],
        last_event_id: LastEventId = None,
    ) -> Stream:
        """From the beginning, or after `Last-Event-ID`; on any process, while it is written or later."""
        principal = principal_of(request)
        after = 0
        if last_event_id:
            # Redis counts in 64 bits, and one read that it refuses would hold up every reader of this process.
            if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) <= 18):
                raise BadRequest("`Last-Event-ID` is not one of ours: it is the number in an event's `id`")
            after = int(last_event_id)
        async with app.begin(principal) as work:
            message = await ConversationService(work).message(message_id)
        if message.role != "assistant":
            raise BadRequest("this message is a question: only answers have a stream")
        return _stream(app, principal, message, after=after, status=200)

    @post(
        "/{message_id:uuid}/regenerate",
        operation_id="regenerate_message",
        summary="Have a question answered anew",
        operation_class=AskOperation,
        opt={**CHAT, "idempotent": True},
    )
    async def regenerate(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, State],
        message_id: FromPath[UUID],
        data: JSONBody[Anew | None] = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[MessageOut]:
        """By the same model or another one. The new answer stands beside the one that was there, which stays.

        `message_id` is an answer, or a question. Streams or waits as asking does.
        """
        return await _anew(tree.regenerate, app, request, message_id, data, idempotency_key)

    @post(
        "/{message_id:uuid}/continue",
        operation_id="continue_message",
        summary="Go on with an answer that broke off",
        operation_class=AskOperation,
        opt={**CHAT, "idempotent": True},
    )
    async def go_on(
        self,
        app: NamedDependency[App],
        request: Request[Any, Any, State],
        message_id: FromPath[UUID],
        data: JSONBody[Anew | None] = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[MessageOut]:
        """One that failed, was stopped, or was cut off. A new answer beside it begins with its text and goes on there.

        Streams or waits as asking does; the first `text.delta` is the text that was there.
        """
        return await _anew(tree.resume, app, request, message_id, data, idempotency_key)

    @put("/{message_id:uuid}/feedback", operation_id="rate_message", summary="Rate an answer", opt=CHAT)
    async def rate(self, work: NamedDependency[Work], message_id: FromPath[UUID], data: JSONBody[Rate]) -> MessageOut:
        """In the place of an earlier rating. The organisation hears rating and reason; the comment stays yours."""
        return MessageOut.of(await feedback.rate(work, message_id, data))

    @delete("/{message_id:uuid}/feedback", operation_id="unrate_message", summary="Take a rating back", opt=CHAT)
    async def unrate(self, work: NamedDependency[Work], message_id: FromPath[UUID]) -> None:
        """Nothing happens if there is none."""
        await feedback.unrate(work, message_id)

    @post("/{message_id:uuid}/stop", operation_id="stop_message", summary="Stop an answer", status_code=202)
    async def stop(self, work: NamedDependency[Work], message_id: FromPath[UUID]) -> MessageOut:
        """What was said is kept; the stream ends with `message.completed` and the status `stopped`."""
        return MessageOut.of(await ConversationService(work).stop(message_id))


async def _anew(
    verb: Verb,
    app: App,
    request: Request[Any, Any, State],
    message_id: UUID,
    data: Anew | None,
    key: str | None,
) -> Response[MessageOut]:
    principal = principal_of(request)
    models = await app.part(Catalogue).of(principal.tenant)
    async with app.begin(principal) as work:
        model_id = data.model_id if data is not None else None
        message = await verb(
            work, message_id, model_id, key=key, answer=answer_message, streams=app.streams, models=models
        )
    return await _answered(app, request, message)


async def _answered(app: App, request: Request[Any, Any, State], message: Message) -> Response[MessageOut]:
    """The answer that was asked for, as the client wants it: as it comes, or whole."""
    principal = principal_of(request)
    if "text/event-stream" in request.headers.get("accept", ""):
        return cast("Response[MessageOut]", _stream(app, principal, message, after=0, status=201))
    return Response(MessageOut.of(await told(app, principal, message)), status_code=201)


def _stream(app: App, principal: Principal, message: Message, *, after: int, status: int) -> Stream:
    async def body() -> AsyncIterator[bytes]:
        async for entry in follow(app, principal, message, after=after):
            # One line, without the blank one that ends an event: some clients would see an empty event.
            yield b": keep-alive\n" if entry is None else entry.sse()

    return Stream(
        body(),
        status_code=status,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
