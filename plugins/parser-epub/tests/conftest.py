from __future__ import annotations

import io
import zipfile

import pytest

CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
    '<rootfiles><rootfile full-path="{opf}" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
XHTML = (
    '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml" '
    'xmlns:epub="http://www.idpf.org/2007/ops"><head><title>no</title><style>p {{}}</style></head>'
    "<body>{body}</body></html>"
)


def zipped(parts: dict[str, str | bytes], mimetype: bytes = b"application/epub+zip") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype, zipfile.ZIP_STORED)
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def book(
    chapters: dict[str, str],
    *,
    nav: str = "",
    ncx: str = "",
    extra: dict[str, str | bytes] | None = None,
    spine: list[str] | None = None,
    guide: str = "",
    opf: str = "OEBPS/content.opf",
    metadata: str = "<dc:title>Slussen i Norr</dc:title><dc:creator>Ada Ek</dc:creator><dc:language>sv</dc:language>",
    mimetype: bytes = b"application/epub+zip",
) -> bytes:
    """A book of these chapters, name and body of each; `nav` and `ncx` are the bodies of its indexes."""
    folder = opf.rpartition("/")[0] + "/" if "/" in opf else ""
    items = "".join(f'<item id="{name}" href="{name}" media-type="application/xhtml+xml"/>' for name in chapters)
    items += '<item id="css" href="a.css" media-type="text/css"/>'
    parts: dict[str, str | bytes] = {folder + name: XHTML.format(body=body) for name, body in chapters.items()}
    if nav:
        items += '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        parts[folder + "nav.xhtml"] = XHTML.format(body=nav)
    if ncx:
        items += '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
        head = '<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" "http://www.daisy.org/z3986/2005/ncx-2005-1.dtd">'
        parts[folder + "toc.ncx"] = f'{head}<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/">{ncx}</ncx>'
    order = "".join(f'<itemref idref="{name}"/>' for name in (chapters if spine is None else spine))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/" version="3.0">'
        f"<metadata>{metadata}</metadata><manifest>{items}</manifest><spine>{order}</spine><guide>{guide}</guide></package>"
    )
    return zipped(
        {"META-INF/container.xml": CONTAINER.format(opf=opf), opf: package, **parts, **(extra or {})}, mimetype
    )


class Make:
    """Books as tests want them."""

    zipped = staticmethod(zipped)
    book = staticmethod(book)


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()
