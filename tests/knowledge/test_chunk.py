"""Cutting documents into pieces: what must hold for any document, and what makes a good piece."""

from __future__ import annotations

import time

import pytest
from folkmoot_sdk import Block
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.knowledge.chunk import MAX_TOKENS, MIN_TOKENS, TARGET_TOKENS, Anchor, build, count_tokens

SENTENCE = "The council decided on Monday that the library stays open in the evenings. "

words = st.sampled_from(["a", "word", "föräldraledighet", "1 234,50", "…", "人人生而自由", "x" * 700, "e\u0301" * 30])
spaces = st.sampled_from([" ", " ", " ", ". ", "\n", "\u00a0", "   ", ""])
prose = st.builds(
    lambda pairs, times: "".join(w + s for w, s in pairs) * times,
    st.lists(st.tuples(words, spaces), max_size=30),
    st.integers(1, 12),
)
blocks = st.builds(
    Block,
    text=st.one_of(prose, st.text(max_size=40)),
    kind=st.sampled_from(["heading", "paragraph", "paragraph", "list", "table", "row", "code", "note"]),
    level=st.integers(1, 4),
    page=st.one_of(st.none(), st.integers(1, 3)),
    sheet=st.sampled_from([None, None, "Sheet 1", "Sheet 2"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(blocks, max_size=25))
def test_for_any_document_chunks_are_exact_ordered_bounded_and_complete(given_blocks):
    document = build(given_blocks)
    covered = []
    end = 0
    for number, chunk in enumerate(document.chunks):
        assert chunk.ordinal == number
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.start >= end, "chunks overlap"
        assert document.text[end : chunk.start].strip() == "", "words between two chunks are lost"
        assert chunk.token_count == count_tokens(chunk.text) <= MAX_TOKENS
        assert len(chunk.text) <= 8_100
        end = chunk.end
        covered.append(chunk.text)
    assert document.text[end:].strip() == ""
    assert "".join("".join(covered).split()) == "".join(" ".join(block.text for block in given_blocks).split())
    assert build(given_blocks) == document, "the same blocks must give the same chunks"


@settings(max_examples=60, deadline=None)
@given(st.lists(blocks, max_size=25))
def test_for_any_document_anchors_say_where_each_block_stands(given_blocks):
    document = build(iter(given_blocks))
    at = 0
    for block in given_blocks:
        text = block.text.strip()
        if not text:
            continue
        start = document.text.index(text, at)
        assert document.text[at:start].strip() == ""
        anchor, last = document.anchor(start), document.anchor(start + len(text) - 1)
        assert (anchor.page, anchor.sheet) == (block.page, block.sheet)
        assert last == anchor
        at = start + len(text)
    starts = [anchor.start for anchor in document.anchors]
    assert starts == sorted(set(starts))


def paragraph(sentences: int, **more) -> Block:
    return Block(text=(SENTENCE * sentences).strip(), **more)


def test_an_empty_document_has_no_chunk():
    document = build([Block(text="  \n ")])
    assert (document.text, document.anchors, document.chunks) == ("", [], [])
    assert document.anchor(0) == Anchor(0)


def test_blocks_are_joined_by_a_blank_line_and_rows_by_a_line_end():
    rows = [Block(text="a: 1", kind="row"), Block(text="a: 2", kind="row")]
    assert build([Block(text="One"), Block(text=" Two "), *rows]).text == "One\n\nTwo\n\na: 1\na: 2"


def test_a_heading_begins_a_chunk_and_its_words_are_in_it():
    document = build(
        [
            Block(text="Leave", kind="heading", level=1),
            paragraph(6),
            Block(text="Parental leave", kind="heading", level=2),
            paragraph(6),
            Block(text="Sick leave", kind="heading", level=2),
            paragraph(6),
        ]
    )
    assert [chunk.text.split("\n")[0] for chunk in document.chunks] == ["Leave", "Parental leave", "Sick leave"]
    assert [chunk.context for chunk in document.chunks] == ["Leave", "Leave > Parental leave", "Leave > Sick leave"]


def test_headings_above_one_another_stay_with_the_text_below_them():
    document = build(
        [
            paragraph(8),
            Block(text="Leave", kind="heading", level=1),
            Block(text="Parental leave", kind="heading", level=2),
            paragraph(8),
        ]
    )
    assert document.chunks[1].text.startswith("Leave\n\nParental leave\n\nThe council")
    assert document.chunks[1].context == "Leave > Parental leave"


def test_small_sections_share_a_chunk_instead_of_each_being_a_crumb():
    blocks = []
    for number in range(40):
        blocks += [Block(text=f"Question {number}", kind="heading", level=2), Block(text="Yes, it is so.")]
    chunks = build(blocks).chunks
    assert len(chunks) < 12
    assert all(chunk.token_count >= MIN_TOKENS for chunk in chunks[:-1])


def test_paragraphs_are_packed_until_the_target_and_not_cut():
    document = build([paragraph(5) for _ in range(40)])
    ends = {chunk.text[-1] for chunk in document.chunks}
    assert ends == {"."}
    for chunk in document.chunks[:-1]:
        assert TARGET_TOKENS - 100 <= chunk.token_count <= TARGET_TOKENS


def test_no_chunk_goes_on_over_the_end_of_a_page():
    blocks = [
        Block(text="Rules", kind="heading", level=1, page=1),
        *(paragraph(n, page=page) for page in range(1, 9) for n in (1, 2)),
        Block(text="Last", kind="heading", level=1, page=8),
        paragraph(1, page=9),
    ]
    document = build(blocks)
    for chunk in document.chunks:
        assert document.anchor(chunk.start).page == document.anchor(chunk.end - 1).page == chunk.page
    assert [chunk.page for chunk in document.chunks] == [*range(1, 10)]


def test_sheets_never_share_a_chunk():
    rows = [Block(text=f"n: {n}", kind="row", sheet="A" if n < 3 else "B") for n in range(6)]
    document = build(rows)
    assert [chunk.text.count("n:") for chunk in document.chunks] == [3, 3]
    assert document.anchor(document.chunks[1].start).sheet == "B"


def test_a_table_stays_whole_where_it_fits():
    table = "\n".join(["Name | Year", *(f"Person {n} | {1800 + n}" for n in range(60))])
    document = build([paragraph(12), Block(text=table, kind="table"), paragraph(2)])
    assert sum(table in chunk.text for chunk in document.chunks) == 1


def test_a_long_table_is_cut_between_rows_and_each_part_has_the_header():
    lines = ["Name | Year", *(f"Person number {n} | {1800 + n}" for n in range(300))]
    document = build([Block(text="People", kind="heading", level=1), Block(text="\n".join(lines), kind="table")])
    assert len(document.chunks) > 3
    assert document.chunks[0].context == "People"
    for chunk in document.chunks[1:]:
        assert chunk.context == "People\nName | Year"
        assert set(chunk.text.split("\n")) <= set(lines), "a row is cut in two"
        assert chunk.kind == "table"


def test_a_long_paragraph_is_cut_at_ends_of_sentences():
    chunks = build([paragraph(200)]).chunks
    assert len(chunks) > 5
    assert all(chunk.text.startswith("The council") and chunk.text.endswith("evenings.") for chunk in chunks)


def test_text_without_sentences_is_cut_between_words_and_without_words_anywhere():
    assert all(
        chunk.text.startswith("wordy") and chunk.text.endswith("wordy")
        for chunk in build([Block(text="wordy " * 3000)]).chunks
    )
    assert "".join(chunk.text for chunk in build([Block(text="x" * 50_000)]).chunks) == "x" * 50_000


def test_a_letter_is_not_cut_from_its_accent():
    chunks = build([Block(text="e\u0301" * 5000)]).chunks
    assert all(chunk.text[0] == "e" for chunk in chunks)


def test_a_short_rest_joins_the_chunk_before_it():
    chunks = build([paragraph(25), Block(text="Signed by the chair."), Block(text="And the clerk.")]).chunks
    assert len(chunks) == 1
    crumbs = build([paragraph(200)]).chunks
    assert crumbs[-1].token_count >= MIN_TOKENS


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("word", 1), ("Hello, world!", 4), ("föräldraledighet", 4)])
def test_tokens_are_counted_by_a_stated_rule(text, tokens):
    assert count_tokens(text) == tokens


def test_a_large_document_is_cut_in_little_time():
    pages = [paragraph(6, page=n // 5) for n in range(10_000)]
    begun = time.perf_counter()
    document = build(pages)
    seconds = time.perf_counter() - begun
    assert len(document.chunks) / seconds > 2_000, "it is about 20,000 a second on one core of today"


@pytest.mark.parametrize(
    "text", ["a" * 500_000, "a" + " " * 500_000 + "b", "." * 500_000, "e" + "\u0301" * 200_000, "\n.\n" * 100_000]
)
def test_no_text_takes_more_than_its_length(text):
    begun = time.perf_counter()
    build([Block(text=text), Block(text=text, kind="table")])
    assert time.perf_counter() - begun < 3
