from __future__ import annotations

import io
import zipfile

import folkmoot_parser_opendocument as opendocument
import pytest
from folkmoot_sdk.testing.parsers import Result, read

SPECS = {spec.kind: spec for spec in opendocument.register_parsers()}
TYPES = {"odt": "text", "odp": "presentation", "ods": "spreadsheet"}
_OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
_PREFIXES = {
    **{each: f"{_OASIS}{each}:1.0" for each in ("office", "text", "table", "style", "presentation", "chart", "meta")},
    "draw": _OASIS + "drawing:1.0",
    "fo": _OASIS + "xsl-fo-compatible:1.0",
    "svg": _OASIS + "svg-compatible:1.0",
    "manifest": _OASIS + "manifest:1.0",
    "calcext": "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "math": "http://www.w3.org/1998/Math/MathML",
    "xlink": "http://www.w3.org/1999/xlink",
}
NAMES = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _PREFIXES.items())


class Make:
    """OpenDocument files from the XML of their parts, as tests want them."""

    def zipped(self, parts: dict[str, str | bytes], media_type: str) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("mimetype", media_type, zipfile.ZIP_STORED)
            for name, content in parts.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    def content(self, kind: str, body: str, autos: str = "") -> str:
        what = TYPES[kind]
        return (
            f"<office:document-content {NAMES}><office:automatic-styles>{autos}</office:automatic-styles>"
            f"<office:body><office:{what}>{body}</office:{what}></office:body></office:document-content>"
        )

    def package(
        self, kind: str, body: str, autos: str = "", styles: str = "", parts: dict[str, str | bytes] | None = None
    ) -> bytes:
        """A file of this kind; `styles` is the inside of `styles.xml`."""
        return self.zipped(
            {
                "content.xml": self.content(kind, body, autos),
                "styles.xml": f"<office:document-styles {NAMES}>{styles}</office:document-styles>",
                **(parts or {}),
            },
            f"application/vnd.oasis.opendocument.{TYPES[kind]}",
        )

    def meta(self, inside: str) -> dict[str, str | bytes]:
        return {"meta.xml": f"<office:document-meta {NAMES}><office:meta>{inside}</office:meta></office:document-meta>"}

    def flat(self, kind: str, body: str, before: str = "") -> bytes:
        what = TYPES[kind]
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<office:document {NAMES} '
            f'office:mimetype="application/vnd.oasis.opendocument.{what}">{before}'
            f"<office:body><office:{what}>{body}</office:{what}></office:body></office:document>"
        ).encode()


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


@pytest.fixture(scope="session")
def parsed():
    def run(kind: str, data: bytes, name: str = "file") -> Result:
        return read(SPECS[kind], data, name)

    return run


@pytest.fixture
def blocks(make, parsed):
    """Kind and text of the blocks of a file with this body."""

    def run(kind: str, body: str, autos: str = "", styles: str = "", parts=None):
        return [(b.kind, b.text) for b in parsed(kind, make.package(kind, body, autos, styles, parts)).blocks]

    return run
