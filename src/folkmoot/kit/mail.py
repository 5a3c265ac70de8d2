"""Mail over SMTP: plain text, one recipient, never in clear over the network unless the settings say so.

What a person wrote may stand in a subject or a name, so it comes as one line without control characters, and the
standard library's message, which refuses a line break in a header, is the second lock.
"""

from __future__ import annotations

import asyncio
import ssl
import unicodedata
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid, parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from folkmoot.settings import SettingsError

SECONDS = 30.0
"""For one answer of the server; a whole delivery may take twice that."""
LONGEST_LINE = 200


class MailError(Exception):
    """A mail was not taken by the mail server."""

    def __init__(self, reason: str, *, code: int = 0, permanent: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        """The server's reply code; 0 if it gave none."""
        self.permanent = permanent
        """Trying again changes nothing."""


@dataclass(frozen=True)
class Server:
    """A mail server, as `FOLKMOOT_SMTP_URL` names it."""

    host: str
    port: int
    tls: str
    """`start` (STARTTLS, without which nothing is sent), `direct` (from the first byte) or `off`."""
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_url(cls, url: str) -> Server:
        """Raises `SettingsError` for what is no such address; the password is never in its message."""
        wrong = SettingsError(
            "FOLKMOOT_SMTP_URL must be smtp://user:password@host:587 (STARTTLS; `?tls=off` for a server on this"
            " machine that has none) or smtps://user:password@host:465"
        )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise wrong from None
        options = parse_qs(parts.query, keep_blank_values=True)
        off = options == {"tls": ["off"]}
        unknown = (options and not off) or parts.path not in ("", "/") or parts.fragment
        if parts.scheme not in ("smtp", "smtps") or not host or unknown or (off and parts.scheme == "smtps"):
            raise wrong
        tls = "direct" if parts.scheme == "smtps" else "off" if off else "start"
        default = {"direct": 465, "start": 587, "off": 25}[tls]
        return cls(host, port or default, tls, unquote(parts.username or ""), unquote(parts.password or ""))


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    """`text` as it may stand in a header or in one line of a mail: no control or invisible characters, not too long."""
    plain = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    line = " ".join(plain.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def message(*, sender: str, to: str, subject: str, text: str) -> EmailMessage:
    """A mail from the service to one person. Raises `MailError` for an address that is none."""
    name, address = parseaddr(sender)
    made = EmailMessage(policy=SMTP)
    try:
        made["From"] = Address(one_line(name) or "Folkmoot", addr_spec=address)
        made["To"] = Address(addr_spec=to)
        made["Subject"] = one_line(subject)
        made["Date"] = format_datetime(localtime())
        made["Message-ID"] = make_msgid(domain=_domain(sender))
        # No holiday notice answers this (RFC 3834, 5).
        made["Auto-Submitted"] = "auto-generated"
    except (ValueError, IndexError, MessageError) as error:
        raise MailError(f"this cannot be addressed: {error}", permanent=True) from None
    made.set_content(text)
    return made


async def send(server: Server, mail: EmailMessage) -> None:
    """Hand one mail to the server. Raises `MailError`, which says whether trying again may help."""
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        timeout=SECONDS,
        use_tls=server.tls == "direct",
        start_tls=server.tls == "start",
        tls_context=None if server.tls == "off" else ssl.create_default_context(),
        username=server.user or None,
        password=server.password or None,
        # Asking the resolver for our own name can take longer than the mail.
        local_hostname=_domain(str(mail["From"])),
    )
    try:
        async with asyncio.timeout(2 * SECONDS):
            async with client:
                await client.send_message(mail)
    except aiosmtplib.SMTPRecipientsRefused as error:
        code = max((refused.code for refused in error.recipients), default=0)
        raise MailError("the mail server refuses the recipient", code=code, permanent=code >= 500) from None
    except aiosmtplib.SMTPResponseException as error:
        # Who we are or sign in as is a setting, and may be put right; what the mail says is not.
        final = isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPRecipientRefused) and error.code >= 500
        raise MailError(f"the mail server answers {error.code}", code=error.code, permanent=final) from None
    except aiosmtplib.SMTPNotSupported:
        raise MailError("the mail server lacks what this mail needs (STARTTLS, or addresses beyond ASCII)") from None
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        raise MailError(f"the mail server cannot be reached: {type(error).__name__}") from None


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"
