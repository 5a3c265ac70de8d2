"""`folkmoot receipt`: checking offline, and what it says of what is not good."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from folkmoot.cli import main
from folkmoot.conversations.receipts import issue
from folkmoot.conversations.receipts.receipt import state
from tests.conversations.receipts.test_receipt import facts, signed
from tests.support.keyrings import Changing

TEXT = "A fence may be 1.2 metres high. [1]"


@pytest.fixture
async def keyring():
    return await Changing().keyring()


@pytest.fixture
def file(tmp_path, keyring):
    path = tmp_path / "receipt.json"
    path.write_bytes(signed(keyring, state(facts(TEXT))))
    return path


@pytest.fixture
def keys(tmp_path, keyring):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [key.jwk() for key in issue.keys(keyring)]}))
    return path


def run(*arguments):
    return CliRunner().invoke(main, ["receipt", "verify", *map(str, arguments)])


def test_a_good_receipt_is_good_and_says_what_it_tells(file, keys):
    done = run(file, "--keys", keys)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("good\n")
    assert "by openai, in SE" in done.stdout
    assert "EUR" in done.stdout
    assert "WARNING" not in done.output
    assert "\x7f" not in done.stdout, "a name may not move the cursor"


@pytest.mark.parametrize("form", ["base64", "url", "hex"])
def test_a_single_key_may_be_given(file, keyring, form):
    raw = issue.keys(keyring)[0].public
    text = {
        "base64": base64.b64encode(raw).decode(),
        "url": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "hex": raw.hex(),
    }[form]
    done = run(file, f"--key={text}")
    assert done.exit_code == 0, done.output
    assert "WARNING" not in done.output


def test_without_a_key_it_says_loudly_what_that_proves(file):
    done = run(file)
    assert done.exit_code == 0
    assert "WARNING" in done.stderr
    assert "NOT who signed it" in done.stderr


async def test_the_key_of_somebody_else_is_not_enough(file, tmp_path):
    other = await Changing(b"o" * 32).keyring()
    done = run(file, "--key", issue.keys(other)[0].text)
    assert done.exit_code == 1
    assert "not among those that you trust" in done.stderr
    assert "good" not in done.stdout


def test_a_changed_receipt_is_not_good(file, keys):
    receipt = json.loads(file.read_text())
    receipt["statement"]["model"]["region"] = "US"
    file.write_text(json.dumps(receipt))
    done = run(file, "--keys", keys)
    assert done.exit_code == 1
    assert "NOT GOOD: the signature does not fit" in done.stderr


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_text_of_the_answer_is_compared(file, keys, tmp_path, end):
    text = tmp_path / "answer.txt"
    text.write_bytes((TEXT + end).encode())
    done = run(file, "--keys", keys, "--answer", text)
    assert done.exit_code == 0, done.output
    assert "the text is that of the answer" in done.stdout
    text.write_bytes((TEXT + "!").encode())
    done = run(file, "--keys", keys, "--answer", text)
    assert done.exit_code == 1
    assert "its hash is another one" in done.stderr


def test_the_organisation_is_compared(file, keys):
    receipt = json.loads(file.read_text())
    assert run(file, "--keys", keys, "--tenant", receipt["statement"]["tenant_id"]).exit_code == 0
    done = run(file, "--keys", keys, "--tenant", receipt["statement"]["message_id"])
    assert done.exit_code == 1
    assert "it is a receipt of the organisation" in done.stderr


def test_the_verdict_as_json(file, keys):
    done = run(file, "--keys", keys, "--json")
    assert done.exit_code == 0
    verdict = json.loads(done.stdout)
    assert (verdict["good"], verdict["signer_known"]) == (True, True)
    assert verdict["statement"] == json.loads(file.read_text())["statement"]
    assert json.loads(run(file, "--json").stdout)["signer_known"] is False
    file.write_text("{}")
    done = run(file, "--json")
    assert done.exit_code == 1
    verdict = json.loads(done.stdout)
    assert verdict["good"] is False
    assert "it lacks" in verdict["why"]


@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b"\x89PNG", b"[" * 300_000])
def test_what_is_no_receipt_is_said_in_a_sentence(file, content):
    file.write_bytes(content)
    done = run(file)
    assert done.exit_code == 1
    assert "folkmoot: NOT GOOD:" in done.stderr
    assert "Traceback" not in done.output


def test_a_huge_file_is_not_read_whole(file):
    with file.open("wb") as huge:
        huge.truncate(50 * 1024**3)
    done = run(file)
    assert done.exit_code == 1
    assert "more than 16 MB" in done.stderr


@pytest.mark.parametrize("content", [b"", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "RSA"}]}', b'{"keys": 3}',
                                     b'{"keys": [{"crv": "Ed25519", "x": "short"}]}'])  # fmt: skip
def test_a_file_of_keys_without_a_key_is_refused(file, keys, content):
    keys.write_bytes(content)
    done = run(file, "--keys", keys)
    assert done.exit_code == 1
    assert "key" in done.stderr
    assert "good" not in done.stdout


def test_a_missing_file_and_a_bad_key_are_told(tmp_path, file):
    assert run(tmp_path / "nothing.json").exit_code == 2
    done = run(file, "--key", "x")
    assert done.exit_code == 1
    assert "32 bytes" in done.stderr


def test_it_needs_no_settings_and_no_engines(file, keys):
    """As somebody would run it who has nothing but the package and two files."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FOLKMOOT_")}
    done = subprocess.run(
        [sys.executable, "-m", "folkmoot", "receipt", "verify", str(file), "--keys", str(keys)],
        env=clean | {"FOLKMOOT_DATABASE_URL": "postgresql://nobody:x@127.0.0.1:1/none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("good")


async def test_the_keys_are_exported(settings, app):
    names = ("database_url", "redis_url", "storage_url")
    env = {f"FOLKMOOT_{name.upper()}": getattr(settings, name) for name in names}
    env |= {"FOLKMOOT_SECRET_KEY": ",".join(settings.secret_key)}
    done = await asyncio.to_thread(CliRunner().invoke, main, ["receipt", "keys"], env=env)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["keys"] == [key.jwk() for key in issue.keys(app.keyring)]
