"""One address of a crawl: asked for once, and then kept, passed over or left for later.

No transaction is open while a server is asked. An unchanged page costs nothing: the server is asked whether it changed
(`ETag`, `Last-Modified`), then its bytes are compared, then its main text. Only what differs in all three is stored and
read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from folkmoot.websites import page as pages
from folkmoot.websites import sitemap
from folkmoot.websites.address import Site, normal
from folkmoot.websites.fetch import Answer, FetchFailed, refused
from folkmoot.websites.frontier import CrawlFailed, Found, Turn, end, known_page, links_of, listed_of, met, put
from folkmoot.websites.keep import keep, same_elsewhere, seen
from folkmoot.websites.kinds import LARGEST_PAGE, PAGES, kind_of
from folkmoot.websites.models import CrawlPage, WebsitePage
from folkmoot.websites.page import Page
from folkmoot.websites.robots import header_wishes
from folkmoot.websites.visit import MOST_HOPS

TRIES = 2
PATIENCE = 3
"""Tries while the server asks for patience."""
RETRY_SECONDS = 3.0
MOST_STRIKES = 8
"""Requests in a row without an answer, after which the site counts as away."""


def is_first(turn: Turn, row: CrawlPage) -> bool:
    """Whether a crawl by links began with this address, or was led on from there: without it there is nothing."""
    return turn.website.kind == "links" and row.depth == 0 and not row.found_on


async def take(turn: Turn, row: CrawlPage, known: WebsitePage | None) -> None:
    """Do what one address asks for. Raises `CrawlFailed`, `Later` and `Gone`."""
    if row.kind == "page" and not turn.rules.allow(row.url):
        if is_first(turn, row):
            raise CrawlFailed("robots.txt asks machines not to read this site", code="robots-forbid")
        await _over(turn, row, "skipped", reason="robots")
        return
    if not turn.paths.allow(row.url):
        # People do not want it any more, so that it did not change is no answer.
        known = None
    headers = _conditions(known) if row.kind == "page" else {}
    try:
        answer = await turn.web.get(row.url, lambda told: _wanted(turn, row, told), headers)
    except FetchFailed as error:
        await _failed(turn, row, known, error)
        return
    try:
        await _answered(turn, row, known, answer)
    except FetchFailed as error:
        await _failed(turn, row, known, error, answer)
    finally:
        answer.close()


def _conditions(known: WebsitePage | None) -> dict[str, str]:
    if known is None or known.document_id is None:
        return {}
    said = {"if-none-match": known.etag, "if-modified-since": known.last_modified}
    return {name: value for name, value in said.items() if value}


def _wanted(turn: Turn, row: CrawlPage, answer: Answer) -> int:
    if answer.status not in (200, 203):
        return 0
    if row.kind == "sitemap":
        return sitemap.LARGEST
    most = turn.website.max_page_bytes
    match kind_of(answer):
        case "page":
            return min(most, LARGEST_PAGE)
        case "file":
            files = turn.website.download_files or is_first(turn, row)
            return min(most, turn.app.settings.max_upload_bytes) if files else 0
        case _:
            return 0


async def _answered(turn: Turn, row: CrawlPage, known: WebsitePage | None, answer: Answer) -> None:
    if answer.location is not None:
        await _redirected(turn, row, known, answer)
    elif answer.status in (404, 410):
        if is_first(turn, row):
            raise CrawlFailed(f"there is nothing at {row.url} ({answer.status})", code="nothing-there")
        fate = "not-found" if answer.status == 404 else "gone"
        await _over(turn, row, fate, answer=answer, shaky=row.kind == "sitemap")
    elif answer.status == 304 and known is not None:
        await _unchanged(turn, row, known, answer)
    elif (failed := refused(answer)) is not None or answer.status == 304:
        odd = FetchFailed("the server says that nothing changed, and was not asked", code="bad-answer")
        await _failed(turn, row, known, failed or odd, answer)
    elif row.kind == "sitemap":
        await _listed(turn, row, answer)
    elif answer.body is None:
        await _over(turn, row, "skipped", reason="type", answer=answer)
    elif answer.size == 0:
        await _over(turn, row, "skipped", reason="empty", answer=answer)
    elif kind_of(answer) == "page":
        await _page(turn, row, known, answer)
    else:
        await _file(turn, row, known, answer)


async def _over(
    turn: Turn,
    row: CrawlPage,
    fate: str,
    *,
    reason: str = "",
    message: str = "",
    target: str = "",
    answer: Answer | None = None,
    lead: Sequence[Found] = (),
    shaky: bool = False,
) -> None:
    """Note an address that no document comes from, and what it leads to."""
    async with turn.writing() as (work, crawl):
        await put(turn, work, crawl, lead)
        ended = await end(work, crawl, row.id, fate, reason=reason, message=message[:1000], target=target)
        crawl.shaky = crawl.shaky or shaky
        if answer is not None:
            crawl.strikes = 0
            crawl.fetched += row.kind == "page"
            crawl.bytes += answer.size
            ended.status_code, ended.media_type, ended.size = answer.status, answer.media_type[:200], answer.size


async def _failed(
    turn: Turn, row: CrawlPage, known: WebsitePage | None, error: FetchFailed, answer: Answer | None = None
) -> None:
    """Leave it for later, or note why not. A page that fails now is still a page, and leads where it led."""
    if error.code == "too-large" and row.kind == "page":
        await _over(turn, row, "skipped", reason="too-large", message=str(error))
        return
    tries = PATIENCE if error.code == "rate-limited" else TRIES
    again = error.passing and row.attempts + 1 < tries
    first = is_first(turn, row)
    if not again and first:
        raise CrawlFailed(str(error), code=error.code)
    lead = links_of(turn, row, known.links) if known is not None and not again else []
    async with turn.writing() as (work, crawl):
        # What the server says, though it is no page, is an answer.
        crawl.strikes = 0 if answer is not None else crawl.strikes + 1
        if crawl.strikes >= MOST_STRIKES:
            raise CrawlFailed(f"the site stopped answering: {error}", code=error.code)
        if again:
            later = await work.session.get_one(CrawlPage, row.id)
            later.attempts += 1
            later.retry_at = datetime.now(UTC) + timedelta(seconds=max(error.wait, RETRY_SECONDS))
            return
        await put(turn, work, crawl, lead)
        ended = await end(work, crawl, row.id, "failed", reason=error.code, message=str(error)[:1000])
        ended.status_code = answer.status if answer is not None else None
        crawl.fetched += row.kind == "page"
        crawl.shaky = crawl.shaky or row.kind == "sitemap"


async def _redirected(turn: Turn, row: CrawlPage, known: WebsitePage | None, answer: Answer) -> None:
    """Put its target among the others, so that it passes every check that they do."""
    target = normal(answer.location or "", row.url)
    first = is_first(turn, row)
    if target is None:
        await _failed(turn, row, known, FetchFailed("it redirects to what is no page", code="bad-answer"), answer)
        return
    home = turn.site.home(target)
    if home is None and first and turn.site.is_kin(Site.of(target)):
        # https for http, or `www.` before it: the site is where its first page leads.
        turn.site, home = Site.of(target), target
    if home is None:
        if first:
            raise CrawlFailed(f"it leads to another site: give {target} as its address", code="leads-elsewhere")
        await _over(turn, row, "redirected", reason="off-site", target=target, answer=answer)
        return
    if row.hops + 1 > MOST_HOPS or await _returns(turn, row, home):
        error = FetchFailed(f"it redirects for ever, next to {home}", code="redirect-loop")
        await _failed(turn, row, known, error, answer)
        return
    on = "" if first else row.url
    async with turn.writing() as (work, crawl):
        crawl.origin = turn.site.origin
        await put(turn, work, crawl, [Found(home, row.depth, kind=row.kind, hops=row.hops + 1, found_on=on)])
        ended = await end(work, crawl, row.id, "redirected", target=home, status_code=answer.status)
        crawl.strikes = 0
        crawl.fetched += ended.kind == "page"


async def _returns(turn: Turn, row: CrawlPage, target: str) -> bool:
    """Whether the redirects from `target` on lead back to this address."""
    async with turn.app.begin(turn.principal) as work:
        for _ in range(MOST_HOPS):
            if target == row.url:
                return True
            after = await met(turn, work, target)
            if after is None or after.fate != "redirected" or not after.target:
                return False
            target = after.target
    return True


async def _listed(turn: Turn, row: CrawlPage, answer: Answer) -> None:
    assert answer.body is not None
    listing = await asyncio.to_thread(sitemap.read, answer.body, row.url)
    if not listing.known:
        raise FetchFailed(f"{row.url} is no sitemap: nothing in it lists pages", code="not-a-sitemap")
    lead = await asyncio.to_thread(lambda: listed_of(turn, row, listing.pages, listing.sitemaps))
    message = "" if listing.whole else "it is broken or larger than is read: what could be read of it counts"
    await _over(turn, row, "read", message=message, answer=answer, lead=lead, shaky=not listing.whole)


async def _unchanged(turn: Turn, row: CrawlPage, known: WebsitePage, answer: Answer) -> None:
    lead = links_of(turn, row, known.links)
    async with turn.writing() as (work, crawl):
        await put(turn, work, crawl, lead)
        stored = await known_page(work.session, known.website_id, known.url_hash)
        if stored is not None:
            seen(stored, answer)
        ended = await end(work, crawl, row.id, "unchanged", status_code=answer.status)
        ended.document_id = stored.document_id if stored is not None else None
        ended.media_type, ended.size = known.media_type, answer.size
        crawl.strikes = 0
        crawl.fetched += 1
        crawl.bytes += answer.size


async def _file(turn: Turn, row: CrawlPage, known: WebsitePage | None, answer: Answer) -> None:
    if not header_wishes(answer).index:
        await _over(turn, row, "skipped", reason="noindex", answer=answer)
    elif known is not None and known.document_id is not None and known.bytes_hash == answer.sha256:
        await _unchanged(turn, row, known, answer)
    elif (other := await same_elsewhere(turn, row, answer.sha256, "")) is not None:
        await _over(turn, row, "skipped", reason="duplicate", target=other, answer=answer)
    else:
        await keep(turn, row, answer, None)


async def _page(turn: Turn, row: CrawlPage, known: WebsitePage | None, answer: Answer) -> None:
    same = known is not None and known.document_id is not None and known.bytes_hash == answer.sha256
    if known is not None and same and header_wishes(answer).index:
        await _unchanged(turn, row, known, answer)
        return
    body = answer.read()
    if answer.media_type not in PAGES and not body.lstrip()[:1].startswith(b"<"):
        await _over(turn, row, "skipped", reason="type", answer=answer)
        return
    found = await asyncio.to_thread(pages.read, body, row.url, answer.charset)
    wishes = found.wishes.and_(header_wishes(answer))
    found.links = found.links if wishes.follow else []
    lead = links_of(turn, row, found.links)
    if not wishes.index:
        await _over(turn, row, "skipped", reason="noindex", answer=answer, lead=lead)
        return
    if not turn.paths.allow(row.url):
        # Only the first page is asked for though people do not want it: to find those that they do.
        await _over(turn, row, "skipped", reason="excluded", answer=answer, lead=lead)
        return
    if (canonical := _canonical(turn, row, found)) is not None:
        lead.insert(0, Found(canonical, row.depth, found_on=row.url))
        await _over(turn, row, "skipped", reason="duplicate", target=canonical, answer=answer, lead=lead)
        return
    if (other := await same_elsewhere(turn, row, answer.sha256, found.text_hash)) is not None:
        await _over(turn, row, "skipped", reason="duplicate", target=other, answer=answer, lead=lead)
        return
    await keep(turn, row, answer, found, lead)


def _canonical(turn: Turn, row: CrawlPage, found: Page) -> str | None:
    """The address by which a page wants to be known, if that is another one that can be believed."""
    if found.canonical is None or row.alone:
        return None
    home = turn.site.home(found.canonical)
    if home is None or home == row.url or not turn.paths.allow(home) or not turn.rules.allow(home):
        return None
    root = home.removeprefix(turn.site.origin) in ("", "/")
    # Templates that name the first page on every page are common, and would hide the whole site.
    inner = row.url.partition("?")[0].removeprefix(turn.site.origin).strip("/")
    return None if root and inner and not inner.startswith("index.") else home


async def put_first(turn: Turn, sitemaps: Sequence[str]) -> None:
    """Begin the list of addresses."""
    website = turn.website
    if website.kind == "links":
        found = [Found(website.url, 0)]
    else:
        found = [Found(home, 0, kind="sitemap") for url in sitemaps if (home := turn.site.home(url)) is not None]
        if not found:
            raise CrawlFailed("its sitemaps are all on another host", code="leads-elsewhere")
    async with turn.writing() as (work, crawl):
        await put(turn, work, crawl, found)
