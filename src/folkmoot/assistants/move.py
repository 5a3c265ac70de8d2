"""Moving every assistant from one model to another, with a look before and a way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import and_, select

from folkmoot.ai.models import ModelMove
from folkmoot.ai.policy import why_not
from folkmoot.ai.route import Choice, Snapshot
from folkmoot.ai.service import ModelService
from folkmoot.assistants.models import Assistant, AssistantVersion
from folkmoot.assistants.service import AssistantService
from folkmoot.kit.errors import Conflict, NotFound, ValidationFailed
from folkmoot.kit.paging import page
from folkmoot.kit.work import Work
from folkmoot.knowledge.embedding.embed import classes_of
from folkmoot.spaces.service import SpaceService

MOST = 5_000
"""Assistants in one move."""


@dataclass(frozen=True)
class Moving:
    """One assistant that uses the model."""

    assistant: Assistant
    version: AssistantVersion
    visible: bool
    """Whether whoever moves it is in its space; if not, its name is not for them."""
    blocked: str | None
    """Why it cannot move: its text may not go to the new model."""


class MoveService:
    """Use cases of administrators, who may do this also to assistants in spaces that they are not in."""

    def __init__(self, work: Work, models: Snapshot) -> None:
        self._work, self._models = work, models

    async def preview(self, from_id: UUID, to_id: UUID | None) -> list[Moving]:
        """The assistants whose newest version names the model; nothing is changed."""
        await ModelService(self._work).get(from_id)
        to = None if to_id is None else self._target(from_id, to_id)
        rows = await self._work.session.execute(
            select(Assistant, AssistantVersion)
            .join(
                AssistantVersion,
                and_(AssistantVersion.assistant_id == Assistant.id, AssistantVersion.number == Assistant.version),
            )
            .where(AssistantVersion.model_id == from_id)
            .order_by(Assistant.id)
            .limit(MOST + 1)
        )
        found = rows.all()
        if len(found) > MOST:
            raise Conflict(f"more than {MOST} assistants use this model: switch it off instead", code="too-many")
        mine = set((await self._work.session.scalars(SpaceService(self._work).mine())).all())
        return [
            Moving(assistant, version, assistant.space_id in mine, await self._blocked(assistant, version, to))
            for assistant, version in found
        ]

    async def move(self, from_id: UUID, to_id: UUID) -> ModelMove:
        """Give each assistant that uses the model, and whose text may go to the new one, a version with the new one.

        Raises `ValidationFailed` if the new model cannot stand in for the old one.
        """
        assistants, moved = AssistantService(self._work), list[dict[str, object]]()
        for item in await self.preview(from_id, to_id):
            if item.blocked is None:
                version = await assistants.set_model(item.assistant, item.version, to_id)
                moved.append({"assistant_id": str(item.assistant.id), "version": version.number})
        done = ModelMove(
            tenant_id=self._work.principal.tenant,
            from_id=from_id,
            to_id=to_id,
            moved=moved,
            moved_by=self._work.principal.user_id,
        )
        self._work.session.add(done)
        await self._work.session.flush()
        told = {"to": str(to_id), "assistants": len(moved), "move_id": str(done.id)}
        self._work.record("model.moved", "model", from_id, data=told)
        return done

    async def undo(self, move_id: UUID) -> tuple[int, int]:
        """Give the assistants of a move their old model back: how many, and how many were changed since and stay.

        Raises `NotFound`, and `Conflict` (`already-undone`).
        """
        done = await self._work.session.scalar(select(ModelMove).where(ModelMove.id == move_id).with_for_update())
        if done is None:
            raise NotFound("there is no such move")
        if done.undone_at is not None:
            raise Conflict("this move was undone already", code="already-undone")
        assistants, back = AssistantService(self._work), 0
        for item in done.moved:
            row = (
                await self._work.session.execute(
                    select(Assistant, AssistantVersion)
                    .join(
                        AssistantVersion,
                        and_(
                            AssistantVersion.assistant_id == Assistant.id,
                            AssistantVersion.number == Assistant.version,
                        ),
                    )
                    .where(Assistant.id == UUID(item["assistant_id"]), Assistant.version == item["version"])
                )
            ).first()
            if row is not None:
                await assistants.set_model(row[0], row[1], done.from_id)
                back += 1
        done.undone_at = datetime.now(UTC)
        told = {"move_id": str(done.id), "assistants": back, "left": len(done.moved) - back}
        self._work.record("model.move_undone", "model", done.from_id, data=told)
        return back, len(done.moved) - back

    async def page(self, model_id: UUID, limit: int, cursor: str | None) -> tuple[Sequence[ModelMove], str | None]:
        """The moves away from a model, newest first."""
        await ModelService(self._work).get(model_id)
        query = select(ModelMove).where(ModelMove.from_id == model_id)
        return await page(self._work.session, query, by=ModelMove.id, limit=limit, cursor=cursor)

    def _target(self, from_id: UUID, to_id: UUID) -> Choice:
        to = self._models.find(to_id)
        if to is None or not to.usable:
            raise NotFound("the model to move to is not there, or is switched off: `GET /models` lists them")
        if to_id == from_id or to.model.kind != "chat":
            raise ValidationFailed("move to another model for chat", [("to_model", "must be another model for chat")])
        if to.model.deprecated_at is not None:
            raise ValidationFailed(f"{to.model.name} is not to be chosen any more", [("to_model", "is deprecated")])
        return to

    async def _blocked(self, assistant: Assistant, version: AssistantVersion, to: Choice | None) -> str | None:
        if to is None:
            return None
        class_ids = await classes_of(self._work, version.collection_ids, assistant.space_id)
        return why_not(to.standing, self._models.text_of(class_ids))
