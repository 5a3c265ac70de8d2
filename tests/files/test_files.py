"""Taking in bytes: names without tricks, limits at the byte, nothing left of what did not come whole."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.files.models import File
from folkmoot.files.service import LONGEST_NAME, FileService, clean_name
from folkmoot.kit.access import Principal
from folkmoot.kit.errors import BadRequest, ContentTooLarge


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("plan.pdf", "plan.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\plan.docx", "plan.docx"),
        ("/plan.pdf", "plan.pdf"),
        ("a\x00b\x07.txt", "ab.txt"),
        ("\u202etxt.exe", "txt.exe"),
        ("  two   spaces .txt ", "two spaces .txt"),
        ("A\u030angsta\u0308lle.pdf", "Ångställe.pdf"),
        ("\ud800half.txt", "?half.txt"),
        (".hidden", ".hidden"),
    ],
)
def test_a_name_is_what_people_see_of_it(given_name, kept):
    assert clean_name(given_name) == kept


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/..", "\x00", "\u200b", "   "])
def test_a_name_of_nothing_is_refused(name):
    with pytest.raises(BadRequest) as refused:
        clean_name(name)
    assert refused.value.code == "file-name-missing"


def test_a_long_name_keeps_its_suffix():
    name = clean_name("x" * 400 + ".docx")
    assert len(name) == LONGEST_NAME
    assert name.endswith(".docx")
    assert len(clean_name("y" * 400)) == LONGEST_NAME
    assert len(clean_name("y." + "z" * 400)) == LONGEST_NAME


@given(st.text(max_size=400))
def test_no_name_gets_out_of_its_folder(name):
    try:
        kept = clean_name(name)
    except BadRequest:
        return
    assert 0 < len(kept) <= LONGEST_NAME
    assert not set(kept) & set("/\\\x00\r\n")
    assert kept not in (".", "..")
    assert not {unicodedata.category(char) for char in kept} & {"Cc", "Cf", "Cs"}
    assert clean_name(kept) == kept


async def pieces(*parts: bytes):
    for part in parts:
        yield part


@pytest.fixture
async def principal(owner):
    return Principal.system(owner.tenant_id)


async def test_bytes_come_back_as_they_went_in(app, principal):
    file = await FileService(app).receive(principal, "plan.txt", pieces(b"one ", b"", b"two", b" \x00\xff"))
    whole = b"one two \x00\xff"
    assert (file.size, file.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    back = b"".join([part async for part in app.storage.read(principal.tenant, file.storage_key)])
    assert back == whole
    async with app.begin(principal) as work:
        row = await work.session.get_one(File, file.id)
        assert (row.size, row.sha256, row.name) == (file.size, file.sha256, "plan.txt")


@pytest.mark.parametrize("over", [0, 1])
async def test_the_limit_is_kept_to_the_byte(changed, principal, count, over):
    app = changed(max_upload_bytes=1000)
    receiving = FileService(app).receive(principal, "plan.txt", pieces(b"x" * 600, b"y" * (400 + over)))
    if over:
        with pytest.raises(ContentTooLarge):
            await receiving
    else:
        assert (await receiving).size == 1000
    assert await count("files", f"tenant_id = '{principal.tenant}'") == 1 - over


async def test_a_sender_that_breaks_off_leaves_no_row(app, principal, count):
    async def breaking():
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await FileService(app).receive(principal, "plan.txt", breaking())
    assert await count("files", f"tenant_id = '{principal.tenant}'") == 0


async def test_removing_twice_is_harmless_and_another_tenant_removes_nothing(app, principal, tenancy, count):
    service = FileService(app)
    file = await service.receive(principal, "plan.txt", pieces(b"words"))
    stranger = await tenancy.owner()
    await service.remove(stranger.tenant_id, file.id)
    assert await count("files", f"id = '{file.id}'") == 1
    await service.remove(principal.tenant, file.id)
    await service.remove(principal.tenant, file.id)
    assert await count("files", f"id = '{file.id}'") == 0
