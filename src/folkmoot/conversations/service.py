"""Conversations: private to the person who has them, administrators included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from msgspec import UNSET
from sqlalchemy import Select, bindparam, delete, select, update

from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.assistants.service import AssistantService
from folkmoot.conversations.forget import forget_files, forget_streams
from folkmoot.conversations.models import Conversation, Message
from folkmoot.conversations.recent import recent
from folkmoot.conversations.schemas import ConversationCreate, ConversationUpdate, Origin
from folkmoot.keys.rotate import family_of
from folkmoot.kit.access import Access
from folkmoot.kit.errors import NotFound
from folkmoot.kit.jobs import TASKS
from folkmoot.kit.paging import page
from folkmoot.kit.stream import Streams
from folkmoot.kit.work import Work

T = TypeVar("T")
OPEN = ("pending", "streaming", "waiting_for_approval")
OWN = select(Conversation).where(
    Conversation.id == bindparam("conversation"), Conversation.user_id == bindparam("user")
)
OWN_LOCKED = OWN.with_for_update()


class _Conversations(SQLAlchemyAsyncRepository[Conversation]):
    model_type = Conversation


class ConversationService:
    """Use cases around conversations of the caller."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._conversations = _Conversations(session=work.session)

    async def get(self, conversation_id: UUID, *, lock: bool = False) -> Conversation:
        """One of the caller's own. Raises `NotFound`."""
        query = self._of_assistant_key(OWN_LOCKED if lock else OWN)
        found = {"conversation": conversation_id, "user": self._work.principal.user}
        conversation = await self._work.session.scalar(query, found)
        if conversation is None:
            raise NotFound("there is no such conversation, or it is not yours")
        return conversation

    async def page(
        self,
        limit: int,
        cursor: str | None,
        *,
        origin: Origin = "app",
        archived: bool = False,
        assistant_id: UUID | None = None,
    ) -> tuple[Sequence[Conversation], str | None]:
        """The caller's conversations: pinned ones first, then by when something was last asked; those of programs by
        when they began."""
        query = select(Conversation).where(
            Conversation.user_id == self._work.principal.user,
            Conversation.origin == origin,
            Conversation.archived_at.is_not(None) if archived else Conversation.archived_at.is_(None),
        )
        if assistant_id is not None:
            query = query.where(Conversation.assistant_id == assistant_id)
        query = self._of_assistant_key(query)
        if origin == "api":
            return await page(self._work.session, query, by=Conversation.id, limit=limit, cursor=cursor)
        return await recent(self._work, query, limit, cursor)

    async def create(self, assistant_id: UUID, data: ConversationCreate, *, origin: Origin = "app") -> Conversation:
        """Begin a conversation with an assistant that the caller may read."""
        assistant, _ = await self.assistant(assistant_id)
        who = self._work.principal
        conversation = await self._conversations.add(
            Conversation(
                tenant_id=who.tenant,
                user_id=who.user,
                assistant_id=assistant.id,
                title=data.title,
                titled_by="person" if data.title else "",
                key_id=who.key_id,
                origin=origin,
            )
        )
        told = {"origin": origin}
        self._work.record("conversation.created", "conversation", conversation.id, user_id=who.user, data=told)
        return conversation

    async def update(self, conversation_id: UUID, change: ConversationUpdate) -> Conversation:
        """Name, pin or archive; that is no activity, so it leaves its place in the list as it is."""
        conversation = await self.get(conversation_id, lock=True)
        now = datetime.now(UTC)
        wanted: dict[str, Any] = {}
        if change.title is not UNSET:
            wanted |= {"title": " ".join(change.title.split()), "titled_by": "person"}
        if change.pinned is not UNSET:
            wanted["pinned_at"] = (conversation.pinned_at or now) if change.pinned else None
        if change.archived is not UNSET:
            wanted["archived_at"] = (conversation.archived_at or now) if change.archived else None
        changed = sorted(name for name, value in wanted.items() if getattr(conversation, name) != value)
        if changed:
            # Said in so many words, or it would be now.
            at = Conversation.updated_at
            kept = update(Conversation).where(Conversation.id == conversation.id).values(**wanted, updated_at=at)
            await self._work.session.execute(kept.execution_options(synchronize_session=False))
            await self._work.session.refresh(conversation)
            told = {"changed": changed}
            owner = conversation.user_id
            self._work.record("conversation.updated", "conversation", conversation.id, user_id=owner, data=told)
        return conversation

    async def delete(self, conversation_id: UUID, streams: Streams) -> None:
        """Delete a conversation with its messages and files. Answers that are under way end."""
        # Locked, so that no file comes in meanwhile.
        conversation = await self.get(conversation_id, lock=True)
        await forget_files(self._work, conversation)
        redis = self._work.sessions.jobs.redis
        for open_id in await forget_streams(self._work, conversation, streams):
            self._work.after_commit(partial(_publish_stop, redis, open_id))
        self._work.record("conversation.deleted", "conversation", conversation.id, user_id=conversation.user_id)
        await self._work.session.execute(delete(Conversation).where(Conversation.id == conversation.id))

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

    async def stop(self, message_id: UUID) -> Message:
        """Ask for an answer to end; what was said is kept. Nothing happens if it has ended."""
        message = await self.message(message_id, lock=True)
        if message.role == "assistant" and message.status in OPEN and not message.stop_requested:
            message.stop_requested = True
            if message.status == "waiting_for_approval":
                # Nobody writes it: a worker ends it.
                resume(self._work, message)
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

    async def assistant(self, assistant_id: UUID) -> tuple[Assistant, AssistantVersion]:
        """An assistant that the caller may ask; for its key, one that its maker may still edit."""
        access = Access.READ if self._work.principal.assistant_id is None else Access.EDIT
        return await AssistantService(self._work).get(assistant_id, access)


def resume(work: Work, message: Message) -> None:
    """Give an answer that waits for its asker to a worker."""
    message.status, message.turned_at, message.lease_until = "pending", datetime.now(UTC), None
    work.enqueue(TASKS["conversations.answer"], tenant_id=message.tenant_id, message_id=message.id)


STOP_CHANNEL = "folkmoot:stop"


async def _publish_stop(redis: Any, message_id: UUID) -> None:
    await redis.publish(STOP_CHANNEL, str(message_id))
