"""A look at a website before it is added: can it be reached, may it be read, and where are its sitemaps."""

from __future__ import annotations

import asyncio

from folkmoot.kit.app import App
from folkmoot.websites import page, robots, secret, sitemap
from folkmoot.websites.address import Site, suffix
from folkmoot.websites.fetch import Answer, FetchFailed, client, refused
from folkmoot.websites.kinds import LARGEST_PAGE
from folkmoot.websites.polite import Hosts
from folkmoot.websites.robots import Rules, sitemaps_of
from folkmoot.websites.schemas import WebsiteCheck, WebsiteCheckOut
from folkmoot.websites.service import checked
from folkmoot.websites.visit import Later, Visitor

SECONDS = 25.0
LARGEST = 2 * 1024 * 1024
"""Of a sitemap, to know one."""
MOST_SITEMAPS = 3


async def check(app: App, data: WebsiteCheck) -> WebsiteCheckOut:
    """Ask for robots.txt, the page and the sitemaps. Raises `ValidationFailed` for an address that is none."""
    url = checked(data.url)
    if data.auth is not None:
        secret.check(data.auth)
    look = _Look(url)
    try:
        async with asyncio.timeout(SECONDS), client(app) as made:
            visitor = Visitor(made, Hosts(app.redis), SECONDS, secret.headers_of(data.auth, url))
            await look.at(visitor)
    except TimeoutError:
        look.fail(code="too-slow", message=f"{Site.of(url).host} did not answer within {SECONDS:.0f} seconds")
    except Later:
        look.fail(code="busy", message="this host is being asked by others: try again in a moment")
    except FetchFailed as error:
        look.fail(code=error.code, message=str(error))
    return look.out


class _Look:
    """What was seen so far: a time-out must not lose it."""

    def __init__(self, url: str) -> None:
        self._values = {
            "ok": False, "code": None, "message": "", "url": url, "status_code": None, "title": "",
            "robots": "unknown", "crawl_delay": 0.0, "sitemaps": list[str](),
        }  # fmt: skip

    @property
    def out(self) -> WebsiteCheckOut:
        return WebsiteCheckOut(**self._values)  # pyright: ignore[reportArgumentType]

    def fail(self, *, code: str, message: str) -> None:
        # What was found out before still holds.
        if not self._values["ok"]:
            self._values |= {"code": code, "message": message}

    async def at(self, visitor: Visitor) -> None:
        values, url = self._values, str(self._values["url"])
        try:
            rules = await robots.read(visitor, Site.of(url))
        except FetchFailed as error:
            if error.code == "robots-unreachable":
                values["robots"] = "unreachable"
            raise
        values["crawl_delay"] = rules.pause
        values["robots"] = "allowed" if rules.allow(url) else "forbidden"
        if not rules.allow(url):
            raise FetchFailed("robots.txt asks machines not to read this address", code="robots-forbid")
        await self._first_page(visitor, url)
        # A preview need not wait as long as a crawl between requests that are three at most.
        visitor.pause = min(visitor.pause, 1.0)
        await self._sitemaps(visitor, rules)

    async def _first_page(self, visitor: Visitor, url: str) -> None:
        answer = await visitor.follow(url, _page_wanted)
        try:
            self._values |= {"url": answer.url, "status_code": answer.status}
            if answer.status in (404, 410):
                raise FetchFailed(f"there is nothing at {answer.url} ({answer.status})", code="nothing-there")
            if (failed := refused(answer)) is not None:
                raise failed
            if suffix(url) not in sitemap.SUFFIXES and not Site.of(url).is_kin(Site.of(answer.url)):
                raise FetchFailed(f"it leads to another site: use {answer.url}", code="leads-elsewhere")
            self._values |= {"ok": True, "code": None, "message": ""}
            if answer.body is not None and "html" in answer.media_type:
                found = await asyncio.to_thread(page.read, answer.read(), answer.url, answer.charset)
                self._values["title"] = found.title
        finally:
            answer.close()

    async def _sitemaps(self, visitor: Visitor, rules: Rules) -> None:
        found: list[str] = []
        self._values["sitemaps"] = found
        for address in sitemaps_of(str(self._values["url"]), rules)[:MOST_SITEMAPS]:
            try:
                answer = await visitor.follow(address, _wanted)
            except FetchFailed as error:
                # One that is larger than a look takes is there.
                if error.code == "too-large":
                    found.append(address)
                continue
            try:
                if answer.body is not None and (await asyncio.to_thread(sitemap.read, answer.body, address)).known:
                    found.append(address)
            finally:
                answer.close()


def _wanted(answer: Answer) -> int:
    return LARGEST if answer.status == 200 else 0


def _page_wanted(answer: Answer) -> int:
    return LARGEST_PAGE if answer.status == 200 and "html" in answer.media_type else 0
