"""A crawl goes on whatever happens to the worker, waits its turn, and can be ended."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from folkmoot.kit.jobs import Jobs
from folkmoot.websites import crawl as crawling_module
from folkmoot.websites import tasks
from folkmoot.websites.crawl import crawl
from folkmoot.websites.tasks import find_left_crawls
from tests.websites.site import until


def many(site, count):
    site.page("/", "Start", "", *(f"/{number}" for number in range(count)))
    for number in range(count):
        site.page(f"/{number}", f"Page {number}", "")


@pytest.fixture
def by_hand(monkeypatch):
    """Nothing is sent to the worker of the tests: a test does each turn itself."""

    async def nothing(self, task, payload, **_more):
        if task.name != "websites.crawl":
            await send(self, task, payload, **_more)

    send = Jobs.send
    monkeypatch.setattr(Jobs, "send", nothing)


@pytest.fixture
def alter(superuser):
    async def run(statement, **values):
        async with superuser.begin() as connection:
            await connection.execute(text(statement), values)

    return run


async def test_a_crawl_takes_many_turns_and_asks_for_nothing_twice(site, crawling, monkeypatch):
    monkeypatch.setattr(crawling_module, "TURN_PAGES", 3)
    many(site, 10)
    done = await (await crawling(site)).run()
    assert done.counts["new"] == 11
    assert len(site.paths) == len(set(site.paths)) == 11
    assert [path for path, _ in site.asked].count("/robots.txt") == 1


async def test_a_crawl_whose_worker_died_goes_on_where_it_was(app, site, crawling, by_hand, alter, monkeypatch):
    monkeypatch.setattr(crawling_module, "TURN_PAGES", 4)
    many(site, 8)
    website = await crawling(site)
    begun = await website.begin()
    tenant = website.person.tenant_id
    assert await crawl(app, tenant, begun["id"]) == 0
    # As a worker leaves it that was killed: the lease is held, and runs out.
    await alter("UPDATE crawls SET lease_until = now() + interval '9 seconds' WHERE id = :id", id=begun["id"])
    assert await crawl(app, tenant, begun["id"]) is None
    assert len(site.paths) == 4
    await alter(
        "UPDATE crawls SET lease_until = now() - interval '1 second', resume_at = NULL WHERE id = :id", id=begun["id"]
    )
    sent = []

    async def noted(_self, task, payload, **_more):
        sent.append(str(payload["crawl_id"]))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Jobs, "send", noted)
        await find_left_crawls(app, tenant)
    assert sent == [begun["id"]]
    while await crawl(app, tenant, begun["id"]) is not None:
        pass
    done = await website.end(begun["id"])
    assert (done.status, done.complete, done.counts["new"]) == ("completed", True, 9)
    assert len(site.paths) == len(set(site.paths)) == 9


async def test_a_page_that_kills_its_workers_is_given_up(app, site, crawling, by_hand, alter):
    many(site, 2)
    website = await crawling(site)
    begun = await website.begin()
    real, deaths = crawling_module.take, []

    class Killed(BaseException):
        pass

    async def killing(turn, row, known):
        if row.url.endswith("/0"):
            deaths.append(row.url)
            raise Killed
        await real(turn, row, known)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(crawling_module, "take", killing)
        while len(deaths) < 3:
            try:
                assert await crawl(app, website.person.tenant_id, begun["id"]) is None
                break
            except Killed:
                await alter(
                    "UPDATE crawls SET lease_until = now() - interval '1 second' WHERE id = :id", id=begun["id"]
                )
        await crawl(app, website.person.tenant_id, begun["id"])
    done = await website.end(begun["id"])
    assert done.fates == {"/": "new", "/0": "failed:reading-interrupted", "/1": "new"}


async def test_a_turn_that_was_lost_writes_nothing_more(app, site, crawling, by_hand, alter):
    many(site, 3)
    website = await crawling(site)
    begun = await website.begin()
    real = crawling_module.take

    async def overtaken(turn, row, known):
        await alter("UPDATE crawls SET turns = turns + 1 WHERE id = :id", id=begun["id"])
        await real(turn, row, known)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(crawling_module, "take", overtaken)
        assert await crawl(app, website.person.tenant_id, begun["id"]) is None
    assert (await website.crawl(begun["id"]))["counts"]["new"] == 0
    # What had been stored of the page is not left behind.
    assert await website.every(f"/collections/{website.collection_id}/documents") == []


async def test_a_crawl_that_is_cancelled_stops_and_keeps_what_it_read(site, crawling, monkeypatch, owner):
    monkeypatch.setattr(crawling_module, "TURN_PAGES", 2)
    monkeypatch.setattr("folkmoot.websites.robots.PAUSE_SECONDS", 0.1)
    many(site, 100)
    website = await crawling(site)
    begun = await website.begin()

    async def going():
        return (await website.crawl(begun["id"]))["counts"]["new"] >= 2

    await until(going)
    assert (await owner.post(f"/websites/{website.id}/crawl")).json()["id"] == begun["id"]
    answer = await owner.post(f"/websites/{website.id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert (await website.read())["state"] == "cancelled"
    assert len(await website.documents()) >= 2
    assert (await owner.post(f"/websites/{website.id}/cancel")).json()["code"] == "no-crawl"
    asked = len(site.asked)
    done = await website.end(begun["id"])
    assert not done.complete
    # The one that was under way may still have come; no more.
    assert len(site.asked) <= asked + 1


async def test_an_organisation_has_a_few_crawls_at_once_and_the_others_wait(app, site, crawling, by_hand, tenancy):
    many(site, 2)
    owner, stranger = await tenancy.owner(), await tenancy.owner()
    websites = [await crawling(site, by=owner) for _ in range(crawling_module.AT_ONCE + 1)]
    begun = [(await website.begin())["id"] for website in websites]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(crawling_module, "TURN_PAGES", 1)
        for crawl_id in begun:
            await crawl(app, owner.tenant_id, crawl_id)
    states = [(await websites[0].crawl(crawl_id))["status"] for crawl_id in begun]
    assert states == ["running"] * crawling_module.AT_ONCE + ["queued"]
    # Whoever is somebody else does not wait for them.
    other = await crawling(site, by=stranger)
    other_id = (await other.begin())["id"]
    while await crawl(app, stranger.tenant_id, other_id) is not None:
        pass
    assert (await other.end(other_id)).status == "completed"


async def test_the_next_begins_when_one_has_ended(site, crawling, tenancy, monkeypatch):
    monkeypatch.setattr(crawling_module, "AT_ONCE", 1)
    monkeypatch.setattr(tasks, "AT_ONCE", 1)
    many(site, 2)
    owner = await tenancy.owner()
    websites = [await crawling(site, by=owner) for _ in range(3)]
    begun = [(await website.begin())["id"] for website in websites]
    done = [await website.end(crawl_id) for website, crawl_id in zip(websites, begun, strict=True)]
    assert [each.status for each in done] == ["completed"] * 3
    assert done[0].ended_at <= done[1].started_at
    assert done[1].ended_at <= done[2].started_at


async def test_a_quota_that_is_used_up_ends_the_crawl_and_says_so(site, crawling, owner, alter):
    many(site, 5)
    website = await crawling(site)
    await alter("UPDATE tenants SET max_storage_bytes = 700 WHERE id = :id", id=owner.tenant_id)
    done = await website.run()
    assert (done.status, done.error["code"], done.complete) == ("failed", "quota-storage", False)
    assert len(await website.documents()) >= 1
