"""The commands that the guides show are run, against a server, a certified OpenID provider and OpenLDAP's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.docs.running import Up, command, run, started
from tests.support import oidc_provider, slapd
from tests.support.openai_stub import stub_process
from tests.support.slapd import ADMIN, ADMIN_PASSWORD, TOP, Slapd, group, person

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the pages show commands for curl, which is not here"),
]
START = "FOLKMOOT_ADMIN_EMAIL=ada@example.org FOLKMOOT_ADMIN_PASSWORD='correct horse battery' make up"
PUBLIC = "https://folkmoot.example"


def installation(folder: Path):
    return started(START, folder, FOLKMOOT_PUBLIC_URL=PUBLIC, FOLKMOOT_NET_ALLOW="127.0.0.0/8,localhost")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("guides")) as up:
        yield up


@pytest.fixture
def here(shared):
    return said(shared)


def said(up: Up) -> tuple[dict[str, str], str]:
    """What the pages say and is another here, and commands that talk to the engines of this server."""
    real = {f"API={PUBLIC}/api/v1": f"API=http://{up.address}/api/v1", "folkmoot.example:8000": up.address}
    return real, f"folkmoot() {{ '{command()}' \"$@\" --data '{up.data}'; }}\n"


@pytest.mark.skipif(slapd.missing() is not None, reason=str(slapd.missing()))
def test_the_guide_to_ones_own_provider_is_true(here, tmp_path):
    oidc_provider.require()
    real, before = here
    entries = TOP + person("ada", password="ada and the four winds") + person("bo", password="bo and the four winds")
    entries += group("permits", "uid=bo,ou=people")
    (tmp_path / "directory").mkdir()
    client = oidc_provider.client("folkmoot", "the-client-secret", redirect_uris=[f"{PUBLIC}/api/v1/auth/callback"])
    with Slapd(tmp_path / "directory", entries) as directory, oidc_provider.start(clients=[client], users={}) as there:
        (tmp_path / "authority.pem").write_text(directory.authority)
        real |= {
            "https://id.municipality.example/realms/staff": there.issuer,
            "ldaps://directory.municipality.example": directory.tls_url,
            "cn=folkmoot,ou=services,dc=municipality,dc=example": ADMIN,
            "the-password-of-that-account": ADMIN_PASSWORD,
        }
        run("docs/guides/sign-in-with-your-provider.md", tmp_path, real, before)


def test_the_guide_to_a_secure_installation_is_true(here, tmp_path):
    real, before = here
    run("docs/guides/secure-an-installation.md", tmp_path, real, before)


def test_the_guide_to_connecting_a_model_is_true(here, tmp_path):
    real, before = here
    key = "the-key-of-the-account"
    with stub_process(key=key, models="gpt-4o") as stub:
        real |= {
            '"api_key": "not-the-key"': f'"api_key": "not-the-key", "base_url": "{stub}"',
            f'"api_key": "{key}"': f'"api_key": "{key}", "base_url": "{stub}"',
        }
        run("docs/guides/connect-a-model.md", tmp_path, real, before)


def test_the_guide_to_confidential_text_is_true(tmp_path):
    # Where every new space has a class, a model that is cleared for none is refused to the other pages.
    with installation(tmp_path) as up:
        real, before = said(up)
        run("docs/guides/confidential-text.md", tmp_path, real, before)


def test_the_guide_to_budgets_is_true(here, tmp_path):
    real, before = here
    run("docs/guides/budgets-and-usage.md", tmp_path, real, before)


def test_the_guide_to_the_compatible_api_is_true(here, tmp_path):
    real, before = here
    real |= {f"V1={PUBLIC}/v1": real[f"API={PUBLIC}/api/v1"].replace("API=", "V1=").replace("/api/v1", "/v1")}
    run("docs/guides/openai-compatible-api.md", tmp_path, real, before)


def test_the_guide_to_filling_a_collection_is_true(here, tmp_path):
    real, before = here
    run("docs/guides/fill-a-collection.md", tmp_path, real, before)


def test_the_guide_to_changing_the_embedding_model_is_true(here, tmp_path):
    real, before = here
    key = "the-key-of-the-account"
    with stub_process(key=key, models="gpt-4o,text-embedding-3-small,text-embedding-3-large") as stub:
        real |= {f'"api_key": "{key}"': f'"api_key": "{key}", "base_url": "{stub}"'}
        run("docs/guides/change-the-embedding-model.md", tmp_path, real, before)


def test_the_guide_to_reading_a_website_is_true(here, tmp_path):
    real, before = here
    site = tmp_path / "site"
    site.mkdir()
    links = "".join(f'<a href="/{name}">x</a>' for name in ("permits", "news/today", "internal", "moved-away"))
    (site / "index.html").write_text(f"<title>Our municipality</title><p>Welcome.{links}<a href='/rules.txt'>x</a>")
    (site / "permits").write_text("<title>Permits</title><p>A permit takes three weeks.")
    (site / "rules.txt").write_text("A fence may be 1.2 metres high.")
    (site / "robots.txt").write_text("User-agent: *\nDisallow: /internal\n")
    with folder_on_the_web(site) as address:
        run("docs/guides/read-a-website.md", tmp_path, real | {"https://www.municipality.example": address}, before)


@contextmanager
def folder_on_the_web(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_said):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
