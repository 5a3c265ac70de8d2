"""What a key looks like, and where it may be used from."""

import pytest

from folkmoot.keys import allow
from folkmoot.keys.mint import PREFIX, digest, mint


@pytest.mark.parametrize("kind", PREFIX)
def test_a_key_has_its_prefix_and_is_stored_as_a_hash(kind):
    made = mint(kind)
    assert made.key.startswith(PREFIX[kind])
    assert len(made.key) == 4 + 43 + 6
    assert made.key[4:].isalnum()
    assert digest(made.key) == made.secret_hash
    assert len(made.secret_hash) == 64
    assert made.hint == f"{PREFIX[kind]}…{made.key[-4:]}"
    assert made.key not in repr(made)
    assert made.secret_hash not in repr(made)


def test_no_two_keys_are_the_same():
    assert len({mint("user").key for _ in range(500)}) == 500


def test_a_mistyped_key_is_told_without_asking_anybody():
    key = mint("user").key
    for place in range(len(key)):
        other = "A" if key[place] != "A" else "B"
        assert digest(key[:place] + other + key[place + 1 :]) is None
    for wrong in (
        key[:-1],
        key + "A",
        key + "\n",
        " " + key,
        key.replace("fmu_", "fma_"),
        "fmu_",
        "",
        "fmu_" + "é" * 49,
    ):
        assert digest(wrong) is None


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::7", "2001:db8::7/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
    ],
)
def test_networks_are_stored_in_one_way(written, stored):
    assert allow.network(written) == stored


@pytest.mark.parametrize(
    "wrong", ["", "*", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "010.0.0.1", "fe80::1%eth0/64", "1.2.3.4/x"]
)
def test_what_is_no_network_is_refused(wrong):
    with pytest.raises(ValueError, match="write"):
        allow.network(wrong)


@pytest.mark.parametrize(
    ("ip", "networks", "inside"),
    [
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("::ffff:10.1.2.3", ("10.0.0.0/8",), True),
        ("11.1.2.3", ("10.0.0.0/8",), False),
        ("2001:db8::1", ("10.0.0.0/8", "2001:db8::/32"), True),
        ("::1", ("127.0.0.0/8",), False),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("", ("0.0.0.0/0", "::/0"), False),
        ("unix:", ("0.0.0.0/0",), False),
    ],
)
def test_an_address_is_in_a_network_or_not(ip, networks, inside):
    assert allow.within(ip, networks) is inside


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("https://www.example", "https://www.example"),
        ("https://WWW.Example:443", "https://www.example"),
        ("https://a.example:8443", "https://a.example:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_origins_are_stored_as_browsers_send_them(written, stored):
    assert allow.origin(written) == stored


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "*",
        "null",
        "http://a.example",
        "https://*.example",
        "https://a.example/",
        "https://a.example/path",
        "https://a.example?x",
        "https://user@a.example",
        "https://a.example:0",
        "https://a.example:99999",
        "https://å.example",
        "https://",
        "https://-a.example",
        "a.example",
        "https://a.example\r\nx: y",
    ],
)
def test_what_is_no_exact_origin_is_refused(wrong):
    with pytest.raises(ValueError, match="exact origin"):
        allow.origin(wrong)
