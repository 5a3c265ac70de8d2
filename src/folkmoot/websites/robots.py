"""What a site lets machines read: robots.txt (RFC 9309), and what single pages say in their head or headers.

protego reads robots.txt, as it does for Scrapy, with which it is kept: it knows wildcards, the longest match and
`Crawl-delay`, and takes linear time. The standard library's reader knows no wildcards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from protego import Protego

from folkmoot.websites.address import Site, normal, suffix
from folkmoot.websites.fetch import AGENT, Answer, FetchFailed
from folkmoot.websites.polite import LONGEST_PAUSE, PAUSE_SECONDS
from folkmoot.websites.sitemap import SUFFIXES
from folkmoot.websites.visit import Visitor

LARGEST = 512 * 1024
"""RFC 9309 (2.5) asks for 500 KiB at least."""
_SETTINGS = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


@dataclass
class Rules:
    """What one robots.txt says to us."""

    text: str = ""
    """As it was read; empty if there is none, which allows everything."""
    _parsed: Protego = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._parsed = Protego.parse(self.text)

    def allow(self, url: str) -> bool:
        return self._parsed.can_fetch(url, AGENT)

    @property
    def pause(self) -> float:
        """Seconds between two requests, thirty at most."""
        return min(LONGEST_PAUSE, max(PAUSE_SECONDS, self._parsed.crawl_delay(AGENT) or 0.0))

    def sitemaps(self, base: str) -> list[str]:
        found = (normal(address, base) for address in self._parsed.sitemaps)
        return [address for address in dict.fromkeys(found) if address is not None]


def sitemaps_of(url: str, rules: Rules) -> list[str]:
    """Where to look for the sitemaps of a site: the address itself if it is one, what robots.txt names, or the root."""
    if suffix(url) in SUFFIXES:
        return [url]
    return rules.sitemaps(url) or [f"{Site.of(url).origin}/sitemap.xml"]


async def read(visitor: Visitor, site: Site) -> Rules:
    """The rules of a site. Raises `FetchFailed` (`robots-unreachable`) where the server fails: it may forbid all."""
    url = f"{site.origin}/robots.txt"
    try:
        answer = await visitor.follow(url, _wanted)
    except FetchFailed as error:
        if error.code == "too-large":
            # Its beginning would be what counts; nobody has so many rules who means them.
            raise FetchFailed(f"{url} is larger than {LARGEST} bytes", code="robots-unreachable") from None
        if error.code in ("tls-failed", "address-refused"):
            raise
        raise FetchFailed(
            f"robots.txt, which says what may be read, cannot be had: {error}",
            code="robots-unreachable",
            passing=error.passing,
            wait=error.wait,
        ) from None
    try:
        if answer.status >= 500 or answer.status == 429:
            raise FetchFailed(
                f"robots.txt, which says what may be read, cannot be had: the server failed ({answer.status})",
                code="robots-unreachable",
                passing=True,
            )
        return Rules(answer.read().decode("utf-8-sig", "replace").replace("\x00", ""))
    finally:
        answer.close()


def _wanted(answer: Answer) -> int:
    return LARGEST if answer.status == 200 else 0


@dataclass(frozen=True)
class Wishes:
    """What a page asks of machines."""

    index: bool = True
    follow: bool = True

    def and_(self, other: Wishes) -> Wishes:
        return Wishes(self.index and other.index, self.follow and other.follow)


def wishes(words: Iterable[str]) -> Wishes:
    """Of the words of `<meta name="robots">`."""
    said = {word.strip().lower() for word in words}
    return Wishes("noindex" not in said and "none" not in said, "nofollow" not in said and "none" not in said)


def header_wishes(answer: Answer) -> Wishes:
    """Of the headers `X-Robots-Tag`; what is said to another machine by name is not for us."""
    words: list[str] = []
    for value in answer.headers.get_list("x-robots-tag"):
        ours = True
        for part in value.split(","):
            name, colon, word = part.partition(":")
            if colon and name.strip().lower() not in _SETTINGS:
                ours = name.strip().lower() == AGENT
            if ours:
                words.append(word if colon else part)
    return wishes(words)
