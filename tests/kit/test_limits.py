"""Limits hold over all processes, and never stand in the way when Redis is gone."""

import asyncio

import pytest

from folkmoot.kit.errors import TooManyRequests
from folkmoot.kit.limits import SCRIPT, Limit, Limits
from folkmoot.kit.redis import connect


class Counting:
    """A Redis client that counts the calls of scripts."""

    def __init__(self, redis):
        self._redis, self.calls = redis, 0

    def register_script(self, script):
        run = self._redis.register_script(script)

        async def counted(**arguments):
            self.calls += 1
            return await run(**arguments)

        return counted


async def passed(limits, limit, tries):
    count = 0
    for _ in range(tries):
        try:
            await limits.take(limit)
            count += 1
        except TooManyRequests:
            pass
    return count


async def test_who_has_used_up_a_limit_is_told_when_to_come_back(app, unique):
    limits, limit = Limits(app.redis), Limit("user", f"user:{unique}", 3)
    assert await passed(limits, limit, 3) == 3
    with pytest.raises(TooManyRequests) as refused:
        await limits.take(limit)
    assert 0 < refused.value.retry_after <= 20
    assert refused.value.policy == ("user", 3, 60)
    assert "3 requests in 60 seconds" in refused.value.detail


async def test_a_limit_holds_over_several_processes(app, unique):
    limit = Limit("user", f"user:{unique}", 200, 3600)
    processes = [Limits(app.redis) for _ in range(4)]
    counts = await asyncio.gather(*[passed(process, limit, 200) for process in processes])
    assert sum(counts) <= 201
    assert sum(counts) >= 180


async def test_a_large_limit_costs_few_round_trips(app, unique):
    redis = Counting(app.redis)
    limits, limit = Limits(redis), Limit("user", f"user:{unique}", 10_000)
    assert await passed(limits, limit, 1_000) == 1_000
    assert redis.calls <= 1_000 / 200 + 2


async def test_a_bucket_fills_again(app, unique):
    limits, limit = Limits(app.redis), Limit("user", f"user:{unique}", 2, 1)
    assert await passed(limits, limit, 2) == 2
    async with asyncio.timeout(10):
        while not await passed(limits, limit, 1):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_two_names_do_not_share_a_limit(app, unique):
    limits = Limits(app.redis)
    assert await passed(limits, Limit("user", f"{unique}:a", 1), 2) == 1
    assert await passed(limits, Limit("user", f"{unique}:b", 1), 2) == 1


async def test_no_limit_is_no_limit(app, unique):
    assert await passed(Limits(app.redis), Limit("user", unique, 0), 50) == 50


async def test_nobody_is_refused_when_redis_does_not_answer(unique):
    redis = connect("redis://127.0.0.1:1/0")
    try:
        assert await passed(Limits(redis), Limit("user", unique, 1), 5) == 5
    finally:
        await redis.aclose()


async def test_many_at_once_use_up_no_more_than_they_are(app, unique):
    redis = Counting(app.redis)
    limits, limit = Limits(redis), Limit("user", f"user:{unique}", 2_000, 3600)
    counts = await asyncio.gather(*[passed(limits, limit, 100) for _ in range(16)])
    assert sum(counts) == 1_600
    assert redis.calls <= 1_600 / 40 + 1


async def test_who_comes_now_and_then_is_charged_for_what_they_use(app, unique):
    processes, limit = [Limits(app.redis) for _ in range(2)], Limit("user", f"user:{unique}", 1_000, 3600)
    for _ in range(100):
        for limits in processes:
            await limits.take(limit)
            for allowance in limits._allowed.values():
                allowance.until = 0


async def test_what_another_limit_refuses_is_not_lost(app, unique):
    limits, shut = Limits(app.redis), Limit("key", f"key:{unique}", 1, 3600)
    large = Limit("tenant", f"tenant:{unique}", 1_000, 3600)
    await limits.take(shut)
    for _ in range(100):
        with pytest.raises(TooManyRequests):
            await limits.take(shut, large)
        limits._allowed.pop(shut.name)
    assert await passed(limits, large, 800) == 800


async def test_a_request_that_goes_away_leaves_nobody_waiting(app, unique):
    class Slow:
        def register_script(self, _script):
            async def never(**_arguments):
                await asyncio.Event().wait()

            return never

    limits, limit = Limits(Slow()), Limit("user", f"user:{unique}", 10_000)
    first, second = (asyncio.create_task(limits.take(limit)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    limits._script = app.redis.register_script(SCRIPT)
    first.cancel()
    await asyncio.wait_for(second, 10)
