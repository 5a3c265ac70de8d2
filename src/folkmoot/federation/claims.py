"""What a backend says, taken at no more than its worth: the right types, bounded, fit to be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import idna
from folkmoot_sdk import ExternalIdentity, LogoutNotice, RedirectStart

from folkmoot.federation.backends import Broken
from folkmoot.identity.service import clean_email
from folkmoot.kit.errors import ValidationFailed

LONGEST_NAME = 1_000
"""Bytes of an issuer or a subject."""
LONGEST_URL = 8_192
LONGEST_HINT = 16_384
MOST_GROUPS = 5_000
LONGEST_GROUP = 500


@dataclass(frozen=True)
class Person:
    """An `ExternalIdentity` that was looked through."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str
    groups: frozenset[str]
    session: str | None
    logout_hint: str | None

    def in_domain(self, domains: list[str]) -> bool:
        """Whether the e-mail is verified and in one of `domains`; no domains means everybody is."""
        if not domains:
            return True
        if self.email is None or not self.email_verified:
            return False
        own = ascii_domain(self.email.rpartition("@")[2])
        return own is not None and own in {ascii_domain(domain) for domain in domains}


def person(said: object) -> Person:
    """Raises `Broken` for what names nobody; what is only beside the point (an odd e-mail) is left out."""
    if not isinstance(said, ExternalIdentity):
        raise Broken("it did not say who signed in")
    groups = cast("object", said.groups)
    if not isinstance(groups, tuple | list | set | frozenset):
        raise Broken("it gives groups that are no list")
    listed = cast("list[object]", groups)
    if len(listed) > MOST_GROUPS:
        raise Broken(f"it gives {len(listed)} groups, more than {MOST_GROUPS}: let it name fewer")
    email = _email(said.email)
    return Person(
        issuer=_name("issuer", said.issuer),
        subject=_name("subject", said.subject),
        email=email,
        email_verified=email is not None and cast("object", said.email_verified) is True,
        name=_shown(said.name),
        groups=frozenset(group for group in listed if isinstance(group, str) and len(group) <= LONGEST_GROUP),
        session=_short("session", said.session, LONGEST_NAME),
        logout_hint=_short("logout hint", said.logout_hint, LONGEST_HINT),
    )


def start(said: object) -> RedirectStart:
    """Raises `Broken` for a start that leads nowhere, or that anybody could guess."""
    if not isinstance(said, RedirectStart):
        raise Broken("it did not say where to go")
    kept = cast("object", said.kept)
    if not isinstance(kept, dict) or len(cast("dict[object, object]", kept)) > 20:
        raise Broken("what it wants kept is not a short mapping of names to strings")
    pairs = cast("dict[object, object]", kept)
    if not all(isinstance(part, str) for pair in pairs.items() for part in pair):
        raise Broken("what it wants kept is not all strings")
    if sum(len(name) + len(value) for name, value in cast("dict[str, str]", pairs).items()) > LONGEST_URL:
        raise Broken("it wants too much kept")
    state = cast("object", said.state)
    if not isinstance(state, str) or not 16 <= len(state) <= 512 or not (state.isascii() and state.isprintable()):
        raise Broken("its state is not 16 to 512 plain characters")
    if web_url(said.url) is None:
        raise Broken("it sends the browser to what is no web address")
    return said


def notice(said: object) -> LogoutNotice:
    """Raises `Broken` for one that does not name whose sign-in ended."""
    if not isinstance(said, LogoutNotice):
        raise Broken("it did not say who signed out")
    token_id = cast("object", said.token_id)
    if not isinstance(token_id, str):
        raise Broken("it gives a token id that is no text")
    subject = None if cast("object", said.subject) is None else _name("subject", said.subject)
    session = None if cast("object", said.session) is None else _name("session", said.session)
    if subject is None and session is None:
        raise Broken("it names neither a session nor a subject")
    return LogoutNotice(_name("issuer", said.issuer), subject, session, token_id)


def web_url(url: object) -> str | None:
    """`url` if a browser can be sent there."""
    if not isinstance(url, str) or len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        return url if parts.scheme in ("https", "http") and parts.hostname and "\\" not in url else None
    except ValueError:
        return None


def query(parameters: Mapping[str, Any]) -> dict[str, str]:
    """What a browser brought back, as a backend gets it: each name once, of bounded length."""
    return {name[:100]: str(value)[:LONGEST_URL] for name, value in list(parameters.items())[:30]}


def ascii_domain(domain: str) -> str | None:
    """A domain as names are compared (RFC 5891, UTS 46); None for what is none."""
    try:
        found = idna.encode(domain.strip().rstrip("."), uts46=True, transitional=False).decode().lower()
    except (idna.IDNAError, UnicodeError):
        return None
    return found or None


def _name(what: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not _storable(value):
        raise Broken(f"its {what} is empty or no text: nobody can be told by it")
    if len(value.encode()) > LONGEST_NAME:
        raise Broken(f"its {what} is longer than {LONGEST_NAME} bytes")
    return value


def _short(what: str, value: object, longest: int) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest or not _storable(value):
        raise Broken(f"its {what} is no text, or longer than {longest} characters")
    return value


def _email(value: object) -> str | None:
    if not isinstance(value, str) or not 3 <= len(value) <= 254 or not _storable(value):
        return None
    try:
        return clean_email(value)
    except ValidationFailed:
        return None


def _shown(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return " ".join("".join(char if char.isprintable() else " " for char in value[:1000]).split())[:200]


def _storable(text: str) -> bool:
    return not any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in text)
