"""A certified OpenID provider (npm's `oidc-provider`) on loopback, and a browser that signs people in there.

    require()                                   # skips the test if Node or npm is missing; fails it in CI
    with start(clients=[client("folkmoot", "a-secret", redirect_uris=[...])], users={"ada": {...}}) as provider:
        provider.issuer                         # http://127.0.0.1:…
        async with Browser() as browser:
            back = await browser.sign_in(url, "ada", stop=redirect_uri)

A user is a login with claims (`email`, `email_verified`, `name`, `groups` …); any password is right. A client is what
dynamic registration knows: `backchannel_logout_uri` is called when a person signs out at the provider, and with
`backchannel_logout_session_required` the ID token has a `sid`. `stop()` and `start()` again on the same port is a
key rotation: keys are made at each start. Sessions and grants do not survive it.

The package is installed once a machine, under the user's cache folder, from the lock file beside `provider.mjs`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections import deque
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

SOURCE = Path(__file__).parents[2] / "plugins" / "auth-oidc" / "tests" / "provider"
PACKAGE = ("package.json", "package-lock.json")
STEPS = 25
"""Pages and redirects after which a sign-in goes in circles."""


def missing() -> str | None:
    """What this machine lacks, in a few words, or None."""
    lacking = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{' and '.join(lacking)} not found" if lacking else None


def require() -> None:
    """Skip the test, saying why, where the provider cannot run; where `CI` is set, fail it instead."""
    reason = missing()
    if reason is None:
        try:
            installed()
        except subprocess.SubprocessError as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            reason = f"npm could not install it ({said[-1][:200] if said else 'no reason given'})"
    if reason is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no OpenID provider to sign in at: {reason}")


def installed() -> Path:
    """The folder with the provider and what it needs; installs it if nobody has yet."""
    digest = hashlib.sha256(b"\0".join((SOURCE / name).read_bytes() for name in PACKAGE)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "folkmoot-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"oidc-provider-{digest}"
    with (cache / "oidc-provider.lock").open("w") as lock:
        # Tests run in several processes, and each may be the first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # Whole or not at all: what a killed run leaves is never taken for an installation.
            made = Path(tempfile.mkdtemp(dir=cache))
            try:
                for name in PACKAGE:
                    shutil.copy(SOURCE / name, made)
                command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
                subprocess.run(command, cwd=made, check=True, capture_output=True, text=True, timeout=240)
                made.rename(folder)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        # Node looks for packages beside the script. One that is loaded does not mind being replaced.
        shutil.copy(SOURCE / "provider.mjs", folder)
    return folder


def client(client_id: str, secret: str | None, **more: Any) -> dict[str, Any]:
    """A client as registration knows it; without a secret it is public."""
    if secret is None:
        return {"client_id": client_id, "token_endpoint_auth_method": "none", **more}
    return {"client_id": client_id, "client_secret": secret, **more}


@dataclass
class OidcProvider:
    """One provider. It may be stopped and started again, and keeps its port and so its issuer."""

    clients: list[dict[str, Any]]
    users: dict[str, dict[str, Any]]
    port: int = 0
    lean: bool = False
    """ID tokens hold only who signed in; e-mail and groups come from userinfo."""
    ttl: dict[str, int] = field(default_factory=dict[str, int])
    """Seconds by kind (`IdToken`, `AuthorizationCode`, …), where the usual ones do not do."""
    issuer: str = ""
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    """What it said on stderr, the warnings of its development mode included."""
    _process: subprocess.Popen[str] | None = None
    _listening: Thread | None = None

    def start(self) -> OidcProvider:
        """Start it and wait until it listens."""
        assert self._process is None, "it runs already"
        settings = {
            "port": self.port,
            "clients": self.clients,
            "users": self.users,
            "lean": self.lean,
            "ttl": self.ttl,
        }
        self._process = subprocess.Popen(
            ["node", "provider.mjs"],
            cwd=installed(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        self._listening = Thread(target=lambda: self.errors.extend(process.stderr or ()), daemon=True)
        self._listening.start()
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self.stop()
            raise AssertionError(f"the provider did not start: {''.join(self.errors)}")
        self.issuer = json.loads(line)["issuer"]
        self.port = int(self.issuer.rpartition(":")[2])
        return self

    def stop(self) -> None:
        """End it, and forget who was signed in."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(10)
            if self._listening is not None:
                self._listening.join(10)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> OidcProvider:
        return self if self._process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    *, clients: list[dict[str, Any]], users: dict[str, dict[str, Any]], port: int = 0, lean: bool = False, **ttl: int
) -> OidcProvider:
    """A running provider, on a free port unless one is named."""
    return OidcProvider(clients, users, port, lean, ttl).start()


class Browser:
    """Cookies, redirects and forms, as a person at a browser would go through them; no scripts."""

    def __init__(self, **settings: Any) -> None:
        self.http = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=20, **settings)
        self.visited: list[str] = []

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def sign_in(self, url: str, login: str, *, stop: str, password: str = "any") -> str:
        """Go to `url`, fill in what is asked, and give the address that begins with `stop`, which is not visited."""
        return await self.walk(url, {"login": login, "password": password}, stop=stop)

    async def walk(self, url: str, fill: dict[str, str], *, stop: str) -> str:
        """Follow redirects and submit forms, with `fill` for their fields, until an address begins with `stop`."""
        method, data = "GET", None
        for _ in range(STEPS):
            if url.startswith(stop):
                return url
            self.visited.append(url)
            response = await self.http.request(method, url, data=data)
            if response.is_redirect:
                # 303 and, as browsers have always done, 302 go on with GET.
                method, data, url = "GET", None, urljoin(url, response.headers["location"])
                continue
            assert response.status_code == 200, f"{url} answers {response.status_code}: {response.text[:2000]}"
            form = read_form(response.text)
            assert form is not None, f"{url} is a page without a form: {response.text[:2000]}"
            data = {name: fill.get(name, value) for name, value in form.fields.items()}
            method, url = form.method, urljoin(url, form.action)
        raise AssertionError(f"never at {stop} after {self.visited}")


@dataclass
class Form:
    """The first form of a page; a button that has a name is pressed, the first one if there are several."""

    action: str
    method: str
    id: str | None
    fields: dict[str, str] = field(default_factory=dict[str, str])


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form: Form | None = None
        self._inside = self._pressed = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form" and self.form is None:
            self.form = Form(said.get("action", ""), said.get("method", "get").upper(), said.get("id"))
            self._inside = True
            return
        # A button may stand elsewhere and name its form.
        ours = self.form is not None and (self.form.id == said["form"] if "form" in said else self._inside)
        if not ours or self.form is None or tag not in ("input", "button") or "name" not in said:
            return
        if tag == "button":
            if self._pressed:
                return
            self._pressed = True
        self.form.fields[said["name"]] = said.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def read_form(page: str) -> Form | None:
    """The first form of a page, or None."""
    reader = _FormReader()
    reader.feed(page)
    return reader.form
