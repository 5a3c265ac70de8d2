"""Calls whose process died, and a PostgreSQL that is away for a while."""

from __future__ import annotations

import asyncio
import gc
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import OperationalError

from folkmoot.kit.errors import NotAvailable
from folkmoot.usage import gather, ledger, settle
from folkmoot.usage.gather import Gathering, Remembered
from folkmoot.usage.settle import settle_expired
from tests.keys.conftest import until
from tests.usage.conftest import spent


async def has(said: list, item) -> bool:
    return item in said


async def expire(books) -> int:
    return await books.change("UPDATE usage_reservations SET expires_at = now() - interval '1 s' WHERE tenant_id = :t")


async def test_the_call_of_a_dead_process_is_entered_as_it_was_reserved(books):
    await books.budget(100)
    await books.budget(100, kind="key")
    who = {name: uuid4() for name in ("user_id", "key_id", "space_id", "assistant_id", "message_id")}
    reservation = await books.process().reserve(books.account("title", **who), 30)
    assert await settle_expired(books.app.sessions, books.tenant_id) == 0, "its process may still live"
    await expire(books)
    # The sweep of the worker beside the tests may come first.
    await settle_expired(books.app.sessions, books.tenant_id)
    (entry,) = await books.entries()
    assert (entry.cost, entry.estimated, entry.error, entry.purpose) == (30, True, "interrupted", "title")
    assert {name: getattr(entry, name) for name in who} == who
    assert entry.begun_at == reservation.begun_at
    assert await books.used() == (30, 0)
    assert await books.used(kind="key", subject_id=who["key_id"]) == (30, 0)
    assert await settle_expired(books.app.sessions, books.tenant_id) == 0


async def test_a_process_that_was_taken_for_dead_does_not_enter_its_call_again(books):
    await books.budget(100)
    reservation = await books.ledger.reserve(books.account(), 30)
    await expire(books)
    await settle_expired(books.app.sessions, books.tenant_id)
    await books.ledger.settle(reservation, spent(7), spent(8))
    assert [entry.cost for entry in await books.entries()] == [30]
    assert await books.used() == (30, 0)


async def test_the_sweep_and_the_process_at_the_same_moment_enter_once(books):
    await books.budget(10_000)
    reservations = [await books.ledger.reserve(books.account(), 10) for _ in range(20)]
    await expire(books)
    await asyncio.gather(
        *(books.ledger.settle(one, spent(10)) for one in reservations),
        *(settle_expired(books.app.sessions, books.tenant_id) for _ in range(3)),
    )
    assert len(await books.entries()) == 20
    assert await books.used() == (200, 0)


async def test_a_long_call_is_not_taken_for_dead_while_its_process_lives(books, monkeypatch):
    monkeypatch.setattr(ledger, "RENEW_SECONDS", 0.01)
    await books.budget(100)
    reservation = await books.ledger.reserve(books.account(), 30)
    await books.change("UPDATE usage_reservations SET expires_at = now() + interval '30 s' WHERE tenant_id = :t")
    later = "SELECT id FROM usage_reservations WHERE tenant_id = :t AND expires_at > now() + interval '60 s'"
    await until(lambda: books.rows(later))
    await books.ledger.settle(reservation, spent(3))
    assert await books.used() == (3, 0)


async def test_a_reservation_that_somebody_forgot_to_settle_is_left_to_the_sweep(books, monkeypatch):
    monkeypatch.setattr(ledger, "RENEW_SECONDS", 0.01)
    said = []
    keep_alive = settle.keep_alive

    async def hear(sessions, tenant_id, ids):
        said.extend(ids)
        await keep_alive(sessions, tenant_id, ids)

    monkeypatch.setattr(settle, "keep_alive", hear)
    await books.budget(100)
    held = await books.ledger.reserve(books.account(), 1)
    forgotten = (await books.ledger.reserve(books.account(), 1)).id
    gc.collect()
    await until(lambda: has(said, held.id))
    assert forgotten not in said
    await books.ledger.settle(held)


