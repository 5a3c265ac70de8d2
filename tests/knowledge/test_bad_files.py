"""Files that are broken, hostile or not what they say: each gets its own clear answer, and nobody else notices."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from folkmoot.assemble import assemble
from folkmoot.main import create_app
from tests.support import documents
from tests.support.people import Tenancy

GOOD = b"# Fences\n\nA fence along the street may be 1.2 metres high."


async def read(owner, name: str, data: bytes) -> tuple[dict, dict]:
    """The document of a file, read through, and the good one that was uploaded after it."""
    collection = await owner.collection()
    bad, good = await owner.upload(collection, (name, data), ("good.md", GOOD))
    return await owner.read_through(bad["id"], 60), await owner.read_through(good["id"], 60)


def is_sentence(message: str, name: str) -> bool:
    """Names the file, and says more than a code would."""
    return name in message and len(message.split()) >= 6 and "Traceback" not in message


def half_word() -> bytes:
    whole = documents.word("A report on fences.")
    return whole[: len(whole) // 2]


def half_pdf() -> bytes:
    whole = documents.long_pdf(3)
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("half.docx", half_word, "corrupt-file"),
        ("half.pdf", half_pdf, "corrupt-file"),
        ("locked.pdf", lambda: documents.pdf("Nobody may read this.", password="secret"), "encrypted-file"),
        ("locked.docx", documents.encrypted_office, "encrypted-file"),
        ("hollow.pdf", documents.pdf_without_pages, "corrupt-file"),
        ("letter.pdf", lambda: b"Dear all,\nthis is plain text under a wrong name.\n", "wrongly-named-file"),
        ("picture.docx", documents.png, "wrongly-named-file"),
        ("picture.png", documents.png, "unsupported-file"),
        ("noise.bin", lambda: bytes(range(256)) * 64, "unsupported-file"),
        ("archive.zip", documents.zip_bomb, "file-too-large"),
        ("bomb.docx", documents.docx_bomb, "file-too-large"),
        ("bomb.xlsx", documents.xlsx_bomb, "file-too-large"),
        ("laughs.docx", documents.laughs, "corrupt-file"),
    ],
)
async def test_a_bad_file_fails_with_a_sentence_and_the_next_one_is_read(owner, name, make, code):
    bad, good = await read(owner, name, await asyncio.to_thread(make))
    assert bad["status"] == "failed", bad
    assert bad["error"]["code"] == code, bad["error"]
    assert is_sentence(bad["error"]["message"], name), bad["error"]
    assert bad["error"]["retry_at"] is None
    assert good["status"] == "ready"
    original = await owner.get(f"/documents/{bad['id']}/content")
    assert len(original.content) == bad["size"] > 0


async def test_an_empty_file_is_told_apart_from_one_without_text(owner):
    bad, good = await read(owner, "empty.txt", b"")
    assert good["status"] == "ready"
    told = bad["error"]["message"] if bad["status"] == "failed" else bad["warnings"][0]
    assert len(told.split()) >= 4
    assert bad["size"] == 0
    assert bad["chunk_count"] == 0


async def test_a_pdf_that_is_called_docx_is_read_by_what_it_is(owner):
    read_as, _ = await read(owner, "rules.docx", documents.pdf("Fences may be 1.2 metres high along the street."))
    assert (read_as["status"], read_as["media_type"]) == ("ready", "application/pdf")
    assert "1.2 metres" in (await owner.get(f"/documents/{read_as['id']}/text")).json()["text"]


async def test_a_word_file_that_is_called_txt_is_read_by_what_it_is(owner):
    read_as, _ = await read(owner, "rules.txt", documents.word("Fences may be 1.2 metres high."))
    assert read_as["status"] == "ready"
    assert read_as["media_type"].endswith("wordprocessingml.document")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "latin-1", "utf-8"])
async def test_text_in_any_common_encoding_is_read_right(owner, codec):
    words = "Höjden på ett plank får vara högst en meter och åttio centimeter vid tomtgränsen mot gatan.\n" * 5
    document, _ = await read(owner, "plank.txt", words.encode(codec))
    assert document["status"] == "ready", document
    found = (await owner.get(f"/documents/{document['id']}/text")).json()["text"]
    assert found.split() == words.split()
    assert document["language"] == "sv"


async def test_bytes_that_are_no_utf8_do_not_lose_the_rest(owner):
    document, _ = await read(
        owner, "torn.txt", b"The first line is sound.\n\xff\xfe\xc3( broken \x80\nSo is the last one.\n"
    )
    if document["status"] == "ready":
        found = (await owner.get(f"/documents/{document['id']}/text")).json()["text"]
        assert "first line is sound" in found
        assert "So is the last one" in found
        assert "\x00" not in found
    else:
        assert is_sentence(document["error"]["message"], "torn.txt")


async def test_nul_bytes_within_text_never_reach_the_database(owner):
    document, _ = await read(owner, "nul.txt", b"Before the gap" + b"\x00" * 3 + b"after the gap, and more words.\n")
    assert document["status"] in ("ready", "failed")
    if document["status"] == "ready":
        assert "\x00" not in (await owner.get(f"/documents/{document['id']}/text")).json()["text"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("..\\..\\windows\\win.ini.txt", "win.ini.txt"),
        ("/root/plan.md", "plan.md"),
        ("plan\x00.md", "plan.md"),
        ("invoice\u202efdp.txt", "invoicefdp.txt"),
        ("two\r\nlines.txt", "twolines.txt"),
        ("Bygglov för Åre.txt", "Bygglov för Åre.txt"),
    ],
)
async def test_a_name_keeps_no_folders_and_no_tricks(owner, given, kept):
    collection = await owner.collection()
    boundary = "xyz"
    quoted = given.encode().replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
    body = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="' + quoted
    body += b'"\r\nContent-Type: text/plain\r\n\r\nFences may be high.\r\n--xyz--\r\n'
    response = await owner.post(
        f"/collections/{collection}/documents",
        content=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    if response.status_code == 202:
        name = response.json()["items"][0]["name"]
        assert name.replace("%0D%0A", "") == kept
        assert not re.search(r"[/\\\x00-\x1f\u202e]", name)
    else:
        assert response.status_code == 400, response.text


@pytest.mark.parametrize("name", ["..", "\u202e", "a/.."])
async def test_a_file_without_a_name_is_refused(owner, name):
    collection = await owner.collection()
    response = await owner.post(f"/collections/{collection}/documents", files=[("file", (name, b"words"))])
    assert response.status_code == 400, response.text
    assert response.json()["code"] == "file-name-missing"


async def raw(owner, content: bytes, content_type: str = "multipart/form-data; boundary=xyz"):
    collection = await owner.collection()
    return await owner.post(
        f"/collections/{collection}/documents", content=content, headers={"Content-Type": content_type}
    )


PART = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nSome words.'


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{}", "application/json", 415, "unsupported-content-type"),
        (b"", "multipart/form-data", 415, "unsupported-content-type"),
        (b"--xyz--\r\n", "multipart/form-data; boundary=xyz", 400, "validation-failed"),
        (
            b'--xyz\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--xyz--\r\n',
            None,
            400,
            "validation-failed",
        ),
        (PART, None, 400, "multipart-broken"),
        (PART + b"\r\n--xyz", None, 400, "multipart-broken"),
        (b"--xyz\r\nno header at all", None, 400, "multipart-broken"),
        (b"\x00\xff" * 500, None, 400, "multipart-broken"),
        (b"", None, 400, None),
        (b"--xyz\r\nX: " + b"y" * 20_000 + b"\r\n\r\n1\r\n--xyz--", None, 400, "bad-request"),
    ],
)
async def test_a_body_that_is_no_upload_is_refused_with_its_reason(owner, count, content, content_type, status, code):
    response = await raw(owner, content, content_type or "multipart/form-data; boundary=xyz")
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert code in (None, response.json()["code"]), response.json()
    assert await count("files", f"tenant_id = '{owner.tenant_id}'") == 0


async def test_a_hundred_files_are_taken_at_once_and_one_more_is_not(owner):
    collection = await owner.collection()
    files = [("file", (f"{number}.txt", f"Rule number {number} of this collection.".encode())) for number in range(101)]
    refused = await owner.post(f"/collections/{collection}/documents", files=files)
    assert (refused.status_code, refused.json().get("code")) == (400, "too-many-files")
    assert "100 files" in refused.json()["detail"]
    accepted = await owner.post(f"/collections/{collection}/documents", files=files[:100])
    assert accepted.status_code == 202
    assert len(accepted.json()["items"]) == 100


async def test_a_file_over_the_limit_is_refused_while_it_streams(owner, app, count):
    collection = await owner.collection()
    limit, sent = app.settings.max_upload_bytes, 0

    async def body():
        nonlocal sent
        yield b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="huge.txt"\r\n\r\n'
        while sent < 20 * limit:
            sent += 65536
            yield b"words and more words\n" * 3121
        yield b"\r\n--xyz--\r\n"

    response = await owner.post(
        f"/collections/{collection}/documents",
        content=body(),
        headers={"Content-Type": "multipart/form-data; boundary=xyz"},
    )
    assert response.status_code == 413
    assert response.json()["code"] == "file-too-large"
    assert "huge.txt" in response.json()["detail"]
    assert sent < 2 * limit, "the server went on reading"
    assert await count("files", f"tenant_id = '{owner.tenant_id}'") == 0
    assert (await owner.get(f"/collections/{collection}/documents")).json()["items"] == []


async def test_files_before_the_one_that_is_too_large_stay(owner, app):
    collection = await owner.collection()
    huge = b"x" * (app.settings.max_upload_bytes + 1)
    response = await owner.post(
        f"/collections/{collection}/documents", files=[("file", ("good.md", GOOD)), ("file", ("huge.txt", huge))]
    )
    assert response.status_code == 413
    kept = (await owner.get(f"/collections/{collection}/documents")).json()["items"]
    assert [item["name"] for item in kept] == ["good.md"]
    assert (await owner.read_through(kept[0]["id"]))["status"] == "ready"


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(owner, count):
    collection = await owner.collection()

    async def body():
        yield b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="half.txt"\r\n\r\n' + b"words " * 10_000
        raise ConnectionResetError

    response = await owner.post(
        f"/collections/{collection}/documents",
        content=body(),
        headers={"Content-Type": "multipart/form-data; boundary=xyz"},
    )
    assert response.status_code >= 400
    assert await count("files", f"tenant_id = '{owner.tenant_id}'") == 0
    assert (await owner.get(f"/collections/{collection}/documents")).json()["items"] == []


async def test_the_limits_of_the_settings_are_the_limits(settings):
    """A service of its own with tiny limits: what is refused depends on the setting and not on a constant."""
    async with assemble(replace(settings, max_upload_bytes=10)) as small:
        litestar = create_app(small.settings)
        litestar.state.app = small
        tenancy = Tenancy(small, litestar)
        owner = await tenancy.owner()
        collection = await owner.collection()
        ten = await owner.post(f"/collections/{collection}/documents", files=[("file", ("a.txt", b"0123456789"))])
        eleven = await owner.post(f"/collections/{collection}/documents", files=[("file", ("b.txt", b"0123456789+"))])
        await tenancy.close()
    assert (ten.status_code, eleven.status_code) == (202, 413)
