from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

import pytest


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 1, 12, 30, 0)), content, method)
    return buffer.getvalue()


class Cipher:
    """The old encryption of zip, as the format's description (APPNOTE 6.1) has it; `zipfile` only undoes it."""

    def __init__(self, password: bytes) -> None:
        self.keys = [0x12345678, 0x23456789, 0x34567890]
        for byte in password:
            self.turn(byte)

    @staticmethod
    def crc(value: int, byte: int) -> int:
        return (zlib.crc32(bytes([byte]), value ^ 0xFFFFFFFF) ^ 0xFFFFFFFF) & 0xFFFFFFFF

    def turn(self, byte: int) -> None:
        self.keys[0] = self.crc(self.keys[0], byte)
        self.keys[1] = ((self.keys[1] + (self.keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        self.keys[2] = self.crc(self.keys[2], self.keys[1] >> 24)

    def encrypt(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            key = self.keys[2] | 2
            out.append(byte ^ ((key * (key ^ 1) >> 8) & 0xFF))
            self.turn(byte)
        return bytes(out)


class Raw:
    """An archive written by hand, entry by entry, so that each may lie."""

    def __init__(self) -> None:
        self.body, self.directory, self.count = bytearray(), bytearray(), 0

    def add(
        self,
        name: bytes,
        data: bytes,
        *,
        flags: int = 0,
        method: int = 0,
        packed: bytes | None = None,
        size: int | None = None,
        offset: int | None = None,
        attributes: int = 0,
        system: int = 3,
        extra: bytes = b"",
        password: bytes = b"",
    ) -> Raw:
        packed = data if packed is None else packed
        crc = zlib.crc32(data)
        if password:
            flags |= 1
            packed = Cipher(password).encrypt(random.Random(7).randbytes(11) + bytes([crc >> 24]) + packed)
        size = len(data) if size is None else size
        common = struct.pack("<HHHHHIIIHH", 20, flags, method, 0, 0x58A1, crc, len(packed), size, len(name), len(extra))
        at = len(self.body) if offset is None else offset
        if offset is None:
            self.body += b"PK\x03\x04" + common + name + extra + packed
        made = struct.pack("<BB", 20, system)
        tail = struct.pack("<HHHII", 0, 0, 0, attributes, at)
        self.directory += b"PK\x01\x02" + made + common + tail + name + extra
        self.count += 1
        return self

    def done(self, entries: int | None = None, disk: int = 0) -> bytes:
        count = min(self.count if entries is None else entries, 0xFFFF)
        end = struct.pack("<HHHHIIH", disk, disk, count, count, len(self.directory), len(self.body), 0)
        return bytes(self.body) + bytes(self.directory) + b"PK\x05\x06" + end


@pytest.fixture(scope="session")
def pack():
    """An archive of these files, as `zipfile` writes it."""
    return zipped


@pytest.fixture
def raw():
    """An archive to be written by hand."""
    return Raw()
