"""A receipt's statement: what it says, how it is written, signed and checked. Pure, and needs no installation.

It is written as canonical JSON (RFC 8785). Every number in it is a whole one, what else would be a fraction is text,
and every name is ASCII: so sorting by bytes and by UTF-16 is the same, and any canonicaliser gives the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from folkmoot.kit.structs import Struct

ALGORITHM = "Ed25519"
MOST_BYTES = 16 * 1024 * 1024
"""Of a file; an answer with a thousand passages has a twentieth of it."""
MOST_SAFE = 2**53 - 1
"""The largest whole number that every JSON reader keeps."""
_HEX = re.compile(r"[0-9a-f]{64}")


class Software(Struct, frozen=True, kw_only=True):
    name: str
    version: str


class TextHash(Struct, frozen=True, kw_only=True):
    sha256: str
    """Of the text in UTF-8, in hex."""
    characters: int


class AnsweredBy(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    provider: str


class ModelUsed(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    provider: str
    connection_id: UUID | None
    region: str | None
    """Country of the connection or model, as its administrators state it; null: nobody has."""
    in_process: bool
    """True if the text did not leave the installation."""
    instead_of: AnsweredBy | None
    """The model that was asked first and could not answer."""


class AssistantUsed(Struct, frozen=True, kw_only=True):
    id: UUID
    version: int
    version_id: UUID
    instructions_sha256: str


class PromptSent(Struct, frozen=True, kw_only=True):
    round: int
    """From 1; a further one follows the calls of tools."""
    model: str
    sha256: str
    """Of the request as JSON with sorted keys and no white space."""


class SearchMade(Struct, frozen=True, kw_only=True):
    kind: str
    """`search`, `whole` (small sources went along whole), or `nothing`; what tools searched for is among the tools."""
    sha256: str | None
    """Of the words that were searched for; null if nothing was."""
    rewritten_by: AnsweredBy | None
    """The model that made a question of its own out of a follow-up."""


class PassageUsed(Struct, frozen=True, kw_only=True):
    n: int
    document_id: UUID
    document_sha256: str | None
    """Of the file as it was uploaded; null if the document was deleted meanwhile."""
    chunk_id: UUID
    chunk_sha256: str | None
    """Of the passage's text as the model was given it; null if the worker that had it died."""
    page: int | None
    score: str


class CitationGiven(Struct, frozen=True, kw_only=True):
    n: int
    document_id: UUID
    chunk_id: UUID
    page: int | None
    start: int
    end: int
    quote_sha256: str
    support: str | None
    """`supported`, `weak` or `not_found`; null if it was not checked."""


class SentenceChecked(Struct, frozen=True, kw_only=True):
    start: int
    """Offset in the answer, in characters."""
    end: int
    support: str
    n: int | None
    quote_sha256: str | None


class LeftOutOf(Struct, frozen=True, kw_only=True):
    what: str
    count: int


class ToolUsed(Struct, frozen=True, kw_only=True):
    round: int
    call_id: str
    name: str
    tool_id: UUID | None
    status: str
    error: str | None
    arguments_sha256: str
    result_sha256: str
    decided_by: UUID | None
    """Who approved or denied it; null if nobody was asked."""
    decided_at: datetime | None
    finished_at: datetime | None


class AttachmentUsed(Struct, frozen=True, kw_only=True):
    id: UUID
    kind: str
    media_type: str
    size: int
    sha256: str | None


class CallMade(Struct, frozen=True, kw_only=True):
    purpose: str
    model_id: UUID | None
    model: str
    provider: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cost_micros: int
    priced: str
    """`listed`, or `ceiling`: nobody knew the price."""
    estimated: bool
    """The provider told no usage."""
    error: str | None


class UsageOfAnswer(Struct, frozen=True, kw_only=True):
    input_tokens: int
    output_tokens: int
    cost_micros: int
    """Millionths of a unit of the currency: the sum of the calls."""
    currency: str
    estimated: bool
    """Whether some figure is an estimate, or a call may be missing since the process that made it died."""
    calls: list[CallMade]


