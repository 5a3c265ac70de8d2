"""Reserving before a call, settling after it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf, nan
from uuid import UUID, uuid4

import pytest
from folkmoot_sdk import Price

from folkmoot.usage.ledger import BudgetExhausted
from folkmoot.usage.money import CEILING, cost
from tests.usage.conftest import spent

PRICE = Price(input=2_500_000, output=10_000_000, cached_input=250_000)


async def test_every_call_is_entered_with_all_that_is_known_of_it(books):
    who = {name: uuid4() for name in ("user_id", "key_id", "space_id", "assistant_id", "message_id")}
    call = spent(
        17,
        input_tokens=10,
        output_tokens=5,
        cached_input_tokens=4,
        cache_write_tokens=3,
        reasoning_tokens=2,
        audio_seconds=1.5,
        priced="ceiling",
        estimated=True,
        error="provider-unavailable",
        first_ms=120,
        total_ms=900,
    )
    reservation = await books.ledger.reserve(books.account("title", **who), 100)
    await books.ledger.settle(reservation, call)
    (entry,) = await books.entries()
    assert {name: getattr(entry, name) for name in who} == who
    stored = {name: getattr(entry, name) for name in call.__dataclass_fields__}
    assert stored == {name: getattr(call, name) for name in call.__dataclass_fields__}
    assert (entry.purpose, entry.begun_at) == ("title", reservation.begun_at)


async def test_a_fallback_is_a_call_of_its_own(books):
    reservation = await books.ledger.reserve(books.account(), 100)
    failed = spent(0, error="provider-unavailable", model="first")
    await books.ledger.settle(reservation, failed, spent(9, model="second"))
    assert [(entry.model, entry.cost, entry.error) for entry in await books.entries()] == [
        ("first", 0, "provider-unavailable"),
        ("second", 9, ""),
    ]


async def test_without_budgets_nothing_is_reserved_and_all_is_entered(books):
    reservation = await books.ledger.reserve(books.account(), 10**9)
    assert reservation.counters == frozenset()
    assert await books.rows("SELECT * FROM usage_reservations WHERE tenant_id = :t") == []
    await books.ledger.settle(reservation, spent(5))
    assert [entry.cost for entry in await books.entries()] == [5]
    assert await books.counter() is None


async def test_what_is_reserved_is_given_back_and_what_was_spent_stays(books):
    await books.budget(100)
    reservation = await books.ledger.reserve(books.account(), 30)
    assert await books.used() == (0, 30)
    await books.ledger.settle(reservation, spent(12))
    assert await books.used() == (12, 0)
    assert await books.rows("SELECT * FROM usage_reservations WHERE tenant_id = :t") == []


async def test_a_call_that_was_never_made_costs_nothing(books):
    await books.budget(100)
    reservation = await books.ledger.reserve(books.account(), 30)
    await books.ledger.settle(reservation)
    assert await books.used() == (0, 0)
    assert await books.entries() == []


@pytest.mark.parametrize("budgeted", [True, False])
async def test_settling_twice_enters_once(books, budgeted):
    if budgeted:
        await books.budget(100)
    reservation = await books.ledger.reserve(books.account(), 30)
    settle = books.ledger.settle
    await asyncio.gather(settle(reservation, spent(12)), settle(reservation, spent(12)))
    await settle(reservation, spent(99))
    assert [entry.cost for entry in await books.entries()] == [12]
    if budgeted:
        assert await books.used() == (12, 0)


@pytest.mark.parametrize("budgeted", [True, False])
async def test_a_call_that_was_given_back_is_not_entered_afterwards(books, budgeted):
    if budgeted:
        await books.budget(100)
    reservation = await books.ledger.reserve(books.account(), 30)
    await books.ledger.settle(reservation)
    await books.ledger.settle(reservation, spent(12))
    assert await books.entries() == []


async def test_what_does_not_fit_is_refused_in_words_that_help(books):
    books.clock.on(2026, 11, 30, 22, 0)
    await books.budget(10_000_000)
    await books.call(9_970_000)
    under_way = await books.ledger.reserve(books.account(), 20_000)
    with pytest.raises(BudgetExhausted) as refused:
        await books.ledger.reserve(books.account(user_id=uuid4()), 20_000)
    error = refused.value
    assert (error.code, error.status, error.retry_after) == ("budget-exhausted", 429, 7200)
    for said in ("0.02 USD", "monthly", "10.00 USD", "9.97 USD", "01 December 2026", "administrator", "organisation"):
        assert said in error.detail
    await books.ledger.settle(under_way)


async def test_exactly_what_is_left_fits(books):
    await books.budget(100)
    await books.call(60)
    reservation = await books.ledger.reserve(books.account(), 40)
    with pytest.raises(BudgetExhausted):
        await books.ledger.reserve(books.account(), 1)
    await books.ledger.settle(reservation, spent(39))
    await books.call(1)
    assert await books.used() == (100, 0)


async def test_what_costs_nothing_is_never_refused_for_money(books):
    await books.budget(10)
    await books.call(10, cost=25)
    with pytest.raises(BudgetExhausted):
        await books.call(1)
    await books.call(0)
    assert await books.used() == (25, 0)


async def test_nothing_negative_is_reserved(books):
    with pytest.raises(ValueError, match="-1"):
        await books.ledger.reserve(books.account(), -1)


async def test_many_at_once_from_two_processes_never_pass_the_limit(books):
    await books.budget(500)
    await books.budget(400, kind="space", subject_id=UUID(int=7))
    processes = [books.process(), books.process()]
    account = books.account(space_id=UUID(int=7))
    admitted = []

    async def task(number: int) -> None:
        ledger = processes[number % 2]
        for _ in range(20):
            with suppress(BudgetExhausted):
                admitted.append((ledger, await ledger.reserve(account, 1)))

    await asyncio.gather(*(task(number) for number in range(32)))
    assert len(admitted) == 400
    assert await books.used() == (0, 400)
    assert await books.used(kind="space", subject_id=UUID(int=7)) == (0, 400)
    await asyncio.gather(*(ledger.settle(one, spent(1)) for ledger, one in admitted))
    assert await books.used() == (400, 0)
    assert len(await books.entries()) == 400


async def test_streams_that_cost_more_than_reserved_overrun_by_at_most_one_call_each(books):
    await books.budget(100)
    streams, largest = 10, 25

    async def stream(number: int) -> int:
        total = 0
        for turn in range(50):
            try:
                reservation = await books.ledger.reserve(books.account(), 5)
            except BudgetExhausted:
                return total
            await asyncio.sleep(0)
            came_to = 1 + (number * 7 + turn * 3) % largest
            await books.ledger.settle(reservation, spent(came_to))
            total += came_to
        return total

    total = sum(await asyncio.gather(*(stream(number) for number in range(streams))))
    assert (total, 0) == await books.used()
    assert 100 - 5 < total <= 100 + streams * largest


async def test_the_figures_are_tokens_times_price_summed_by_hand(books):
    await books.budget(10**12)
    calls = [(1_234, 567, 89), (10, 0, 10), (999_999, 1, 0), (3, 3, 3), (77_777, 12_345, 55_555)]
    for tokens_in, tokens_out, cached in calls:
        tokens = {"input_tokens": tokens_in, "output_tokens": tokens_out, "cached_input_tokens": cached}
        await books.call(10**6, cost(PRICE, **tokens), **tokens)
    by_hand = 0
    for tokens_in, tokens_out, cached in calls:
        exact = (tokens_in - cached) * 2_500_000 + cached * 250_000 + tokens_out * 10_000_000
        by_hand += -(-exact // 1_000_000)
    entries = await books.entries()
    assert sum(entry.cost for entry in entries) == by_hand
    assert await books.used() == (by_hand, 0)
    assert [(e.input_tokens, e.output_tokens, e.cached_input_tokens) for e in entries] == calls


async def test_a_model_without_a_price_does_not_slip_past_a_budget(books):
    await books.budget(1_000_000)
    asked = cost(CEILING, input_tokens=10_000, output_tokens=1_000)
    assert asked > 1_000_000
    with pytest.raises(BudgetExhausted):
        await books.ledger.reserve(books.account(), asked)


async def test_whoever_goes_away_while_waiting_leaves_nothing_reserved(books):
    await books.budget(100)
    await books.call(1)
    asking = asyncio.create_task(books.ledger.reserve(books.account(), 50))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await books.ledger.close()
    assert await books.used() == (1, 0)
    assert await books.rows("SELECT * FROM usage_reservations WHERE tenant_id = :t") == []


async def test_whoever_settles_and_goes_away_is_entered_all_the_same(books):
    await books.budget(100)
    reservation = await books.ledger.reserve(books.account(), 50)
    settling = asyncio.create_task(books.ledger.settle(reservation, spent(7)))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await books.ledger.close()
    assert await books.used() == (7, 0)


async def test_whatever_a_provider_says_the_other_calls_are_entered(books):
    await books.budget(10**15)
    odd = [
        spent(10**30, input_tokens=10**40, output_tokens=-3),
        spent(-5, audio_seconds=nan),
        spent(1, audio_seconds=inf, first_ms=10**12, total_ms=-1),
        spent(1, error="a\x00b\ud800" + "c" * 1_000, model="\x00", provider="é\udfff"),
        spent(2, model="well-behaved"),
    ]
    reservations = [await books.ledger.reserve(books.account(), 10) for _ in odd]
    await asyncio.gather(*(books.ledger.settle(one, call) for one, call in zip(reservations, odd, strict=True)))
    entries = await books.entries()
    assert len(entries) == len(odd)
    assert all(entry.cost >= 0 and entry.output_tokens >= 0 for entry in entries)
    assert entries[-1].model == "well-behaved"
    assert len(entries[3].error) == 300
    assert (await books.used())[1] == 0


async def test_a_new_budget_holds_without_telling_the_other_process(books):
    other = books.process()
    await other.reserve(books.account(), 10)
    await books.budget(5)
    with pytest.raises(BudgetExhausted):
        await books.process().reserve(books.account(), 10)
    async with asyncio.timeout(5):
        while True:
            try:
                await other.reserve(books.account(), 10)
            except BudgetExhausted:
                break
            await asyncio.sleep(0.02)


async def test_calls_that_began_before_there_was_a_budget_count_in_it(books):
    before = await books.ledger.reserve(books.account(), 10)
    await books.budget(100)
    await books.call(1)
    await books.ledger.settle(before, spent(20))
    assert await books.used() == (21, 0)
