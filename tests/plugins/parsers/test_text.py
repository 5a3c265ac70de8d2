"""How bytes become text, in every encoding that people still have, and what is refused."""

from __future__ import annotations

import io

import pytest
from folkmoot_sdk import TooLarge
from folkmoot_sdk.parsers import Source
from folkmoot_sdk.testing.parsers import ParserConformance, Sample

from folkmoot.plugins.parsers import text as text_parser
from tests.plugins.parsers.reading import SPECS, SWEDISH, binary, of, seen


class TestTextConformance(ParserConformance):
    plugin = "folkmoot.plugins.builtin"
    spec = SPECS["text"]

    def samples(self):
        return [
            Sample("a.txt", b"One.\nStill one.\n\nTwo.\n", "text/plain", ("Still one.", "Two."), sniffed=False),
            Sample("b.txt", b"First\fSecond", "text/plain", pages={"First": 1, "Second": 2}, sniffed=False),
        ]

    def broken(self):
        return [binary(".txt")]


@pytest.mark.parametrize(
    "encoding",
    [f"utf-{form}" for form in ("8", "8-sig", "16", "16-le", "16-be", "32", "32-le", "32-be")]
    + ["cp1252", "cp850", "mac_roman"],
)
def test_swedish_text_is_read_in_every_encoding_of_forty_years(encoding):
    assert of("text", SWEDISH.encode(encoding)).text == SWEDISH


RIGHTS = {
    "ru": "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью.",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах. Вони наділені розумом і совістю.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem.",
    "cs": "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem a svědomím.",
    "hu": "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Az emberek ésszel bírnak.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler.",
    "lt": "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis. Jiems suteiktas protas ir sąžinė.",
    "is": "Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum. Menn eru gæddir vitsmunum.",
    "fi": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on annettu järki.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "zh-tw": "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神互相對待。",
    "ja": "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
}
OLD_SETS = [
    *(("ru", codec) for codec in ("cp1251", "koi8-r", "cp866", "iso8859-5", "mac-cyrillic")),
    *(("uk", codec) for codec in ("cp1251", "koi8-u")),
    *(("el", codec) for codec in ("cp1253", "iso8859-7")),
    *(("pl", codec) for codec in ("cp1250", "iso8859-2", "cp852")),
    *(("cs", codec) for codec in ("cp1250", "iso8859-2")),
    *(("hu", codec) for codec in ("cp1250", "iso8859-2")),
    *(("tr", codec) for codec in ("cp1254", "iso8859-9")),
    *(("lt", codec) for codec in ("cp1257", "iso8859-13")),
    *(("is", codec) for codec in ("cp1252", "iso8859-1")),
    *(("fi", codec) for codec in ("cp1252", "iso8859-15", "cp850", "mac-roman")),
    *(("he", codec) for codec in ("cp1255", "iso8859-8")),
    *(("ar", codec) for codec in ("cp1256", "iso8859-6")),
    ("th", "tis-620"),
    *(("zh", codec) for codec in ("gb18030", "gb2312")),
    *(("zh-tw", codec) for codec in ("big5", "cp950")),
    *(("ja", codec) for codec in ("cp932", "euc-jp", "iso2022-jp")),
    *(("ko", codec) for codec in ("euc-kr", "cp949")),
]


@pytest.mark.parametrize(("language", "codec"), OLD_SETS)
@pytest.mark.parametrize("times", [1, 200])
def test_one_sentence_or_many_are_read_in_the_old_sets_of_each_language(language, codec, times):
    text = "\n".join([RIGHTS[language]] * times)
    assert of("text", text.encode(codec)).text.replace("\n\n", "\n") == text


@pytest.mark.parametrize(
    "short",
    ["Ö", "kött", "namn;Åsa", "5 €", "§ 5", "35 °C", "It’s – well", "Müller", "Señor", "½ dl grädde", "ça va", "é"],
)
def test_a_word_or_two_in_the_set_of_windows_is_read(short):
    assert of("text", short.encode("cp1252")).text == short


def test_a_table_without_any_kana_is_japanese_still():
    text = "名前,年齢,住所\n佐藤太郎,30,東京\n三木英子,25,大阪\n" * 5
    assert of("text", text.encode("cp932")).text == text.strip()


def test_a_letter_cut_in_two_at_the_end_makes_no_other_encoding():
    assert "rätt" in of("text", "Alla har rätt, även du på Åland. Ö".encode()[:-1]).text
    assert of("text", "Y dotados como están de raz".encode("cp1252") + b"\xf3").text.endswith("razó")


def test_some_damaged_bytes_do_not_make_utf8_another_encoding():
    damaged = (SWEDISH * 3).encode().replace(b"kr", b"k\xff")
    assert "människor är födda" in of("text", damaged).text


def test_nul_bytes_are_left_out_of_text():
    assert of("text", b"before\x00\x00after").text == "beforeafter"


def test_paragraphs_are_what_stands_between_blank_lines():
    assert seen(of("text", "One\r\nmore\r\n  \r\n\r\nTwo")) == [("paragraph", "One\nmore"), ("paragraph", "Two")]


def test_a_line_without_end_becomes_blocks_of_bounded_size():
    result = of("text", b"word " * 200_000)
    assert max(len(block.text) for block in result.blocks) <= 20_000
    assert sum(block.text.count("word") for block in result.blocks) == 200_000


class Endless(io.RawIOBase):
    """A text of so many bytes that nobody holds, which counts what is read of it."""

    def __init__(self, size: int) -> None:
        self.size, self.at, self.read_bytes = size, 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer, /) -> int:
        length = max(0, min(len(buffer), self.size - self.at))
        buffer[:length] = (b"word " * (length // 5 + 1))[:length]
        self.at += length
        self.read_bytes += length
        return length


def source(file: Endless) -> Source:
    return Source("long.txt", "text/plain", file.size, io.BufferedReader(file))


def test_five_gigabytes_of_text_are_refused_before_the_first_byte_is_read():
    file = Endless(5_000_000_000)
    with pytest.raises(TooLarge, match=r"long\.txt has 5,000 MB, at most 1,074 MB .* split it"):
        list(text_parser.parse(source(file)))
    assert file.read_bytes == 0


def test_a_gigabyte_of_text_gives_its_first_block_after_some_megabytes():
    file = Endless(1_000_000_000)
    assert next(iter(text_parser.parse(source(file)))).text.startswith("word word")
    assert file.read_bytes < 100_000_000