async def test_closing_writes_what_waits(books):
    reservations = [await books.ledger.reserve(books.account(), 1) for _ in range(5)]
    settling = [asyncio.create_task(books.ledger.settle(one, spent(1))) for one in reservations]
    await asyncio.sleep(0)
    await books.ledger.close()
    await asyncio.gather(*settling)
    assert len(await books.entries()) == 5


@pytest.fixture
def away(monkeypatch):
    """`away()` takes PostgreSQL away from whoever settles; `away(False)` gives it back."""
    state = {"away": False}
    written = settle.settle

    async def settling(*arguments):
        if state["away"]:
            raise OperationalError("SELECT 1", {}, ConnectionRefusedError(), connection_invalidated=True)
        return await written(*arguments)

    monkeypatch.setattr(settle, "settle", settling)
    monkeypatch.setattr(gather, "PAUSE_SECONDS", 0.01)

    def switch(to: bool = True) -> None:
        state["away"] = to

    return switch


async def test_what_could_not_be_written_is_written_once_postgresql_is_back(books, away, monkeypatch):
    monkeypatch.setattr(ledger, "PATIENCE_SECONDS", 0.05)
    reservation = await books.ledger.reserve(books.account(), 1)
    away()
    with pytest.raises(NotAvailable, match="entered once it does"):
        await books.ledger.settle(reservation, spent(4))
    assert await books.entries() == []
    monkeypatch.setattr(ledger, "PATIENCE_SECONDS", 10.0)
    away(False)
    await books.ledger.settle(reservation, spent(4))
    assert [entry.cost for entry in await books.entries()] == [4]


async def test_closing_does_not_wait_for_ever(books, away, monkeypatch):
    monkeypatch.setattr(ledger, "PATIENCE_SECONDS", 0.05)
    away()
    reservation = await books.ledger.reserve(books.account(), 1)
    settling = asyncio.create_task(books.ledger.settle(reservation, spent(4)))
    await asyncio.sleep(0)
    await books.ledger.close()
    with pytest.raises((NotAvailable, OperationalError)):
        await settling


# Gathering


TENANT, OTHER = UUID(int=1), UUID(int=2)


async def test_what_comes_while_one_is_written_goes_together_into_the_next():
    batches = []

    async def write(tenant_id, items):
        batches.append((tenant_id, list(items)))
        await asyncio.sleep(0)
        return [item * 10 for item in items]

    gathering = Gathering(write)
    first = gathering.put(TENANT, 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [gathering.put(TENANT, number) for number in (2, 3, 4)]
    other = gathering.put(OTHER, 5)
    assert await asyncio.gather(first, *rest, other) == [10, 20, 30, 40, 50]
    assert [items for tenant, items in batches if tenant == TENANT] == [[1], [2, 3, 4]]


async def test_one_that_cannot_be_written_does_not_keep_the_others_back():
    async def write(_tenant, items):
        if 3 in items:
            raise ValueError("three")
        return items

    gathering = Gathering(write)
    found = await asyncio.gather(*(gathering.put(TENANT, number) for number in range(5)), return_exceptions=True)
    assert [item for item in found if not isinstance(item, Exception)] == [0, 1, 2, 4]
    assert str(found[3]) == "three"


async def test_a_batch_has_an_end(monkeypatch):
    monkeypatch.setattr(gather, "MOST", 10)
    sizes = []

    async def write(_tenant, items):
        sizes.append(len(items))
        return items

    gathering = Gathering(write)
    assert await asyncio.gather(*(gathering.put(TENANT, number) for number in range(25))) == list(range(25))
    assert sizes == [10, 10, 5]


async def test_an_answer_is_remembered_for_a_moment_and_a_failure_is_not():
    asked = []

    async def ask(key):
        asked.append(key)
        if len(asked) == 1:
            raise ValueError("not yet")
        return len(asked)

    remembered = Remembered(ask, seconds=60, most=2)
    with pytest.raises(ValueError, match="not yet"):
        await remembered.get("a")
    assert await asyncio.gather(remembered.get("a"), remembered.get("a")) == [2, 2]
    remembered.forget("a")
    assert await remembered.get("a") == 3
    assert [await remembered.get(key) for key in "bca"] == [4, 5, 6], "it does not grow without end"
