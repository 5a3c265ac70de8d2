"""Files inside files: each a document of its own, found again when the outer file is read again."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from email.message import EmailMessage
from uuid import UUID

import pytest
from folkmoot_sdk import Member
from sqlalchemy import select, update

from folkmoot.files.models import File
from folkmoot.files.service import FileService
from folkmoot.kit.access import Principal
from folkmoot.knowledge.members import Members, NestedTooDeep
from folkmoot.knowledge.models import Document
from folkmoot.knowledge.store import Gone, Reading
from folkmoot.tenants.models import Tenant


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 1, 12, 30, 0)), content)
    return buffer.getvalue()


class Container:
    """A document that is being read, by this test."""

    def __init__(self, app, owner) -> None:
        self.app, self.owner = app, owner
        self.principal = Principal.system(owner.tenant_id)
        self.reading: Reading

    async def upload(self, name: str = "box.zip") -> Container:
        collection = await self.owner.collection()
        (uploaded,) = await self.owner.upload(collection, (name, b"held"))
        await self.taken(UUID(uploaded["id"]))
        return self

    async def taken(self, document_id: UUID, media_type: str = "application/zip") -> None:
        await self.change(document_id, status="processing", metadata_={"unit": "roads"})
        async with self.app.begin(self.principal) as work:
            row = await work.session.get_one(Document, document_id)
        self.reading = Reading(
            id=row.id,
            tenant_id=row.tenant_id,
            space_id=row.space_id,
            collection_id=row.collection_id,
            name=row.name,
            size=row.size,
            attempts=1,
            storage_key="",
            claim=row.claim,
            media_type=media_type,
        )

    async def change(self, document_id: UUID, **values) -> None:
        async with self.app.begin(self.principal) as work:
            await work.session.execute(update(Document).where(Document.id == document_id).values(**values))

    async def read(self, *pieces: Member) -> list[str]:
        async with Members(self.app, self.reading) as members:
            for piece in pieces:
                await members.take(piece)
            return await members.finish()

    async def inside(self) -> dict[str, Document]:
        async with self.app.begin(self.principal) as work:
            query = select(Document).where(Document.parent_id == self.reading.id).order_by(Document.id)
            return {row.name: row for row in await work.session.scalars(query)}

    async def bytes_of(self, document: Document) -> bytes:
        async with self.app.begin(self.principal) as work:
            file = await work.session.get_one(File, document.file_id)
        pieces = [piece async for piece in self.app.storage.read(document.tenant_id, file.storage_key)]
        return b"".join(pieces)

    async def files(self) -> int:
        async with self.app.begin(self.principal) as work:
            return len(list(await work.session.scalars(select(File.id))))


@pytest.fixture
async def box(app, owner, held):
    """A container that is being read."""
    return await Container(app, owner).upload()


def member(name: str, data: bytes = b"x", **more) -> Member:
    return Member(name, data, last=True, **more)


async def test_a_member_becomes_a_queued_document_below_its_container(box):
    at = datetime(2024, 5, 1, tzinfo=UTC)
    warnings = await box.read(
        Member("mapp/a.txt", b"one ", last=False, media_type="text/plain", modified_at=at),
        Member("mapp/a.txt", b"two", last=True),
        member("b.txt", b""),
    )
    assert warnings == []
    inside = await box.inside()
    assert list(inside) == ["box.zip/mapp/a.txt", "box.zip/b.txt"]
    first = inside["box.zip/mapp/a.txt"]
    assert (first.status, first.size, first.media_type, first.modified_at) == ("queued", 7, "text/plain", at)
    assert first.collection_id == box.reading.collection_id
    assert first.metadata_ == {"unit": "roads"}
    assert await box.bytes_of(first) == b"one two"


async def test_a_large_member_is_stored_whole(box):
    piece = bytes(range(256)) * 4096
    pieces = [Member("a.bin", piece, last=number == 4) for number in range(5)]
    await box.read(*pieces)
    assert await box.bytes_of((await box.inside())["box.zip/a.bin"]) == piece * 5


async def test_reading_again_keeps_what_is_the_same_replaces_what_changed_and_removes_what_is_gone(box):
    await box.read(member("same.txt", b"1"), member("changed.txt", b"1"), member("gone.txt", b"1"))
    before, files = await box.inside(), await box.files()
    await box.change(before["box.zip/same.txt"].id, status="ready")
    await box.change(before["box.zip/changed.txt"].id, status="failed", error_code="corrupt-file")
    await box.read(member("same.txt", b"1"), member("changed.txt", b"2"), member("new.txt", b"1"))
    after = await box.inside()
    assert set(after) == {"box.zip/same.txt", "box.zip/changed.txt", "box.zip/new.txt"}
    same, changed = after["box.zip/same.txt"], after["box.zip/changed.txt"]
    assert (same.id, same.file_id, same.status) == (
        before["box.zip/same.txt"].id,
        before["box.zip/same.txt"].file_id,
        "ready",
    )
    assert (changed.id, changed.status, changed.error_code) == (before["box.zip/changed.txt"].id, "queued", None)
    assert await box.bytes_of(changed) == b"2"
    assert await box.files() == files


async def test_a_member_that_somebody_renamed_is_still_the_same(box):
    await box.read(member("a.txt", b"1"))
    (before,) = (await box.inside()).values()
    await box.change(before.id, name="Beslutet.txt")
    await box.read(member("a.txt", b"2"))
    (after,) = (await box.inside()).values()
    assert (after.id, after.name) == (before.id, "Beslutet.txt")


async def test_a_reading_that_breaks_off_removes_nothing(box):
    await box.read(member("a.txt"), member("b.txt"))
    async with Members(box.app, box.reading) as members:
        await members.take(member("a.txt"))
        await members.take(Member("c.txt", b"half", last=False))
    assert set(await box.inside()) == {"box.zip/a.txt", "box.zip/b.txt"}


async def test_two_members_of_one_name_are_two_documents_and_stay_themselves(box):
    await box.read(member("a.txt", b"1"), member("a.txt", b"2"), member("m/.x/b", b""), member("a (2).txt", b"3"))
    before = await box.inside()
    found = {name: await box.bytes_of(row) for name, row in before.items()}
    assert found == {"box.zip/a.txt": b"1", "box.zip/a (2).txt": b"2", "box.zip/a (2) (2).txt": b"3"}
    await box.read(member("a.txt", b"1"), member("a.txt", b"2"), member("a (2).txt", b"3"))
    assert {row.id for row in (await box.inside()).values()} == {row.id for row in before.values()}


@pytest.mark.parametrize("name", ["__MACOSX/._a.txt", "a/.DS_Store", "Thumbs.db", "a/desktop.ini", "~$a.docx", ".env"])
async def test_what_systems_put_beside_files_is_left_out(box, name):
    assert await box.read(Member(name, b"x", last=False), member(name), member("a.txt")) == []
    assert set(await box.inside()) == {"box.zip/a.txt"}


async def test_a_problem_is_told_and_the_others_go_on(box):
    warnings = await box.read(
        Member("a.txt", b"half", last=False),
        member("a.txt", b"", problem="a.txt was not read: it is damaged"),
        member("b.txt"),
    )
    assert warnings == ["a.txt was not read: it is damaged"]
    assert set(await box.inside()) == {"box.zip/b.txt"}


async def test_a_member_that_was_whole_before_stays_if_it_is_damaged_now(box):
    await box.read(member("a.txt", b"1"))
    await box.read(member("a.txt", b"", problem="a.txt was not read: it is damaged"))
    assert set(await box.inside()) == {"box.zip/a.txt"}


async def test_a_member_that_no_quota_has_room_for_is_named_and_the_others_go_on(box):
    async with box.app.begin(Principal.platform()) as work:
        used = await work.session.get_one(Tenant, box.reading.tenant_id)
        used.max_storage_bytes = 1000
    files = await box.files()
    warnings = await box.read(member("large.txt", bytes(5000)), member("small.txt"))
    assert len(warnings) == 1
    assert warnings[0].startswith("large.txt was not taken in: there is no room for large.txt")
    assert set(await box.inside()) == {"box.zip/small.txt"}
    assert await box.files() == files + 1


async def test_warnings_come_to_an_end(box):
    many = [member(f"{number}.txt", b"", problem=f"{number}.txt is damaged") for number in range(60)]
    warnings = await box.read(*many)
    assert len(warnings) == 51
    assert warnings[-1] == "10 more files in it were not read"


async def test_an_unchanged_member_is_not_stored_again(box, monkeypatch):
    await box.read(member("a.txt", b"1"))

    async def never(*_):
        raise AssertionError("it was stored again")

    monkeypatch.setattr(FileService, "receive", never)
    await box.read(member("a.txt", b"1"))


@pytest.mark.parametrize("how", ["deleted", "cancelled"])
async def test_nothing_is_added_to_a_container_that_somebody_took_away(box, how):
    async with Members(box.app, box.reading) as members:
        await members.take(member("a.txt"))
        if how == "deleted":
            (await box.owner.delete(f"/documents/{box.reading.id}")).raise_for_status()
        else:
            await box.change(box.reading.id, status="failed", error_code="cancelled")
        files = await box.files()
        with pytest.raises(Gone):
            await members.take(member("b.txt"))
    assert await box.files() == files
    assert len(await box.inside()) == (1 if how == "cancelled" else 0)


async def deeper(box, times: int, media_type: str = "application/zip") -> None:
    """Go on with a container inside the container."""
    for _ in range(times):
        await box.read(member("in.zip"))
        (inner,) = (await box.inside()).values()
        await box.taken(inner.id, media_type)


async def test_a_container_in_three_others_is_not_opened(box):
    await deeper(box, 3)
    assert box.reading.name == "box.zip/in.zip/in.zip/in.zip"
    assert await box.read() == []
    with pytest.raises(NestedTooDeep, match="lies in 3 other archives or mails"):
        await box.read(member("a.txt"))


async def test_a_mail_in_three_others_is_read_without_its_attachments(box):
    await deeper(box, 3, "message/rfc822")
    warnings = await box.read(Member("a.pdf", b"x", last=False), member("a.pdf"), member("b.pdf"))
    assert warnings == [
        "2 files in it were not read, because it lies in 3 other archives or mails: upload it by itself"
    ]
    assert await box.inside() == {}


async def inside(app, owner, document: dict) -> dict[str, dict]:
    """What came in an uploaded document, once all of it is read."""
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        query = select(Document.id).where(Document.parent_id == UUID(document["id"]))
        found = list(await work.session.scalars(query))
    read = [await owner.read_through(str(document_id)) for document_id in found]
    return {item["name"]: item for item in read}


async def test_an_uploaded_archive_is_a_list_and_its_files_are_documents(app, owner):
    collection = await owner.collection()
    nested = zipped({"djupt.txt": b"The lock is opened in April."})
    files = {"a/rules.md": b"# Fences\n\nA fence may be 1.2 metres high.", "bad.pdf": b"%PDF-1.7 no", "in.zip": nested}
    (document,) = await owner.knows(collection, ("box.zip", zipped(files)))
    assert (document["media_type"], document["warnings"]) == ("application/zip", [])
    text = (await owner.get(f"/documents/{document['id']}/text")).json()
    assert "a/rules.md (41 B)" in str(text)
    found = await inside(app, owner, document)
    assert {name: item["status"] for name, item in found.items()} == {
        "box.zip/a/rules.md": "ready",
        "box.zip/bad.pdf": "failed",
        "box.zip/in.zip": "ready",
    }
    assert found["box.zip/bad.pdf"]["error"]["code"] == "corrupt-file"
    assert found["box.zip/a/rules.md"]["media_type"] == "text/markdown"
    deep = await inside(app, owner, found["box.zip/in.zip"])
    assert deep["box.zip/in.zip/djupt.txt"]["status"] == "ready"


async def test_an_archive_of_itself_comes_to_an_end(app, owner):
    collection = await owner.collection()
    data = zipped({"a.txt": b"words"})
    for _ in range(5):
        data = zipped({"in.zip": data})
    (document,) = await owner.knows(collection, ("box.zip", data))
    states = []
    while found := await inside(app, owner, document):
        (document,) = found.values()
        states.append((document["status"], (document["error"] or {}).get("code")))
    assert states == [("ready", None), ("ready", None), ("failed", "nested-too-deep")]


async def test_an_uploaded_mail_is_read_with_what_is_attached_to_it(app, owner):
    collection = await owner.collection()
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "asa@kommun.se", "bo@example.org", "Beslut om slussen"
    letter["Date"] = "Wed, 01 May 2024 12:30:00 +0200"
    letter.set_content("The lock is opened on Monday.")
    letter.add_attachment("A fence may be 1.2 metres high.", filename="rules.txt")
    (document,) = await owner.knows(collection, ("a.eml", bytes(letter)))
    assert document["media_type"] == "message/rfc822"
    found = await inside(app, owner, document)
    assert {name: item["status"] for name, item in found.items()} == {"a.eml/rules.txt": "ready"}
