"""A connection that keeps failing is left alone, by all processes, and tried again by one."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from folkmoot_sdk import (
    AuthenticationFailed,
    BadResponse,
    ContentRefused,
    InvalidRequest,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)

from folkmoot.ai.breaker import Breaker, Rules
from folkmoot.ai.slots import Busy
from folkmoot.kit.redis import connect

STEADY = Rules(cool=60.0, longest=600.0, remembered=0.0)
"""Nothing passes by itself while a test runs, and nothing is remembered."""


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


class Slow(Counting):
    """A Redis client that never answers."""

    def register_script(self, _script):
        async def never(**_arguments):
            self.calls += 1
            await asyncio.Event().wait()

        return never


@pytest.fixture
async def redis(settings):
    client = connect(settings.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def one():
    return uuid4()


async def fail(breaker, connection_id, times=5, error=None):
    for _ in range(times):
        await breaker.failed(connection_id, error or Unavailable("down"))


async def state(breaker, connection_id):
    return (await breaker.describe([connection_id]))[connection_id].state


async def pass_time(redis, connection_id):
    """As if the circuit had been shut, or its probe under way, for as long as it may."""
    key = f"folkmoot:breaker:{connection_id}"
    for name in ("until", "probe_until"):
        if await redis.hexists(key, name):
            await redis.hset(key, name, "1")


async def half_open(redis, connection_id, *breakers):
    """A circuit that waits for its probe; the breakers of some processes."""
    breakers = breakers or (Breaker(redis, STEADY), Breaker(redis, STEADY))
    await fail(breakers[0], connection_id)
    await pass_time(redis, connection_id)
    assert await state(breakers[0], connection_id) == "half-open"
    return breakers


def never_connected(client_said):
    """As providers raise it: without the client's error, which stays its context."""
    try:
        try:
            raise client_said
        except httpx.HTTPError:
            raise Unavailable("does not take the connection") from None
    except Unavailable as error:
        return error


@pytest.mark.parametrize("error", [Unavailable("down"), BadResponse("cut off"), TimeoutError()])
async def test_five_failures_open_it_for_every_process(redis, one, error):
    here, there = Breaker(redis, STEADY), Breaker(redis, STEADY)
    await fail(here, one, 4, error)
    assert await here.allow(one)
    await here.failed(one, error)
    assert not await here.allow(one)
    assert not await there.allow(one)
    assert await there.allow(uuid4())


async def test_failures_of_several_processes_count_together(redis, one):
    for _ in range(5):
        assert await Breaker(redis, STEADY).allow(one)
        await Breaker(redis, STEADY).failed(one, Unavailable("down"))
    assert not await Breaker(redis, STEADY).allow(one)


async def test_a_success_between_starts_the_count_anew(redis, one):
    breaker = Breaker(redis, STEADY)
    for _ in range(4):
        await fail(breaker, one, 4)
        await breaker.succeeded(one)
    assert await breaker.allow(one)


async def test_failures_long_ago_do_not_count(redis, one):
    breaker = Breaker(redis, Rules(within=0.02, remembered=0.0))
    for _ in range(6):
        await fail(breaker, one, 2)
        await asyncio.sleep(0.03)
    assert await breaker.allow(one)


@pytest.mark.parametrize("said", [httpx.ConnectError("refused"), httpx.ConnectTimeout("silent")])
async def test_three_calls_in_a_row_without_a_connection_are_enough(redis, one, said):
    breaker = Breaker(redis, STEADY)
    await fail(breaker, one, 2, never_connected(said))
    assert await breaker.allow(one)
    await fail(breaker, one, 1, never_connected(said))
    assert not await breaker.allow(one)


async def test_three_in_all_are_not_enough_if_some_had_a_connection(redis, one):
    breaker, refused = Breaker(redis, STEADY), never_connected(httpx.ConnectError("refused"))
    for error in (refused, refused, Unavailable("cut"), refused):
        await breaker.failed(one, error)
    assert await breaker.allow(one)


@pytest.mark.parametrize(
    "error", [InvalidRequest("no"), ContentRefused("no"), RateLimited("slowly"), RateLimited("soon", 1.5), Busy()]
)
async def test_what_says_nothing_of_the_providers_health_does_not_count(redis, one, error):
    breaker = Breaker(redis, STEADY)
    await fail(breaker, one, 20, error)
    assert await state(breaker, one) == "closed"
    assert await breaker.allow(one)


async def test_a_long_retry_after_is_kept_to_and_then_all_may_call_again(redis, one):
    breaker = Breaker(redis, STEADY)
    await breaker.failed(one, RateLimited("later", 2.5))
    assert await state(breaker, one) == "resting"
    assert not await breaker.allow(one)
    await pass_time(redis, one)
    assert await state(breaker, one) == "closed"
    assert all([await breaker.allow(one) for _ in range(5)])


