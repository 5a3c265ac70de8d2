"""Calls at the same time: never more than the limit over all processes, and nobody waits for ever."""

import asyncio
import contextlib
import sys
import time
from uuid import uuid4

import pytest
from folkmoot_sdk import Unavailable

from folkmoot.ai.slots import Busy, Slots
from folkmoot.kit.redis import connect

PATIENT = 30.0
PROGRAM = """
import asyncio, sys
from uuid import UUID
from folkmoot.ai.slots import Slots
from folkmoot.kit.redis import connect

async def main():
    slots = Slots(connect(sys.argv[1]), lease=float(sys.argv[3]))
    async with slots.taken(UUID(sys.argv[2]), 1, 0):
        print("taken", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Gauge:
    """How many are inside."""

    def __init__(self):
        self.now, self.most, self.order = 0, 0, []

    async def call(self, slots, connection_id, limit, wait=PATIENT, name=None, stay=0.0):
        async with slots.taken(connection_id, limit, wait):
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(name)
            try:
                await asyncio.sleep(stay)
            finally:
                self.now -= 1


class Untouchable:
    """A Redis client that must not be needed."""

    def register_script(self, _script):
        async def refuse(**_arguments):
            raise AssertionError("it cost a round trip")

        return refuse


class Counting:
    def __init__(self, redis):
        self._redis, self.calls = redis, 0

    def register_script(self, script):
        run = self._redis.register_script(script)

        async def counted(**arguments):
            self.calls += 1
            return await run(**arguments)

        return counted


@pytest.fixture
async def redis(settings):
    client = connect(settings.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def process(redis):
    """Makes the slots of a process; call it again for another process."""
    made = []

    def make(**more) -> Slots:
        made.append(Slots(redis, **more))
        return made[-1]

    yield make
    for slots in made:
        await slots.close()


@pytest.fixture
def one():
    return uuid4()


async def held(redis, connection_id):
    return await redis.zcard(f"folkmoot:slots:{connection_id}")


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def enter(slots, connection_id, limit):
    """A call that is under way until the event is set."""
    inside, leave = asyncio.Event(), asyncio.Event()

    async def call():
        async with slots.taken(connection_id, limit, PATIENT):
            inside.set()
            await leave.wait()

    task = asyncio.create_task(call())
    await inside.wait()
    return task, leave


async def test_no_limit_costs_nothing(one):
    slots, gauge = Slots(Untouchable()), Gauge()
    await asyncio.gather(*[gauge.call(slots, one, None, wait=0) for _ in range(100)])
    assert gauge.most == 100


async def test_the_limit_holds_over_all_processes_together(process, one):
    processes, gauge = [process() for _ in range(4)], Gauge()
    calls = [gauge.call(each, one, 5, stay=0.002) for each in processes for _ in range(30)]
    async with asyncio.timeout(60):
        await asyncio.gather(*calls)
    assert gauge.most == 5
    assert len(gauge.order) == 120


async def test_who_waits_in_vain_is_told_so_in_words(process, one):
    here, there = process(), process()
    task, leave = await enter(here, one, 1)
    for slots, wait in ((here, 0), (there, 0), (there, 0.05)):
        with pytest.raises(Unavailable, match=r"1 calls? under way at the same time.*raise its limit") as refused:
            async with slots.taken(one, 1, wait):
                raise AssertionError
        assert isinstance(refused.value, Busy)
        assert refused.value.retryable
    leave.set()
    await task
    async with there.taken(one, 1, PATIENT):
        pass


async def test_without_patience_a_free_slot_is_given(process, one):
    slots = process()
    async with slots.taken(one, 2, 0), slots.taken(one, 2, 0):
        pass


async def test_two_connections_do_not_share_slots(process, one):
    slots = process()
    async with slots.taken(one, 1, 0), slots.taken(uuid4(), 1, 0):
        pass


async def test_a_slot_comes_back_however_the_call_ends(process, redis, one):
    slots = process()
    with pytest.raises(ZeroDivisionError):
        async with slots.taken(one, 1, 0):
            raise ZeroDivisionError
    task, _ = await enter(slots, one, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with slots.taken(one, 1, PATIENT):
        pass
    await slots.close()
    assert await held(redis, one) == 0


async def test_who_stops_waiting_takes_no_slot_along(process, redis, one):
    slots = process()
    task, leave = await enter(slots, one, 1)
    waiting = [asyncio.create_task(Gauge().call(slots, one, 1)) for _ in range(5)]

    async def in_line():
        return await redis.zcard(f"folkmoot:slots:{one}:line") == 5

    await until(in_line)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    leave.set()
    await task
    async with slots.taken(one, 1, PATIENT):
        assert await held(redis, one) == 1
    await slots.close()
    assert await redis.zcard(f"folkmoot:slots:{one}:line") == 0


@pytest.mark.parametrize("turns", range(8))
async def test_a_call_cancelled_at_any_moment_keeps_no_slot(process, redis, one, turns):
    slots = process()
    task = asyncio.create_task(Gauge().call(slots, one, 1, stay=60))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with slots.taken(one, 1, PATIENT):
        pass
    await slots.close()
    assert await held(redis, one) == 0


async def test_those_of_one_process_go_in_the_order_in_which_they_came(process, one):
    slots, gauge = process(), Gauge()
    async with asyncio.timeout(60):
        await asyncio.gather(*[gauge.call(slots, one, 1, name=number) for number in range(80)])
    assert gauge.order == list(range(80))


async def test_a_busy_process_does_not_keep_its_slots_from_another(process, redis, one):
    busy, other, gauge = process(), process(), Gauge()
    task, leave = await enter(busy, one, 1)
    many = [asyncio.create_task(gauge.call(busy, one, 1, name="busy", stay=0.001)) for _ in range(100)]

    async def some_wait():
        return await redis.zcard(f"folkmoot:slots:{one}:line") > 0

    await until(some_wait)
    few = [asyncio.create_task(gauge.call(other, one, 1, name="other", stay=0.001)) for _ in range(3)]

    async def others_wait():
        return await redis.zcard(f"folkmoot:slots:{one}:line") > 32

    await until(others_wait)
    leave.set()
    async with asyncio.timeout(60):
        await asyncio.gather(task, *many, *few)
    last = max(place for place, name in enumerate(gauge.order) if name == "other")
    assert last < 60, "it waited until the busy one was through"


async def test_slots_of_a_process_that_was_killed_come_back(process, settings, redis, one):
    dead = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, settings.redis_url, str(one), "1.0", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert await dead.stdout.readline() == b"taken\n"
        slots = process()
        with pytest.raises(Busy):
            async with slots.taken(one, 1, 0):
                raise AssertionError
        dead.kill()
        async with asyncio.timeout(20), slots.taken(one, 1, PATIENT):
            assert await held(redis, one) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            dead.kill()
        await dead.wait()


async def test_the_place_in_the_line_of_a_process_that_was_killed_is_given_up(process, redis, one, monkeypatch):
    monkeypatch.setattr("folkmoot.ai.slots.ABSENT_SECONDS", 0.5)
    name, now = f"folkmoot:slots:{one}", int(time.time() * 1000)
    await redis.zadd(f"{name}:line", {b"lately": 1, b"long ago": 0})
    await redis.zadd(f"{name}:seen", {b"lately": now, b"long ago": now - 600})
    slots = process()
    with pytest.raises(Busy):
        async with slots.taken(one, 1, 0):
            raise AssertionError
    async with slots.taken(one, 2, 0):
        assert await redis.zrange(f"{name}:line", 0, -1) == [b"lately"]
    async with slots.taken(one, 1, PATIENT):
        pass


async def test_a_long_call_keeps_its_slot(process, redis, one):
    slots = process(lease=0.3)
    task, leave = await enter(slots, one, 1)

    async def ends():
        return await redis.zrange(f"folkmoot:slots:{one}", 0, -1, withscores=True)

    [(token, first)] = await ends()

    async def renewed_three_times():
        return [name for name, end in await ends() if end > first + 250] == [token]

    await until(renewed_three_times)
    leave.set()
    await task


async def test_a_call_that_ends_while_it_is_renewed_is_not_counted_on(process, redis, one):
    slots = process(lease=0.03)
    for _ in range(30):
        async with slots.taken(one, 1, PATIENT):
            await asyncio.sleep(0.009)
    await slots.close()

    async def nothing_is_held():
        return await held(redis, one) == 0

    await until(nothing_is_held)


async def test_a_redis_that_lost_everything_is_told_what_is_under_way(process, redis, one):
    slots = process(lease=0.3)
    task, leave = await enter(slots, one, 1)
    await redis.delete(f"folkmoot:slots:{one}")

    async def known_again():
        return await held(redis, one) == 1

    await until(known_again)
    leave.set()
    await task


async def test_a_lower_limit_holds_for_whoever_comes_next(process, one):
    slots = process()
    task, leave = await enter(slots, one, 2)
    with pytest.raises(Busy):
        async with slots.taken(one, 1, 0):
            raise AssertionError
    leave.set()
    await task


async def test_what_comes_together_goes_in_one_round_trip(redis, one):
    counting, gauge = Counting(redis), Gauge()
    slots = Slots(counting)
    await asyncio.gather(*[gauge.call(slots, one, 500) for _ in range(300)])
    await slots.close()
    assert counting.calls < 60


async def test_without_redis_each_process_keeps_to_the_limit_by_itself(one):
    redis = connect("redis://127.0.0.1:1/0")
    slots, gauge = Slots(redis), Gauge()
    try:
        async with asyncio.timeout(30):
            await asyncio.gather(*[gauge.call(slots, one, 3, stay=0.001) for _ in range(20)])
        assert gauge.most == 3
        task, leave = await enter(slots, one, 1)
        with pytest.raises(Busy):
            async with slots.taken(one, 1, 0.01):
                raise AssertionError
        leave.set()
        await task
    finally:
        await slots.close()
        await redis.aclose()


async def test_a_redis_that_does_not_answer_holds_nobody(monkeypatch, one):
    class Silent:
        def register_script(self, _script):
            async def never(**_arguments):
                await asyncio.Event().wait()

            return never

    monkeypatch.setattr("folkmoot.ai.slots.REDIS_SECONDS", 0.02)
    slots, gauge = Slots(Silent()), Gauge()
    async with asyncio.timeout(20):
        await asyncio.gather(*[gauge.call(slots, one, 2) for _ in range(10)])
    assert gauge.most == 2
    await slots.close()


async def test_nothing_is_left_in_redis_for_good(process, redis, one):
    slots = process()
    task, leave = await enter(slots, one, 1)
    waiting = asyncio.create_task(Gauge().call(slots, one, 1))

    async def waits():
        return await redis.zcard(f"folkmoot:slots:{one}:line") == 1

    await until(waits)
    keys = await redis.keys(f"folkmoot:slots:{one}*")
    assert len(keys) == 3
    assert all([await redis.pttl(key) > 0 for key in keys])
    leave.set()
    await asyncio.gather(task, waiting)


async def test_a_process_remembers_only_connections_in_use(process):
    slots = process()
    for _ in range(50):
        async with slots.taken(uuid4(), 1, PATIENT):
            pass
        with contextlib.suppress(Busy):
            await slots.close()
    assert len(slots._gates) <= 2
