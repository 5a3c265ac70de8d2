from __future__ import annotations

import contextlib

import folkmoot_parser_rtf as rtf
import pytest
from folkmoot_sdk import CorruptFile, Progress, TooLarge
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample, read

(SPEC,) = rtf.register_parsers()


def document(body: str | bytes, head: str = "") -> bytes:
    body = body.encode("ascii") if isinstance(body, str) else body
    return b"{\\rtf1\\ansi\\ansicpg1252\\deff0" + head.encode("ascii") + b"\\pard\\plain " + body + b"}"


def blocks(body: str | bytes, head: str = "") -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in read(SPEC, document(body, head), "a.rtf").blocks]


SAMPLE = document(
    r"{\header Kommunens arkiv\par}\s1 Sluss i Norr\par\pard\plain Slussen \'f6ppnades 1843."
    r"{\footnote\pard K\'e4lla: bygdearkivet\par}\par{\listtext\f1\'b7\tab}\ls1 Kvarn\par"
    r"\pard{\listtext 2.\tab}\ls1 Andra steget\par\trowd\cellx1000\cellx2000\pard\intbl Namn\cell\u197 Ar\cell\row"
    r"\pard\intbl Ada\cell 1815\cell\row\pard Slut.\par",
    r"{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset2 Symbol;}}{\stylesheet{Normal;}{\s1\outlinelevel0 heading 1;}}"
    r"{\info{\title En sluss}{\author Ada}{\nofpages2}}",
)


class TestRtf(ParserConformance):
    plugin = "folkmoot_parser_rtf"
    spec = SPEC

    def samples(self) -> list[Sample]:
        snippets = ("Kommunens arkiv", "Sluss i Norr", "öppnades 1843.", "Källa: bygdearkivet", "- Kvarn", "2. Andra")
        return [Sample("a.rtf", SAMPLE, "application/rtf", (*snippets, "Namn | År", "Ada | 1815", "Slut."))]

    def broken(self) -> list[Broken]:
        return [
            Broken("text.rtf", b"only words", CorruptFile),
            Broken("picture.rtf", b"\x89PNG\r\n\x1a\n" + bytes(100), CorruptFile),
        ]


def test_what_is_known_of_the_whole_comes_from_the_properties():
    info = read(SPEC, SAMPLE).info
    assert (info.title, info.page_count, info.warnings) == ("En sluss", 2, ())


STYLES = (
    r"{\stylesheet{Normal;}{\s1 heading 1;}{\s2\sbasedon1 V\'e5r rubrik;}{\s3 \'d6versikt;}{\s4 Rubrik 3;}{\s5 Title;}"
    r"{\s6\sbasedon6 Loop;}{\*\cs10 heading 9;}{\s7\outlinelevel1 Kapitel;}}"
)


@pytest.mark.parametrize(
    ("props", "level"),
    [
        (r"\s1", 1),
        (r"\s2", 1),
        (r"\s3", None),
        (r"\s4", 3),
        (r"\s5", 1),
        (r"\s6", None),
        (r"\s7", 2),
        (r"\s99", None),
        (r"\cs10", None),
        (r"\outlinelevel3", 4),
        (r"\s1\outlinelevel9", None),
    ],
)
def test_headings_are_known_by_style_base_or_outline_level(props, level):
    block = read(SPEC, document(rf"{props} Ord\par", STYLES)).blocks[0]
    assert (block.kind, block.level, block.text) == ("heading" if level else "paragraph", level, "Ord")


def test_a_style_ends_with_its_paragraph_s_formatting():
    assert blocks(r"{\s1 Rubrik\par}\pard text\par", STYLES) == [("heading", "Rubrik"), ("paragraph", "text")]