class ClassThatBound(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    level: int


class EditMade(Struct, frozen=True, kw_only=True):
    at: datetime
    by: UUID
    before_sha256: str
    after_sha256: str


class Statement(Struct, frozen=True, kw_only=True):
    """How one answer came to be. It has no text of people or documents, only hashes of it."""

    type: Literal["folkmoot.receipt"] = "folkmoot.receipt"
    version: Literal[1] = 1
    """Of this form."""
    number: int
    """From 1; a further one tells what changed since."""
    previous_sha256: str | None
    """Of the statement with the number before."""
    issued_at: datetime
    ai_generated: Literal[True] = True
    software: Software
    tenant_id: UUID
    space_id: UUID | None
    conversation_id: UUID
    question_id: UUID
    message_id: UUID
    continues_id: UUID | None
    """The answer that broke off and whose text this one begins with."""
    asked_by: UUID
    key_id: UUID | None
    """The API key that asked."""
    question: TextHash
    attachments: list[AttachmentUsed]
    answer: TextHash
    """As the assistant left it, before any edit."""
    status: str
    """`complete`, `stopped` or `failed`."""
    error: str | None
    """Code, if it failed."""
    finish: str | None
    """Why the model ended, as it says: `stop`, `length`, ..."""
    assistant: AssistantUsed | None
    """Null if it was deleted before the receipt was written."""
    model: ModelUsed | None
    parameters: dict[str, str | int | bool | None]
    """As the assistant has them; a fraction stands as text."""
    prompts: list[PromptSent]
    searches: list[SearchMade]
    passages: list[PassageUsed]
    citations: list[CitationGiven]
    sentences: list[SentenceChecked]
    left_out: list[LeftOutOf]
    """What had no room in the prompt."""
    tools_offered: list[str]
    tools: list[ToolUsed]
    """The calls that the model asked for."""
    classification: list[ClassThatBound]
    """Data classes that bound where the text could go."""
    usage: UsageOfAnswer
    edits: list[EditMade]
    asked_at: datetime
    first_text_at: datetime | None
    finished_at: datetime | None

    def texts(self) -> list[str]:
        """Hashes of the answer as it was written, and after each edit."""
        return [self.answer.sha256, *(edit.after_sha256 for edit in self.edits)]


class Receipt(Struct, frozen=True, kw_only=True):
    """A signed statement, as it is handed out."""

    statement: Statement
    signature: str
    """Over the statement as canonical JSON, in base64."""
    key_id: str
    public_key: str
    """Its 32 bytes in base64. Whom it belongs to, the receipt itself cannot prove."""
    algorithm: str
    number: int


class Refused(Exception):
    """A receipt that is not good; says why in a sentence."""


def canonical(statement: Any) -> bytes:
    return msgspec.json.encode(statement, order="sorted")


def sha256(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def hash_of_text(text: str) -> TextHash:
    return TextHash(sha256=sha256(text), characters=len(text))


# keys


@dataclass(frozen=True)
class Key:
    """A public key under its name."""

    public: bytes

    @property
    def id(self) -> str:
        return sha256(self.public)[:16]

    @property
    def text(self) -> str:
        return base64.b64encode(self.public).decode()

    def jwk(self) -> dict[str, str]:
        """RFC 8037."""
        x = base64.urlsafe_b64encode(self.public).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": ALGORITHM, "x": x, "kid": self.id, "use": "sig", "alg": "EdDSA"}


def key_of(seed: bytes) -> tuple[Ed25519PrivateKey, Key]:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return private, Key(private.public_key().public_bytes_raw())


def read_key(text: str) -> Key:
    """A key as base64, with or without the alphabet of URLs, or as hex. Raises `Refused`."""
    text = text.strip()
    if _HEX.fullmatch(text.lower()):
        return Key(bytes.fromhex(text))
    try:
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise Refused("a public key is 32 bytes, as base64 or as hex: that is none")
    return Key(raw)


def read_keys(data: bytes) -> list[Key]:
    """Those of a file as `folkmoot receipt keys` and `/.well-known/receipt-keys.json` give it. Raises `Refused`."""
    said = _parsed(data, "the file of keys")
    listed = said.get("keys")
    if not isinstance(listed, list) or not listed:
        raise Refused("the file of keys has no `keys`: get it by `folkmoot receipt keys`")
    objects = [cast("dict[str, Any]", item) for item in cast("list[Any]", listed) if isinstance(item, dict)]
    found = [read_key(str(item.get("x", ""))) for item in objects if item.get("crv") == ALGORITHM]
    if not found:
        raise Refused("the file of keys has none of the kind Ed25519: get it by `folkmoot receipt keys`")
    return found


# checking


def verify(data: bytes, trusted: Iterable[Key] | None) -> Statement:
    """The statement of a receipt that is good. Raises `Refused`.

    Without `trusted`, the key that the receipt names itself is used: that proves only that nothing was changed since
    somebody signed it, not who.
    """
    said = _parsed(data, "the receipt")
    names = {"statement", "signature", "key_id", "public_key", "algorithm", "number"}
    if said.keys() != names:
        lacks, more = sorted(names - said.keys()), sorted(said.keys() - names)
        detail = f"it lacks {', '.join(lacks)}" if lacks else f"it has {', '.join(map(repr, more))} besides"
        raise Refused(f"this is not a receipt of Folkmoot: {detail}")
    if said["algorithm"] != ALGORITHM:
        raise Refused(f"the receipt names the algorithm {str(said['algorithm'])[:40]!r}: only {ALGORITHM} is known")
    if not isinstance(said["public_key"], str) or not isinstance(said["signature"], str):
        raise Refused("the receipt's public_key and signature must be text")
    key = read_key(said["public_key"])
    if key.text != said["public_key"] or key.id != said["key_id"]:
        raise Refused("key_id is not that of public_key: one of them was changed")
    if trusted is not None:
        _among(key, list(trusted))
    if not isinstance(said["statement"], dict):
        raise Refused("the receipt's statement is not an object")
    statement = cast("dict[str, Any]", said["statement"])
    try:
        signed = canonical(statement)
    except UnicodeEncodeError:
        raise Refused("the statement has half a character, which UTF-8 cannot hold") from None
    _check_signature(key, said["signature"], signed)
    # In Python True is 1.
    if type(said["number"]) is not int or said["number"] != statement.get("number"):
        raise Refused("the receipt's number is not that of its statement")
    try:
        return msgspec.convert(statement, Statement)
    except msgspec.ValidationError as error:
        raise Refused(f"the statement is signed, and yet not as this version of Folkmoot writes one: {error}") from None


def _check_signature(key: Key, text: str, signed: bytes) -> None:
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    # Base64 has bits to spare at its end: what reads the same must be the same.
    if len(signature) != 64 or base64.b64encode(signature).decode() != text:
        raise Refused("the signature is not one: 64 bytes in base64")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise Refused("the signature does not fit: statement, signature or key were changed after signing") from None


def _among(key: Key, trusted: Sequence[Key]) -> None:
    if key.public not in {item.public for item in trusted}:
        named = ", ".join(item.id for item in trusted)
        raise Refused(f"it was signed with the key {key.id}, which is not among those that you trust ({named})")


def _parsed(data: bytes, what: str) -> dict[str, Any]:
    """Strictly: nothing that two readers could read differently."""
    if len(data) > MOST_BYTES:
        raise Refused(f"{what} has more than {MOST_BYTES // 1024 // 1024} MB: that is none")
    try:
        said = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
            parse_int=_whole,
        )
    except Refused as error:
        raise Refused(f"{what} {error}") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what} is not JSON in UTF-8: {str(error)[:200]}") from None
    if not isinstance(said, dict):
        raise Refused(f"{what} is not a JSON object")
    return cast("dict[str, Any]", said)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("names something twice in one object, so that readers may see different things")
    return found


def _no_fraction(text: str) -> Any:
    raise Refused(f"has the number {text[:40]}: all that are in one are whole")


def _whole(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MOST_SAFE:
        raise Refused(f"has the number {text[:40]}, which not every reader keeps as it is")
    return int(text)
