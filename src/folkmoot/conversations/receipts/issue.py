"""Writing the receipt of an answer, in the transaction in which the answer ends, and handing it out.

The key is derived from the installation's root, as that of certificates is: a new master key changes nothing, and
what an older root signed can still be checked. Receipts go with their conversation; one that was handed out stays good.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import msgspec
from sqlalchemy import Table, Uuid, any_, bindparam, insert, select
from sqlalchemy.dialects.postgresql import ARRAY
from uuid_utils.compat import uuid7

from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.models import Attachment, Conversation, Message, Receipt, ToolCall
from folkmoot.conversations.receipts import statement as said
from folkmoot.conversations.receipts.receipt import SOFTWARE, Facts, as_ended, state
from folkmoot.conversations.receipts.record import Record
from folkmoot.conversations.receipts.statement import Statement, canonical, sha256
from folkmoot.conversations.service import OPEN, ConversationService
from folkmoot.files.models import File
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import NotFound
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Document
from folkmoot.usage.account import Noted, Spent
from folkmoot.usage.models import UsageEntry

log = get_logger(__name__)

PURPOSE = "receipt"
KEEP = insert(cast("Table", Receipt.__table__))
"""Built once, since every answer does it."""
_IDS = bindparam("ids", type_=ARRAY(Uuid()))
HASHES = select(Document.id, Document.content_hash).where(Document.id == any_(_IDS))
CALLS = select(ToolCall).where(ToolCall.message_id == bindparam("message"))
ATTACHED = (
    select(Attachment, Document.content_hash, File.sha256)
    .outerjoin(Document, Document.id == Attachment.document_id)
    .outerjoin(File, File.id == Attachment.file_id)
    .where(Attachment.id == any_(_IDS))
)
NEWEST = select(Receipt).where(Receipt.message_id == bindparam("message")).order_by(Receipt.number.desc()).limit(1)
SPENT = (
    select(UsageEntry)
    .where(
        UsageEntry.user_id == bindparam("user"),
        UsageEntry.begun_at >= bindparam("since"),
        UsageEntry.message_id == bindparam("message"),
    )
    .order_by(UsageEntry.id)
)


async def issue(work: Work, keyring: Keyring, run: Run, ended: dict[str, Any]) -> None:
    """Write the receipt of the answer that ends with these columns, in the transaction that stores them.

    One that said nothing has none, unless it is complete or was stopped. Costs one statement, and one more each for
    calls of tools and for attachments.
    """
    if not (ended["content"] or ended["status"] in ("complete", "stopped")):
        return
    message = as_ended(run.message, ended)
    hashes = {item.document_id: item.document_hash for item in run.passages.values() if item.document_hash}
    facts = Facts(
        message=message,
        question=run.question,
        user_id=run.user_id,
        space_id=run.space_id,
        version=run.version,
        record=run.record,
        passages=run.references(),
        texts={n: item.text for n, item in run.passages.items()},
        hashes=hashes | await _hashes(work, {item.document_id for item in run.passages.values()} - hashes.keys()),
        tools=await _tools(work, message.id) if run.turns else (),
        attachments=await _attachments(work, run.question.file_ids),
    )
    try:
        made = state(facts)
    except Exception:
        # A mistake of ours here must not cost the answer.
        log.exception("receipt.not_made", message_id=str(message.id))
        return
    await _keep(work, keyring, made)


async def issue_later(
    work: Work, keyring: Keyring, message: Message, user_id: UUID, *, broken: bool = False
) -> Statement | None:
    """Write the receipt of an answer whose worker is not there to do it, from what is stored.

    `broken`: it died, so that some figures may be missing.
    """
    if not (message.content or message.status in ("complete", "stopped")):
        return None
    question = await work.session.get(Message, message.parent_id) if message.parent_id else None
    if question is None:
        return None
    version = space_id = None
    if message.assistant_version_id is not None:
        row = (
            await work.session.execute(
                select(AssistantVersion, Assistant.space_id)
                .join(Assistant, Assistant.id == AssistantVersion.assistant_id)
                .where(AssistantVersion.id == message.assistant_version_id)
            )
        ).first()
        version, space_id = row or (None, None)
    record = msgspec.convert((message.trace or {}).get("record", {}), Record)
    given = {"user": user_id, "since": message.created_at, "message": message.id}
    entries = (await work.session.scalars(SPENT, given)).all()
    if len(entries) >= len(record.noted):
        record.noted = [_noted(entry) for entry in entries]
    passages = message.passages or []
    facts = Facts(
        message=message,
        question=question,
        user_id=user_id,
        space_id=space_id,
        version=version,
        record=record,
        passages=passages,
        hashes=await _hashes(work, {UUID(item["document_id"]) for item in passages}),
        tools=await _tools(work, message.id),
        attachments=await _attachments(work, question.file_ids),
        broken=broken,
    )
    made = state(facts)
    await _keep(work, keyring, made)
    return made


# what stands in other tables


async def _hashes(work: Work, ids: set[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    return {row[0]: row[1] for row in await work.session.execute(HASHES, {"ids": list(ids)})}


async def _tools(work: Work, message_id: UUID) -> list[ToolCall]:
    calls = await work.session.scalars(CALLS, {"message": message_id})
    return sorted(calls, key=lambda call: (call.round, len(call.call_id), call.call_id))


async def _attachments(work: Work, file_ids: list[str] | None) -> list[said.AttachmentUsed]:
    if not file_ids:
        return []
    rows = await work.session.execute(ATTACHED, {"ids": [UUID(item) for item in file_ids]})
    return [
        said.AttachmentUsed(
            id=row.id, kind=row.kind, media_type=row.media_type, size=row.size, sha256=of_document or of_file
        )
        for row, of_document, of_file in rows
    ]


# signing and handing out


async def _keep(work: Work, keyring: Keyring, made: Statement) -> None:
    text = canonical(made)
    private, key = said.key_of(keyring.derive(PURPOSE))
    await work.session.execute(
        KEEP,
        {
            "id": uuid7(),
            "tenant_id": made.tenant_id,
            "message_id": made.message_id,
            "number": made.number,
            "statement": text.decode(),
            "key_id": key.id,
            "signature": private.sign(text),
        },
    )


def keys(keyring: Keyring) -> list[said.Key]:
    """What receipts were ever signed with here; the one that signs now comes first."""
    return [said.key_of(seed)[1] for seed in keyring.derivations(PURPOSE)]


async def add_edit(work: Work, keyring: Keyring, message: Message, user_id: UUID, before: str) -> None:
    """A further receipt, which tells that a person changed the answer's text; `message` has the new one."""
    newest = await work.session.scalar(NEWEST, {"message": message.id})
    if newest is None:
        # From before there were receipts: the first tells of the answer as it stood.
        made = await issue_later(work, keyring, as_ended(message, {"content": before}), user_id)
        text = canonical(made).decode() if made else ""
    else:
        text = newest.statement
    if not text:
        return
    last = msgspec.json.decode(text, type=Statement)
    now = datetime.now(UTC)
    edit = said.EditMade(at=now, by=user_id, before_sha256=sha256(before), after_sha256=sha256(message.content))
    await _keep(
        work,
        keyring,
        msgspec.structs.replace(
            last,
            number=last.number + 1,
            previous_sha256=sha256(text),
            issued_at=now,
            software=SOFTWARE,
            edits=[*last.edits, edit],
        ),
    )


