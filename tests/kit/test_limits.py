"""Limits hold over all processes, and never stand in the way when Redis is gone."""

import asyncio

import pytest

from folkmoot.kit.errors import TooManyRequests
from folkmoot.kit.limits import Limit, Limits
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