async def test_a_rest_ends_by_itself(redis, one):
    breaker = Breaker(redis, Rules(patience=0.01))
    await breaker.failed(one, RateLimited("later", 0.05))
    async with asyncio.timeout(10):
        while not await breaker.allow(one):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_provider_cannot_send_us_away_for_a_year(redis, one):
    breaker = Breaker(redis, STEADY)
    await breaker.failed(one, RateLimited("next year", 3e7))
    health = (await breaker.describe([one]))[one]
    assert (health.until - health.since).total_seconds() == pytest.approx(300, abs=1)
    for nonsense in (float("nan"), float("inf"), -5.0):
        await breaker.failed(other := uuid4(), RateLimited("when?", nonsense))
        assert await breaker.allow(other)


@pytest.mark.parametrize("error", [AuthenticationFailed("wrong key"), QuotaExhausted("empty")])
async def test_an_account_that_is_refused_rests_and_comes_back(redis, one, error):
    breaker = Breaker(redis, STEADY)
    await breaker.failed(one, error)
    health = (await breaker.describe([one]))[one]
    assert (health.state, health.error) == ("resting", error.code)
    assert (health.until - health.since).total_seconds() == pytest.approx(30, abs=1)
    assert not await breaker.allow(one)
    await pass_time(redis, one)
    assert await breaker.allow(one)


async def test_a_success_of_a_call_that_began_before_does_not_end_a_rest(redis, one):
    breaker = Breaker(redis, STEADY)
    await breaker.failed(one, RateLimited("later", 20))
    await breaker.succeeded(one)
    assert not await breaker.allow(one)


async def test_a_success_shows_that_the_account_is_accepted_again(redis, one):
    here, there = Breaker(redis, STEADY), Breaker(redis, STEADY)
    await here.failed(one, QuotaExhausted("empty"))
    assert not await there.allow(one)
    await here.succeeded(one)
    assert await there.allow(one)


async def test_why_a_connection_is_left_alone_is_known(redis, one):
    breaker = Breaker(redis, STEADY)
    assert breaker.why_not(one) == (0.0, "")
    await breaker.failed(one, RateLimited("later", 20))
    assert not await breaker.allow(one)
    seconds, code = breaker.why_not(one)
    assert 15 < seconds <= 20
    assert code == "provider-rate-limited"


async def test_one_call_over_all_processes_finds_out_whether_it_works_again(redis, one):
    processes = await half_open(redis, one, *[Breaker(redis, STEADY) for _ in range(4)])
    allowed = await asyncio.gather(*[process.allow(one) for process in processes for _ in range(8)])
    assert allowed.count(True) == 1


async def test_its_success_closes_the_circuit_for_all(redis, one):
    here, there = await half_open(redis, one)
    assert await here.allow(one)
    assert not await there.allow(one)
    await here.succeeded(one)
    assert await there.allow(one)
    await fail(here, one, 4)
    assert await there.allow(one), "the failures before it opened are forgotten"


async def test_its_failure_opens_it_for_twice_as_long_up_to_a_most(redis, one):
    (breaker,) = await half_open(redis, one, Breaker(redis, STEADY))
    opened = (await breaker.describe([one]))[one].since
    for seconds in (120, 240, 480, 600, 600):
        assert await breaker.allow(one)
        await breaker.failed(one, Unavailable("still down"))
        health = (await breaker.describe([one]))[one]
        assert (health.state, health.since) == ("open", opened)
        assert seconds * 0.75 < (health.until - datetime.now(UTC)).total_seconds() < seconds * 1.25
        assert not await breaker.allow(one)
        await pass_time(redis, one)
    assert await breaker.allow(one)
    await breaker.succeeded(one)
    await fail(breaker, one)
    health = (await breaker.describe([one]))[one]
    assert (health.until - health.since).total_seconds() < 60 * 1.25, "a new trouble starts with the shortest"


async def test_it_opens_and_closes_by_the_clock(redis, one):
    breaker = Breaker(redis, Rules(cool=0.05))
    await fail(breaker, one)
    assert not await breaker.allow(one)
    async with asyncio.timeout(10):
        while not await breaker.allow(one):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await breaker.succeeded(one)
    assert all([await breaker.allow(one) for _ in range(5)])


async def test_what_the_provider_refuses_for_good_reasons_closes_it_too(redis, one):
    here, there = await half_open(redis, one)
    assert await here.allow(one)
    await here.failed(one, InvalidRequest("no such parameter"))
    assert await state(there, one) == "closed"


async def test_a_provider_that_answers_that_it_rests_is_not_down(redis, one):
    here, there = await half_open(redis, one)
    assert await here.allow(one)
    await here.failed(one, RateLimited("later", 20))
    assert await state(there, one) == "resting"
    await pass_time(redis, one)
    assert all([await there.allow(one) for _ in range(5)])


async def test_a_late_failure_of_another_call_does_not_decide_for_the_probe(redis, one):
    here, there = await half_open(redis, one)
    assert await here.allow(one)
    await there.failed(one, Unavailable("began long ago"))
    assert await state(here, one) == "half-open"
    await here.succeeded(one)
    assert await there.allow(one)


async def test_a_probe_that_never_tells_does_not_shut_it_for_ever(redis, one):
    here, there = await half_open(redis, one)
    assert await here.allow(one)
    assert not await there.allow(one)
    await pass_time(redis, one)
    assert await there.allow(one)
    assert not await here.allow(one)


