"""Crawling a site again: what did not change costs nothing, and what vanished is believed gone after two crawls."""

from __future__ import annotations

from tests.websites.site import Reply, html, until


async def test_an_unchanged_page_is_neither_sent_nor_read_again(site, crawling, count):
    when = "Mon, 02 Mar 2026 09:00:00 GMT"

    def tagged(headers):
        if headers.get("if-none-match") == '"1"' and headers.get("if-modified-since") == when:
            return Reply(status=304, headers={"etag": '"1"'})
        told = {"content-type": "text/html", "etag": '"1"', "last-modified": when}
        return Reply(html("Start", "Welcome.", "/same-bytes", "/same-text"), headers=told)

    def noisy(headers):
        return Reply(
            html("Menu", "Soup on Monday.", head=f"<script>token = {len(site.asked)}</script>"),
            headers={"content-type": "text/html"},
        )

    site.pages["/"] = tagged
    site.page("/same-bytes", "Same", "")
    site.pages["/same-text"] = noisy
    website = await crawling(site)
    assert set((await website.run()).fates.values()) == {"new"}
    before = await website.documents()
    assert before["/"]["modified_at"].startswith("2026-03-02T09:00:00")
    again = await website.run()
    assert again.fates == {"/": "unchanged", "/same-bytes": "unchanged", "/same-text": "unchanged"}
    assert again.rows["/"]["status_code"] == 304
    assert await website.documents() == before
    ids = ", ".join(f"'{item['id']}'" for item in before.values())
    assert await count("events", f"action = 'document.queued' AND object_id IN ({ids})") == 3
    assert again.rows["/"]["document_id"] == before["/"]["id"]


async def test_a_page_that_changed_stays_the_same_document(site, crawling):
    site.page("/", "Start", "", "/price")
    site.page("/price", "Price", "It costs ten.")
    website = await crawling(site)
    await website.run()
    before = (await website.documents())["/price"]
    site.page("/price", "Price", "It costs twelve.")
    done = await website.run()
    assert done.fates == {"/": "unchanged", "/price": "changed"}
    after = (await website.documents())["/price"]
    assert after["id"] == before["id"]
    assert "twelve" in await website.text(after["id"])
    page = (await website.pages())["/price"]
    assert page["changed_at"] > (await website.pages())["/"]["changed_at"]


async def test_a_page_that_vanished_is_removed_after_two_complete_crawls(site, crawling, count):
    site.page("/", "Start", "", "/a", "/b", "/c")
    for name in "abc":
        site.page(f"/{name}", name, "")
    website = await crawling(site)
    await website.run()
    site.page("/", "Start", "", "/a", "/b")
    del site.pages["/b"]
    first = await website.run()
    assert (first.complete, first.fates["/b"]) == (True, "not-found")
    assert "/c" not in first.fates
    assert set(await website.documents()) == {"/", "/a", "/b", "/c"}
    assert {path: row["missing"] for path, row in (await website.pages()).items()} == {
        "/": 0,
        "/a": 0,
        "/b": 1,
        "/c": 1,
    }
    await website.run()

    async def removed():
        return set(await website.documents()) == {"/", "/a"}

    # What the end of a crawl says goes first, then what is gone: documents in one step, their files after it.
    await until(removed)
    pages = await website.pages()
    assert pages["/b"]["gone_at"]
    assert pages["/c"]["document_id"] is None
    assert await count("chunks", f"collection_id = '{website.collection_id}'") == 2

    async def files_removed():
        return await count("files", f"tenant_id = '{website.person.tenant_id}'") == 2

    await until(files_removed)
    site.page("/", "Start", "", "/a", "/c")
    back = await website.run()
    assert back.fates["/c"] == "new"
    assert (await website.pages())["/c"]["gone_at"] is None


async def test_a_page_that_comes_back_was_never_gone(site, crawling):
    site.page("/", "Start", "", "/a")
    site.page("/a", "A", "")
    website = await crawling(site)
    await website.run()
    kept = site.pages.pop("/a")
    await website.run()
    site.pages["/a"] = kept
    assert (await website.run()).fates["/a"] == "unchanged"
    del site.pages["/a"]
    await website.run()
    assert set(await website.documents()) == {"/", "/a"}


async def test_a_crawl_that_did_not_see_all_never_costs_a_document(site, crawling):
    site.page("/", "Start", "", "/a", "/b", "/c")
    for name in "abc":
        site.page(f"/{name}", name, "")
    website = await crawling(site)
    await website.run()
    for name in "bc":
        del site.pages[f"/{name}"]
    await website.change(max_pages=2)
    for _ in range(3):
        done = await website.run()
        assert (done.complete, done.reached) == (False, "pages")
    await website.change(max_pages=100)
    site.put("/a", b"broken", 500)
    for _ in range(3):
        done = await website.run()
        assert (done.complete, done.fates["/a"]) == (False, "failed:server-error")
    site.put("/", b"broken", 502)
    for _ in range(3):
        assert (await website.run()).error["code"] == "server-error"
    assert set(await website.documents()) == {"/", "/a", "/b", "/c"}
    assert {row["missing"] for row in (await website.pages()).values()} == {0}


async def test_a_page_that_fails_still_leads_where_it_led(site, crawling):
    site.page("/", "Start", "", *(f"/{number}" for number in range(12)), "/hub")
    for number in range(12):
        site.page(f"/{number}", f"Page {number}", "")
    site.page("/hub", "Hub", "", "/spoke")
    site.page("/spoke", "Spoke", "")
    website = await crawling(site)
    await website.run()
    site.put("/hub", b"broken", 500)
    for _ in range(3):
        done = await website.run()
        assert done.complete
        assert (done.fates["/hub"], done.fates["/spoke"]) == ("failed:server-error", "unchanged")
    assert {"/hub", "/spoke"} <= set(await website.documents())


async def test_a_document_that_somebody_deleted_is_read_again(site, crawling, owner):
    site.page("/", "Start", "", etag='"1"')
    website = await crawling(site)
    await website.run()
    (document,) = (await website.documents()).values()
    assert (await owner.delete(f"/documents/{document['id']}")).status_code == 204
    done = await website.run()
    assert done.fates == {"/": "new"}
    assert "if-none-match" not in site.asked_for("/")[-1]
    assert (await website.documents())["/"]["id"] != document["id"]


async def test_deleting_a_website_takes_its_documents_with_it_and_no_others(site, crawling, owner, count):
    site.page("/", "Start", "", "/a")
    site.page("/a", "A", "")
    website = await crawling(site)
    await owner.knows(website.collection_id, ("own.txt", b"This was uploaded."))
    await website.run()
    await website.documents()
    assert (await owner.delete(f"/websites/{website.id}")).status_code == 204
    assert (await owner.get(f"/websites/{website.id}")).status_code == 404

    async def removed():
        return not await count("websites", f"id = '{website.id}'")

    await until(removed)
    left = await website.every(f"/collections/{website.collection_id}/documents")
    assert [item["name"] for item in left] == ["own.txt"]
    assert await count("files", f"tenant_id = '{owner.tenant_id}'") == 1
