"""Signing in with OpenLDAP's real server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading

import msgspec
import pytest
from folkmoot_auth_ldap import backend as backend_module
from folkmoot_auth_ldap import connect, register_auth_backends
from folkmoot_auth_ldap import wire as wire_module
from folkmoot_auth_ldap.backend import WRONG, _subject
from folkmoot_auth_ldap.config import LdapConfig
from folkmoot_sdk import AccountNotAllowed, BackendUnavailable, InvalidCredentials, PluginContext, Secret
from folkmoot_sdk.config import ConfigError, decode_config
from folkmoot_sdk.testing.auth import AuthConformance
from folkmoot_sdk.testing.harness import FixedClock

from tests.support import slapd
from tests.support.slapd import ADMIN, ADMIN_PASSWORD, BASE, PASSWORD, TOP, Slapd, group, person

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(slapd.missing() is not None, reason=str(slapd.missing())),
]

ENTRIES = (
    TOP
    + person("ada", name="Åda Löv")
    + person("bo")
    + person("star*man")
    + person("twin", mail="one@municipality.example")
    + person("other", mail="twin")
    + group("permits", "uid=ada,ou=people")
    + group("building", "cn=permits,ou=groups")
    + group("everybody", "cn=building,ou=groups", "cn=ring-a,ou=groups")
    + group("ring-a", "cn=ring-b,ou=groups", "uid=bo,ou=people")
    + group("ring-b", "cn=ring-a,ou=groups")
    + group("self", "cn=self,ou=groups", "uid=bo,ou=people")
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    with Slapd(tmp_path_factory.mktemp("slapd"), ENTRIES) as server:
        yield server


def settings(server, **more):
    return {
        "url": server.url,
        "base_dn": f"ou=people,{BASE}",
        "bind_dn": ADMIN,
        "bind_password": ADMIN_PASSWORD,
        "certificate_authority": server.authority,
        "group_base_dn": f"ou=groups,{BASE}",
        "timeout_seconds": 3,
    } | more


async def signing_in(server, name, password=PASSWORD, **more):
    context = PluginContext(http=None, log=logging.getLogger("test.ldap"), clock=FixedClock())
    async with connect(decode_config(LdapConfig, settings(server, **more)), context) as backend:
        return await backend.authenticate(name, Secret(password))


class TestConformance(AuthConformance):
    spec = register_auth_backends()[0]
    account = ("ada", PASSWORD)

    @pytest.fixture(autouse=True)
    def _server(self, directory):
        self.server = directory

    def config(self):
        return settings(self.server)


@pytest.mark.parametrize("how", ["starttls", "ldaps"])
async def test_a_person_comes_with_name_email_and_all_groups(directory, how):
    more = {"url": directory.tls_url} if how == "ldaps" else {}
    found = await signing_in(directory, "ada", **more)
    assert found.issuer == f"ldap:ou=people,{BASE}"
    assert len(found.subject) == 36
    assert (found.name, found.email, found.email_verified) == ("Åda Löv", "ada@municipality.example", True)
    assert found.groups == ("building", "everybody", "permits")


async def test_the_e_mail_works_as_a_name_and_is_the_same_person(directory):
    by_mail = await signing_in(directory, "ada@municipality.example")
    assert by_mail.subject == (await signing_in(directory, "ada")).subject


async def test_a_circle_of_groups_ends(directory):
    assert (await signing_in(directory, "bo")).groups == ("everybody", "ring-a", "ring-b", "self")


async def test_groups_within_groups_only_if_asked_for(directory):
    assert (await signing_in(directory, "bo", nested_groups=False)).groups == ("ring-a", "self")
    assert (await signing_in(directory, "bo", group_base_dn="")).groups == ()


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", "wrong"),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("ada", ""),
        ("ada", "\x00"),
        ("*", PASSWORD),
        ("a*", PASSWORD),
        ("ada)(uid=*", PASSWORD),
        ("*)(|(uid=*", PASSWORD),
        ("ada)(objectClass=*))(|(uid=ada", PASSWORD),
        (f"uid=ada,ou=people,{BASE}", PASSWORD),
        ("ada\\2a", PASSWORD),
        ("ad\x00a", PASSWORD),
        ("a" * 100_000, PASSWORD),
        ("twin", PASSWORD),
    ],
)
async def test_what_is_not_a_name_and_its_password_lets_nobody_in(directory, name, password):
    with pytest.raises(InvalidCredentials) as refused:
        await signing_in(directory, name, password)
    assert str(refused.value) == WRONG


async def test_a_star_in_a_name_is_a_star(directory):
    assert (await signing_in(directory, "star*man")).name == "Star*Man"


async def test_a_certificate_of_somebody_else_is_refused(directory):
    for url in (directory.url, directory.tls_url):
        with pytest.raises(BackendUnavailable):
            await signing_in(directory, "ada", url=url, certificate_authority="")


async def test_a_certificate_for_another_name_is_refused(directory, monkeypatch):
    context = PluginContext(http=None, log=logging.getLogger("test.ldap"), clock=FixedClock(), reach=_loopback)
    config = settings(directory, url=directory.tls_url.replace("localhost", "directory.example"))
    async with connect(decode_config(LdapConfig, config), context) as backend:
        with pytest.raises(BackendUnavailable):
            await backend.authenticate("ada", Secret(PASSWORD))


async def _loopback(_host, _port):
    return ["127.0.0.1"]


async def test_only_addresses_that_the_platform_allows_are_connected_to(directory):
    async def refuse(host, port):
        raise OSError(f"{host} is inside the network")

    context = PluginContext(http=None, log=logging.getLogger("test.ldap"), clock=FixedClock(), reach=refuse)
    async with connect(decode_config(LdapConfig, settings(directory)), context) as backend:
        with pytest.raises(BackendUnavailable, match="allowed by whoever runs"):
            await backend.authenticate("ada", Secret(PASSWORD))


async def test_a_service_account_that_is_refused_is_a_mistake_of_the_set_up(directory):
    with pytest.raises(BackendUnavailable, match="bind_dn"):
        await signing_in(directory, "ada", bind_password="wrong")


async def test_an_entry_without_the_identifier_cannot_come_in(directory):
    with pytest.raises(AccountNotAllowed, match="employeeNumber"):
        await signing_in(directory, "ada", subject_attribute="employeeNumber")


async def test_the_check_says_whether_the_directory_can_be_searched(directory):
    context = PluginContext(http=None, log=logging.getLogger("test.ldap"), clock=FixedClock())
    async with connect(decode_config(LdapConfig, settings(directory)), context) as backend:
        await backend.check()
    async with connect(decode_config(LdapConfig, settings(directory, bind_password="no")), context) as backend:
        with pytest.raises(BackendUnavailable):
            await backend.check()


async def test_a_directory_that_is_gone_or_silent_is_unavailable(directory, caplog):
    with pytest.raises(BackendUnavailable):
        await signing_in(directory, "ada", url="ldap://localhost:1")
    silent = socket.create_server(("127.0.0.1", 0))
    try:
        with pytest.raises(BackendUnavailable):
            await signing_in(directory, "ada", url=f"ldap://localhost:{silent.getsockname()[1]}", timeout_seconds=1)
    finally:
        silent.close()
    assert PASSWORD not in caplog.text


@pytest.fixture
def dripping():
    """Begins an answer and says a byte of it now and then, so that no wait for a byte is ever over."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(peer):
        with peer, contextlib.suppress(OSError):
            # The first byte says of which kind the record is that then never comes to its end.
            peer.sendall(b"\x16\x03\x03\x40\x00" if peer.recv(1) == b"\x16" else b"\x30\x84\x00\x0f\xff\xff")
            while not over.wait(0.1):
                peer.sendall(b"\x00")

    def listen():
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(peer,), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    over.set()
    server.close()


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
async def test_a_directory_that_drips_holds_no_thread_and_nobody_else(directory, dripping, monkeypatch, scheme):
    monkeypatch.setattr(backend_module, "DEADLINE", 0.5)
    context = PluginContext(http=None, log=logging.getLogger("test.ldap"), clock=FixedClock())
    config = decode_config(LdapConfig, settings(directory, url=f"{scheme}://{dripping}", security="none"))
    async with connect(config, context) as backend, asyncio.timeout(20):
        asked = [backend.authenticate("ada", Secret(PASSWORD)) for _ in range(3 * backend_module.THREADS)]
        answers = asyncio.gather(*asked, return_exceptions=True)
        # What else is done in threads goes on meanwhile.
        await asyncio.to_thread(int)
        assert {type(answer) for answer in await answers} == {BackendUnavailable}
        # Each of its threads is free again: they can all meet.
        meeting = threading.Barrier(backend_module.THREADS, timeout=10)
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(backend._threads, meeting.wait) for _ in range(backend_module.THREADS))
        )


