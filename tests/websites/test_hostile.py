"""Servers that mean harm, or are broken: each gives a clear fate to its page, and all else goes on."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from folkmoot.websites import fetch, page, sitemap
from folkmoot.websites.fetch import Answer
from tests.kit import test_net
from tests.websites.site import Reply, Site, html, started

certificate = test_net.certificate
HTML = {"content-type": "text/html"}


async def drip(writer):
    """One byte, again and again, until the client has had enough."""
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(writer):
    while not writer.is_closing():
        writer.write(b"<p>endless</p>" * 4_000)
        await writer.drain()


async def test_a_page_that_redirects_for_ever_fails_and_all_else_goes_on(site, crawling):
    site.page("/", "Start", "", "/ever/0", "/self", "/ping", "/last")
    for number in range(40):
        site.redirect(f"/ever/{number}", f"/ever/{number + 1}")
    site.redirect("/self", "/self")
    site.redirect("/ping", "/pong")
    site.redirect("/pong", "/ping")
    site.page("/last", "Last", "")
    done = await (await crawling(site)).run()
    assert done.status == "completed"
    assert done.fates["/last"] == "new"
    assert done.fates["/self"] == "failed:redirect-loop"
    assert (done.fates["/ping"], done.fates["/pong"]) == ("redirected", "failed:redirect-loop")
    assert done.fates["/ever/10"] == "failed:redirect-loop"
    assert "/ever/11" not in done.fates


async def test_slow_endless_packed_and_broken_answers_fail_each_by_its_name(site, crawling, monkeypatch):
    monkeypatch.setattr(fetch, "REQUEST_SECONDS", 0.6)
    names = ("drip", "flood", "bomb", "cut", "odd", "headers", "nothing", "good")
    site.page("/", "Start", "", *(f"/{name}" for name in names))
    site.pages["/drip"] = Reply(headers=HTML, write=drip)
    site.pages["/flood"] = Reply(headers=HTML, write=flood)
    packed = HTML | {"content-encoding": "gzip"}
    site.pages["/bomb"] = Reply(gzip.compress(b"<p>0</p>" * 8_000_000), headers=packed)
    site.pages["/cut"] = Reply(gzip.compress(html("Cut", "x" * 5_000))[:-20], headers=packed)
    site.pages["/odd"] = Reply(b"....", headers=HTML | {"content-encoding": "zstd"})
    site.pages["/headers"] = Reply(b"", headers=HTML | {"x-long": "x" * 300_000})
    site.pages["/nothing"] = Reply(b"", headers=HTML)
    site.page("/good", "Good", "")
    done = await (await crawling(site, max_page_bytes=200_000)).run()
    assert done.status == "completed"
    assert not done.complete
    assert done.fates == {
        "/": "new",
        "/drip": "failed:too-slow",
        "/flood": "skipped:too-large",
        "/bomb": "skipped:too-large",
        "/cut": "failed:bad-answer",
        "/odd": "failed:bad-answer",
        "/headers": "failed:bad-answer",
        "/nothing": "skipped:empty",
        "/good": "new",
    }


async def test_a_redirect_into_the_network_is_not_followed(site, crawling, changed, owner):
    site.redirect("/", "http://169.254.169.254/latest/meta-data/")
    done = await (await crawling(site)).run()
    assert (done.status, done.error["code"]) == ("failed", "leads-elsewhere")
    inside = await crawling(Elsewhere("http://10.255.255.1"))
    done = await inside.run()
    assert (done.status, done.error["code"]) == ("failed", "address-refused")


class Elsewhere(Site):
    def __init__(self, url):
        super().__init__()
        self._url = url

    @property
    def url(self):
        return self._url


async def test_rules_of_a_site_that_lead_into_the_network_are_refused(site, crawling):
    site.redirect("/robots.txt", "http://10.0.0.1/robots.txt")
    site.page("/", "Start", "")
    done = await (await crawling(site)).run()
    assert (done.status, done.error["code"]) == ("failed", "address-refused")


async def test_a_certificate_that_does_not_hold_is_told(certificate, crawling):
    site = Site()
    context, _ = certificate
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    done = await (await crawling(Elsewhere(f"https://127.0.0.1:{port}"))).run()
    server.close()
    assert (done.status, done.error["code"]) == ("failed", "tls-failed")
    assert "certificate" in done.error["message"]
    assert site.asked == []


async def test_a_site_that_is_away_ends_the_crawl_soon(site, crawling):
    site.page("/", "Start", "", *(f"/{number}" for number in range(30)))

    async def hang_up(writer):
        writer.transport.abort()

    for number in range(30):
        site.pages[f"/{number}"] = Reply(headers=HTML | {"content-length": "100"}, write=hang_up)
    done = await (await crawling(site)).run()
    assert (done.status, done.error["code"]) == ("failed", "bad-answer")
    assert len(site.paths) < 15


async def test_a_dead_host_is_told_within_seconds(crawling):
    async with started() as gone:
        pass
    done = await (await crawling(gone)).run()
    assert (done.status, done.error["code"]) == ("failed", "robots-unreachable")
    assert "cannot be reached" in done.error["message"]


async def test_cookies_are_not_kept(site, crawling):
    site.page("/", "Start", "", "/a", set_cookie="session=1; Path=/")
    site.page("/a", "A", "")
    await (await crawling(site)).run()
    assert [headers.get("cookie") for _, headers in site.asked] == [None, None, None]
    assert site.asked[0][1]["user-agent"].startswith("folkmoot")


@pytest.mark.parametrize(
    "body",
    [
        b"<div>" * 300_000,
        b"<a href='" + b"/x" * 500_000 + b"'>",
        b"<a " + b"b=c " * 200_000 + b">",
        b"<title>" * 100_000,
        b"\x00\xff\xfe" * 100_000,
        b"<meta name=robots content='" + b"noindex," * 100_000 + b"'>",
        b'<meta http-equiv=refresh content="0;' + b" " * 200_000 + b'">',
        b"<base href='http://[::1'><a href='http://[x]/'>x</a>",
        b"&" * 500_000,
        b"<!--" * 300_000,
    ],
    ids=["deep", "long link", "attributes", "titles", "bytes", "meta", "refresh", "base", "ampersands", "comments"],
)
def test_any_bytes_are_read_as_a_page_in_linear_time(body):
    found = page.read(body, "http://site.example/", "")
    assert len(found.links) <= page.MOST_LINKS
    assert len(found.title) <= page.LONGEST_TITLE


@pytest.mark.parametrize("name", ["zip", "base64", "hex", "rot13", "bz2", "idna", "undefined", "nonsense", "utf-7\x00"])
def test_a_charset_that_is_no_encoding_of_text_is_not_believed(name):
    body = html("Ålder", "räksmörgås")
    assert page.read(body, "http://site.example/", name).title == "Ålder"
    assert b"r\xc3\xa4ksm" in page.as_stored(body, name)


def test_an_xml_bomb_is_no_sitemap(tmp_path):
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><urlset><url><loc>&l8;</loc></url></urlset>'
    path = tmp_path / "bomb.xml"
    path.write_text(bomb)
    with path.open("rb") as file:
        assert not sitemap.read(file, "http://site.example/").known


def test_what_signs_in_shows_in_no_representation():
    secret = fetch.Secret(fetch.Site.of("https://site.example/"), {"x-key": "opensesame"})
    assert "opensesame" not in repr(secret)
    assert secret.for_url("https://site.example/a") == {"x-key": "opensesame"}
    for elsewhere in (
        "http://site.example/a",
        "https://site.example:8443/a",
        "https://site.example.org/",
        "https://b/",
    ):
        assert secret.for_url(elsewhere) == {}


def test_the_wait_that_a_server_asks_for_has_an_end():
    def answer(value):
        return Answer("http://a/", 429, fetch.httpx.Headers({"retry-after": value}))

    assert fetch.retry_after(answer("7").headers) == 7
    assert fetch.retry_after(answer("99999999999999999999").headers) == 3_600
    assert fetch.retry_after(answer("Mon, 02 Mar 2020 09:00:00 GMT").headers) == 0
    assert fetch.retry_after(answer("soon").headers) == 10