def test_lists_keep_their_labels_and_levels():
    item = r"\pard{{\listtext\pard {}\tab}}\ilvl{} {}\par "
    body = item.format("1.", 0, "ett") + item.format("a)", 1, "under") + item.format("o", 0, "kula") + r"\pard slut\par"
    assert blocks(body) == [("list", "1. ett\n  a) under\n- kula"), ("paragraph", "slut")]
    old = r"{\*\pn\pnlvlblt{\pntxtb\'b7}}{\pntext\'b7\tab}gammal\par"
    assert blocks(old) == [("list", "- gammal")]


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        (r"\ansicpg1251", rb"\'cf\'f0\'e8\'e2\'e5\'f2", "Привет"),
        (r"\ansicpg1251{\fonttbl{\f0\fcharset0 Arial;}}", rb"\'cf\'f0", "Пр"),
        (r"\ansicpg1251{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset238 A CE;}}", rb"\'e9\f1\'ec", "éě"),
        (r"\ansicpg932", rb"\'93\'fa\'96\'7b\'8c\'ea", "日本語"),
        (r"{\fonttbl{\f0\fcharset128 MS Gothic;}}", b"\x93\xfa\\'96\\'7b\\'8c\xea", "日本語"),
        (r"{\fonttbl{\f3\fcharset2 Symbol;}}", rb"{\f3 a}\'e4", "αä"),
        (r"\ansicpg65001", "å".encode(), "å"),
        (r"\ansicpg99999", rb"\'e5", "å"),
        (r"\mac", rb"\'8c", "å"),
        ("", rb"\'8 x", "8 x"),
    ],
)
def test_bytes_mean_what_code_page_and_font_say(head, body, text):
    assert read(SPEC, document(body + b"\\par", head)).text == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"\u229\'e5ngstr\u246?m", "ångström"),
        (r"\uc0\u229 ngstr\u246 m", "ångström"),
        (r"\uc2\u229ab\u246\'c3\'b6 x", "åö x"),
        (r"{\uc3\u229abc}\u246?", "åö"),
        (r"\u-10179?\u-8704?", "😀"),
        (r"\u-10179? ensam", "\ufffd ensam"),
        (r"\u8211\endash x", "–x"),
        (r"\u229\par b", "å\n\nb"),
        (r"\u-3999?", "α"),
        (r"\u1?\u0?x", "\x01x"),
    ],
)
def test_unicode_characters_replace_what_stands_in_for_them(body, text):
    assert read(SPEC, document(body + r"\par")).text == text


def test_old_and_new_alternatives_are_read_once():
    assert blocks(r"{\upr{a?}{\*\ud{\u229\'e5}}} slut\par") == [("paragraph", "å slut")]
    assert blocks(r"{\shp{\*\shpinst{\shptxt I rutan\par}}{\shprslt{\*\do{\dptxbxtext I rutan}}}}Text\par") == [
        ("paragraph", "Text"),
        ("paragraph", "I rutan"),
    ]
    assert blocks(r"{\*\do{\dptxbxtext \pard Gammal ruta\par}}Text\par")[1] == ("paragraph", "Gammal ruta")


def test_deleted_and_hidden_text_is_left_out():
    assert blocks(r"Vi {\revised vill}{\deleted kan}{\v dold} \v bort\v0 b\'e5de\plain\deleted1 x\deleted0 .\par") == [
        ("paragraph", "Vi vill både.")
    ]


def test_of_fields_and_objects_the_result_is_read():
    body = (
        r"{\field{\*\fldinst HYPERLINK \"http://example.org\"}{\fldrslt klicka h\'e4r}}"
        r"{\object\objemb{\*\objclass Excel.Sheet}{\*\objdata 0102abcd}{\result{\pict 00}bild}}{\*\unknown nej}\par"
    )
    assert blocks(body) == [("paragraph", "klicka härbild")]


def test_pictures_are_passed_over_and_told_by_their_description():
    binary = b"{\\pict\\bin9 }}}{{{\\\\\\ }"
    picture = rb"{\*\shppict{\pict{\*\picprop{\sp{\sn wzDescription}{\sv En sluss i Norr}}}ffd8ffe0}}"
    named = rb"{\*\shppict{\pict{\*\picprop{\sp{\sn wzDescription}{\sv C:\'5cbild.png}}}ff}}{\nonshppict{\pict ff}}"
    assert blocks(b"a" + binary + picture + named + rb"b\par") == [
        ("paragraph", "ab"),
        ("paragraph", "En sluss i Norr"),
    ]


def test_comments_bear_the_name_of_who_wrote_them():
    body = r"Text{\*\atnid A}{\*\atnauthor Ada}\chatn{\*\annotation{\*\atndate 1}\pard Stimmer?\par} mer\par"
    assert blocks(body) == [("paragraph", "Text mer"), ("note", "Ada: Stimmer?")]


