"""An assistant's citations as annotations of its message. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from folkmoot.conversations.citations.cite import markers
from folkmoot.conversations.schemas import Citation
from folkmoot.gateway.answers import Annotation, CitedPlace, UrlCitation


def annotated(content: str, citations: Sequence[Citation], url: str) -> list[Annotation]:
    """One for each marker `[n]`, in the order of the text and not in code; `url` is where this installation is.

    A passage that is cited several times has its citations in the order of its markers, and the last of them stands
    for those that cite the same place again.
    """
    by_number: dict[int, list[Citation]] = defaultdict(list)
    for citation in citations:
        by_number[citation.n].append(citation)
    found: list[Annotation] = []
    for marker in markers(content):
        known = by_number.get(int(marker.group(1)))
        if not known:
            continue
        citation = known.pop(0) if len(known) > 1 else known[0]
        found.append(_annotation(citation, marker.start(), marker.end(), url))
    return found


def _annotation(citation: Citation, start: int, end: int, url: str) -> Annotation:
    page = f"#page={citation.page}" if citation.page is not None else ""
    return Annotation(
        url_citation=UrlCitation(
            start_index=start,
            end_index=end,
            title=citation.document_name,
            url=f"{url}/api/v1/documents/{citation.document_id}/content{page}",
        ),
        folkmoot=CitedPlace(
            n=citation.n,
            document_id=citation.document_id,
            chunk_id=citation.chunk_id,
            page=citation.page,
            start=citation.start,
            end=citation.end,
            quote=citation.quote,
        ),
    )
