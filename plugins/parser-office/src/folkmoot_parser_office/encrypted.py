"""Opening Word, PowerPoint and Excel files that are protected with a password, in memory.

Office puts the whole package, encrypted, into a container of the old kind ([MS-OFFCRYPTO], 2.3.4).
msoffcrypto-tool does the arithmetic; what is unsound in a hostile file is refused before it gets to see it.
"""

from __future__ import annotations

import importlib
import io
from typing import Any

import msgspec
from folkmoot_sdk import CorruptFile, EncryptedFile, Source, TooLarge

from folkmoot_parser_office.cfb import CFB_MAGIC, directory_names

MOST_BYTES = 200 << 20
"""Of the encrypted file, which is in memory three times while it is opened."""
MOST_ROUNDS = 1_000_000
"""Of hashing the password; Office and LibreOffice do 100,000, and the format allows a day's work."""
_LONGEST_INFO = 1 << 20


def is_encrypted(source: Source) -> bool:
    """Whether the file is the container that Office puts around a password."""
    source.file.seek(0)
    if source.file.read(len(CFB_MAGIC)) != CFB_MAGIC:
        return False
    source.file.seek(0)
    return "EncryptedPackage" in directory_names(source.file.read(MOST_BYTES))


def unlock(source: Source) -> Source:
    """The package inside, as a file of its own. Raises `EncryptedFile` without the right password."""
    if not source.password:
        raise EncryptedFile(
            f"{source.name!r} is protected with a password: give it with the file, "
            "or remove it in Office and upload the file again"
        )
    if source.size > MOST_BYTES:
        raise TooLarge(
            f"{source.name!r} is too large to be opened with a password here: remove the password and upload it again"
        )
    try:
        data = _decrypted(source)
    except (EncryptedFile, CorruptFile, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "InvalidKeyError":
            raise EncryptedFile(
                f"{source.name!r} does not open with the password that was given: check it and try again"
            ) from error
        raise EncryptedFile(
            f"{source.name!r} is protected in a way that cannot be opened here: "
            "remove the protection in Office and upload it again"
        ) from error
    return msgspec.structs.replace(source, file=io.BytesIO(data), size=len(data), password=None)


def _decrypted(source: Source) -> bytes:
    olefile: Any = importlib.import_module("olefile")
    ooxml: Any = importlib.import_module("msoffcrypto.format.ooxml")
    source.file.seek(0)
    container = olefile.OleFileIO(source.file)
    # The description is XML, and the library reads it with a parser that knows entities.
    info: bytes = container.openstream("EncryptionInfo").read(_LONGEST_INFO)
    if b"<!" in info:
        raise CorruptFile(f"{source.name!r} has a description of its protection that Office never writes")
    package = ooxml.OOXMLFile(source.file)
    if package.info.get("spinValue", 0) > MOST_ROUNDS:
        raise CorruptFile(f"{source.name!r} asks for more work than any password is worth: save it anew from Office")
    package.load_key(password=source.password, verify_password=True)
    out = io.BytesIO()
    package.decrypt(out)
    return out.getvalue()
