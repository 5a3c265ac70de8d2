"""What the receipt of an answer says. Pure; `issue.py` gathers what it is made from, and signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed
from typing import Any, cast
from uuid import UUID

import msgspec

from folkmoot.assistants.models import AssistantVersion
from folkmoot.conversations.models import Message, ToolCall
from folkmoot.conversations.receipts import statement as said
from folkmoot.conversations.receipts.record import Record
from folkmoot.conversations.receipts.statement import Statement, canonical, hash_of_text, sha256
from folkmoot.usage.account import Noted

SOFTWARE = said.Software(name="folkmoot", version=installed("folkmoot"))


TOLD = (
    *("id", "tenant_id", "conversation_id", "parent_id", "continues_id", "key_id", "assistant_version_id"),
    *("content", "status", "error", "model", "passages", "citations", "sentences", "trace", "created_at"),
    "finished_at",
)
"""Columns of an answer that its receipt is made from."""


@dataclass(frozen=True)
class Facts:
    """All that a statement is made from."""

    message: Message
    question: Message
    user_id: UUID
    space_id: UUID | None
    version: AssistantVersion | None
    record: Record
    passages: Sequence[dict[str, Any]]
    texts: dict[int, str] = field(default_factory=dict[int, str])
    """Of the passages by number, as far as they are still known."""
    hashes: dict[UUID, str] = field(default_factory=dict[UUID, str])
    """Of documents."""
    tools: Sequence[ToolCall] = ()
    attachments: Sequence[said.AttachmentUsed] = ()
    broken: bool = False
    """The process that wrote the answer died, so that some figures may be missing."""


def state(facts: Facts) -> Statement:
    """What is signed. Pure."""
    message, record, version = facts.message, facts.record, facts.version
    trace = message.trace or {}
    return Statement(
        number=1,
        previous_sha256=None,
        issued_at=datetime.now(UTC),
        software=SOFTWARE,
        tenant_id=message.tenant_id,
        space_id=facts.space_id,
        conversation_id=message.conversation_id,
        question_id=facts.question.id,
        message_id=message.id,
        continues_id=message.continues_id,
        asked_by=facts.user_id,
        key_id=message.key_id,
        question=hash_of_text(facts.question.content),
        attachments=list(facts.attachments),
        answer=hash_of_text(message.content),
        status=message.status,
        error=(message.error or {}).get("code"),
        finish=trace.get("finish"),
        assistant=said.AssistantUsed(
            id=version.assistant_id,
            version=version.number,
            version_id=version.id,
            instructions_sha256=sha256(version.instructions),
        )
        if version
        else None,
        model=_model(message.model, record),
        parameters={name: _whole(value) for name, value in (version.parameters if version else {}).items()},
        prompts=[said.PromptSent(round=one.round, model=one.model, sha256=one.sha256) for one in record.prompts],
        searches=_searches(trace),
        passages=[_passage(item, facts) for item in facts.passages],
        citations=[_citation(item) for item in message.citations or []],
        sentences=[_sentence(item) for item in message.sentences or []],
        left_out=[said.LeftOutOf(what=item["what"], count=item["count"]) for item in trace.get("left_out", [])],
        tools_offered=record.offered,
        tools=[_tool(call) for call in facts.tools],
        classification=[said.ClassThatBound(id=one.id, name=one.name, level=one.level) for one in record.guards],
        usage=_usage(record, broken=facts.broken),
        edits=[],
        asked_at=facts.question.created_at,
        first_text_at=record.first_text_at,
        finished_at=message.finished_at,
    )


def as_ended(message: Message, ended: dict[str, Any]) -> Message:
    """A copy that belongs to no session: the transaction may yet fail."""
    return Message(**{name: ended.get(name, getattr(message, name)) for name in TOLD})


def _model(told: dict[str, Any] | None, record: Record) -> said.ModelUsed | None:
    if not told:
        return None
    instead = told.get("instead_of")
    return said.ModelUsed(
        id=told["id"],
        name=told["name"],
        provider=told["provider"],
        connection_id=record.connection_id,
        region=record.region,
        in_process=record.in_process,
        instead_of=said.AnsweredBy(**instead) if instead else None,
    )


def _whole(value: Any) -> str | int | bool | None:
    """As it can stand in a statement: a fraction as text, anything nested as its hash."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return value if abs(value) <= said.MOST_SAFE else str(value)
    if value is None or isinstance(value, str):
        return value
    return f"sha256:{sha256(canonical(value))}"


def _searches(trace: dict[str, Any]) -> list[said.SearchMade]:
    made = cast("dict[str, Any] | None", trace.get("retrieval"))
    if not made:
        return []
    query, by = str(made.get("query") or ""), made.get("rewritten_by")
    return [
        said.SearchMade(
            kind=str(made.get("kind", "search")),
            sha256=sha256(query) if query else None,
            rewritten_by=msgspec.convert(by, said.AnsweredBy | None),
        )
    ]


def _passage(item: dict[str, Any], facts: Facts) -> said.PassageUsed:
    document_id, text = UUID(item["document_id"]), facts.texts.get(item["n"])
    return said.PassageUsed(
        n=item["n"],
        document_id=document_id,
        document_sha256=facts.hashes.get(document_id),
        chunk_id=UUID(item["chunk_id"]),
        chunk_sha256=None if text is None else sha256(text),
        page=item["page"],
        score=repr(float(item["score"])),
    )


def _citation(item: dict[str, Any]) -> said.CitationGiven:
    return said.CitationGiven(
        n=item["n"],
        document_id=UUID(item["document_id"]),
        chunk_id=UUID(item["chunk_id"]),
        page=item["page"],
        start=item["start"],
        end=item["end"],
        quote_sha256=sha256(item["quote"]),
        support=item.get("support"),
    )


def _sentence(item: dict[str, Any]) -> said.SentenceChecked:
    quote = item.get("quote") or ""
    return said.SentenceChecked(
        start=item["start"],
        end=item["end"],
        support=item["support"],
        n=item.get("n"),
        quote_sha256=sha256(quote) if quote else None,
    )


def _tool(call: ToolCall) -> said.ToolUsed:
    return said.ToolUsed(
        round=call.round,
        call_id=call.call_id,
        name=call.name,
        tool_id=call.tool_id,
        status=call.status,
        error=call.error or None,
        arguments_sha256=sha256(call.arguments),
        result_sha256=sha256(call.result),
        decided_by=call.decided_by,
        decided_at=call.decided_at,
        finished_at=call.finished_at,
    )


def _usage(record: Record, *, broken: bool) -> said.UsageOfAnswer:
    calls = [_call(noted) for noted in record.noted]
    return said.UsageOfAnswer(
        input_tokens=sum(call.input_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        cost_micros=sum(call.cost_micros for call in calls),
        currency=record.currency,
        estimated=broken or any(call.estimated for call in calls),
        calls=calls,
    )


def _call(noted: Noted) -> said.CallMade:
    spent = noted.spent
    return said.CallMade(
        purpose=noted.purpose,
        model_id=spent.model_id,
        model=spent.model,
        provider=spent.provider,
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cached_input_tokens=spent.cached_input_tokens,
        cache_write_tokens=spent.cache_write_tokens,
        cost_micros=spent.cost,
        priced=spent.priced,
        estimated=spent.estimated,
        error=spent.error or None,
    )
