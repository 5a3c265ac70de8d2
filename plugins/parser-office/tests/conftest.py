from __future__ import annotations

import io
import struct
import zipfile

import folkmoot_parser_office as office
import pytest
from folkmoot_sdk.testing.parsers import Result, read

SPECS = {spec.kind: spec for spec in office.register_parsers()}
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
MORE = (
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:v="urn:schemas-microsoft-com:vml"'
)
MAIN = {"word": "document.xml", "ppt": "presentation.xml", "xl": "workbook.xml"}


def zipped(parts: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def ties(*targets: tuple[str, str, str]) -> str:
    """A part of relationships: id, kind and target of each."""
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    inner = "".join(f'<Relationship Id="{i}" Type="{base}{k}" Target="{t}"/>' for i, k, t in targets)
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{inner}</Relationships>'
    )


class Make:
    """Office files from the XML of their parts, as tests want them."""

    zipped = staticmethod(zipped)
    ties = staticmethod(ties)

    def package(self, folder: str, parts: dict[str, str | bytes]) -> bytes:
        top = ties(("rId1", "officeDocument", f"{folder}/{MAIN[folder]}"))
        return zipped({"_rels/.rels": top, **parts})

    def word(self, body: str, parts: dict[str, str] | None = None) -> bytes:
        """A document; each other part of `word/` is tied by its name without the ending."""
        parts = parts or {}
        tied = [(name.partition(".")[0], name.partition(".")[0].rstrip("0123456789"), name) for name in parts]
        return self.package(
            "word",
            {
                "word/document.xml": f"<w:document {W} {R} {MORE}><w:body>{body}</w:body></w:document>",
                "word/_rels/document.xml.rels": ties(*tied),
                **{f"word/{name}": content for name, content in parts.items()},
            },
        )

    def sheet(self, rows: str, parts: dict[str, str] | None = None, styles: str = "") -> bytes:
        """A workbook of one sheet, "Data"."""
        main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        return self.package(
            "xl",
            {
                "xl/workbook.xml": f'<workbook {main} {R}><sheets><sheet name="Data" sheetId="1" r:id="rId1"/>'
                "</sheets></workbook>",
                "xl/_rels/workbook.xml.rels": ties(
                    ("rId1", "worksheet", "worksheets/sheet1.xml"),
                    ("rId2", "styles", "styles.xml"),
                    ("rId3", "sharedStrings", "sharedStrings.xml"),
                ),
                "xl/worksheets/sheet1.xml": f"<worksheet {main}>{rows}</worksheet>",
                "xl/styles.xml": f"<styleSheet {main}>{styles}</styleSheet>",
                **{f"xl/{name}": content for name, content in (parts or {}).items()},
            },
        )

    def container(self, *streams: str) -> bytes:
        """The container of old and of encrypted files (CFB), with empty streams of these names."""
        header = bytearray(512)
        header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        struct.pack_into("<HHHHH", header, 24, 0x3E, 3, 0xFFFE, 9, 6)
        struct.pack_into("<II", header, 44, 1, 1)
        struct.pack_into("<109I", header, 76, 0, *[0xFFFFFFFF] * 108)
        # Sector 0 is the FAT; the directory is sectors 1 and 3, to show that the chain is followed.
        fat = struct.pack("<128I", 0xFFFFFFFD, 3, 0xFFFFFFFE, 0xFFFFFFFE, *[0xFFFFFFFF] * 124)
        entries = b""
        for name in ("Root Entry", "a", "b", "c", *streams):
            raw = name.encode("utf-16-le")
            entries += raw.ljust(64, b"\0") + struct.pack("<H", len(raw) + 2) + bytes(62)
        entries = entries.ljust(1024, b"\0")
        return bytes(header) + fat + entries[:512] + bytes(512) + entries[512:1024]


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


@pytest.fixture(scope="session")
def parsed():
    def run(kind: str, data: bytes, name: str = "file") -> Result:
        return read(SPECS[kind], data, name)

    return run


@pytest.fixture(scope="session")
def sniff():
    """Which parsers claim a file by its first bytes, and as what."""

    def run(data: bytes) -> dict[str, str]:
        found = {kind: spec.sniff(data[: 64 * 1024]) for kind, spec in SPECS.items()}
        return {kind: media_type for kind, media_type in found.items() if media_type}

    return run
