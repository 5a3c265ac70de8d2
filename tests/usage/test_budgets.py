"""Whose budget applies to which call, and in which day and month."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest

from folkmoot.kit.access import Principal
from folkmoot.kit.errors import TooManyRequests
from folkmoot.usage import books as statements
from folkmoot.usage.account import Place
from folkmoot.usage.ledger import BudgetExhausted
from tests.usage.conftest import spent

ADA, BO = uuid4(), uuid4()


async def refused(books, amount: int = 1, **who) -> str:
    """The kind of the budget that refuses a call, or nothing."""
    try:
        reservation = await books.ledger.reserve(books.account(**who), amount)
    except BudgetExhausted as error:
        return error.bound.kind
    await books.ledger.settle(reservation)
    return ""


async def test_a_budget_of_each_person_bounds_each_by_themself(books):
    await books.budget(10, kind="user")
    await books.call(10, by=books.account(user_id=ADA))
    assert await refused(books, user_id=ADA) == "user"
    assert await refused(books, user_id=BO) == ""
    assert await refused(books) == "", "a call of nobody is nobody's to bound"


async def test_ones_own_budget_goes_before_that_of_each(books):
    await books.budget(10, kind="user")
    await books.budget(50, kind="user", subject_id=ADA)
    await books.call(40, by=books.account(user_id=ADA))
    assert await refused(books, 11, user_id=BO) == "user"
    assert await refused(books, 10, user_id=ADA) == ""
    await books.budget(5, kind="user", period="day")
    assert await refused(books, 10, user_id=ADA) == "user", "of another period it does not go before"


@pytest.mark.parametrize("kind", ["space", "user", "assistant"])
async def test_each_kind_counts_its_own_calls_and_no_others(books, kind):
    mine, theirs = uuid4(), uuid4()
    await books.budget(10, kind=kind, subject_id=mine)
    await books.call(100, by=books.account(**{f"{kind}_id": theirs}))
    assert await refused(books, 10, **{f"{kind}_id": mine}) == ""
    await books.call(10, by=books.account(**{f"{kind}_id": mine}))
    assert await refused(books, 1, **{f"{kind}_id": mine}) == kind
    assert await refused(books, 1, **{f"{kind}_id": theirs}) == ""


async def test_a_call_must_fit_in_all_budgets_and_is_reserved_in_all_or_none(books):
    space = uuid4()
    await books.budget(100)
    await books.budget(20, kind="user")
    await books.budget(10, kind="space")
    who = {"user_id": ADA, "space_id": space}
    await books.call(1, by=books.account(**who))
    assert await refused(books, 15, **who) == "space"
    assert [await books.used(), await books.used(kind="user", subject_id=ADA)] == [(1, 0), (1, 0)]


async def test_a_day_begins_at_midnight_utc(books):
    await books.budget(10, period="day")
    books.clock.on(2026, 11, 22, 23, 59, 59)
    await books.call(10)
    assert await refused(books) == "tenant"
    books.clock.pass_(seconds=1)
    assert await refused(books) == ""
    await books.call(3)
    assert await books.used(period="day", starts_on=date(2026, 11, 22)) == (10, 0)
    assert await books.used(period="day", starts_on=date(2026, 11, 23)) == (3, 0)


async def test_a_month_begins_on_its_first(books):
    await books.budget(10)
    books.clock.on(2026, 12, 31, 23, 59, 59)
    await books.call(10)
    assert await refused(books) == "tenant"
    books.clock.pass_(seconds=1)
    await books.call(4)
    assert await books.used(starts_on=date(2026, 12, 1)) == (10, 0)
    assert await books.used(starts_on=date(2027, 1, 1)) == (4, 0)


async def test_a_call_counts_for_the_day_in_which_it_began(books):
    await books.budget(100, period="day")
    books.clock.on(2026, 11, 22, 23, 59)
    reservation = await books.ledger.reserve(books.account(), 10)
    books.clock.pass_(minutes=5)
    await books.call(1)
    await books.ledger.settle(reservation, spent(12))
    assert await books.used(period="day", starts_on=date(2026, 11, 22)) == (12, 0)
    assert await books.used(period="day", starts_on=date(2026, 11, 23)) == (1, 0)
    first, second = await books.entries()
    assert (first.begun_at.day, second.begun_at.day) == (22, 23)


async def test_a_budget_in_mid_month_begins_with_what_was_spent_before(books):
    books.clock.on(2026, 10, 31, 12)
    await books.call(1_000)
    books.clock.on(2026, 11, 3, 12)
    await books.call(30, by=books.account(user_id=ADA))
    await books.call(5, by=books.account(user_id=BO))
    await books.budget(36)
    await books.budget(100, kind="user")
    assert await refused(books, 2) == "tenant"
    await books.call(1, by=books.account(user_id=ADA))
    assert await books.used() == (36, 0)
    assert await books.used(kind="user", subject_id=ADA) == (31, 0)


async def test_no_entry_is_lost_while_a_counter_is_opened(books):
    """Calls settle without a pause while counters are opened again and again: each is the sum of its entries."""
    processes = [books.process(), books.process()]
    places = [
        Place("tenant", books.tenant_id, "month", books.clock.at.date().replace(day=1)),
        Place("user", ADA, "day", books.clock.at.date()),
    ]
    running = True

    async def calls(ledger) -> int:
        total = 0
        while running:
            reservation = await ledger.reserve(books.account(user_id=ADA), 1)
            await ledger.settle(reservation, spent(3))
            total += 3
        return total

    settling = [asyncio.create_task(calls(ledger)) for ledger in processes for _ in range(3)]
    for _ in range(25):
        async with books.app.begin(Principal.system(books.tenant_id)) as work:
            await statements.open_counters(work, places)
        await asyncio.sleep(0.005)
        async with books.app.begin(Principal.system(books.tenant_id)) as work:
            await statements.together(work)
            counters = await statements.counters(work, places, lock=True)
            for place in places:
                assert (counters[place].spent, 0) == (
                    (await statements.total(work, place))[0],
                    counters[place].reserved,
                )
        await books.change("DELETE FROM budget_counters WHERE tenant_id = :t")
    running = False
    total = sum(await asyncio.gather(*settling))
    assert sum(entry.cost for entry in await books.entries()) == total > 0


async def test_counters_of_days_that_are_over_are_forgotten_and_their_entries_kept(books):
    await books.budget(100)
    await books.budget(100, period="day")
    today = books.clock.at
    books.clock.pass_(days=-70)
    await books.call(1)
    books.clock.at = today
    await books.call(2)
    async with books.app.begin(Principal.system(books.tenant_id)) as work:
        await statements.forget_old(work)
    left = await books.rows("SELECT * FROM budget_counters WHERE tenant_id = :t")
    assert {(row.period, row.spent) for row in left} == {("month", 2), ("day", 2)}
    assert len(await books.entries()) == 2


# Telling


async def test_at_80_percent_it_is_told_once(books):
    budget = await books.budget(100)
    await books.call(79)
    assert await books.events("budget.warned") == []
    await books.call(1)
    await books.call(5)
    (event,) = await books.events("budget.warned")
    assert (event.object_id, event.object_type, event.user_id, event.space_id) == (budget, "budget", None, None)
    assert event.data == {
        "kind": "tenant",
        "subject_id": str(books.tenant_id),
        "period": "month",
        "starts_on": books.clock.at.date().replace(day=1).isoformat(),
        "limit_micros": 100,
        "spent_micros": 80,
        "reserved_micros": 0,
        "currency": "USD",
    }


async def test_at_100_percent_it_is_told_once(books):
    await books.budget(100)
    await books.call(85)
    await books.call(10, cost=40)
    for _ in range(3):
        with suppress(BudgetExhausted):
            await books.call(1)
    assert len(await books.events("budget.warned")) == 1
    (event,) = await books.events("budget.exhausted")
    assert event.data["spent_micros"] == 125


async def test_the_first_refusal_of_a_budget_that_is_nearly_used_up_is_told(books):
    await books.budget(100)
    await books.call(95)
    for _ in range(3):
        assert await refused(books, 6) == "tenant"
    (event,) = await books.events("budget.exhausted")
    assert event.data["spent_micros"] == 95


async def test_one_call_that_is_far_too_large_does_not_say_that_the_budget_is_used_up(books):
    await books.budget(100)
    await books.call(10)
    assert await refused(books, 1_000) == "tenant"
    assert await books.events("budget.exhausted") == []


async def test_many_calls_at_once_tell_once(books):
    await books.budget(100)
    processes = [books.process() for _ in range(3)]

    async def task(ledger) -> None:
        for _ in range(20):
            with suppress(BudgetExhausted):
                await ledger.settle(await ledger.reserve(books.account(), 1), spent(1))

    await asyncio.gather(*(task(ledger) for ledger in processes for _ in range(4)))
    assert await books.used() == (100, 0)
    assert len(await books.events("budget.warned")) == 1
    assert len(await books.events("budget.exhausted")) == 1


async def test_the_next_month_and_a_higher_limit_are_told_anew(books):
    books.clock.on(2026, 11, 10)
    await books.budget(100)
    await books.call(80)
    books.clock.on(2026, 12, 10)
    await books.call(85)
    assert [event.data["starts_on"] for event in await books.events("budget.warned")] == ["2026-11-01", "2026-12-01"]
    await books.change("UPDATE budgets SET amount = 200 WHERE tenant_id = :t")
    await books.call(80)
    assert [event.data["limit_micros"] for event in await books.events("budget.warned")] == [100, 100, 200]


async def test_a_persons_own_budget_is_told_to_that_person(books):
    await books.budget(100, kind="user")
    await books.call(90, by=books.account(user_id=ADA))
    (event,) = await books.events("budget.warned")
    assert event.user_id == ADA


async def test_a_budget_of_nothing_lets_only_free_calls_through_and_tells_of_none(books):
    await books.budget(0)
    await books.call(0)
    assert await books.events("budget.exhausted") == []
    assert await refused(books, 1) == "tenant"


# Keys


@pytest.fixture
async def keys(owner, app, superuser, books):
    """A key and the one that replaced it, of one family."""
    books.tenant_id = owner.tenant_id
    first = await owner.made("/api-keys", name="A program", tokens_per_month=100)
    second = await owner.made(f"/api-keys/{first['id']}/rotate")
    third = await owner.made(f"/api-keys/{second['id']}/rotate")
    return [UUID(key["id"]) for key in (first, second, third)]


async def test_a_family_of_keys_spends_from_one_budget(books, keys):
    await books.budget(10, kind="key", subject_id=keys[0])
    await books.call(6, by=books.account(key_id=keys[1]))
    assert await refused(books, 5, key_id=keys[2]) == "key"
    assert await refused(books, 4, key_id=keys[0]) == ""
    assert await refused(books, 100, key_id=uuid4()) == ""
    assert await books.used(kind="key", subject_id=keys[0]) == (6, 0)


async def test_the_tokens_of_a_key_are_those_of_all_its_calls_and_family(books, keys):
    tokens = {"input_tokens": 30, "output_tokens": 20}
    await books.call(0, by=books.account("answer", key_id=keys[0]), **tokens)
    await books.call(0, by=books.account("api", key_id=keys[2]), **tokens)
    with pytest.raises(TooManyRequests, match="100 of its 100 tokens") as spent_up:
        await books.ledger.reserve(books.account(key_id=keys[1]), 0)
    assert spent_up.value.code == "spending-limit-reached"
    await books.call(0, by=books.account(), **tokens)


async def test_tokens_that_a_key_spent_before_it_had_a_limit_count(books, keys):
    await books.change("UPDATE api_keys SET tokens_per_month = NULL WHERE tenant_id = :t")
    books.clock.pass_(days=-40)
    await books.call(0, by=books.account(key_id=keys[0]), input_tokens=1_000)
    books.clock.pass_(days=40)
    await books.call(0, by=books.account(key_id=keys[0]), input_tokens=60)
    await books.change("UPDATE api_keys SET tokens_per_month = 100 WHERE tenant_id = :t")
    other = books.process()
    await other.settle(await other.reserve(books.account(key_id=keys[2]), 0), spent(0, output_tokens=40))
    with pytest.raises(TooManyRequests):
        await other.reserve(books.account(key_id=keys[1]), 0)


async def test_the_next_month_gives_a_key_its_tokens_anew(books, keys):
    await books.call(0, by=books.account(key_id=keys[0]), input_tokens=500)
    with pytest.raises(TooManyRequests) as refusal:
        await books.ledger.reserve(books.account(key_id=keys[0]), 0)
    books.clock.at += timedelta(seconds=refusal.value.retry_after)
    await books.call(0, by=books.account(key_id=keys[0]))
