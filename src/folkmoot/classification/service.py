"""Data classes of an organisation."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from folkmoot.classification.models import DataClass
from folkmoot.classification.schemas import DataClassCreate, DataClassUpdate
from folkmoot.kit.errors import Conflict, NotFound
from folkmoot.kit.paging import check_match
from folkmoot.kit.structs import patch
from folkmoot.kit.work import Work


def at_least(new: DataClass | None, old: DataClass | None) -> bool:
    """Whether text of the class `new` is guarded no less than text of `old`."""
    if old is None:
        return True
    if new is None or new.level < old.level:
        return False
    return not old.countries or (bool(new.countries) and set(new.countries) <= set(old.countries))


class DataClassService:
    """Use cases around data classes, within the tenant of the work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def get(self, class_id: UUID) -> DataClass:
        """Raises `NotFound`."""
        found = await self._work.session.scalar(select(DataClass).where(DataClass.id == class_id))
        if found is None:
            raise NotFound("there is no such data class: `GET /data-classes` lists them")
        return found

    async def every(self) -> Sequence[DataClass]:
        """All of them, the least confidential first."""
        return (await self._work.session.scalars(select(DataClass).order_by(DataClass.level))).all()

    async def effective(self, class_id: UUID | None) -> DataClass | None:
        """The class that counts for a space: its own, else the default; None if there is neither."""
        if class_id is not None:
            return await self.get(class_id)
        return await self._work.session.scalar(select(DataClass).where(DataClass.is_default))

    async def create(self, data: DataClassCreate) -> DataClass:
        """Raises `Conflict` (`already-exists`) for a name or level that is taken."""
        if data.default:
            await self._no_default()
        row = DataClass(
            tenant_id=self._work.principal.tenant,
            name=data.name,
            description=data.description,
            level=data.level,
            countries=sorted(set(data.countries)),
            is_default=data.default,
        )
        self._work.session.add(row)
        await self._work.session.flush()
        self._work.record("data_class.created", "data_class", row.id, data=_told(row))
        return row

    async def update(self, class_id: UUID, data: DataClassUpdate, if_match: str | None) -> DataClass:
        """What it asks of models holds within half a second. Raises `Stale` and, for a level taken, `Conflict`."""
        row = await self.get(class_id)
        check_match(if_match, row.revision)
        if data.default is True and not row.is_default:
            await self._no_default()
        changed = patch(row, data, leave=("default", "countries"))
        if data.countries is not UNSET and sorted(set(data.countries)) != row.countries:
            row.countries = sorted(set(data.countries))
            changed.append("countries")
        if data.default not in (UNSET, row.is_default):
            row.is_default = bool(data.default)
            changed.append("default")
        if changed:
            await self._work.session.flush()
            self._work.record("data_class.updated", "data_class", row.id, data={"fields": changed, **_told(row)})
        return row

    async def delete(self, class_id: UUID) -> None:
        """Raises `Conflict` (`class-in-use`) while a space, a connection or a model has it, or it is the default."""
        row = await self.get(class_id)
        if row.is_default:
            # Every space that names no class has it, and nothing would guard their text from one moment to the next.
            raise Conflict(
                f"spaces that name no class have the class {row.name!r}: make another the default first, or say that "
                "this one is not any more",
                code="class-in-use",
            )
        try:
            async with self._work.session.begin_nested():
                await self._work.session.execute(delete(DataClass).where(DataClass.id == row.id))
        except IntegrityError:
            raise Conflict(
                f"spaces or models have the class {row.name!r}: give them another first", code="class-in-use"
            ) from None
        self._work.record("data_class.deleted", "data_class", row.id, data={"name": row.name})

    async def _no_default(self) -> None:
        await self._work.session.execute(
            update(DataClass).where(DataClass.is_default).values(is_default=False, revision=DataClass.revision + 1)
        )


def _told(row: DataClass) -> dict[str, object]:
    return {"name": row.name, "level": row.level, "countries": list(row.countries), "default": row.is_default}
