"""The litellm proxy in a process of its own: an upstream that somebody else wrote.

    with running([mocked("mock-chat", "Hello."), translated("mock-claude", "mock-chat")], folder) as proxy:
        ...  # proxy.url speaks OpenAI's dialect below /v1 and Anthropic's at /v1/messages

It is installed once, into `.venv/litellm`, from `tests/support/litellm/uv.lock`. It answers out of its configuration or
asks what a test stands up; it has no credentials, no telemetry, and no reason to ask anybody else.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.server import free_port

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "litellm"
HOME = ROOT / ".venv" / "litellm"
STARTS_WITHIN = 90
Model = dict[str, Any]
"""An entry of litellm's `model_list`."""

# Without a database, litellm itself answers a wrong key with 400 and "No connected db."; this is its answer with one.
_AUTH = """
import os

from litellm.proxy._types import ProxyException, UserAPIKeyAuth


async def check(request, api_key):
    if api_key != os.environ["ITSELF_KEY"]:
        wrong = "Authentication Error, Invalid proxy server token passed"
        raise ProxyException(message=wrong, type="auth_error", param="key", code=401)
    return UserAPIKeyAuth(api_key=api_key)
"""


@dataclass(frozen=True)
class Proxy:
    url: str
    """Without `/v1`."""
    key: str
    """The one key that it takes."""
    pid: int


def mocked(name: str, answer: object) -> Model:
    """A model that says `answer`: a text, a vector for embeddings, or the name of one of litellm's errors."""
    return {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_key": "-", "mock_response": answer}}


def translated(name: str, other: str) -> Model:
    """A model that asks the same proxy for its model `other`: so even Anthropic's stream is litellm's own work.

    A mocked model answers `/v1/messages` whole even if a stream is asked for.
    """
    params = {"model": f"hosted_vllm/{other}", "api_base": "os.environ/ITSELF_URL", "api_key": "os.environ/ITSELF_KEY"}
    return {"model_name": name, "litellm_params": params}


def passed_on(name: str, url: str, key: str = "-") -> Model:
    """A model that asks the service at `url`, which ends in `/v1`, for its model of the same name."""
    return {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": url, "api_key": key}}


def python() -> Path:
    """The interpreter that has litellm; the first to ask installs it, and whoever asks meanwhile waits."""
    asked = (PROJECT / "uv.lock").read_bytes() + (PROJECT / "pyproject.toml").read_bytes() + sys.version.encode()
    wanted, mark = hashlib.sha256(asked).hexdigest(), HOME / ".synced"
    found = HOME / "bin" / "python"
    HOME.parent.mkdir(exist_ok=True)
    with HOME.with_name("litellm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (mark.exists() and mark.read_text() == wanted and found.exists()):
            done = subprocess.run(
                [
                    _uv(),
                    "sync",
                    "--quiet",
                    "--frozen",
                    "--compile-bytecode",
                    "--project",
                    str(PROJECT),
                    "--python",
                    sys.executable,
                ],
                env={"UV_SYSTEM_CERTS": "1"}
                | {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
                | {"UV_PROJECT_ENVIRONMENT": str(HOME)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"litellm could not be installed from its lock: {done.stderr}"
            mark.write_text(wanted)
    return found


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    assert found, "uv is not here, and installs litellm: run `make venv`"
    return found


@contextmanager
def running(models: Sequence[Model], folder: Path, *, checks_keys: bool = True) -> Iterator[Proxy]:
    """One worker process on a loopback port, ready; ended when left. Its files and its log are put into `folder`.

    With `checks_keys=False` litellm looks at the key by itself, as it does in an installation without a database.
    """
    port, key = free_port(), f"sk-{secrets.token_hex(16)}"
    url = f"http://127.0.0.1:{port}"
    (folder / "auth.py").write_text(_AUTH)
    (folder / "config.yaml").write_text(json.dumps(_config(models, checks_keys)))
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [str(python()), "-m", "litellm.proxy.proxy_cli", *_arguments(folder, port)],
            cwd=folder,
            env=_environment(folder, f"{url}/v1", key),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, url, key, folder / "litellm.log")
        yield Proxy(url, key, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _config(models: Sequence[Model], checks_keys: bool) -> dict[str, Any]:
    custom = {"custom_auth": "auth.check"} if checks_keys else {}
    return {
        "model_list": list(models),
        "general_settings": {"master_key": "os.environ/ITSELF_KEY"} | custom,
        # It passes on what it is given: retries and the exclusion of models that failed are its own ideas.
        "litellm_settings": {"telemetry": False, "num_retries": 0, "request_timeout": 30},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


def _arguments(folder: Path, port: int) -> list[str]:
    where = ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    return [*where, "--num_workers", "1", "--telemetry", "False"]


def _environment(folder: Path, url: str, key: str) -> dict[str, str]:
    """Nothing of ours: no key of a provider, no proxy."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        # The list of prices as installed, instead of the newest from the network.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # As it is told to be run in production: no `.env` file is read, and no line is logged for each request.
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "DISABLE_ADMIN_UI": "True",
        "NO_DOCS": "True",
        "ITSELF_URL": url,
        "ITSELF_KEY": key,
    }


def _wait(process: subprocess.Popen[bytes], url: str, key: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < deadline:
            ended = process.poll()
            assert ended is None, f"litellm ended with status {ended}:\n{log.read_text(errors='replace')[-4000:]}"
            try:
                # With the key: whatever else came to listen on this port does not know it.
                if client.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise AssertionError(f"litellm is not ready after {STARTS_WITHIN} s:\n{log.read_text(errors='replace')[-4000:]}")
