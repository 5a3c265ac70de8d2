"""The full-text index of each collection, in parts."""

from __future__ import annotations

from uuid import UUID

from advanced_alchemy.base import AdvancedDeclarativeBase
from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from folkmoot.kit.db import Base, Tenanted, belongs, referred


class TextSegment(Tenanted, Base):
    """A part of a collection's full-text index: written once, merged with others, never changed."""

    __tablename__ = "text_segments"
    __table_args__ = (referred(), belongs("collection_id", "collections"))

    collection_id: Mapped[UUID] = mapped_column(index=True)
    chunk_count: Mapped[int]
    term_total: Mapped[int] = mapped_column(BigInteger)
    """Words of all its chunks."""
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes of its blocks."""
    languages: Mapped[list[str]] = mapped_column(ARRAY(String))
    chunks: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """Numbers and lengths of its chunks, as `postings.Roll` has them."""


class TextBlock(Tenanted, AdvancedDeclarativeBase):
    """The postings of a run of words, in the order of their keys."""

    __tablename__ = "text_blocks"
    __table_args__ = (belongs("segment_id", "text_segments"),)

    segment_id: Mapped[UUID] = mapped_column(primary_key=True)
    first_key: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    """As `postings.Block` has them."""


class TextDeletion(Tenanted, Base):
    """Chunks that are gone and still stand in segments, until those are merged."""

    __tablename__ = "text_deletions"
    __table_args__ = (belongs("collection_id", "collections"),)

    collection_id: Mapped[UUID] = mapped_column(index=True)
    chunk_count: Mapped[int]
    term_total: Mapped[int] = mapped_column(BigInteger)
    chunks: Mapped[bytes] = mapped_column(LargeBinary)
    """As in `TextSegment`."""
