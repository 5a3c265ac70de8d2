from __future__ import annotations

import folkmoot_parser_opendocument as opendocument
import pytest
from folkmoot_sdk import CorruptFile, EncryptedFile, UnsupportedFile
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample, read

SPECS = {spec.kind: spec for spec in opendocument.register_parsers()}
ODF = "application/vnd.oasis.opendocument."

TEXT = (
    '<text:h text:outline-level="1">Sluss i Norr</text:h><text:p>Slussen öppnades 1843.</text:p>'
    "<text:list><text:list-item><text:p>Kvarn</text:p></text:list-item></text:list>"
    "<table:table><table:table-row><table:table-cell><text:p>Namn</text:p></table:table-cell><table:table-cell>"
    "<text:p>År</text:p></table:table-cell></table:table-row><table:table-row><table:table-cell><text:p>Ada</text:p>"
    "</table:table-cell><table:table-cell><text:p>1815</text:p></table:table-cell></table:table-row></table:table>"
)
DECK = (
    '<draw:page><draw:frame presentation:class="title" svg:y="1cm"><draw:text-box><text:p>Budget 2024</text:p>'
    '</draw:text-box></draw:frame><draw:frame svg:y="5cm"><draw:text-box><text:p>Skola</text:p></draw:text-box>'
    '</draw:frame><presentation:notes><draw:frame presentation:class="notes"><draw:text-box><text:p>Tala långsamt'
    "</text:p></draw:text-box></draw:frame></presentation:notes></draw:page><draw:page><draw:frame><draw:text-box>"
    "<text:p>Slut</text:p></draw:text-box></draw:frame></draw:page>"
)


def sheet_row(*cells: str) -> str:
    inner = "".join(
        f'<table:table-cell office:value-type="{"float" if each.isdigit() else "string"}"><text:p>{each}</text:p>'
        "</table:table-cell>"
        for each in cells
    )
    return f"<table:table-row>{inner}</table:table-row>"


BOOK = f'<table:table table:name="Personer">{sheet_row("Namn", "Född")}{sheet_row("Ada", "1815")}</table:table>'


class _Both(ParserConformance):
    """Samples of one kind, packed and flat."""

    plugin = "folkmoot_parser_opendocument"
    body = ""
    name = ""
    snippets: tuple[str, ...] = ()
    pages: dict[str, int] = {}
    wrong = "ods"

    @pytest.fixture(autouse=True)
    def _makes(self, make):
        self.make = make

    def samples(self) -> list[Sample]:
        kind, media_type = self.spec.kind, self.spec.media_types[0]
        return [
            Sample(f"a.{kind}", self.make.package(kind, self.body), media_type, self.snippets, self.pages),
            Sample(f"a.f{kind}", self.make.flat(kind, self.body), f"{media_type}-flat-xml", self.snippets, self.pages),
        ]

    def broken(self) -> list[Broken]:
        kind = self.spec.kind
        data = self.make.package(kind, self.body)
        return [
            Broken(f"half.{kind}", data[: len(data) // 2], CorruptFile),
            Broken(f"text.{kind}", b"only words", CorruptFile),
            Broken(f"html.{kind}", b"<html><body>Hej</body></html>", CorruptFile),
            Broken(f"other.{kind}", self.make.package(self.wrong, ""), UnsupportedFile),
            Broken(f"hollow.{kind}", self.make.zipped({"x": ""}, ODF + "text"), CorruptFile),
        ]


class TestOdt(_Both):
    spec = SPECS["odt"]
    body = TEXT
    snippets = ("Sluss i Norr", "öppnades 1843.", "- Kvarn", "Namn | År Ada | 1815")


class TestOdp(_Both):
    spec = SPECS["odp"]
    body = DECK
    snippets = ("Budget 2024", "Skola", "Tala långsamt", "Slut")
    pages = {"Budget 2024": 1, "Tala långsamt": 1, "Slut": 2}


class TestOds(_Both):
    spec = SPECS["ods"]
    body = BOOK
    snippets = ("Personer", "Namn: Ada; Född: 1815")
    wrong = "odt"


del _Both


@pytest.mark.parametrize("password", [None, "hemligt"])
def test_a_password_is_named_as_the_reason_with_a_way_out(make, password):
    manifest = (
        '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        '<m:file-entry m:full-path="content.xml"><m:encryption-data/></m:file-entry></m:manifest>'
    )
    for kind, spec in SPECS.items():
        data = make.package(kind, "", parts={"META-INF/manifest.xml": manifest})
        with pytest.raises(
            EncryptedFile, match=r"'hemlig\.odt' is protected with a password.*without a password"
        ) as found:
            read(spec, data, "hemlig.odt", password=password)
        assert "hemligt" not in str(found.value)


@pytest.mark.parametrize("ending", ["", "-template", "-flat-xml"])
@pytest.mark.parametrize(
    ("kind", "name"), [("odt", "text"), ("odp", "presentation"), ("odp", "graphics"), ("ods", "spreadsheet")]
)
def test_templates_drawings_and_flat_files_are_recognised(make, kind, name, ending):
    media_type = ODF + name + ending
    if ending == "-flat-xml":
        data = f'<?xml version="1.0"?><office:document xmlns:office="x" office:mimetype="{ODF}{name}">'.encode()
    else:
        data = make.zipped({"content.xml": "x"}, media_type)
    assert {each: spec.sniff(data) for each, spec in SPECS.items() if spec.sniff(data)} == {kind: media_type}


def test_other_packages_are_not_claimed(make):
    for media_type in ("application/epub+zip", ODF + "formula", ODF):
        data = make.zipped({"content.xml": "x"}, media_type)
        assert not any(spec.sniff(data) for spec in SPECS.values())