@pytest.mark.parametrize("end", ["stopped", "busy", "defect"])
async def test_a_probe_that_tells_nothing_leaves_its_place_to_the_next(redis, one, end):
    here, there = await half_open(redis, one)
    assert await here.allow(one)
    assert not await there.allow(one)
    if end == "stopped":
        await here.let_go(one)
    else:
        await here.failed(one, Busy() if end == "busy" else ValueError("a defect of the plugin"))
    assert await there.allow(one)


async def test_failures_of_calls_that_began_before_do_not_prolong_it(redis, one):
    breaker = Breaker(redis, STEADY)
    await fail(breaker, one)
    before = (await breaker.describe([one]))[one]
    await fail(breaker, one, 5)
    assert (await breaker.describe([one]))[one].until == before.until


async def test_while_all_is_well_a_call_costs_no_round_trip(redis, one):
    counting = Counting(redis)
    breaker = Breaker(counting, Rules(remembered=60.0))
    for _ in range(200):
        assert await breaker.allow(one)
        await breaker.succeeded(one)
        await breaker.let_go(one)
    assert counting.calls == 1


async def test_many_who_ask_at_once_ask_once(redis, one):
    counting = Counting(redis)
    breaker = Breaker(counting, Rules(remembered=60.0))
    assert all(await asyncio.gather(*[breaker.allow(one) for _ in range(50)]))
    assert counting.calls == 1


async def test_who_asks_for_others_may_go_away(redis, one):
    breaker = Breaker(redis, Rules())
    first = asyncio.create_task(breaker.allow(one))
    second = asyncio.create_task(breaker.allow(one))
    await asyncio.sleep(0)
    first.cancel()
    assert await second


async def test_a_process_that_remembers_learns_of_an_opening_soon(redis, one):
    here, there = Breaker(redis), Breaker(redis)
    assert await there.allow(one)
    await fail(here, one)
    async with asyncio.timeout(2):
        while await there.allow(one):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_an_open_circuit_is_known_without_asking(redis, one):
    counting = Counting(redis)
    breaker = Breaker(counting, Rules(cool=60.0, remembered=60.0))
    await fail(breaker, one)
    calls = counting.calls
    assert not any([await breaker.allow(one) for _ in range(100)])
    assert counting.calls == calls


async def test_a_connection_that_was_changed_starts_anew(redis, one):
    here, there = Breaker(redis, STEADY), Breaker(redis, STEADY)
    await here.failed(one, AuthenticationFailed("wrong key"))
    assert not await there.allow(one)
    await here.forget(one)
    assert await here.allow(one)
    assert await there.allow(one)
    assert (await here.describe([one]))[one].error == ""


async def test_administrators_see_state_times_and_the_last_error(redis, one):
    breaker, calm = Breaker(redis, STEADY), uuid4()
    await fail(breaker, one, 5, BadResponse("half an answer"))
    seen = await breaker.describe([one, calm])
    assert list(seen) == [one, calm]
    assert (seen[one].state, seen[one].error) == ("open", "provider-bad-response")
    assert 60 * 0.75 < (seen[one].until - seen[one].since).total_seconds() < 60 * 1.25
    assert (seen[calm].state, seen[calm].since, seen[calm].until, seen[calm].error) == ("closed", None, None, "")
    assert await breaker.describe([]) == {}


async def test_a_circuit_that_closed_still_tells_its_last_error(redis, one):
    breaker = Breaker(redis, STEADY)
    await breaker.failed(one, Unavailable("once"))
    health = (await breaker.describe([one]))[one]
    assert (health.state, health.error) == ("closed", "provider-unavailable")


async def test_nothing_is_left_in_redis_for_good(redis, one):
    breaker = Breaker(redis, STEADY)
    await fail(breaker, one)
    await breaker.failed(other := uuid4(), Unavailable("once"))
    for connection_id in (one, other):
        keys = await redis.keys(f"folkmoot:breaker:{connection_id}*")
        assert keys
        assert all([await redis.pttl(key) > 0 for key in keys])


async def test_without_redis_all_calls_are_allowed(one):
    redis = connect("redis://127.0.0.1:1/0")
    breaker = Breaker(redis)
    try:
        await fail(breaker, one, 10)
        assert all([await breaker.allow(one) for _ in range(10)])
        await breaker.succeeded(one)
        await breaker.forget(one)
        assert (await breaker.describe([one]))[one].state == "closed"
    finally:
        await redis.aclose()


async def test_a_redis_that_does_not_answer_is_waited_for_once(monkeypatch, redis, one):
    monkeypatch.setattr("folkmoot.ai.breaker.REDIS_SECONDS", 0.05)
    monkeypatch.setattr("folkmoot.ai.breaker.DEAF_SECONDS", 60.0)
    slow = Slow(redis)
    breaker = Breaker(slow, STEADY)
    assert all([await breaker.allow(one) for _ in range(10)])
    await fail(breaker, one)
    assert await breaker.allow(one)
    assert slow.calls == 1
