"""Settings are read from the environment, and a wrong one is named."""

import base64
import hashlib
from dataclasses import FrozenInstanceError

import pytest

from folkmoot.settings import Settings, SettingsError, described

KEY = base64.b64encode(hashlib.sha256(b"a key").digest()).decode()


def test_each_kind_of_value_is_read():
    read = Settings.from_environment(
        {
            "FOLKMOOT_PORT": "9000",
            "FOLKMOOT_LANES": "chat, ingest,",
            "FOLKMOOT_LOG_LEVEL": "debug",
            "FOLKMOOT_HOST": "::1",
        }
    )
    assert (read.port, read.lanes, read.log_level, read.host) == (9000, ("chat", "ingest"), "debug", "::1")
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({}, port=1).port == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "x"),
        ("LOG_LEVEL", "loud"),
        ("LANES", "chat,other"),
        ("DATABASE_URL_FILE", "/nowhere"),
        ("SIGNING_KEY_DAYS", "0"),
        ("ACCESS_TOKEN_SECONDS", "-5"),
        ("REQUESTS_PER_USER", "-1"),
        ("PASSWORD_MIN_LENGTH", "7"),
        ("TRUSTED_PROXIES", "10.0.0.300"),
        ("TRUSTED_PROXIES", "10.0.0.1, proxy"),
        ("PUBLIC_URL", "folkmoot.example"),
        ("PUBLIC_URL", "ftp://folkmoot.example"),
        ("PUBLIC_URL", "https://folkmoot.example/chat"),
        ("PUBLIC_URL", "https://folkmoot.example?next=1"),
        ("PUBLIC_URL", "https://ada@folkmoot.example"),
        ("PUBLIC_URL", "https://folkmoot.example:x"),
        ("PUBLIC_URL", "https://[::1"),
        ("TOOL_COMMANDS", "map-tools"),
        ("TOOL_COMMANDS", "/usr/bin/map-tools, ./other"),
        ("TOOL_COMMANDS", "/usr/bin/map-tools 'half"),
    ],
)
def test_a_wrong_value_names_its_variable(name, value):
    with pytest.raises(SettingsError, match=f"FOLKMOOT_{name}"):
        Settings.from_environment({f"FOLKMOOT_{name}": value})


def test_values_at_the_edge_are_taken():
    read = Settings.from_environment(
        {
            "FOLKMOOT_REQUESTS_PER_USER": "0",
            "FOLKMOOT_PUBLIC_URL": "http://[::1]:8080/",
            "FOLKMOOT_TOOL_COMMANDS": "/usr/bin/map-tools --layers 'two words',/usr/bin/other",
            "FOLKMOOT_TRUSTED_PROXIES": "::1",
        }
    )
    assert (read.requests_per_user, read.url()) == (0, "http://[::1]:8080")
    assert [str(network) for network in read.proxies()] == ["::1/128"]
    assert read.tool_commands == ("/usr/bin/map-tools --layers 'two words'", "/usr/bin/other")


def test_each_meaning_is_one_line_since_it_stands_in_a_table():
    assert all("\n" not in meaning for _, _, meaning in described())


def test_a_secret_may_lie_in_a_file(tmp_path):
    (tmp_path / "key").write_text(KEY + "\n")
    read = Settings.from_environment({"FOLKMOOT_SECRET_KEY_FILE": str(tmp_path / "key")})
    assert read.master_keys() == [hashlib.sha256(b"a key").digest()]


@pytest.mark.parametrize("keys", [(), ("x",), (base64.b64encode(b"short").decode(),), (KEY, "")])
def test_a_master_key_is_32_bytes(keys):
    with pytest.raises(SettingsError, match="openssl rand"):
        Settings(secret_key=keys).master_keys()


def test_the_usual_names_of_the_model_service_are_read_too():
    read = Settings.from_environment({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://[::1]:8080/v1"})
    assert read.reachable_inside() == ("[::1]:8080",)
    assert Settings().reachable_inside() == ()
    assert Settings.from_environment({"OPENAI_API_KEY": "a", "FOLKMOOT_OPENAI_API_KEY": "b"}).openai_api_key == "b"


def test_nothing_secret_is_shown():
    made = Settings(secret_key=(KEY,), admin_password="hunter2", database_url="postgresql://u:hunter2@h/d")
    assert KEY not in repr(made)
    assert "hunter2" not in repr(made)
    assert all("hunter2" not in "".join(row) for row in described())
    with pytest.raises(FrozenInstanceError):
        made.port = 1


@pytest.mark.parametrize(
    "key",
    [
        b"k" * 32,
        bytes(32),
        bytes(range(32)),
        b"0123456789abcdef0123456789abcdef",
        b"change me please, change me now!",
        b"\x00\xff" * 16,
        hashlib.sha256(b"x").digest()[:4] * 8,
    ],
)
def test_a_key_that_can_be_guessed_is_refused_at_start(key):
    settings = Settings(secret_key=(base64.b64encode(key).decode(),))
    with pytest.raises(SettingsError, match="openssl rand"):
        settings.master_keys()


def test_random_keys_are_not_taken_for_guessable_ones():
    for number in range(2_000):
        key = hashlib.sha256(number.to_bytes(4, "big")).digest()
        assert Settings(secret_key=(base64.b64encode(key).decode(),)).master_keys() == [key]
