from __future__ import annotations

import io
import struct
import zipfile

import folkmoot_parser_archive as archive
import pytest
import pyzipper
from folkmoot_sdk import CorruptFile, EncryptedFile, TooLarge, UnsupportedFile
from folkmoot_sdk.testing.parsers import Broken, ParserConformance, Sample

FILES = {"Läs mig.txt": "Slussen öppnades 1843.".encode(), "mapp/tom.txt": b"", "mapp/djup/stor.bin": b"ab" * 800_000}


def aes(files: dict[str, bytes], password: str) -> bytes:
    buffer = io.BytesIO()
    with pyzipper.AESZipFile(buffer, "w", compression=pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES) as made:
        made.setpassword(password.encode())
        for name, content in files.items():
            made.writestr(name, content)
    return buffer.getvalue()


def zip64(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in files.items():
            with made.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                file.write(content)
    data = buffer.getvalue()
    end = data.rfind(b"PK\x05\x06")
    _, _, count, _, size, offset = struct.unpack_from("<HHHHII", data, end + 4)
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    return data[:end] + record + locator + b"PK\x05\x06" + b"\0" * 4 + b"\xff" * 12 + b"\0\0"


class TestArchive(ParserConformance):
    plugin = "folkmoot_parser_archive"
    spec = archive.register_parsers()[0]

    @pytest.fixture(autouse=True)
    def _made(self, pack, raw):
        self.pack = pack
        self.crypted = raw.add(b"hemlig.txt", b"mellan fyra ogon", password=b"nyckel").done()

    def samples(self) -> list[Sample]:
        listed = ("Läs mig.txt (23 B)", "mapp/tom.txt (0 B)", "mapp/djup/stor.bin (1.6 MB)")
        small = {"a.txt": b"A", "b/c.txt": b"B"}
        return [
            Sample("packed.zip", self.pack(FILES), "application/zip", listed, members=FILES),
            Sample("stored.zip", self.pack(FILES, zipfile.ZIP_STORED), "application/zip", members=FILES),
            Sample("zip64.zip", zip64(small), "application/zip", ("a.txt", "b/c.txt"), members=small),
            Sample("aes.zip", aes(FILES, "nyckel å"), "application/zip", password="nyckel å", members=FILES),
            Sample(
                "old.zip",
                self.crypted,
                "application/zip",
                password="nyckel",
                members={"hemlig.txt": b"mellan fyra ogon"},
            ),
        ]

    def broken(self) -> list[Broken]:
        data = self.pack(FILES)
        return [
            Broken("half.zip", data[: len(data) // 2], CorruptFile),
            Broken("words.zip", b"only words", CorruptFile),
            Broken("rar.zip", b"Rar!\x1a\x07\x01\x00" + bytes(200), CorruptFile),
            Broken("part.zip", data[:-18] + b"\x02" + data[-17:], UnsupportedFile),
            Broken("locked.zip", aes(FILES, "nyckel"), EncryptedFile),
            Broken("other.zip", aes(FILES, "nyckel"), EncryptedFile, password="annan"),
            Broken("many.zip", self.pack({f"{at}.txt": b"" for at in range(2001)}), TooLarge),
        ]
