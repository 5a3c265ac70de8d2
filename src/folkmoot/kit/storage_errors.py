"""What can go wrong with stored files.

StorageError
├── Missing          nothing lies under the key
├── TooBig           more than the limit came in; nothing was kept
├── InvalidKey       a key that could mean another place
├── BadStorageUrl    not a URL of a store that we know
└── StorageFailed    the store itself failed: disk full, bucket away, credentials wrong
crypto.Tampered      what lies there is not what was written
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PreconditionError

LONGEST_KEY = 512
"""Characters of a storage key."""


class StorageError(Exception):
    """A file could not be stored, read or removed."""


class Missing(StorageError):
    """Nothing lies under the key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no file is stored under {key!r}: it was removed or replaced, or never came in whole")
        self.key = key


class TooBig(StorageError):
    """More came in than may; nothing of it was kept."""

    def __init__(self, limit: int, key: str) -> None:
        super().__init__(f"{key!r} is larger than {limit} bytes, the most that is taken: send a smaller file")
        self.limit = limit
        self.key = key


class InvalidKey(StorageError):
    """A key that could mean another place than it says."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"{key!r} cannot be a storage key: use parts of a-z, 0-9, `_`, `-` and `.` divided by single slashes, "
            f"none of them `.` or `..`, {LONGEST_KEY} characters at most"
        )


class BadStorageUrl(StorageError):
    """Not a URL of a store that we know."""


class StorageFailed(StorageError):
    """The store itself failed; the cause has its words, which may name paths of the machine."""

    def __init__(self, key: str, cause: Exception) -> None:
        super().__init__(f"the file store failed at {key!r} ({type(cause).__name__}): see the log, and try again")
        self.key = key


@contextmanager
def told(key: str, *, reading: bool = True) -> Generator[None]:
    """Say what obstore raises in our words."""
    try:
        yield
    except (FileNotFoundError, PreconditionError) as error:
        raise (Missing(key) if reading else StorageFailed(key, error)) from error
    except (BaseError, OSError) as error:
        raise StorageFailed(key, error) from error
