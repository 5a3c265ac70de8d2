"""Where could this text go? A dry run over every way out, by the same decisions that hold when it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from folkmoot.ai.policy import Level, why_not
from folkmoot.ai.route import Choice, Route, Snapshot
from folkmoot.ai.schemas import EgressOut, EgressWay, WayOut
from folkmoot.kit.errors import AppError

WAYS = (
    ("answers", "chat", "nothing is sent, and questions are refused"),
    ("embeddings", "embedding", "nothing is sent, and documents are found by their words only"),
    ("reranking", "rerank", "nothing is sent, and results stay in the order of the search"),
    ("transcription", "transcription", "nothing is sent, and audio is refused"),
)
"""What text is sent for, the kind of model that does it, and what happens if none may."""
NOT_YET = {"transcription": "nothing of a space is transcribed yet"}
"""What no part of the product does with the text of a space; the models are those that might."""
NOWHERE = (
    ("titles", "nothing is sent: the title of a conversation is its first words"),
    ("web search", "nothing is sent: there is no web search"),
)
TOOLS = (
    "what a model writes into a call goes to tool servers that are chosen for the space and cleared for its class: "
    "`GET /spaces/{id}/tools` lists them, and says which may not see its text"
)
"""Tool servers lie above the models, which know nothing of them."""


def egress(snapshot: Snapshot, text: Sequence[Level]) -> EgressOut:
    """Nothing is sent to find out."""
    return EgressOut(
        data_class_id=text[0].id if text else None,
        data_class=text[0].name if text else None,
        ways=[
            *(_way(snapshot, text, *way) for way in WAYS),
            *(EgressWay(purpose=purpose, first=None, note=note, models=[]) for purpose, note in NOWHERE),
            EgressWay(purpose="tools", first=None, note=TOOLS, models=[]),
        ],
    )


def _way(snapshot: Snapshot, text: Sequence[Level], purpose: str, kind: str, otherwise: str) -> EgressWay:
    first, note = None, otherwise
    if purpose in NOT_YET:
        note = f"nothing is sent: {NOT_YET[purpose]}"
    elif (route := _route(snapshot, text, kind)) is not None:
        first = route.first.model.id
        names = [choice.model.name for choice in route.choices]
        note = f"goes to {names[0]}" + (f", and if it fails to {', then '.join(names[1:])}" if names[1:] else "")
    return EgressWay(
        purpose=purpose,
        first=first,
        note=note,
        models=[_way_out(choice, why_not(choice.standing, text)) for choice in snapshot.usable(kind)],
    )


def _route(snapshot: Snapshot, text: Sequence[Level], kind: str) -> Route | None:
    try:
        return snapshot.route(kind, text)
    except AppError:
        return None


def _way_out(choice: Choice, reason: str | None) -> WayOut:
    return WayOut(
        model_id=choice.model.id,
        name=choice.model.name,
        provider=choice.connection.kind,
        connection=choice.connection.name,
        country=choice.standing.country,
        allowed=reason is None,
        reason=reason,
    )
