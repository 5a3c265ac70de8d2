"""PDFs put together by hand: what no library would write."""

from __future__ import annotations

CATALOG = b"<< /Type /Catalog /Pages 2 0 R %s>>"
PAGES = b"<< /Type /Pages /Kids [%s] /Count %d >>"
PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 5 0 R >> >> /Contents 4 0 R %s>>"
)
HELVETICA = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
GLYPHS = b"<< /Type /Font /Subtype /Type0 /BaseFont /AB+Foo /Encoding /Identity-H /DescendantFonts [6 0 R] %s>>"
GLYPHS_BELOW = (
    b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /AB+Foo /DW 500 /FontDescriptor 7 0 R "
    b"/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>"
)
DESCRIPTOR = (
    b"<< /Type /FontDescriptor /FontName /AB+Foo /Flags 4 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 800 "
    b"/Descent -200 /CapHeight 700 /StemV 80 >>"
)


def stream(data: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(data), data)


def words(text: str) -> bytes:
    """A page's content: one line of Latin text."""
    return stream(f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode("latin-1"))


def pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """The objects numbered from 1, of which the first is the catalog."""
    data, places = b"%PDF-1.7\n", list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return data + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R %s>>\nstartxref\n%d\n%%%%EOF\n"
        % (size, table, size, trailer, len(data))
    )


def one_page(
    content: bytes | None = None,
    *more: bytes,
    catalog: bytes = b"",
    kids: bytes = b"3 0 R",
    count: int = 1,
    font: bytes = HELVETICA,
) -> bytes:
    """One page that says `Hello there`, or `content`; `more` are the objects from number 6 on."""
    content = words("Hello there, this is a page.") if content is None else content
    return pdf(CATALOG % catalog, PAGES % (kids, count), PAGE % b"", content, font, *more)


def glyphs(codes: list[int], meaning: tuple[int, int] | None = None, step: int = 0) -> bytes:
    """One page with one line of glyphs of a font of its own, `step` thousandths of a letter further left each.

    `meaning` is the first code and the letter that it stands for; without it nothing says what they stand for.
    """
    line = b" ".join(b"<%04x> %d" % (code, step) for code in codes)
    content = stream(b"BT /F1 12 Tf 300 700 Td [%s] TJ ET" % line)
    if meaning is None:
        return one_page(content, GLYPHS_BELOW, DESCRIPTOR, font=GLYPHS % b"")
    cmap = (
        b"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange "
        b"1 beginbfrange <%04x> <%04x> <%04x> endbfrange endcmap end"
    ) % (meaning[0], meaning[0] + 100, meaning[1])
    return one_page(content, GLYPHS_BELOW, DESCRIPTOR, stream(cmap), font=GLYPHS % b"/ToUnicode 8 0 R ")