@pytest.mark.parametrize("said", [b"", b"\x30", b"\x30\x84\x00\x0f\xff\xff" + bytes(100)])
async def test_a_directory_that_hangs_up_leaves_no_thread_running(directory, said):
    server = socket.create_server(("127.0.0.1", 0))

    def talk():
        for _ in range(2):
            peer, _ = server.accept()
            peer.recv(1000)
            peer.sendall(said)
            peer.close()

    threading.Thread(target=talk, daemon=True).start()
    context = PluginContext(http=None, log=logging.getLogger("test.ldap"), clock=FixedClock())
    try:
        for security in ("none", "starttls"):
            url = f"ldap://127.0.0.1:{server.getsockname()[1]}"
            config = decode_config(LdapConfig, settings(directory, url=url, security=security))
            async with connect(config, context) as backend, asyncio.timeout(10):
                with pytest.raises(BackendUnavailable):
                    await backend.check()
                threads = list(backend._threads._threads)
            for thread in threads:
                await asyncio.to_thread(thread.join, 5)
                assert not thread.is_alive()
    finally:
        server.close()


async def test_a_directory_that_never_stops_talking_is_cut_off(directory, monkeypatch):
    monkeypatch.setattr(wire_module, "MOST_BYTES", 100_000)
    server = socket.create_server(("127.0.0.1", 0))
    told = []

    def talk():
        peer, _ = server.accept()
        with peer, contextlib.suppress(OSError):
            peer.sendall(b"\x30\x84\x7f\xff\xff\xff")
            while True:
                peer.sendall(bytes(10_000))
                told.append(10_000)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        with pytest.raises(BackendUnavailable):
            await signing_in(directory, "ada", url=f"ldap://127.0.0.1:{server.getsockname()[1]}", security="none")
        await asyncio.to_thread(thread.join, 10)
        assert sum(told) < 20_000_000
    finally:
        server.close()


