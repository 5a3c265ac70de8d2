"""Out to the internet, in to nowhere that is not listed; checked where the connection is made."""

import asyncio
import datetime
import gzip
import ipaddress
import socket
import ssl
import time
import tracemalloc
import zlib

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.kit.net import (
    AddressRefused,
    BodyRefused,
    BodyTooLarge,
    NetPolicy,
    RedirectRefused,
    is_public,
    outbound_client,
    read_limited,
    unpacked,
)


class Server:
    """Answers each request by path; keeps what it was sent."""

    def __init__(self):
        self.requests, self.connections, self.names, self.answers = [], 0, [], {}

    async def start(self, tls=None):
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.split("\r\n")
                headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
                await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append((line, headers))
                status, more, body = self.answers.get(line.split()[1], ("200 OK", "", b"hello"))
                writer.write(f"HTTP/1.1 {status}\r\n{more}content-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def redirect(self, path, to, status="302 Found"):
        self.answers[path] = (status, f"location: {to}\r\n", b"")


@pytest.fixture
async def server():
    server = await Server().start()
    yield server
    server.server.close()


def names(**addresses):
    """A look-up that answers from `addresses` (with _ for the dot), and counts."""
    asked = []

    async def lookup(host, _port):
        asked.append(host)
        found = addresses[host.replace(".", "_")]
        return found.pop(0) if isinstance(found[0], list) else found

    lookup.asked = asked
    return lookup


INSIDE = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "0.0.0.0", "0.1.2.3"),
    *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("64:ff9b:1::a00:1", "2002:7f00:1::", "2002:808:808::1", "2001::1", "2001:0:808:808::1", "2001:db8::1"),
    *("fe80::1", "fe80::1%1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "3fff::1", "5f00::1"),
    "4000::1",
]
OUTSIDE = ("8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "192.0.1.1", "2606:4700::1111", "2a00::1")


def test_addresses_of_the_internet_are_public_and_all_others_are_not():
    assert [each for each in INSIDE if is_public(ipaddress.ip_address(each))] == []
    assert [each for each in OUTSIDE if not is_public(ipaddress.ip_address(each))] == []


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_wrapped_in_an_ipv6_one_is_never_public(address):
    number = int(address)
    for wrapped in (0xFFFF << 32 | number, number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert not is_public(ipaddress.IPv6Address(wrapped))


SPELLINGS = [
    *("127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.0.0.1.", "0"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]"),
    *("localhost", "LOCALHOST", "localhost.", "user@127.0.0.1", "example.org:80@127.0.0.1", "example.org@localhost"),
    *("127。0。0。1", "①②⑦.0.0.1", "a.invalid\\@127.0.0.1", "127.0.0.1\\@a.invalid", "local\thost", "a b"),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_of_this_machine_is_connected_to(server, spelling):
    async with outbound_client(NetPolicy()) as client:
        with pytest.raises((httpx.TransportError, httpx.InvalidURL)) as caught:
            await client.get(f"http://{spelling}:{server.port}/")
    # httpx and some resolvers do not take every spelling for a number; what is one must be refused.
    unknown = isinstance(caught.value, httpx.InvalidURL) or "no address that can be found" in str(caught.value)
    assert unknown or isinstance(caught.value, AddressRefused)
    assert server.connections == 0


async def test_a_refusal_names_the_host_and_the_way_out_and_not_the_address(server):
    async with outbound_client(NetPolicy(), lookup=names(db_example=["10.9.8.7"])) as client:
        with pytest.raises(httpx.ConnectError, match=r"'db\.example'.*FOLKMOOT_NET_ALLOW") as caught:
            await client.get("http://db.example/")
    assert "10.9.8.7" not in str(caught.value)
    assert (caught.value.host, caught.value.address) == ("db.example", "10.9.8.7")
    assert caught.value.request.url.host == "db.example"


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_is_refused_even_if_it_leads_outside_too(address):
    async with outbound_client(NetPolicy(), lookup=names(two_example=["8.8.8.8", address])) as client:
        with pytest.raises(AddressRefused):
            await client.get("http://two.example/")


LISTED = ["model.test", "MODEL.test.", "model.test:{port}", "127.0.0.1", "127.0.0.1:{port}", "127.0.0.9/8:{port}"]


@pytest.mark.parametrize("entry", LISTED)
async def test_what_is_listed_is_reached_under_its_name(server, entry):
    policy = NetPolicy((entry.format(port=server.port),))
    async with outbound_client(policy, lookup=names(model_test=["127.0.0.1"])) as client:
        response = await client.get(f"http://model.test:{server.port}/x")
    assert response.text == "hello"
    line, headers = server.requests[0]
    assert (line, headers["host"]) == ("GET /x HTTP/1.1", f"model.test:{server.port}")


@pytest.mark.parametrize("entry", ["other.test", "model.test:1", "127.0.0.1:1", "127.0.0.2", "10.0.0.0/8", "test"])
async def test_what_is_listed_opens_nothing_else(server, entry):
    async with outbound_client(NetPolicy((entry,)), lookup=names(model_test=["127.0.0.1"])) as client:
        with pytest.raises(AddressRefused):
            await client.get(f"http://model.test:{server.port}/")
    assert server.connections == 0


@pytest.mark.parametrize(
    "entry", ["", "*", "http://a", "a:b", "a:0", "a:70000", "10.0.0.0/33", "u@a", "a b", "a:", ":8"]
)
def test_a_list_with_something_else_on_it_is_refused(entry):
    with pytest.raises(ValueError, match="FOLKMOOT_NET_ALLOW has"):
        NetPolicy((entry,))


def test_an_ipv6_address_may_be_listed_with_and_without_a_port():
    for entry in ("fd00::1", "[fd00::1]", "[fd00::1]:443", "fd00::/8", "[fd00::/8]:443"):
        assert NetPolicy((entry,)).permits("a", "fd00::1", 443)
    assert not NetPolicy(("[fd00::1]:443",)).permits("a", "fd00::1", 80)


async def test_a_name_that_changes_its_mind_is_looked_up_once_and_reached_where_it_was_checked(server):
    lookup = names(rebind_test=[["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]])
    async with outbound_client(NetPolicy(("127.0.0.1",)), lookup=lookup) as client:
        url = f"http://rebind.test:{server.port}/"
        response = await client.get(url)
        peer = response.extensions["network_stream"].get_extra_info("server_addr")
        assert (lookup.asked, peer[0]) == (["rebind.test"], "127.0.0.1")
        await client.get(url)
        assert len(lookup.asked) == 1, "a pooled connection needs no look-up"
    async with outbound_client(NetPolicy(("127.0.0.1",)), lookup=lookup) as client:
        with pytest.raises(AddressRefused):
            await client.get(url)


async def test_connections_are_kept_and_send_at_once(server):
    async with outbound_client(NetPolicy(("127.0.0.1",))) as client:
        for _ in range(5):
            response = await client.get(f"http://127.0.0.1:{server.port}/")
        raw = response.extensions["network_stream"].get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert (server.connections, len(server.requests)) == (1, 5)


async def test_a_redirect_inside_is_refused_at_any_hop(server):
    server.redirect("/one", "/two")
    server.redirect("/two", f"http://inside.test:{server.port}/secret")
    server.redirect("/metadata", "http://169.254.169.254/latest/meta-data/")
    server.redirect("/odd", "http://[::ffff:127.0.0.1]/")
    lookup = names(inside_test=["127.0.0.2"])
    async with outbound_client(NetPolicy((f"127.0.0.1:{server.port}",)), lookup=lookup) as client:
        for path in ("/one", "/metadata", "/odd"):
            with pytest.raises(AddressRefused):
                await client.get(f"http://127.0.0.1:{server.port}{path}", follow_redirects=True)
    assert [line for line, _ in server.requests if "secret" in line] == []


async def test_redirects_are_followed_only_when_asked_and_five_times_at_most(server):
    for number in range(10):
        server.redirect(f"/{number}", f"/{number + 1}")
    async with outbound_client(NetPolicy(("127.0.0.1",))) as client:
        base = f"http://127.0.0.1:{server.port}"
        assert (await client.get(f"{base}/0")).status_code == 302
        assert (await client.get(f"{base}/5", follow_redirects=True)).text == "hello"
        with pytest.raises(httpx.TooManyRedirects):
            await client.get(f"{base}/4", follow_redirects=True)


@pytest.mark.parametrize("scheme", ["ftp", "file", "ws", "wss", "gopher", "unix"])
async def test_only_http_is_spoken(server, scheme):
    server.redirect("/away", f"{scheme}://127.0.0.1:{server.port}/")
    async with outbound_client(NetPolicy(("127.0.0.1",))) as client:
        for url in (f"{scheme}://127.0.0.1:{server.port}/", f"http://127.0.0.1:{server.port}/away"):
            with pytest.raises(httpx.UnsupportedProtocol):
                await client.get(url, follow_redirects=True)


async def test_keys_in_any_header_stay_with_the_host_that_they_were_meant_for(server):
    other = await Server().start()
    server.redirect("/x", f"http://b.test:{other.port}/y")
    server.redirect("/same", "/stay")
    secrets = {"x-api-key": "k", "authorization": "Bearer k", "cookie": "k=k", "api-key": "k"}
    lookup = names(a_test=["127.0.0.1"], b_test=["127.0.0.1"])
    async with outbound_client(NetPolicy(("127.0.0.1",)), lookup=lookup, follow_redirects=True) as client:
        await client.get(f"http://a.test:{server.port}/x", headers=secrets | {"accept": "text/x"})
        await client.get(f"http://a.test:{server.port}/same", headers=secrets)
    assert other.requests[0][1].keys() & secrets.keys() == set()
    assert other.requests[0][1]["accept"] == "text/x"
    assert server.requests[-1][1]["x-api-key"] == "k"
    other.server.close()


async def test_cookies_are_not_carried_from_one_request_to_the_next(server):
    server.answers["/set"] = ("200 OK", "set-cookie: session=of-another-tenant\r\n", b"")
    async with outbound_client(NetPolicy(("127.0.0.1",))) as client:
        await client.get(f"http://127.0.0.1:{server.port}/set")
        await client.get(f"http://127.0.0.1:{server.port}/next")
    assert "cookie" not in server.requests[1][1]


async def test_a_proxy_in_the_environment_is_not_used(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.port}")
    async with outbound_client(NetPolicy((f"127.0.0.1:{server.port}",))) as client:
        with pytest.raises(AddressRefused):
            await client.get("http://127.0.0.3/")
    assert server.connections == 0


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for secure.test: (server's TLS, client's TLS that trusts it)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "secure.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("secure.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "pem").write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "pem")
    return server, ssl.create_default_context(cafile=folder / "pem")


async def test_tls_asks_for_and_checks_the_name_though_an_address_is_connected_to(certificate):
    server = await Server().start(tls=certificate[0])
    lookup = names(secure_test=["127.0.0.1"], other_test=["127.0.0.1"])
    policy = NetPolicy(("127.0.0.1",))
    async with outbound_client(policy, lookup=lookup, tls=certificate[1]) as client:
        assert (await client.get(f"https://secure.test:{server.port}/")).text == "hello"
        assert (server.names[-1], server.requests[0][1]["host"]) == ("secure.test", f"secure.test:{server.port}")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://other.test:{server.port}/")
    async with outbound_client(policy, lookup=lookup) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://secure.test:{server.port}/")
    server.server.close()


async def test_a_redirect_from_https_to_http_is_not_followed_with_anything_secret(certificate, server):
    secure = await Server().start(tls=certificate[0])
    for path, status in (("/302", "302 Found"), ("/307", "307 Temporary Redirect")):
        secure.redirect(path, f"http://secure.test:{server.port}/plain", status)
    lookup = names(secure_test=["127.0.0.1"])
    policy = NetPolicy(("127.0.0.1",))
    async with outbound_client(policy, lookup=lookup, tls=certificate[1], follow_redirects=True) as client:
        base = f"https://secure.test:{secure.port}"
        for attempt in (
            client.get(f"{base}/302", headers={"authorization": "k"}),
            client.get(f"{base}/302", headers={"x-api-key": "k"}),
            client.get(f"{base}/302", auth=("user", "k")),
            client.post(f"{base}/307", content=b"a question"),
        ):
            with pytest.raises(RedirectRefused, match="https to http"):
                await attempt
        assert server.connections == 0
        assert (await client.get(f"{base}/302")).text == "hello"
    secure.server.close()


async def test_the_next_address_is_tried_when_one_does_not_answer(server):
    lookup = names(model_test=["127.0.0.2", "::1", "127.0.0.1"], none_test=["127.0.0.2", "127.0.0.3"])
    async with outbound_client(NetPolicy(("127.0.0.0/8", "::1")), lookup=lookup) as client:
        assert (await client.get(f"http://model.test:{server.port}/")).text == "hello"
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://none.test:{server.port}/")


async def test_an_address_that_is_silent_costs_a_quarter_of_a_second(server):
    # A full queue of a listener that accepts nobody: the kernel lets further attempts hang.
    silent = socket.create_server(("127.0.0.2", server.port), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.2", server.port))
    lookup = names(model_test=["127.0.0.2", "127.0.0.1"], silent_test=["127.0.0.2"])
    async with outbound_client(NetPolicy(("127.0.0.0/8",)), lookup=lookup, connect=1.0) as client:
        begin = time.perf_counter()
        assert (await client.get(f"http://model.test:{server.port}/")).text == "hello"
        assert time.perf_counter() - begin < 0.9
        with pytest.raises(httpx.ConnectTimeout, match=r"'silent\.test'"):
            await client.get(f"http://silent.test:{server.port}/")
    for each in (silent, *fillers):
        each.close()


async def test_a_name_that_is_not_known_is_a_connection_error():
    async with outbound_client(NetPolicy()) as client:
        for host in ("nowhere.invalid", "a" * 64 + ".invalid"):
            with pytest.raises(httpx.ConnectError, match="no address that can be found"):
                await client.get(f"http://{host}/")


async def test_a_slow_look_up_counts_towards_the_connection_time():
    async def slow(_host, _port):
        await asyncio.sleep(60)
        return []

    async with outbound_client(NetPolicy(), lookup=slow, connect=0.1) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("http://slow.example/")


async def test_a_body_is_read_up_to_the_limit_packed_or_not(server):
    text = b"0123456789" * 100
    server.answers = {
        "/plain": ("200 OK", "", text),
        "/gzip": ("200 OK", "content-encoding: gzip\r\n", gzip.compress(text)),
        "/deflate": ("200 OK", "content-encoding: deflate\r\n", zlib.compress(text)),
        "/empty": ("200 OK", "content-encoding: gzip\r\n", b""),
        "/bomb": ("200 OK", "content-encoding: gzip\r\n", gzip.compress(bytes(50_000_000))),
        "/cut": ("200 OK", "content-encoding: gzip\r\n", gzip.compress(text)[:-9]),
        "/broken": ("200 OK", "content-encoding: gzip\r\n", b"no gzip"),
        "/brotli": ("200 OK", "content-encoding: br\r\n", b"x"),
    }

    async def read(path, limit):
        async with client.stream("GET", f"http://127.0.0.1:{server.port}{path}") as response:
            return await read_limited(response, limit)

    async with outbound_client(NetPolicy(("127.0.0.1",))) as client:
        for path in ("/plain", "/gzip", "/deflate"):
            assert await read(path, 1000) == text
            with pytest.raises(BodyRefused, match="more than 999 bytes"):
                await read(path, 999)
        assert await read("/empty", 10) == b""
        tracemalloc.start()
        with pytest.raises(BodyRefused):
            await read("/bomb", 5000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000, "it must not be unpacked first"
        tracemalloc.stop()
        async with client.stream("GET", f"http://127.0.0.1:{server.port}/bomb") as response:
            pieces = [len(piece) async for piece in unpacked(response, 60_000_000)]
        assert (sum(pieces), max(pieces)) == (50_000_000, 256 * 1024)
        with pytest.raises(BodyTooLarge):
            await read("/bomb", 5000)
        for path, words in (("/cut", "cut off"), ("/broken", "unpacked"), ("/brotli", "'br'")):
            with pytest.raises(BodyRefused, match=words):
                await read(path, 5000)
