"""One's conversations afterwards: naming, pinning, archiving, searching and taking them away."""

from __future__ import annotations

from typing import Annotated, Literal, cast
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.conversations import history
from folkmoot.conversations.export import ConversationExport, export
from folkmoot.conversations.history import FoundOut
from folkmoot.conversations.markdown import markdown
from folkmoot.conversations.schemas import ConversationOut, ConversationUpdate
from folkmoot.conversations.service import ConversationService
from folkmoot.kit.access import Permission, Scope
from folkmoot.kit.http import Cursor, Page, needs
from folkmoot.kit.work import Work

WORDS = 'Words; "quoted" for a phrase, `or`, and `-` for what must not be there.'
Said = Annotated[str, QueryParameter(min_length=1, max_length=200, description=WORDS)]
Few = Annotated[int, QueryParameter(ge=1, le=50, description="Most items to return.")]
Form = Annotated[Literal["markdown", "json"], QueryParameter(description="`json` has everything exactly.")]
Leaf = Annotated[UUID | None, QueryParameter(description="Only this message and those above it; all branches without.")]


class HistoryController(Controller):
    path = "/conversations"
    tags = ["Conversations"]
    opt = needs(Permission.SPACES, scope=Scope.CHAT)

    @get("/search", operation_id="search_conversations", summary="Search in my conversations")
    async def search(
        self, work: NamedDependency[Work], q: Said, limit: Few = 20, cursor: Cursor = None
    ) -> Page[FoundOut]:
        """In titles, questions and answers, archived ones too; each word is found as the beginning of a word. Those
        where they were said last come first."""
        items, after = await history.search(work, q, limit, cursor)
        return Page(items=items, next_cursor=after)

    @patch("/{conversation_id:uuid}", operation_id="update_conversation", summary="Name, pin or archive a conversation")
    async def update(
        self, work: NamedDependency[Work], conversation_id: FromPath[UUID], data: JSONBody[ConversationUpdate]
    ) -> ConversationOut:
        """Absent fields stay. What a person has named, no model names."""
        return ConversationOut.of(await ConversationService(work).update(conversation_id, data))

    @get("/{conversation_id:uuid}/export", operation_id="export_conversation", summary="Take a conversation away")
    async def export(
        self,
        work: NamedDependency[Work],
        conversation_id: FromPath[UUID],
        format: Form = "markdown",  # noqa: A002 - the name that stands in the address
        branch: Leaf = None,
    ) -> Response[ConversationExport]:
        """As JSON, or as Markdown with footnotes for its citations. Answers carry the organisation's AI mark."""
        made = await export(work, conversation_id, branch)
        if format == "json":
            body, media_type, suffix = msgspec.json.encode(made), "application/json", "json"
        else:
            body, media_type, suffix = markdown(made).encode(), "text/markdown; charset=utf-8", "md"
        title = " ".join(made.conversation.title.split())[:80] or "conversation"
        headers = {
            "Content-Disposition": f'attachment; filename="conversation-{conversation_id}.{suffix}"; '
            f"filename*=UTF-8''{quote(f'{title}.{suffix}', safe='')}",
            "Cache-Control": "no-store",
        }
        return cast("Response[ConversationExport]", Response(body, media_type=media_type, headers=headers))
