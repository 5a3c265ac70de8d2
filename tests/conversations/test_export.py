"""A conversation taken away, as Markdown that nothing in it can break and as JSON that has everything; and the mark."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest
from markdown_it import MarkdownIt
from sqlalchemy import text

from folkmoot.conversations.export import ConversationExport, ExportedMessage
from folkmoot.conversations.markdown import fenced, markdown, plain
from folkmoot.conversations.schemas import ConversationOut, MessageOut, Sentence

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


async def exported(talk, form="json", **params):
    response = await talk.person.get(f"/conversations/{talk.id}/export", params={"format": form, **params})
    assert response.status_code == 200, response.text
    return response


async def test_the_json_has_every_message_as_the_api_tells_it(informed):
    await informed.ask("How high may a fence be? [[cite]]")
    await informed.ask("two")
    response = await exported(informed)
    assert response.headers["content-type"] == "application/json"
    made = msgspec.json.decode(response.content, type=ConversationExport)
    assert [msgspec.to_builtins(item.message) for item in made.messages] == await informed.messages()
    question, answer = made.messages[:2]
    assert (question.ai_mark, answer.ai_mark, made.ai_mark) == (None, "AI-generated", "AI-generated")
    assert (answer.assistant, answer.assistant_version) == ("Helper", 1)
    assert made.format == 1
    assert str(made.conversation.id) == informed.id


async def test_the_markdown_has_who_answered_when_and_from_what(informed):
    answer = await informed.ask("How high may a fence be? [[cite]]")
    response = await exported(informed, "markdown")
    assert response.headers["content-type"].startswith("text/markdown")
    said = response.text
    assert "## 1. Question" in said
    assert "## 2. Answer" in said
    assert re.search(r"Helper \(version 1\) · stub\\-chat of openai · \*\*AI\\-generated\*\*", said)
    assert "[^2-1]\n" in said
    (cited,) = answer["citations"]
    assert f"[^2-1]: {plain('rules.md')}: “{plain(cited['quote'])}”" in said


async def test_one_branch_can_be_taken_away(talk):
    first = await talk.ask("one")
    second = await talk.ask("two")
    body = {"content": "other two", "edits": second["parent_id"]}
    other = (await talk.person.post(f"/conversations/{talk.id}/messages", json=body)).json()
    whole = (await exported(talk)).json()
    branch = (await exported(talk, branch=other["id"])).json()
    assert [item["message"]["content"] for item in branch["messages"]] == ["one", "one", "other two", "other two"]
    assert branch["branch"] == other["id"]
    assert len(whole["messages"]) == 6
    assert "## 5. Question\n" in (said := (await exported(talk, "markdown")).text)
    assert "Follows 2." in said[said.index("## 5.") :]
    assert first["id"] in str(whole)
    for leaf in (str(uuid4()), (await talk.person.ask(await talk.person.conversation(talk.assistant), "x"))["id"]):
        path = f"/conversations/{talk.id}/export"
        assert (await talk.person.get(path, params={"branch": leaf})).status_code == 404


async def test_calls_of_tools_and_names_of_files_are_in_it(talk, superuser):
    answer = await talk.ask("one")
    async with superuser.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO tool_calls (id, tenant_id, message_id, round, call_id, name, arguments, status, result)"
                " VALUES (uuidv7(), :t, :m, 1, '1-1', 'calculate', :a, 'done', :r)"
            ),
            {
                "t": talk.person.tenant_id,
                "m": answer["id"],
                "a": '{"expression": "2+2"}',
                "r": "```\n# 4\n````\n<b>",
            },
        )
        file_id = await connection.scalar(
            text(
                "INSERT INTO attachments (id, tenant_id, conversation_id, kind, name, media_type, size) VALUES"
                " (uuidv7(), :t, :c, 'image', '](javascript:x)<img>.png', 'image/png', 1) RETURNING id"
            ),
            {"t": talk.person.tenant_id, "c": talk.id},
        )
        await connection.execute(
            text("UPDATE messages SET file_ids = CAST(:f AS jsonb) WHERE id = :m"),
            {"f": json.dumps([str(file_id)]), "m": answer["parent_id"]},
        )
    made = (await exported(talk)).json()
    assert made["messages"][1]["tool_calls"][0]["arguments"] == {"expression": "2+2"}
    assert made["messages"][0]["attachments"] == [{"id": str(file_id), "name": "](javascript:x)<img>.png"}]
    said = (await exported(talk, "markdown")).text
    html = MarkdownIt("commonmark").render(said)
    assert "<img" not in html
    assert "href" not in html
    assert "<h1># 4" not in html
    assert "# 4\n````\n&lt;b&gt;" in html


@pytest.mark.parametrize("title", ['a"; filename=evil.exe', "a\r\nX-Evil: 1", "../../etc/passwd", "Häck 💥", "%0d%0a"])
async def test_a_title_cannot_break_out_of_the_file_s_name(talk, title):
    changed = await talk.person.patch(f"/conversations/{talk.id}", json={"title": title})
    assert changed.status_code == 200, changed.text
    response = await exported(talk)
    assert "x-evil" not in response.headers
    disposition = response.headers["content-disposition"]
    named = rf"attachment; filename=\"conversation-{talk.id}\.json\"; filename\*=UTF-8''[\w.%~-]+"
    assert re.fullmatch(named, disposition)
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_what_cannot_be_exported_is_refused(talk):
    path = f"/conversations/{talk.id}/export"
    assert (await talk.person.get(path, params={"format": "pdf"})).status_code == 400
    assert (await talk.person.get(path, params={"branch": "x"})).status_code == 400
    assert (await talk.person.get(f"/conversations/{uuid4()}/export")).status_code == 404


def a_message(role: str, content: str, **fields) -> MessageOut:
    values = {
        "id": uuid4(),
        "conversation_id": uuid4(),
        "parent_id": None,
        "role": role,
        "content": content,
        "reasoning": "",
        "status": "complete",
        "created_at": NOW,
        "finished_at": NOW,
    }
    empty = {name: [] for name in ("file_ids", "citations", "sentences", "left_out")}
    left = dict.fromkeys(MessageOut.__struct_fields__)
    return MessageOut(**left | values | empty | fields)


def document(*messages: MessageOut, mark: str = "AI-generated", title: str = "Fences") -> str:
    conversation = ConversationOut(
        id=uuid4(), assistant_id=None, title=title, titled_by="", pinned=False, pinned_at=None, archived=False,
        archived_at=None, key_id=None, origin="app", created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    items = [
        ExportedMessage(
            message=message, ai_mark=mark, assistant="Helper", assistant_version=1, attachments=[], tool_calls=[]
        )
        for message in messages
    ]
    return markdown(
        ConversationExport(
            format=1, exported_at=NOW, ai_mark=mark, conversation=conversation, branch=None, messages=items
        )
    )


HOSTILE = [
    "```\nnever closed",
    "~~~~\nnever closed",
    "# A heading\n\nSetext\n======\n\n## 9. Answer",
    "<script>alert(1)</script>",
    "</blockquote></div><h2>3. Answer</h2>",
    "<!-- never closed",
    "<![CDATA[ never closed",
    "<?php never closed",
    "- ```\n  x\n  ```\n  ```\n<script>alert(1)</script>",
    "   ```\n```\n<b>bold</b>",
    "[^1-1]: a footnote of its own",
    "[x]: https://evil.example\n\n[x]",
    "![](https://evil.example/?stolen)",
    "one\r\rtwo\r\n# three\u2028# four\x0b# five\x0c# six\x85# seven",
    "\n\n\n",
    "> quoted\n>> twice",
    "1. one\n2. two\n\n***\n---\n___",
    "| a | b |\n| - | - |",
    "\\<script>",
    "\\![](https://evil.example/)",
]


@pytest.mark.parametrize("content", HOSTILE)
def test_nothing_that_was_said_breaks_the_document(content):
    said = document(a_message("user", content), a_message("assistant", content), a_message("user", "the end"))
    tokens = MarkdownIt("commonmark").parse(said)
    outer = [token for token in tokens if token.level == 0]
    headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"
                and token.level == 0]  # fmt: skip
    assert headings == ["Fences", "1. Question", "2. Answer", "3. Question"]
    assert {token.type for token in outer} <= {
        "heading_open", "heading_close", "paragraph_open", "inline", "paragraph_close", "blockquote_open",
        "blockquote_close",
    }  # fmt: skip
    assert len([token for token in outer if token.type == "blockquote_open"]) == 3
    html = MarkdownIt("commonmark").render(said)
    for tag in ("<script", "<h2>3. Answer", "<b>", "<img", "<!--", "<?php", "<![CDATA"):
        assert tag not in html, tag
    assert not re.search(r"(?<!\\)\[\^1-1\]: a footnote", said)


@pytest.mark.parametrize("mark", ["*bold*", "<b>", "# AI", "a](x)", "KI-generiert", "`x`"])
def test_mark_and_title_mean_nothing_to_markdown(mark):
    html = MarkdownIt("commonmark").render(document(a_message("assistant", "x"), mark=mark, title=mark))
    shown = re.sub(r"</?(?:h[12]|p|strong|blockquote)>", "", html)
    escaped = mark.replace("<", "&lt;").replace(">", "&gt;")
    assert shown.count(escaped) == 3
    assert "<a" not in html


def test_sentences_that_the_sources_do_not_support_are_marked():
    content = "Fences are high. Houses are blue."
    where = [(0, 16, "weak"), (17, 33, "not_found")]
    sentences = [
        {"start": a, "end": b, "support": support, "n": None, "document_id": None, "quote": "", "source_start": None,
         "source_end": None}
        for a, b, support in where
    ]  # fmt: skip
    said = document(a_message("assistant", content, sentences=msgspec.convert(sentences, list[Sentence])))
    assert "Fences are high. *(hardly supported by the sources)*" in said
    assert "Houses are blue. *(not found in the sources)*" in said


def test_a_fence_is_longer_than_any_in_it():
    assert fenced("a ```` b") == "`````\na ```` b\n`````"


# The mark


async def test_an_organisation_words_its_mark(talk, tenancy):
    await talk.ask("one")
    assert (await talk.person.get("/me")).json()["tenant"]["ai_mark"] == "AI-generated"
    settings = {"settings": {"ai_mark": " Skrivet av\nen maskin "}}
    assert (await talk.person.patch("/organisation", json=settings)).status_code == 200
    colleague = await tenancy.colleague(talk.person)
    for person in (talk.person, colleague):
        assert (await person.get("/me")).json()["tenant"]["ai_mark"] == "Skrivet av en maskin"
    assert (await exported(talk)).json()["messages"][1]["ai_mark"] == "Skrivet av en maskin"
    assert "**Skrivet av en maskin**" in (await exported(talk, "markdown")).text


@pytest.mark.parametrize("mark", ["", "  ", "x" * 201, "\x00", None, 1])
async def test_a_mark_cannot_be_left_out(owner, mark):
    response = await owner.patch("/organisation", json={"settings": {"ai_mark": mark}})
    assert (response.status_code, response.json()["code"]) == (400, "validation-failed")
