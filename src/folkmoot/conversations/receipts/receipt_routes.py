"""Receipts of answers, the keys that sign them, and edits of answers, of which receipts tell."""

from __future__ import annotations

from typing import Annotated, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.conversations.receipts import edit as editing
from folkmoot.conversations.receipts import issue as receipts
from folkmoot.conversations.receipts.statement import Receipt
from folkmoot.conversations.schemas import Edit, MessageOut
from folkmoot.kit.access import Permission, Scope
from folkmoot.kit.app import App
from folkmoot.kit.http import PUBLIC, needs
from folkmoot.kit.work import Work

Number = Annotated[int | None, QueryParameter(ge=1, le=1_000_000, description="Which one; the newest if left out.")]


class ReceiptController(Controller):
    path = "/messages"
    tags = ["Conversations"]
    opt = needs(Permission.SPACES, scope=Scope.CHAT)

    @get("/{message_id:uuid}/receipt", operation_id="get_receipt", summary="Download the receipt of an answer")
    async def read(
        self,
        app: NamedDependency[App],
        work: NamedDependency[Work],
        message_id: FromPath[UUID],
        number: Number = None,
    ) -> Response[Receipt]:
        """How the answer came to be, signed. It has no text of people or documents, only hashes of it, so it can be
        handed to somebody who may not read the conversation; `folkmoot receipt verify` checks it."""
        which, body = await receipts.read(work, app.keyring, message_id, number)
        headers = {
            "Content-Disposition": f'attachment; filename="receipt-{message_id}-{which}.json"',
            "Cache-Control": "no-store",
        }
        return cast("Response[Receipt]", Response(body, media_type="application/json", headers=headers))

    @patch("/{message_id:uuid}", operation_id="edit_answer", summary="Edit an answer")
    async def edit(
        self, app: NamedDependency[App], work: NamedDependency[Work], message_id: FromPath[UUID], data: JSONBody[Edit]
    ) -> MessageOut:
        """What the assistant wrote is kept as `original`, and a further receipt tells of the edit. Later questions go
        on from the new text."""
        return MessageOut.of(await editing.edit(work, app.keyring, app.streams, message_id, data.content))


@get(
    "/.well-known/receipt-keys.json",
    operation_id="receipt_keys",
    summary="The keys that receipts are signed with",
    opt=PUBLIC,
    sync_to_thread=False,
)
def receipt_keys(app: NamedDependency[App]) -> Response[bytes]:
    """As a JWK set (RFC 8037), the one that signs now first."""
    body = msgspec.json.encode({"keys": [key.jwk() for key in receipts.keys(app.keyring)]})
    return Response(body, media_type="application/json", headers={"Cache-Control": "public, max-age=3600"})
