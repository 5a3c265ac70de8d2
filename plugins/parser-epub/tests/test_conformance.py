from __future__ import annotations

import folkmoot_parser_epub as epub
import pytest
from folkmoot_sdk import CorruptFile, EncryptedFile
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample

EPUB = "application/epub+zip"
FIRST = (
    "<h1>Första kapitlet</h1><p>Slussen <i>öppnades</i> 1843.</p><ul><li>Kvarn<ol><li>Hjul</li></ol></li></ul>"
    '<span epub:type="pagebreak" id="p7" title="7"/><p>På sidan sju.</p>'
)
SECOND = (
    "<p>Utan rubrik börjar det.</p><table><tr><th>Namn</th><th>År</th></tr><tr><td>Ada</td><td>1815</td></tr></table>"
)
NAV = (
    '<nav epub:type="toc"><ol><li><a href="one.xhtml">Första kapitlet</a></li>'
    '<li><a href="two.xhtml">Andra kapitlet</a></li></ol></nav>'
    '<nav epub:type="page-list"><ol><li><a href="one.xhtml">vi</a></li><li><a href="one.xhtml#p7">7</a></li>'
    '<li><a href="two.xhtml">8</a></li></ol></nav>'
)
NCX = (
    '<navMap><navPoint><navLabel><text>Första kapitlet</text></navLabel><content src="one.xhtml"/></navPoint>'
    '<navPoint><navLabel><text>Andra kapitlet</text></navLabel><content src="two.xhtml"/></navPoint></navMap>'
    '<pageList><pageTarget value="7"><content src="one.xhtml#p7"/></pageTarget>'
    '<pageTarget value="8"><content src="two.xhtml"/></pageTarget></pageList>'
)


class TestEpub(ParserConformance):
    plugin = "folkmoot_parser_epub"
    spec = epub.register_parsers()[0]

    @pytest.fixture(autouse=True)
    def _make(self, make):
        self.make = make

    def samples(self) -> list[Sample]:
        chapters = {"one.xhtml": FIRST, "two.xhtml": SECOND}
        said = ("Slussen i Norr", "Ada Ek", "Första kapitlet", "öppnades 1843.", "- Kvarn - Hjul", "På sidan sju.")
        said += ("Andra kapitlet", "Utan rubrik", "Namn | År Ada | 1815")
        pages = {"På sidan sju.": 7, "Utan rubrik": 8}
        return [
            Sample("three.epub", self.make.book(chapters, nav=NAV), EPUB, said, pages),
            Sample("two.epub", self.make.book(chapters, ncx=NCX), EPUB, said, pages),
        ]

    def broken(self) -> list[Broken]:
        whole = self.make.book({"one.xhtml": FIRST})
        secret = (
            '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
            'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>'
            '<enc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></enc:EncryptedData>'
            "</encryption>"
        )
        drm = self.make.book({"one.xhtml": "x"}, extra={"META-INF/encryption.xml": secret})
        return [
            Broken("half.epub", whole[: len(whole) // 2], CorruptFile),
            Broken("words.epub", b"only words", CorruptFile),
            Broken("hollow.epub", self.make.zipped({}), CorruptFile),
            Broken("unordered.epub", self.make.book({"one.xhtml": "x"}, spine=[]), CorruptFile),
            Broken("empty.epub", self.make.book({}, spine=["gone"]), CorruptFile),
            Broken("bought.epub", drm, EncryptedFile),
        ]
