"""Whoever is read does not suffer from it: one request at a time, with pauses, and as long as they ask for."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

from folkmoot.websites import robots, visit
from folkmoot.websites.polite import Hosts, Visit
from folkmoot.websites.robots import Rules
from tests.websites.site import Reply, until


async def test_one_host_is_asked_one_thing_at_a_time_by_all_together(site, tenancy, crawling):
    async def slow(writer):
        await asyncio.sleep(0.03)

    site.page("/", "Start", "", *(f"/{number}" for number in range(4)))
    for number in range(4):
        site.pages[f"/{number}"] = Reply(headers={"content-type": "text/html"}, write=slow)
    websites = [await crawling(site, by=await tenancy.owner()) for _ in range(3)]
    ended = await asyncio.gather(*(website.run() for website in websites))
    assert [done.status for done in ended] == ["completed"] * 3
    assert site.most_at_once == 1


async def test_there_is_a_pause_between_two_requests(site, crawling, monkeypatch):
    monkeypatch.setattr(robots, "PAUSE_SECONDS", 0.2)
    moments = []

    def noted(_headers):
        # By the clock of the wall, as Redis keeps the pause: the two clocks of a machine that was stopped differ.
        moments.append(time.time())
        return Reply(b"<title>x</title>", headers={"content-type": "text/html"})

    site.page("/", "Start", "", "/1", "/2", "/3")
    for number in (1, 2, 3):
        site.pages[f"/{number}"] = noted
    await (await crawling(site)).run()
    assert min(after - before for before, after in pairwise(moments)) >= 0.19, moments


async def test_a_server_that_asks_for_patience_gets_it(site, crawling):
    moments = []

    def busy(_headers):
        moments.append(time.monotonic())
        if len(moments) == 1:
            return Reply(b"slow down", 429, {"retry-after": "1"})
        return Reply(b"<title>Busy</title><p>Here.", headers={"content-type": "text/html"})

    site.page("/", "Start", "", "/busy", "/other")
    site.pages["/busy"] = busy
    site.page("/other", "Other", "")
    done = await (await crawling(site)).run()
    assert done.fates == {"/": "new", "/busy": "new", "/other": "new"}
    # Nothing else is asked of it meanwhile either.
    assert site.paths in (["/", "/busy", "/other", "/busy"], ["/", "/busy", "/busy", "/other"])
    assert moments[1] - moments[0] >= 0.99


async def test_a_host_that_is_busy_for_long_does_not_hold_up_the_worker(app, site, crawling, monkeypatch):
    site.page("/", "Start", "", "/a")
    site.put("/a", b"later", 503, retry_after="3600")
    website = await crawling(site)
    begun = await website.begin()

    async def turned():
        return "/a" in site.paths and (await website.crawl(begun["id"]))["seconds"]

    await until(turned)
    stands = await website.crawl(begun["id"])
    assert stands["status"] == "running"
    # Its turn is over; another crawl has the slot.
    assert stands["seconds"] < visit.REQUEST_SECONDS
    assert isinstance(await Hosts(app.redis).ask(site.url, 1), float)
    await website.person.post(f"/websites/{website.id}/cancel")


async def test_a_host_is_free_again_when_who_had_it_died(app):
    hosts, url = Hosts(app.redis), "http://somewhere.example/"
    first = await hosts.ask(url, 0.1)
    assert isinstance(first, Visit)
    assert await hosts.ask("https://somewhere.example/x", 1) > 0

    async def taken():
        found = await hosts.ask(url, 5)
        return found if isinstance(found, Visit) else None

    second = await until(taken)
    # The dead one's late farewell takes nothing from the living.
    await hosts.leave(first, 0)
    assert not isinstance(await hosts.ask(url, 5), Visit)
    await hosts.leave(second, 0)


def test_crawl_delay_is_kept_up_to_half_a_minute():
    assert Rules("User-agent: *\nCrawl-delay: 7").pause == 7
    assert Rules("User-agent: folkmoot\nCrawl-delay: 2.5\n\nUser-agent: *\nCrawl-delay: 9").pause == 2.5
    assert Rules("User-agent: *\nCrawl-delay: 86400").pause == 30


def test_rules_of_any_length_are_answered_in_no_time():
    rules = Rules("User-agent: *\n" + "".join(f"Disallow: /{'*a' * 20}{number}\n" for number in range(15_000)))
    assert rules.allow("http://site.example/" + "a" * 1_900)
