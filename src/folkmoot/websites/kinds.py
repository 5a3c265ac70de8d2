"""What an address leads to: a page, a document to keep, or something that is not read."""

from __future__ import annotations

from folkmoot.websites.address import last_segment, suffix
from folkmoot.websites.fetch import Answer

LARGEST_PAGE = 10_000_000
"""Bytes of one page, which is read in memory; files go by the website's own limit."""
FILES = {
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/rtf": ".rtf",
    "text/rtf": ".rtf",
    "application/epub+zip": ".epub",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
}
"""Documents that pages link to. Archives are not among them: a site's downloads are seldom what it says."""
FILE_SUFFIXES = frozenset(FILES.values())
PAGES = frozenset({"text/html", "application/xhtml+xml"})
VAGUE = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-download", "text/plain"})
"""What servers say of anything: then the name decides."""
PAGE_SUFFIXES = frozenset(
    {
        "", ".html", ".htm", ".xhtml", ".shtml", ".php", ".php5", ".phtml", ".asp", ".aspx", ".jsp", ".jspx", ".do",
        ".cfm", ".cgi", ".pl", ".page", ".action", ".nsf",
    }
)  # fmt: skip
NEVER = frozenset(
    {
        ".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg", ".ico", ".bmp", ".tif", ".tiff", ".css", ".js",
        ".mjs", ".map", ".woff", ".woff2", ".ttf", ".otf", ".eot", ".mp3", ".mp4", ".m4a", ".m4v", ".avi", ".mov",
        ".mkv", ".webm", ".ogg", ".ogv", ".wav", ".flac", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".tar",
        ".exe", ".msi", ".dmg", ".iso", ".apk", ".deb", ".rpm", ".jar", ".whl", ".bin", ".ics", ".vcf", ".rss", ".atom",
    }
)  # fmt: skip
"""Endings that are not asked for."""


def is_worth_asking(url: str, *, files: bool) -> bool:
    """Whether there may be something at an address that is read, by its name."""
    ending = suffix(url)
    return ending not in NEVER and (files or ending not in FILE_SUFFIXES)


def kind_of(answer: Answer) -> str:
    """`page`, `file`, or nothing for what is not read."""
    kind, ending = answer.media_type, suffix(answer.url)
    if kind in PAGES:
        return "page"
    if kind in VAGUE and ending in FILE_SUFFIXES:
        return "file"
    if kind in VAGUE and kind != "text/plain" and ending in PAGE_SUFFIXES:
        return "page"
    return "file" if kind in FILES else ""


def name_of(answer: Answer, kind: str) -> str:
    """The name of a document, with an ending that fits what it is."""
    name = last_segment(answer.url)
    if kind == "page":
        name = name or answer.url.split("//", 1)[1].rstrip("/").rpartition("/")[2] or "index"
        return name if suffix(answer.url) in (".html", ".htm", ".xhtml") else f"{name[:200]}.html"
    ending = FILES.get(answer.media_type, "") if answer.media_type not in VAGUE else ""
    ending = ending or suffix(answer.url) or ".txt"
    return name if name.lower().endswith(ending) else f"{name[:200] or 'file'}{ending}"
