"""What signs in to a website: sent to it and to nobody else, sealed, and never shown again."""

from __future__ import annotations

import base64

import pytest
from sqlalchemy import text

from folkmoot.plugins.configuration import MASK
from tests.websites.site import Reply, html

BASIC = {"kind": "basic", "user": "reader", "password": "open sesame ö"}
HEADER = {"kind": "header", "name": "X-Api-Key", "value": "opensesame"}


def guarded(name, value):
    def answer(headers):
        if headers.get(name) != value:
            return Reply(b"who are you", 401)
        return Reply(html("Intranet", "For us alone.", "/a"), headers={"content-type": "text/html"})

    return answer


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (BASIC, "authorization", "Basic " + base64.b64encode("reader:open sesame ö".encode()).decode()),
        (HEADER, "x-api-key", "opensesame"),
    ],
)
async def test_a_guarded_site_is_read_and_its_secret_goes_nowhere_else(site, other_site, crawling, auth, name, value):
    site.pages["/"] = guarded(name, value)
    site.redirect("/a", other_site.url + "/a")
    site.redirect("/robots.txt", other_site.url + "/robots.txt")
    without = await (await crawling(site)).run()
    assert (without.status, without.error["code"]) == ("failed", "unauthorised")
    website = await crawling(site, auth=auth)
    done = await website.run()
    assert done.fates == {"/": "new", "/a": "redirected:off-site"}
    assert site.asked_for("/a")[-1][name] == value
    assert [path for path, _ in other_site.asked] == ["/robots.txt"] * 2
    assert all(name not in headers for _, headers in other_site.asked)


async def test_a_secret_is_masked_sealed_and_in_no_event(site, crawling, superuser):
    website = await crawling(site, auth=HEADER)
    await website.change(auth=BASIC)
    assert (await website.read())["auth"] == {"kind": "basic", "user": "reader", "password": MASK}
    async with superuser.connect() as connection:
        stored = await connection.scalar(text("SELECT auth FROM websites WHERE id = :id"), {"id": website.id})
        told = await connection.scalars(text("SELECT data::text FROM events WHERE object_id = :id"), {"id": website.id})
        assert b"sesame" not in stored
        assert not [data for data in told if "sesame" in data]
    listed = await website.person.get(f"/collections/{website.collection_id}/websites")
    assert "sesame" not in listed.text


async def test_a_masked_secret_stays_and_another_takes_its_place(site, crawling):
    header = {"kind": "header", "name": "X-Api-Key", "value": "opensesame"}
    site.pages["/"] = guarded("x-api-key", "opensesame")
    website = await crawling(site, auth=header)
    await website.change(auth=header | {"value": MASK}, max_pages=5)
    assert (await website.run()).status == "completed"
    await website.change(auth=header | {"value": "other"})
    assert (await website.run()).error["code"] == "unauthorised"
    await website.change(auth=None)
    assert (await website.read())["auth"] is None


async def test_a_stored_secret_does_not_move_to_another_host_unseen(site, other_site, crawling, owner):
    website = await crawling(site, auth=BASIC)
    moved = await owner.patch(f"/websites/{website.id}", json={"url": other_site.url})
    assert (moved.status_code, moved.json()["errors"][0]["path"]) == (400, "auth")
    masked = await owner.patch(
        f"/websites/{website.id}", json={"url": other_site.url, "auth": BASIC | {"password": MASK}}
    )
    assert (masked.status_code, masked.json()["errors"][0]["path"]) == (400, "auth")
    await website.change(url=f"{site.url}/deeper")
    await website.change(url=other_site.url, auth=HEADER)


@pytest.mark.parametrize(
    ("auth", "path"),
    [
        ({"kind": "header", "name": "Host", "value": "x"}, "auth.name"),
        ({"kind": "header", "name": "X Key", "value": "x"}, "auth.name"),
        ({"kind": "header", "name": "X-Key", "value": "x\r\nHost: y"}, "auth.value"),
        ({"kind": "header", "name": "X-Key", "value": "ö"}, "auth.value"),
        ({"kind": "basic", "user": "a:b", "password": "x"}, "auth.user"),
        ({"kind": "basic", "user": "a", "password": MASK}, "auth"),
    ],
)
async def test_what_cannot_be_sent_is_refused(owner, auth, path):
    body = {"url": "https://www.example.org/", "auth": auth}
    answer = await owner.post(f"/collections/{await owner.collection()}/websites", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path)
