"""Uploaded files."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Tenanted, referred


class File(Tenanted, Base):
    """Bytes as uploaded. They lie encrypted in the storage, under `storage_key`."""

    __tablename__ = "files"
    __table_args__ = (referred(),)

    name: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(index=True)
    """Of the bytes as uploaded, in hex."""
    storage_key: Mapped[str]
