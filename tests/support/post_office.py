"""A real SMTP server in the test's own loop, and what it took."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from aiosmtpd.smtp import SMTP


class Mailbox:
    """Takes what comes; `refused` are recipients it does not know, `answers` what it says to a command."""

    def __init__(self):
        self.mails: list[tuple[str, list[str], bytes]] = []
        self.secured: list[bool] = []
        self.refused: set[str] = set()
        self.answers: dict[str, str] = {}

    async def handle_RCPT(self, server, session, envelope, recipient, options):  # noqa: N802
        answer = "550 5.1.1 no such mailbox" if recipient in self.refused else self.answers.get("RCPT", "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(recipient)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        answer = self.answers.get("DATA", "250 taken")
        if answer.startswith("250"):
            self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
            self.secured.append(session.ssl is not None)
        return answer


@asynccontextmanager
async def serving(mailbox, *, ssl=None, **options):
    """The port at which `mailbox` takes mail while the body runs."""
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(mailbox, hostname="mail.test", **options), "127.0.0.1", 0, ssl=ssl
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
