"""Addresses of pages: one spelling for each, which of them lie on the site, and which are traps.

The rules are those of browsers (WHATWG URL) as far as httpx follows them, since httpx is what puts an address on the
wire: IDNA for hosts, percent-encoding of UTF-8, no dot segments. On top of it come what RFC 3986 (6.2.2) calls equal,
and parameters that only say where a visitor came from. courlan and w3lib were looked at: the one keeps dot segments
and drops empty ones, the other sorts parameters, and a server may mind either.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote, urljoin

import httpx

LONGEST = 2_000
MOST_SEGMENTS = 30
MOST_REPEATS = 3
"""How often one segment may come in a path: `/a/b/a/b/a/b/a/` is a link that lost its slash."""
_PORTS = {"http": 80, "https": 443}
_TRACKING = re.compile(
    r"(?:utm_\w+|mtm_\w+|pk_(?:campaign|kwd|source|medium|content)|fbclid|gclid|dclid|gbraid|wbraid|msclkid|yclid|twclid"
    r"|igshid|mc_cid|mc_eid|_ga|_gl|_hsenc|_hsmi|vero_id|phpsessid|jsessionid|aspsessionid\w*)",
    re.IGNORECASE,
)
_SESSION = re.compile(r";jsessionid=[^/?#;]*", re.IGNORECASE)
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})?")
_DOTS = re.compile(r"/\.{1,2}(?:/|$)")
_HOST = re.compile(r"[a-z0-9._:-]{1,253}")
_SPACE = "".join(chr(code) for code in range(0x21))
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normal(href: str, base: str = "") -> str | None:
    """The one spelling of an address, read as a browser would from the page `base`; None if no page can be there.

    Without fragment, user and password, default port and tracking parameters: `HTTP://Exämple.org:80/a/../%7eb?
    utm_source=x#c` is `http://xn--exmple-cua.org/~b`.
    """
    href = re.sub(r"[\t\r\n]", "", href.strip(_SPACE))
    if len(href) > 4 * LONGEST:
        return None
    path, mark, rest = href.partition("?")
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", path) or path[:5].lower() in ("http:", "https"):
        path = path.replace("\\", "/")
    try:
        joined = urljoin(base, path + mark + rest) if base else path + mark + rest
        scheme, colon, behind = joined.partition(":")
        scheme = scheme.lower()
        if not colon or scheme not in _PORTS:
            return None
        url = httpx.URL(f"{scheme}:{behind}")
        host = url.raw_host.decode().rstrip(".")
        if not _HOST.fullmatch(host) or url.port == 0:
            return None
        port = None if url.port == _PORTS[scheme] else url.port
        target = url.raw_path.decode("ascii").partition("?")
    except (ValueError, httpx.InvalidURL, UnicodeError):
        return None
    shown = f"[{host}]" if ":" in host else host
    query = "&".join(part for part in target[2].split("&") if part and not _TRACKING.fullmatch(part.partition("=")[0]))
    path = _same(_SESSION.sub("", target[0])) or "/"
    made = f"{scheme}://{shown}{f':{port}' if port else ''}{path}{f'?{_same(query)}' if query else ''}"
    if _DOTS.search(path):
        # `%2e%2e` is two dots as well, and a server that thinks so would show what robots.txt keeps to itself.
        return normal(made)
    return made if len(made) <= LONGEST else None


def _same(text: str) -> str:
    """Escapes that RFC 3986 calls equal, in one form: unreserved characters bare, hexadecimal digits large."""

    def one(found: re.Match[str]) -> str:
        code = found.group(1)
        if code is None:
            return "%25"
        char = chr(int(code, 16))
        return char if char in _UNRESERVED else f"%{code.upper()}"

    return _ESCAPE.sub(one, text)


def key(url: str) -> bytes:
    """By what an address is known in an index: its SHA-256, since an address may be longer than an index takes."""
    return sha256(url.encode()).digest()


def has_user(url: str) -> bool:
    """Whether an address carries a name or a password, which would stand in logs."""
    try:
        return bool(httpx.URL(url.strip()).userinfo)
    except httpx.InvalidURL:
        return False


def shown_path(url: str) -> str:
    """Path and query as people write them, for patterns: `/åäö/sida.html`."""
    return unquote(httpx.URL(url).raw_path.decode("ascii"))


def last_segment(url: str) -> str:
    """The name at the end of the path, unescaped; empty for a path that ends with a slash."""
    return unquote(httpx.URL(url).raw_path.decode("ascii").partition("?")[0].rpartition("/")[2])


def suffix(url: str) -> str:
    """Of the name at the end of the path, as `.pdf`, small; empty if there is none."""
    _, dot, ending = last_segment(url).rpartition(".")
    return f".{ending.lower()}" if dot and ending.isalnum() and len(ending) <= 8 else ""


def is_trap(url: str) -> bool:
    """Whether a path is longer, or repeats itself more, than those that people make."""
    segments = [part for part in httpx.URL(url).path.split("/") if part]
    return len(segments) > MOST_SEGMENTS or any(times > MOST_REPEATS for times in Counter(segments).values())


@dataclass(frozen=True)
class Site:
    """The one host that a crawl stays on."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def of(cls, url: str) -> Site:
        """`url` as `normal` gives it."""
        parsed = httpx.URL(url)
        return cls(parsed.scheme, parsed.raw_host.decode(), parsed.port)

    @property
    def origin(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{shown}{f':{self.port}' if self.port else ''}"

    def home(self, url: str) -> str | None:
        """`url` if it lies on this site, by https if the site does; None if it lies elsewhere."""
        parsed = httpx.URL(url)
        if (parsed.raw_host.decode(), parsed.port) != (self.host, self.port):
            return None
        if self.scheme == "https" and parsed.scheme == "http":
            # With a port of its own it is another server.
            return f"https{url[4:]}" if self.port is None else None
        return url if self.scheme == parsed.scheme or self.port is None else None

    def trusts(self, url: str) -> bool:
        """Whether what signs in to this site may be sent there: to its own host, and not from https to http."""
        return self.home(url) == url

    def is_kin(self, other: Site) -> bool:
        """Whether one of the two is the other with `www.` before it, or with https for http."""
        plain, other_plain = self.host.removeprefix("www."), other.host.removeprefix("www.")
        return plain == other_plain and self.port == other.port and not (self.scheme == "https" != other.scheme)


class Paths:
    """Which paths people want: those that fit a pattern of `include`, or all, and none of `exclude`.

    `*` stands for anything, slashes too; a pattern is of the whole path, with its query.
    """

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        # fnmatch makes patterns that cannot be driven to try exponentially many ways.
        self._include = [re.compile(fnmatch.translate(pattern)) for pattern in include]
        self._exclude = [re.compile(fnmatch.translate(pattern)) for pattern in exclude]

    def allow(self, url: str) -> bool:
        path = shown_path(url)
        if any(pattern.match(path) for pattern in self._exclude):
            return False
        return not self._include or any(pattern.match(path) for pattern in self._include)
