"""A conversation to take away: everything that was said, from what, by whom, with the organisation's AI mark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import defer

from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.conversations.branch import branch_ids
from folkmoot.conversations.models import Attachment, Conversation, Message, ToolCall
from folkmoot.conversations.schemas import ConversationOut, MessageOut, ToolCallOut
from folkmoot.conversations.service import ConversationService
from folkmoot.conversations.toolcalls.kept import in_order
from folkmoot.kit.errors import ContentTooLarge, NotFound
from folkmoot.kit.structs import Struct
from folkmoot.kit.work import Work
from folkmoot.tenants.schemas import TenantSettings
from folkmoot.tenants.service import TenantService

FORMAT = 1
MOST = 5_000
"""Messages of one export."""
_IDS = bindparam("ids", type_=ARRAY(PG_UUID(as_uuid=True)))
CALLS = select(ToolCall).where(ToolCall.message_id == any_(_IDS))
FILES = select(Attachment.id, Attachment.name).where(Attachment.id == any_(_IDS))
VERSIONS = (
    select(AssistantVersion.id, AssistantVersion.number, Assistant.name)
    .join(Assistant, Assistant.id == AssistantVersion.assistant_id)
    .where(AssistantVersion.id == any_(_IDS))
)


class ExportedFile(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str


class ExportedMessage(Struct, frozen=True, kw_only=True):
    message: MessageOut
    ai_mark: str | None
    """On an answer, how the organisation wants it to be told that a machine wrote it."""
    assistant: str | None
    """Who answered, as it is called today; null if it is gone."""
    assistant_version: int | None
    attachments: list[ExportedFile]
    tool_calls: list[ToolCallOut]


class ConversationExport(Struct, frozen=True, kw_only=True):
    """A conversation, whole or one branch of it."""

    format: int
    """Of this document; 1 now."""
    exported_at: datetime
    ai_mark: str
    conversation: ConversationOut
    branch: UUID | None
    """The message that the exported branch ends with; null: all branches."""
    messages: list[ExportedMessage]
    """Oldest first; they form a tree by `parent_id`."""


async def export(work: Work, conversation_id: UUID, branch: UUID | None) -> ConversationExport:
    """One of the caller's own, whole or from its beginning to the message `branch`.

    Raises `NotFound`, and `ContentTooLarge` (`conversation-too-long`) for one of more than `MOST` messages.
    """
    conversation = await ConversationService(work).get(conversation_id)
    messages = await _messages(work, conversation, branch)
    tenant = await TenantService(work).get(work.principal.tenant)
    mark = TenantSettings.of(tenant.settings).ai_mark
    calls = await work.session.scalars(CALLS, {"ids": [row.id for row in messages if row.role == "assistant"]})
    made: dict[UUID, list[ToolCall]] = {}
    for call in calls:
        made.setdefault(call.message_id, []).append(call)
    file_ids = {UUID(item) for row in messages for item in row.file_ids}
    files = {row.id: row.name for row in await work.session.execute(FILES, {"ids": list(file_ids)})}
    version_ids = {row.assistant_version_id for row in messages if row.assistant_version_id is not None}
    versions = {row.id: row for row in await work.session.execute(VERSIONS, {"ids": list(version_ids)})}
    items: list[ExportedMessage] = []
    for row in messages:
        version = versions.get(row.assistant_version_id)
        items.append(
            ExportedMessage(
                message=MessageOut.of(row),
                ai_mark=mark if row.role == "assistant" else None,
                assistant=version.name if version is not None else None,
                assistant_version=version.number if version is not None else None,
                attachments=[
                    ExportedFile(id=file_id, name=files.get(file_id, "")) for file_id in map(UUID, row.file_ids)
                ],
                tool_calls=[ToolCallOut.of(call) for call in in_order(made.get(row.id, []))],
            )
        )
    return ConversationExport(
        format=FORMAT,
        exported_at=datetime.now(UTC),
        ai_mark=mark,
        conversation=ConversationOut.of(conversation),
        branch=branch,
        messages=items,
    )


async def _messages(work: Work, conversation: Conversation, branch: UUID | None) -> Sequence[Message]:
    query = select(Message).where(Message.conversation_id == conversation.id)
    if branch is not None:
        query = query.where(Message.id.in_(branch_ids(conversation.id, branch)))
    parts = [defer(part, raiseload=True) for part in (Message.turns, Message.passages)]
    rows = (await work.session.scalars(query.options(*parts).order_by(Message.id).limit(MOST + 1))).all()
    if branch is not None and not rows:
        raise NotFound("`branch` names no message of this conversation")
    if len(rows) > MOST:
        raise ContentTooLarge(
            f"the conversation has more than {MOST:,} messages: export one branch of it, or page through its messages",
            code="conversation-too-long",
        )
    return rows
