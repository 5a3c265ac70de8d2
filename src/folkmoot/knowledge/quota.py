"""How many passages an organisation's documents may have."""

from __future__ import annotations

from uuid import UUID

from folkmoot_sdk import ParserError
from sqlalchemy import Uuid, bindparam, select

from folkmoot.kit.work import Work
from folkmoot.knowledge.models import Document
from folkmoot.tenants.models import Tenant
from folkmoot.tenants.service import stored_chunks

_MOST = select(Tenant.max_chunks).where(Tenant.id == bindparam("tenant", type_=Uuid()))


class QuotaExceeded(ParserError):
    """The document has more passages than there is room for; what it had before stays."""

    code = "quota-exceeded"


async def check_chunks(work: Work, document_id: UUID, count: int) -> None:
    """Raise `QuotaExceeded` if `count` passages for this document, instead of those it has, are too many.

    Documents that are stored at the same moment do not wait for each other, so the last may go a little over.
    """
    most = await work.session.scalar(_MOST, {"tenant": work.principal.tenant})
    if most is None:
        return
    has = await work.session.scalar(select(Document.chunk_count).where(Document.id == document_id)) or 0
    used = await stored_chunks(work) - has
    if count > has and used + count > most:
        raise QuotaExceeded(
            f"this document has {count:,} passages, and your organisation has room for "
            f"{max(0, most - used):,} of its {most:,}: delete documents that nobody needs, "
            "or ask whoever runs this installation for a higher quota, and read it again"
        )
