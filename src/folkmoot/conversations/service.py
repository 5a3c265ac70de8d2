"""Conversations: private to the person who has them, administrators included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import Select, Table, bindparam, delete, insert, select, update
from uuid_utils.compat import uuid7

from folkmoot.ai.route import Snapshot
from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.assistants.service import AssistantService
from folkmoot.conversations.guarded import classes_in
from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.prompt import Turn
from folkmoot.conversations.schemas import Ask, ConversationCreate, Origin, created
from folkmoot.keys.rotate import family_of
from folkmoot.kit.access import Access
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.jobs import Task
from folkmoot.kit.paging import page
from folkmoot.kit.stream import Streams
from folkmoot.kit.work import Work
from folkmoot.usage.check import check_tokens

T = TypeVar("T")
OPEN = ("pending", "streaming")
ASKED = ("id", "tenant_id", "conversation_id", "parent_id", "role", "content", "status", "request_key")
ANSWERED = ("assistant_version_id", "key_id", "model", "collection_ids")
# Built once: every question runs these, and 64 may come at the same moment.
ADD = insert(cast("Table", Message.__table__))
TOUCH = (
    update(cast("Table", Conversation.__table__))
    .where(Conversation.id == bindparam("conversation"))
    .values(title=bindparam("said"), updated_at=bindparam("now"))
)
OWN = select(Conversation).where(
    Conversation.id == bindparam("conversation"), Conversation.user_id == bindparam("user")
)
NEWEST = (
    select(Message.id, Message.status)
    .where(Message.conversation_id == bindparam("conversation"), Message.role == "assistant")
    .order_by(Message.id.desc())
    .limit(1)
)


class _Conversations(SQLAlchemyAsyncRepository[Conversation]):
    model_type = Conversation


class ConversationService:
    """Use cases around conversations of the caller."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._conversations = _Conversations(session=work.session)

    async def get(self, conversation_id: UUID, *, lock: bool = False) -> Conversation:
        """One of the caller's own. Raises `NotFound`."""
        query = self._of_assistant_key(OWN)
        found = {"conversation": conversation_id, "user": self._work.principal.user}
        conversation = await self._work.session.scalar(query.with_for_update() if lock else query, found)
        if conversation is None:
            raise NotFound("there is no such conversation, or it is not yours")
        return conversation

    async def page(
        self, limit: int, cursor: str | None, *, origin: Origin = "app"
    ) -> tuple[Sequence[Conversation], str | None]:
        """The caller's conversations, newest first."""
        query = select(Conversation).where(
            Conversation.user_id == self._work.principal.user, Conversation.origin == origin
        )
        query = self._of_assistant_key(query)
        return await page(self._work.session, query, by=Conversation.id, limit=limit, cursor=cursor)

    async def create(self, assistant_id: UUID, data: ConversationCreate, *, origin: Origin = "app") -> Conversation:
        """Begin a conversation with an assistant that the caller may read."""
        assistant, _ = await self._assistant(assistant_id)
        who = self._work.principal
        conversation = await self._conversations.add(
            Conversation(
                tenant_id=who.tenant,
                user_id=who.user,
                assistant_id=assistant.id,
                title=data.title,
                key_id=who.key_id,
                origin=origin,
            )
        )
        told = {"origin": origin}
        self._work.record("conversation.created", "conversation", conversation.id, user_id=who.user, data=told)
        return conversation

    async def delete(self, conversation_id: UUID) -> None:
        """Delete a conversation with its messages."""
        conversation = await self.get(conversation_id)
        self._work.record("conversation.deleted", "conversation", conversation.id, user_id=conversation.user_id)
        await self._work.session.execute(delete(Conversation).where(Conversation.id == conversation.id))

    async def messages(
        self, conversation_id: UUID, limit: int, cursor: str | None
    ) -> tuple[Sequence[Message], str | None]:
        """The messages of a conversation, oldest first."""
        await self.get(conversation_id)
        query = select(Message).where(Message.conversation_id == conversation_id)
        return await page(self._work.session, query, by=Message.id, limit=limit, cursor=cursor, newest_first=False)

    async def message(self, message_id: UUID, *, lock: bool = False) -> Message:
        """A message of one of the caller's conversations. Raises `NotFound`."""
        found = (
            select(Message)
            .join(Conversation, Conversation.id == Message.conversation_id)
            .where(Message.id == message_id, Conversation.user_id == self._work.principal.user)
        )
        found = self._of_assistant_key(found)
        message = await self._work.session.scalar(found.with_for_update(of=Message) if lock else found)
        if message is None:
            raise NotFound("there is no such message, or it is not yours")
        return message

    async def ask(
        self,
        conversation_id: UUID,
        data: Ask,
        *,
        key: str | None,
        answer: Task,
        streams: Streams,
        models: Snapshot,
        history: Sequence[Turn] = (),
    ) -> Message:
        """Store the question and a pending answer, frozen to the assistant, model and collections of now.

        The commit opens the answer's stream and queues `answer`. The same `key` gives the same answer again.
        `models` is what the organisation has connected; what the spaces' classes forbid is refused here already.
        `history` are turns before the question that are not stored yet, oldest first, none of them empty.
        Raises `Conflict` (`answer-in-progress`) while the conversation waits for another answer, and
        `TooManyRequests` (`spending-limit-reached`) for an API key that has spent its month.
        """
        who = self._work.principal
        conversation = await self.get(conversation_id, lock=True)
        if key is not None and (known := await self._by_key(conversation.id, key)) is not None:
            return known
        if conversation.assistant_id is None:
            raise Conflict("the assistant of this conversation was deleted: begin a new one", code="assistant-gone")
        await check_tokens(self._work)
        assistant, version = await self._assistant(conversation.assistant_id)
        parent_id = await self._parent(conversation.id, data.parent_id)
        class_ids = await classes_in(self._work, conversation.id, assistant.space_id, version.collection_ids)
        model = models.route("chat", models.text_of(class_ids), version.model_id).first
        shared = {"tenant_id": who.tenant, "conversation_id": conversation.id}
        told: list[Message] = []
        for turn in history:
            told.append(
                Message(id=uuid7(), **shared, parent_id=parent_id, role=turn.role, content=turn.text, status="complete")
            )
            parent_id = told[-1].id
        question = Message(
            id=uuid7(),
            **shared,
            parent_id=parent_id,
            role="user",
            content=data.content,
            status="complete",
            request_key=key,
        )
        reply = Message(
            id=uuid7(),
            **shared,
            parent_id=question.id,
            role="assistant",
            content="",
            status="pending",
            assistant_version_id=version.id,
            key_id=who.key_id,
            model=model.described(),
            collection_ids=[str(item) for item in version.collection_ids],
        )
        await self._work.session.execute(ADD, [_row(message) for message in (*told, question, reply)])
        await self._work.session.execute(
            TOUCH,
            {
                "conversation": conversation.id,
                "said": conversation.title or " ".join(data.content.split())[:80],
                "now": datetime.now(UTC),
            },
        )
        self._work.record("message.asked", "message", reply.id, user_id=who.user)
        first = created(reply)
        self._work.after_commit(lambda: _open_stream(streams, str(reply.id), first))
        self._work.enqueue(answer, tenant_id=who.tenant, message_id=reply.id)
        return reply

    async def stop(self, message_id: UUID) -> Message:
        """Ask for an answer to end; what was said is kept. Nothing happens if it has ended."""
        message = await self.message(message_id, lock=True)
        if message.role == "assistant" and message.status in OPEN and not message.stop_requested:
            message.stop_requested = True
            self._work.record("message.stop_requested", "message", message.id, user_id=self._work.principal.user)
            redis = self._work.sessions.jobs.redis
            self._work.after_commit(lambda: _publish_stop(redis, message.id))
        return message

    def _of_assistant_key(self, query: Select[T]) -> Select[T]:
        """For the key of an assistant, only what it began; everybody else sees all that is theirs."""
        who = self._work.principal
        if who.assistant_id is None:
            return query
        return query.where(
            Conversation.assistant_id == who.assistant_id, Conversation.key_id.in_(family_of(who.key_id))
        )

    async def _assistant(self, assistant_id: UUID) -> tuple[Assistant, AssistantVersion]:
        """An assistant that the caller may ask; for its key, one that its maker may still edit."""
        access = Access.READ if self._work.principal.assistant_id is None else Access.EDIT
        return await AssistantService(self._work).get(assistant_id, access)

    async def _by_key(self, conversation_id: UUID, key: str) -> Message | None:
        question = select(Message.id).where(Message.conversation_id == conversation_id, Message.request_key == key)
        return await self._work.session.scalar(
            select(Message).where(Message.parent_id.in_(question), Message.role == "assistant")
        )

    async def _parent(self, conversation_id: UUID, parent_id: UUID | None) -> UUID | None:
        """The answer that a question goes on from: the one named, else the newest."""
        newest = (await self._work.session.execute(NEWEST, {"conversation": conversation_id})).first()
        if newest is not None and newest.status in OPEN:
            raise Conflict(
                "the last question is still being answered: wait for it, or stop it", code="answer-in-progress"
            )
        if parent_id is None:
            return newest.id if newest else None
        known = select(Message.id).where(
            Message.id == parent_id, Message.conversation_id == conversation_id, Message.role == "assistant"
        )
        if await self._work.session.scalar(known) is None:
            raise NotFound("`parent_id` names no answer of this conversation")
        return parent_id


def _row(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in (*ASKED, *ANSWERED)} | {
        "collection_ids": message.collection_ids or []
    }


async def _open_stream(streams: Streams, stream: str, first: dict[str, Any]) -> None:
    writer = await streams.writer(stream, fresh=True)
    writer.write("message.created", first)
    await writer.flush()


STOP_CHANNEL = "folkmoot:stop"


async def _publish_stop(redis: Any, message_id: UUID) -> None:
    await redis.publish(STOP_CHANNEL, str(message_id))
