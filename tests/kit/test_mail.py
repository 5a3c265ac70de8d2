"""Mail: one recipient, no way into its headers, and never in clear unless the settings say so."""

import asyncio
import email
import email.policy
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from folkmoot.kit import mail
from folkmoot.kit.mail import MailError, Server, message, one_line, send
from folkmoot.settings import SettingsError
from tests.support.post_office import Mailbox, serving


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1, as (server's context, file to trust)."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, str(folder / "cert.pem")


MAIL = {"sender": "no-reply@folkmoot.example", "to": "ada@people.example", "subject": "Hej", "text": "Hej då\n"}


def written(**fields):
    return message(**{**MAIL, **fields})


async def failure(server, **fields):
    with pytest.raises(MailError) as error:
        await send(server, written(**fields))
    return error.value


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 587, "start", "", "")),
        ("smtp://u:p@mail.example:2525", ("mail.example", 2525, "start", "u", "p")),
        ("smtps://u%40x:p%2Fa%3A@mail.example", ("mail.example", 465, "direct", "u@x", "p/a:")),
        ("smtp://127.0.0.1:25?tls=off", ("127.0.0.1", 25, "off", "", "")),
        ("smtp://[::1]?tls=off", ("::1", 25, "off", "", "")),
    ],
)
def test_a_mail_server_is_named_by_its_address(url, expected):
    server = Server.from_url(url)
    assert (server.host, server.port, server.tls, server.user, server.password) == expected


@pytest.mark.parametrize(
    "url",
    ["mail.example", "http://mail.example", "smtp://", "smtp://u:secret@mail.example:x", "smtp://mail.example?tls=on",
     "smtps://mail.example?tls=off", "smtp://mail.example?tls=off&tls=off", "smtp://mail.example/path",
     "smtp://u:secret@mail.example:99999", "smtp://[::1"],
)  # fmt: skip
def test_what_is_no_such_address_is_refused_without_its_password(url):
    with pytest.raises(SettingsError, match="FOLKMOOT_SMTP_URL must be") as error:
        Server.from_url(url)
    assert "secret" not in str(error.value)


def test_the_password_is_not_shown():
    assert "secret" not in repr(Server.from_url("smtp://u:secret@mail.example"))


@pytest.mark.parametrize("name", ["Evil\r\nBcc: all@people.example", "Evil\nX: y", "a\x00b", "\u202eevil", "Ö" * 500])
async def test_a_name_cannot_leave_its_header(mailbox, name):
    async with serving(mailbox) as port:
        server = Server("127.0.0.1", port, "off")
        await send(server, written(subject=f"{name}: hej"))
    ((sender, recipients, raw),) = mailbox.mails
    assert (sender, recipients) == ("no-reply@folkmoot.example", ["ada@people.example"])
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert "Bcc" not in parsed
    assert "X" not in parsed
    assert {"from", "to", "subject", "date", "message-id", "auto-submitted"} <= {key.lower() for key in parsed}
    assert len(parsed["Subject"]) <= mail.LONGEST_LINE
    assert parsed.get_content().strip() == "Hej då"


@pytest.mark.parametrize(
    "to", ["a@b\r\nBcc: c@d.example", "a@b.example, c@d.example", "a b@c.example", "", "x", "<a@b.example>"]
)
def test_an_address_that_is_more_than_one_is_refused(to):
    with pytest.raises(MailError) as error:
        written(to=to)
    assert error.value.permanent


def test_a_line_is_one_line():
    assert one_line(" a\r\n\tb\u2028c\u200b ") == "a b c"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"


async def test_without_starttls_nothing_is_sent(mailbox):
    async with serving(mailbox) as port:
        error = await failure(Server("127.0.0.1", port, "start"))
    assert not error.permanent
    assert mailbox.mails == []


async def test_starttls_is_used_and_the_certificate_checked(mailbox, certificate, monkeypatch):
    context, trusted = certificate
    async with serving(mailbox, tls_context=context) as port:
        server = Server("127.0.0.1", port, "start")
        assert not (await failure(server)).permanent
        assert mailbox.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        await send(server, written())
    assert mailbox.secured == [True]


async def test_tls_from_the_first_byte(mailbox, certificate, monkeypatch):
    context, trusted = certificate
    async with serving(mailbox, ssl=context) as port:
        server = Server("127.0.0.1", port, "direct")
        assert not (await failure(server)).permanent
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        await send(server, written())
    assert len(mailbox.mails) == 1


async def test_user_and_password_are_sent_and_a_wrong_one_may_be_put_right(mailbox):
    def check(server, session, envelope, mechanism, login):
        right = (login.login, login.password) == (b"folkmoot", b"p/a:")
        return AuthResult(success=right, handled=right)

    options = {"authenticator": check, "auth_required": True, "auth_require_tls": False}
    async with serving(mailbox, **options) as port:
        error = await failure(Server("127.0.0.1", port, "off", "folkmoot", "wrong"))
        assert (error.permanent, error.code) == (False, 535)
        await send(Server.from_url(f"smtp://folkmoot:p%2Fa%3A@127.0.0.1:{port}?tls=off"), written())
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    ("where", "answer", "code", "permanent"),
    [
        ("RCPT", "550 5.1.1 ada@people.example: no such mailbox", 550, True),
        ("RCPT", "450 4.2.0 greylisted", 450, False),
        ("DATA", "554 5.7.1 looks like spam", 554, True),
        ("DATA", "451 4.3.0 disk full", 451, False),
    ],
)
async def test_a_refusal_is_final_if_the_server_says_so(mailbox, where, answer, code, permanent):
    mailbox.answers[where] = answer
    async with serving(mailbox) as port:
        error = await failure(Server("127.0.0.1", port, "off"))
    assert (error.code, error.permanent) == (code, permanent)
    assert "ada@people.example" not in str(error)


async def test_a_server_that_is_not_there_may_come_back():
    error = await failure(Server("127.0.0.1", 9, "off"))
    assert (error.code, error.permanent) == (0, False)


async def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(mail, "SECONDS", 0.2)
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(30), "127.0.0.1", 0)
    try:
        error = await failure(Server("127.0.0.1", silent.sockets[0].getsockname()[1], "off"))
    finally:
        silent.close()
    assert not error.permanent


async def test_swedish_letters_arrive(mailbox):
    async with serving(mailbox) as port:
        await send(Server("127.0.0.1", port, "off"), written(subject="Välkommen till Åmål", text="Öppna länken\n"))
    parsed = email.message_from_bytes(mailbox.mails[0][2], policy=email.policy.default)
    assert parsed["Subject"] == "Välkommen till Åmål"
    assert parsed.get_content().splitlines() == ["Öppna länken"]
