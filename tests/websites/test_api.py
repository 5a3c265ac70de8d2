"""Websites from outside: who may see and change them, what is refused, and what is told of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import text

from folkmoot.websites.service import next_crawl
from folkmoot.websites.tasks import find_left_crawls
from tests.websites.site import Reply, started

URL = "https://www.example.org/"


async def test_viewers_see_websites_editors_change_them_and_nobody_else_knows_of_them(tenancy, crawling, site):
    owner = await tenancy.owner()
    viewer, editor, other = [await tenancy.colleague(owner) for _ in range(3)]
    stranger = await tenancy.owner()
    space = await owner.space()
    for person, role in ((viewer, "viewer"), (editor, "editor")):
        await owner.put(f"/spaces/{space}/members/{person.user.id}", json={"role": role})
    collection = await owner.collection(space)
    made = await editor.made(f"/collections/{collection}/websites", url=site.url)
    site.page("/", "Start", "")
    crawl = (await editor.post(f"/websites/{made['id']}/crawl")).json()
    reads = (
        f"/collections/{collection}/websites", f"/websites/{made['id']}", f"/websites/{made['id']}/crawls",
        f"/websites/{made['id']}/pages", f"/crawls/{crawl['id']}", f"/crawls/{crawl['id']}/pages",
    )  # fmt: skip
    for path in reads:
        assert (await viewer.get(path)).status_code == 200, path
        for person in (other, stranger):
            assert (await person.get(path)).status_code == 404, path
    for person, status in ((viewer, 403), (other, 404), (stranger, 404)):
        assert (await person.post(f"/collections/{collection}/websites", json={"url": URL})).status_code == status
        assert (await person.patch(f"/websites/{made['id']}", json={"max_pages": 1})).status_code == status
        assert (await person.post(f"/websites/{made['id']}/crawl")).status_code == status
        assert (await person.post(f"/websites/{made['id']}/cancel")).status_code == status
        assert (await person.delete(f"/websites/{made['id']}")).status_code == status
    assert (await editor.delete(f"/websites/{made['id']}")).status_code == 204
    for path in reads[1:]:
        assert (await owner.get(path)).status_code == 404, path


@pytest.mark.parametrize(
    "url",
    [
        "www.example.org",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "http://user:pw@example.org/",
        "//x/y/z/",
    ],
)
async def test_an_address_that_no_page_can_be_at_is_refused(owner, url):
    answer = await owner.post(f"/collections/{await owner.collection()}/websites", json={"url": url})
    assert answer.status_code == 400
    assert answer.json()["errors"]
    assert "pw@" not in answer.text


async def test_a_website_is_changed_by_who_saw_its_last_state(owner):
    collection = await owner.collection()
    made = await owner.made(f"/collections/{collection}/websites", url="HTTPS://WWW.example.org:443")
    assert (made["url"], made["state"], made["last_crawl"]) == (URL, "new", None)
    tag = (await owner.get(f"/websites/{made['id']}")).headers["etag"]
    path = f"/websites/{made['id']}"
    changed = await owner.patch(path, json={"max_pages": 7, "include": ["/a*"]}, headers={"If-Match": tag})
    assert (changed.json()["max_pages"], changed.json()["include"]) == (7, ["/a*"])
    assert (await owner.patch(path, json={"max_pages": 8}, headers={"If-Match": tag})).status_code == 412
    for wrong in ({"max_pages": 0}, {"schedule": "yearly"}, {"include": ["x" * 300]}, {"kind": "guess"}, {"colour": 1}):
        assert (await owner.patch(path, json=wrong)).status_code == 400, wrong


async def test_the_address_stays_while_a_crawl_is_under_way(owner, site, crawling):
    release = asyncio.Event()

    async def held(writer):
        await release.wait()

    site.pages["/"] = Reply(headers={"content-type": "text/html"}, write=held)
    website = await crawling(site)
    begun = await website.begin()
    answer = await owner.patch(f"/websites/{website.id}", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (409, "crawl-in-progress")
    release.set()
    await website.end(begun["id"])


async def test_the_report_is_paged_and_filtered(site, crawling, owner):
    site.page("/", "Start", "", "/a", "/b", "/missing")
    site.page("/a", "A", "")
    site.page("/b", "B", "")
    website = await crawling(site)
    done = await website.run()
    first = (await owner.get(f"/crawls/{done.id}/pages", params={"limit": 3})).json()
    assert [row["url"] for row in first["items"]] == [site.url + path for path in ("/", "/a", "/b")]
    rest = (await owner.get(f"/crawls/{done.id}/pages", params={"cursor": first["next_cursor"]})).json()
    assert [row["fate"] for row in rest["items"]] == ["not-found"]
    only = (await owner.get(f"/crawls/{done.id}/pages", params={"fate": "new"})).json()
    assert len(only["items"]) == 3
    assert (await owner.get(f"/crawls/{done.id}/pages", params={"fate": "odd"})).status_code == 400
    crawls = (await owner.get(f"/websites/{website.id}/crawls")).json()
    assert [each["id"] for each in crawls["items"]] == [done.id]


async def test_what_happens_to_a_crawl_is_told_to_the_space(site, crawling, superuser):
    site.page("/", "Start", "")
    website = await crawling(site)
    done = await website.run()
    query = "SELECT action, actor_kind, data, space_id FROM events WHERE object_id = :id ORDER BY seq"
    async with superuser.connect() as connection:
        rows = (await connection.execute(text(query), {"id": done.id})).all()
    assert [row.action for row in rows] == ["crawl.queued", "crawl.started", "crawl.completed"]
    assert [row.actor_kind for row in rows] == ["user", "system", "system"]
    assert rows[-1].data["counts"] == {"new": 1}
    assert rows[-1].data["website_id"] == website.id
    assert all(row.space_id for row in rows)


async def test_a_schedule_begins_crawls_by_itself(app, site, crawling, superuser):
    site.page("/", "Start", "")
    website = await crawling(site, schedule="daily")
    due = datetime.fromisoformat((await website.read())["next_crawl_at"])
    assert due <= datetime.now(UTC)
    # The worker's own sweep may have been quicker.
    await find_left_crawls(app, website.person.tenant_id)
    stands = await website.read()
    assert stands["last_crawl"]["cause"] == "schedule"
    assert 86_000 < (datetime.fromisoformat(stands["next_crawl_at"]) - datetime.now(UTC)).total_seconds() <= 86_400
    done = await website.end(stands["last_crawl"]["id"])
    assert done.status == "completed"
    await find_left_crawls(app, website.person.tenant_id)
    assert (await website.read())["last_crawl"]["id"] == done.id
    assert (await website.change(schedule="none"))["next_crawl_at"] is None
    later = datetime.fromisoformat((await website.change(schedule="weekly"))["next_crawl_at"])
    assert (later - datetime.now(UTC)).days in (6, 7)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("none", None),
        ("hourly", "2026-01-31T10:30:00+00:00"),
        ("weekly", "2026-02-07T09:30:00+00:00"),
        ("monthly", "2026-02-28T09:30:00+00:00"),
    ],
)
def test_the_next_crawl_is_one_step_later(schedule, expected):
    found = next_crawl(schedule, datetime(2026, 1, 31, 9, 30, tzinfo=UTC))
    assert (found and found.isoformat()) == expected


async def test_a_look_says_what_a_crawl_would_meet(site, owner, count):
    site.robots(f"User-agent: *\nCrawl-delay: 1\nDisallow: /private\nSitemap: {site.url}/map.xml")
    site.redirect("/", "/home")
    site.page("/home", "Räksmörgås", "")
    site.put("/map.xml", b"<urlset><url><loc>/a</loc></url></urlset>")
    seen = await owner.post("/websites/check", json={"url": site.url})
    assert seen.status_code == 200, seen.text
    assert seen.json() == {
        "ok": True,
        "code": None,
        "message": "",
        "url": f"{site.url}/home",
        "status_code": 200,
        "title": "Räksmörgås",
        "robots": "allowed",
        "crawl_delay": 1.0,
        "sitemaps": [f"{site.url}/map.xml"],
    }
    forbidden = (await owner.post("/websites/check", json={"url": f"{site.url}/private/x"})).json()
    assert (forbidden["ok"], forbidden["code"], forbidden["robots"]) == (False, "robots-forbid", "forbidden")
    missing = (await owner.post("/websites/check", json={"url": f"{site.url}/nowhere"})).json()
    assert (missing["ok"], missing["code"], missing["status_code"]) == (False, "nothing-there", 404)
    assert await count("websites", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_a_look_inside_the_network_is_refused(owner):
    for url in ("http://10.0.0.1/", "http://169.254.169.254/latest/", "http://[::1]:22/"):
        seen = (await owner.post("/websites/check", json={"url": url})).json()
        assert (seen["ok"], seen["code"]) == (False, "address-refused"), url
    async with started() as gone:
        pass
    dead = (await owner.post("/websites/check", json={"url": gone.url})).json()
    assert (dead["ok"], dead["robots"]) == (False, "unreachable")


async def test_what_belongs_to_a_website_goes_with_its_collection(site, crawling, owner, count):
    site.page("/", "Start", "")
    website = await crawling(site)
    await website.run()
    await website.documents()
    assert (await owner.delete(f"/collections/{website.collection_id}")).status_code == 204
    for table in ("websites", "website_pages", "crawls", "crawl_pages"):
        assert await count(table, f"tenant_id = '{owner.tenant_id}'") == 0
    assert (await owner.get(f"/websites/{uuid4()}")).json()["code"] == "not-found"
