"""Crawling by sitemap, in every form that sites have it, and in those that they should not."""

from __future__ import annotations

import gzip
import io

import pytest

from folkmoot.websites import sitemap

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def urlset(*addresses):
    rows = "".join(f"<url><loc>{address}</loc><lastmod>2026-03-02</lastmod></url>" for address in addresses)
    return f"{HEAD}<urlset {SPACE}>{rows}</urlset>".encode()


def index(*addresses):
    rows = "".join(f"<sitemap><loc>{address}</loc></sitemap>" for address in addresses)
    return f"{HEAD}<sitemapindex {SPACE}>{rows}</sitemapindex>".encode()


def read(body):
    return sitemap.read(io.BytesIO(body), "http://site.example/sitemap.xml")


async def test_what_the_sitemap_lists_is_read_and_links_are_not_followed(site, crawling):
    site.put("/sitemap.xml", urlset(f"{site.url}/a", f"{site.url}/a#x", f"{site.url}/b", "http://other.example/c"))
    site.page("/a", "A", "", "/not-listed", "/rules.txt")
    site.page("/b", "B", "")
    website = await crawling(site, kind="sitemap")
    done = await website.run()
    assert (done.status, done.complete, done.counts["new"]) == ("completed", True, 2)
    assert done.fates == {
        "/sitemap.xml": "read",
        "/a": "new",
        "/b": "new",
        "http://other.example/c": "skipped:off-site",
    }
    site.put("/rules.txt", b"A fence may be 1.2 metres high.", content_type="text/plain")
    await website.change(download_files=True)
    assert (await website.run()).fates["/rules.txt"] == "new"


async def test_sitemaps_are_found_by_robots_txt_nested_packed_and_of_themselves(site, crawling):
    site.robots(f"User-agent: *\nDisallow: /hidden\nSitemap: {site.url}/maps/index.xml")
    nested = (f"{site.url}/maps/index.xml", f"{site.url}/maps/1.xml.gz", f"{site.url}/maps/feed", f"{site.url}/maps/no")
    site.put("/maps/index.xml", index(*nested))
    site.put("/maps/1.xml.gz", gzip.compress(urlset(f"{site.url}/a", f"{site.url}/hidden")))
    feed = f"<rss version='2.0'><channel><link>{site.url}/</link><item><link>{site.url}/b</link></item></channel></rss>"
    site.put("/maps/feed", feed.encode(), content_type="application/rss+xml")
    site.page("/a", "A", "")
    site.page("/b", "B", "")
    done = await (await crawling(site, kind="sitemap")).run()
    assert done.fates == {
        "/maps/index.xml": "read",
        "/maps/1.xml.gz": "read",
        "/maps/feed": "read",
        "/maps/no": "not-found",
        "/a": "new",
        "/b": "new",
        "/hidden": "skipped:robots",
    }
    # One of its sitemaps was not to be had, so what is not listed may be there all the same.
    assert not done.complete


async def test_the_address_of_a_sitemap_itself_may_be_given(site, crawling):
    site.put("/pages.txt", f"{site.url}/a\r\n{site.url}/b\n".encode(), content_type="text/plain")
    site.page("/a", "A", "")
    site.page("/b", "B", "")
    done = await (await crawling(site, "/pages.txt", kind="sitemap")).run()
    assert done.fates == {"/pages.txt": "read", "/a": "new", "/b": "new"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"<html><body>Not found, but nicely</body></html>", 200, "not-a-sitemap"),
        (urlset(), 200, "empty-sitemap"),
        (b"", 404, "nothing-there"),
        (b"", 500, "server-error"),
        (urlset("http://other.example/a"), 200, "leads-elsewhere"),
    ],
)
async def test_a_sitemap_that_leads_nowhere_fails_the_crawl_and_says_why(site, crawling, body, status, code):
    site.put("/sitemap.xml", body, status)
    website = await crawling(site, kind="sitemap")
    done = await website.run()
    assert (done.status, done.error["code"], done.complete) == ("failed", code, False)
    assert done.error["message"]


async def test_a_broken_sitemap_gives_what_it_has_and_says_nothing_of_what_it_has_not(site, crawling):
    site.put("/sitemap.xml", urlset(f"{site.url}/a", f"{site.url}/b"))
    site.page("/a", "A", "")
    site.page("/b", "B", "")
    website = await crawling(site, kind="sitemap")
    await website.run()
    site.put("/sitemap.xml", urlset(f"{site.url}/a", f"{site.url}/b")[:150])
    for _ in range(3):
        done = await website.run()
        assert not done.complete
        assert "broken" in done.rows["/sitemap.xml"]["message"]
    assert set(await website.documents()) == {"/a", "/b"}


def test_a_huge_sitemap_is_read_as_a_stream_up_to_its_limit():
    body = urlset(*(f"http://site.example/{number}" for number in range(60_000)))
    listing = read(gzip.compress(body))
    assert (len(listing.pages), listing.whole) == (sitemap.MOST_ADDRESSES, False)


def test_a_sitemap_that_unpacks_without_end_is_cut():
    listing = read(gzip.compress(urlset("http://site.example/a")[:-9] + b" " * (sitemap.LARGEST + 10)))
    assert list(listing.pages) == ["http://site.example/a"]
    assert not listing.whole


def test_an_address_with_a_bare_ampersand_loses_no_other():
    listing = read(urlset("http://site.example/?a=1&b=2", "http://site.example/c"))
    assert "http://site.example/c" in listing.pages
    assert not listing.whole


def test_feeds_and_other_namespaces_list_pages_too():
    atom = (
        "<feed xmlns='http://www.w3.org/2005/Atom'><link href='/'/><entry><link rel='self' href='/no'/>"
        "<link href='/a'/></entry></feed>"
    )
    assert list(read(atom.encode()).pages) == ["http://site.example/a"]
    image = f"<urlset {SPACE} xmlns:i='urn:i'><url><loc>/a</loc><i:image><i:loc>/a.png</i:loc></i:image></url></urlset>"
    assert list(read(image.encode()).pages) == ["http://site.example/a"]
    wide = urlset("/å").decode().replace("UTF-8", "UTF-16").encode("utf-16")
    assert list(read(wide).pages) == ["http://site.example/%C3%A5"]