async def test_who_goes_away_leaves_no_thread_behind(directory, dripping):
    context = PluginContext(http=None, log=logging.getLogger("test.ldap"), clock=FixedClock())
    config = decode_config(LdapConfig, settings(directory, url=f"ldap://{dripping}", security="none"))
    async with connect(config, context) as backend:
        asking = asyncio.create_task(backend.authenticate("ada", Secret(PASSWORD)))
        await asyncio.sleep(0.3)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        threads = list(backend._threads._threads)
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


async def test_a_server_that_answers_nonsense_is_unavailable(directory):
    server = socket.create_server(("127.0.0.1", 0))

    def talk():
        peer, _ = server.accept()
        peer.recv(1000)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 50)
        peer.close()

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        with pytest.raises(BackendUnavailable):
            await signing_in(directory, "ada", url=f"ldap://localhost:{server.getsockname()[1]}", timeout_seconds=1)
    finally:
        server.close()


async def test_many_sign_ins_at_once_do_not_meet_each_other(directory):
    async def one(name):
        return (await signing_in(directory, name)).email

    found = await asyncio.gather(*(one(name) for name in ["ada", "bo"] * 8))
    assert found == ["ada@municipality.example", "bo@municipality.example"] * 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "https://directory.example"},
        {"url": "ldaps://a/dc=x"},
        {"url": "ldap://directory.example", "security": "none"},
        {"user_filter": "(uid=ada)"},
        {"group_filter": "(member=x)"},
        {"bind_password": ""},
        {"subject_attribute": "uid)(x=*"},
        {"timeout_seconds": 0},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(wrong):
    good = {
        "url": "ldaps://d.example",
        "base_dn": BASE,
        "bind_dn": ADMIN,
        "bind_password": "x",
        "group_base_dn": BASE,
    }
    decode_config(LdapConfig, good)
    with pytest.raises(ConfigError):
        decode_config(LdapConfig, good | wrong)


def test_an_object_guid_is_told_as_microsoft_writes_it():
    raw = bytes.fromhex("0102030405060708090a0b0c0d0e0f10")
    assert _subject(raw) == "04030201-0605-0807-090a-0b0c0d0e0f10"
    assert _subject(b"6f9619ff-8b86-d011-b42d-00c04fc964ff") == "6f9619ff-8b86-d011-b42d-00c04fc964ff"
    assert _subject(b"ABCDEFGHIJKLMNOP") == "ABCDEFGHIJKLMNOP"


def test_the_password_of_the_service_account_shows_nowhere():
    config = decode_config(
        LdapConfig, {"url": "ldaps://d.example", "base_dn": BASE, "bind_dn": ADMIN, "bind_password": "hush-hush"}
    )
    assert "hush-hush" not in repr(config)
    assert isinstance(config, msgspec.Struct)