async def read(work: Work, keyring: Keyring, message_id: UUID, number: int | None = None) -> tuple[int, bytes]:
    """The receipt of an answer of the caller's own, and its number; the newest, unless a `number` is given.

    Raises `NotFound` (`no-receipt` where there is none).
    """
    message = await ConversationService(work).message(message_id)
    query = select(Receipt).where(Receipt.message_id == message.id).order_by(Receipt.number.desc()).limit(1)
    row = await work.session.scalar(query if number is None else query.where(Receipt.number == number))
    if row is None:
        raise NotFound(_why_none(message, number), code="no-receipt")
    public = {key.id: key for key in keys(keyring)}
    if row.key_id not in public:
        raise NotFound(
            "the key that signed this receipt is not in this installation's keyring any more", code="no-receipt"
        )
    return row.number, handed_out(row, public[row.key_id])


def handed_out(row: Receipt, key: said.Key) -> bytes:
    """As `statement.Receipt`, with the statement exactly as it was signed, whatever version of ours wrote it."""
    receipt = {
        "statement": msgspec.Raw(row.statement.encode()),
        "signature": base64.b64encode(row.signature).decode(),
        "key_id": key.id,
        "public_key": key.text,
        "algorithm": said.ALGORITHM,
        "number": row.number,
    }
    return msgspec.json.encode(receipt)


def _why_none(message: Message, number: int | None) -> str:
    if message.role != "assistant":
        return "this message is a question: only answers have a receipt"
    if message.status in OPEN:
        return "the answer is still being written: its receipt is there when it has ended"
    if number is not None:
        return f"this answer has no receipt with the number {number}"
    return "this answer has no receipt: it said nothing, or was written before there were receipts"


async def owner_of(work: Work, conversation_id: UUID) -> UUID | None:
    return await work.session.scalar(select(Conversation.user_id).where(Conversation.id == conversation_id))


def _noted(entry: UsageEntry) -> Noted:
    names = Spent.__dataclass_fields__
    return Noted(entry.purpose, Spent(**{name: getattr(entry, name) for name in names}))
