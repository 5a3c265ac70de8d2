"""Budgets: who sets them, and what is left of those that bind oneself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from msgspec import UNSET
from sqlalchemy import select, text

from folkmoot.keys.models import ApiKey
from folkmoot.kit.access import Permission
from folkmoot.kit.errors import Conflict, NotFound, ValidationFailed
from folkmoot.kit.paging import check_match, page
from folkmoot.kit.work import Work
from folkmoot.spaces.service import SpaceService
from folkmoot.usage import books
from folkmoot.usage.account import Place, bounds_of, first_day
from folkmoot.usage.ledger import Ledger, key_facts
from folkmoot.usage.limits import Bound, Counter
from folkmoot.usage.models import Budget
from folkmoot.usage.money import said
from folkmoot.usage.report import currency_of, names
from folkmoot.usage.schemas import BudgetCreate, BudgetOut, BudgetUpdate, MyBudgetOut

# Assistants lie above this layer.
_THERE = {
    "space": text("SELECT id FROM spaces WHERE id = :id"),
    "user": text("SELECT id FROM users WHERE id = :id AND state <> 'deleted'"),
    "key": text("SELECT id FROM api_keys WHERE id = :id"),
    "assistant": text("SELECT id FROM assistants WHERE id = :id"),
}


class _Budgets(SQLAlchemyAsyncRepository[Budget]):
    model_type = Budget


class BudgetService:
    """Use cases of who administers the organisation, and for everybody `mine`."""

    def __init__(self, work: Work, ledger: Ledger) -> None:
        self._work, self._ledger = work, ledger
        self._rows = _Budgets(session=work.session)

    async def page(self, limit: int, cursor: str | None) -> tuple[list[BudgetOut], str | None]:
        """Newest first."""
        self._work.principal.require(Permission.ADMIN)
        rows, after = await page(self._work.session, select(Budget), by=Budget.id, limit=limit, cursor=cursor)
        return await self._shown(rows), after

    async def get(self, budget_id: UUID) -> tuple[BudgetOut, int]:
        """A budget with what is used of it now, and its revision. Raises `NotFound`."""
        row = await self._find(budget_id)
        return (await self._shown([row]))[0], row.revision

    async def create(self, data: BudgetCreate) -> tuple[BudgetOut, int]:
        """Holds at once here, and within a second on every process.

        Raises `NotFound` for a subject that is not there, `Conflict` (`already-exists`) or `ValidationFailed`.
        """
        self._work.principal.require(Permission.ADMIN)
        subject_id = await self._subject(data)
        same = select(Budget).where(
            Budget.kind == data.kind, Budget.period == data.period, Budget.subject_id.is_not_distinct_from(subject_id)
        )
        if (known := await self._work.session.scalar(same)) is not None:
            raise Conflict(
                f"there is a budget of {said(known.amount, await currency_of(self._work))} for this already:"
                f" change it, its id is {known.id}",
                code="already-exists",
            )
        row = await self._rows.add(
            Budget(
                tenant_id=self._work.principal.tenant,
                kind=data.kind,
                subject_id=subject_id,
                period=data.period,
                amount=data.limit_micros,
            )
        )
        self._record("budget.created", row)
        return (await self._shown([row]))[0], row.revision

    async def update(self, budget_id: UUID, data: BudgetUpdate, if_match: str | None) -> tuple[BudgetOut, int]:
        """Set another limit, which holds for what is already spent too. Raises `NotFound` or `Stale`."""
        row = await self._find(budget_id)
        check_match(if_match, row.revision)
        if data.limit_micros is not UNSET and data.limit_micros != row.amount:
            before, row.amount = row.amount, data.limit_micros
            await self._work.session.flush()
            self._record("budget.updated", row, before_micros=before)
        return (await self._shown([row]))[0], row.revision

    async def delete(self, budget_id: UUID) -> None:
        """Nothing bounds these calls any more, unless another budget does. Raises `NotFound`."""
        row = await self._find(budget_id)
        await self._work.session.delete(row)
        self._record("budget.deleted", row)

    async def mine(self) -> list[MyBudgetOut]:
        """What bounds the caller: budgets of the organisation, of the caller, of their keys and of their spaces."""
        who, now = self._work.principal, datetime.now(UTC)
        session = self._work.session
        subjects: dict[tuple[str, UUID], None] = {("tenant", who.tenant): None, ("user", who.user): None}
        keys = await session.scalars(select(ApiKey.id).where(ApiKey.user_id == who.user, ApiKey.revoked_at.is_(None)))
        for key_id in keys:
            subjects["key", (await key_facts(self._work, key_id)).family_id] = None
        for space_id in (await session.scalars(SpaceService(self._work).mine())).all():
            subjects["space", space_id] = None
        found = await books.bounds(self._work, list(subjects))
        bounds = [bound for subject in subjects for bound in found.get(subject, ())]
        used = await self._used(bound.place(now) for bound in bounds)
        called: dict[UUID, str] = {}
        for kind in ("space", "key"):
            called |= await names(self._work, kind, (bound.subject_id for bound in bounds if bound.kind == kind))
        return [_mine(bound, used[bound.place(now)], called.get(bound.subject_id), now) for bound in bounds]

    async def _find(self, budget_id: UUID) -> Budget:
        self._work.principal.require(Permission.ADMIN)
        row = await self._work.session.get(Budget, budget_id)
        if row is None:
            raise NotFound("there is no such budget")
        return row

    async def _subject(self, data: BudgetCreate) -> UUID | None:
        if data.subject_id is None:
            return None
        if data.kind == "tenant":
            message = "a budget of the organisation has no subject: leave `subject_id` out"
            raise ValidationFailed(message, [("subject_id", message)])
        if await self._work.session.scalar(_THERE[data.kind], {"id": data.subject_id}) is None:
            called = {"user": "person", "key": "API key"}.get(data.kind, data.kind)
            raise NotFound(f"`subject_id` names no {called} of this organisation")
        if data.kind == "key":
            return (await key_facts(self._work, data.subject_id)).family_id
        return data.subject_id

    async def _shown(self, rows: Sequence[Budget]) -> list[BudgetOut]:
        now, currency = datetime.now(UTC), await currency_of(self._work)
        used = await self._used(place for row in rows if (place := self._place(row, now)))
        called: dict[UUID, str] = {}
        for kind in {row.kind for row in rows} - {"tenant"}:
            called |= await names(self._work, kind, (row.subject_id for row in rows if row.kind == kind))
        shown: list[BudgetOut] = []
        for row in rows:
            place = self._place(row, now)
            counter = used[place] if place else None
            begin, end = bounds_of(row.period, first_day(row.period, now))
            shown.append(
                BudgetOut(
                    id=row.id,
                    kind=row.kind,
                    subject_id=row.subject_id,
                    name=called.get(row.subject_id) if row.subject_id else None,
                    period=row.period,
                    limit_micros=row.amount,
                    currency=currency,
                    spent_micros=counter.spent if counter else None,
                    reserved_micros=counter.reserved if counter else None,
                    starts_at=begin,
                    ends_at=end,
                    created_at=row.created_at,
                    updated_at=row.updated_at,
                )
            )
        return shown

    def _place(self, row: Budget, now: datetime) -> Place | None:
        """The counter of a budget; None for one that is for each of its kind."""
        subject_id = self._work.principal.tenant if row.kind == "tenant" else row.subject_id
        return Place(row.kind, subject_id, row.period, first_day(row.period, now)) if subject_id else None

    async def _used(self, places: Iterable[Place]) -> dict[Place, Counter]:
        """Counters that nobody has opened yet are read from the ledger."""
        wanted = set(places)
        found = await books.counters(self._work, wanted, lock=False)
        for place in wanted - found.keys():
            spent, tokens = await books.total(self._work, place)
            found[place] = Counter(id=place.subject_id, spent=spent, reserved=0, tokens=tokens)
        return found

    def _record(self, action: str, row: Budget, **more: int) -> None:
        data = {
            "kind": row.kind,
            "subject_id": str(row.subject_id) if row.subject_id else None,
            "period": row.period,
            "limit_micros": row.amount,
            **more,
        }
        self._work.record(action, "budget", row.id, data=data)
        tenant_id = self._work.principal.tenant

        async def forget() -> None:
            self._ledger.forget(tenant_id)

        self._work.after_commit(forget)


def _mine(bound: Bound, counter: Counter, name: str | None, now: datetime) -> MyBudgetOut:
    return MyBudgetOut(
        kind=bound.kind,
        subject_id=None if bound.kind == "tenant" else bound.subject_id,
        name=name,
        period=bound.period,
        limit_micros=bound.amount,
        currency=bound.currency,
        spent_micros=counter.spent,
        reserved_micros=counter.reserved,
        left_micros=max(0, bound.amount - counter.used),
        ends_at=bounds_of(bound.period, first_day(bound.period, now))[1],
    )