def test_headers_and_footers_come_once_and_page_numbers_never():
    margin = r"{\headerl Arkivet}{\headerr Arkivet}{\footer\pard\chpgn 12\par}{\footerf Diarium\par}"
    assert blocks(margin + r"Text\par" + margin) == [("note", "Arkivet"), ("paragraph", "Text"), ("note", "Diarium")]


def test_tables_are_rows_of_cells_and_ones_inside_come_after():
    row = r"\trowd\cellx1\cellx2\pard\intbl {}\cell {}\cell\row "
    assert blocks(row.format("a", r"b\par c") + row.format("", "d") + r"\pard efter\par") == [
        ("table", "a | b c\n| d"),
        ("paragraph", "efter"),
    ]
    inner = (
        r"\trowd\cellx1\cellx2\pard\intbl ytter\cell\pard\intbl\itap2 x\nestcell{\nonesttables\par}y\nestcell"
        r"{\*\nesttableprops\trowd\cellx1\nestrow}{\nonesttables\par}\pard\intbl\itap1 sist\cell\row"
        r"\pard\itap0 efter\par"
    )
    assert blocks(inner) == [("table", "ytter | sist"), ("table", "x | y"), ("paragraph", "efter")]


def test_a_table_that_is_only_a_frame_is_read_as_text():
    assert blocks(r"\trowd\cellx1\pard\intbl ensam\cell\row\pard efter\par") == [
        ("paragraph", "ensam"),
        ("paragraph", "efter"),
    ]


def test_a_table_at_the_end_without_its_row_is_not_lost():
    assert blocks(r"\trowd\pard\intbl a\cell b\cell") == [("table", "a | b")]


def test_lines_end_as_each_program_ends_them():
    assert blocks(b"a\\\nb\\\r\nc\\line d\\tab e\r\nf\\par") == [
        ("paragraph", "a"),
        ("paragraph", "b"),
        ("paragraph", "c\nd\tef"),
    ]
    assert blocks(r"av\-tal\~om\_x \{ \} \\\par") == [("paragraph", "avtal\u00a0om-x { } \\")]


def test_what_follows_the_last_brace_is_not_read():
    assert read(SPEC, document(r"text\par") + b"skrap} mer").text == "text"


def test_a_file_that_ends_in_the_middle_is_read_so_far_and_says_so():
    result = read(SPEC, document(r"text\par {\b halv{\i ")[:-1])
    assert result.text == "text\n\nhalv"
    assert "ends in the middle" in result.info.warnings[0]


def test_groups_without_end_are_refused():
    with pytest.raises(CorruptFile, match=r"deep\.rtf"):
        read(SPEC, b"{\\rtf1" + b"{" * 100_000, "deep.rtf")


def test_a_file_of_no_end_is_not_taken_into_memory(monkeypatch):
    monkeypatch.setattr("folkmoot_parser_rtf.rtf.MOST_BYTES", 1000)
    with pytest.raises(TooLarge, match=r"long\.rtf"):
        read(SPEC, document("x" * 1000), "long.rtf")


@pytest.mark.parametrize(
    "piece",
    [
        rb"{\field{\*\fldinst HYPERLINK ",
        rb"{\*\fonttbl{\f1 a",
        rb"\cell",
        rb"\nestcell\itap19",
        rb"{\footnote a}",
        rb"\'",
        rb"\u1",
        rb"{\s1 a;}",
        rb"{\listtext a}",
        rb"{\sn a}{\sv a}",
        b"\\bin9999999999 ",
        b"\\trowd\\row",
    ],
)
@pytest.mark.parametrize("head", [b"", b"{\\stylesheet "], ids=["text", "styles"])
def test_hostile_repetition_ends_in_little_text_or_in_an_error(piece, head):
    length = 0
    with contextlib.suppress(CorruptFile):
        length = len(read(SPEC, document(head + piece * 5_000)).text)
    assert length < 5_000 * 100


def test_long_files_tell_how_far_they_are(monkeypatch):
    monkeypatch.setattr("folkmoot_parser_rtf.rtf._TICK", 1000)
    events = read(SPEC, document(r"text\par " * 1000)).events
    ticks = [event.done for event in events if isinstance(event, Progress)]
    assert len(ticks) > 3
    assert ticks == sorted(ticks)
