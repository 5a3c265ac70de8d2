"""An installation of its own for tests that exchange its keys: database, queue, files, and one thing of each kind."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from pyotp import TOTP
from redis.asyncio import Redis
from sqlalchemy import select

from folkmoot.ai.service import PURPOSE, ModelService
from folkmoot.assemble import assemble
from folkmoot.audit.seal import seal
from folkmoot.audit.verify import verify
from folkmoot.federation.backends import Backends
from folkmoot.federation.models import LoginMethod
from folkmoot.identity.link_tokens import read, token_of
from folkmoot.identity.links import Links
from folkmoot.identity.models import Link, Session, User
from folkmoot.identity.service import UserService
from folkmoot.identity.sign_in import SignIn
from folkmoot.identity.tokens import RefreshClaims, Tokens
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.errors import BadRequest, NotSignedIn
from folkmoot.knowledge.password import password_of
from folkmoot.main import create_app
from folkmoot.platform.certificate import is_valid, sign
from folkmoot.platform.sealed import COLUMNS
from folkmoot.settings import Settings
from folkmoot.tenants.models import PLATFORM, Certificate
from folkmoot.tools.models import ToolServer
from folkmoot.tools.servers import ToolServers
from folkmoot.websites import secret as website_secret
from folkmoot.websites.models import Website
from tests.conftest import with_database
from tests.support import old_form
from tests.support.people import PASSWORD, Person, Tenancy

OLD, NEW, OTHER = (hashlib.sha256(name).digest() for name in (b"the old one", b"the new one", b"another"))
SECRET = "bind-password-of-the-directory"
DIRECTORY = {"url": "ldaps://127.0.0.1:1", "base_dn": "dc=municipality,dc=example", "bind_password": SECRET}
TEXT = b"A fence may be 1.2 metres high. " * 9000


@dataclass
class Ground:
    settings: Settings
    superuser: str

    def with_keys(self, keys: Sequence[bytes]) -> Settings:
        return replace(self.settings, secret_key=tuple(base64.b64encode(key).decode() for key in keys))

    @asynccontextmanager
    async def app(self, *keys: bytes) -> AsyncIterator[App]:
        async with assemble(self.with_keys(keys)) as made:
            yield made

    async def fetch(self, query: str, *values) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.superuser)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()

    def files(self, tenant_id: UUID) -> list[Path]:
        root = Path(urlsplit(self.settings.storage_url).path) / str(tenant_id)
        return [path for path in root.rglob("*") if path.is_file()]


@asynccontextmanager
async def ground(settings: Settings, database: dict[str, str], folder: Path) -> AsyncIterator[Ground]:
    name = f"keys_{uuid4().hex[:10]}"
    admin = await asyncpg.connect(with_database(database["superuser"], "postgres"))
    try:
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE folkmoot OWNER folkmoot_owner')
        redis = database["redis"].replace("db=0", "db=1")
        async with Redis.from_url(redis) as client:
            await client.flushdb()
        yield Ground(
            replace(
                settings,
                database_url=with_database(database["runtime"], name),
                owner_database_url=with_database(database["owner"], name),
                redis_url=redis,
                storage_url=(folder / "files").as_uri(),
            ),
            with_database(database["superuser"], name),
        )
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await admin.close()


@dataclass
class Things:
    """One of each kind that is sealed or signed, made in one installation."""

    tenancy: Tenancy
    owner: Person
    totp: str = ""
    codes: list[str] = field(default_factory=list)
    refresh: str = ""
    link: Link | None = None
    link_token: str = ""
    session: UUID | None = None
    document: str = ""
    method: UUID | None = None
    website: UUID | None = None
    server: UUID | None = None

    @property
    def tenant_id(self) -> UUID:
        return self.owner.tenant_id


async def furnished(app: App) -> Things:
    """Two factors, a way in with a secret, a model's connection, a file, a link, a session, a log, a certificate."""
    api = create_app(app.settings)
    api.state.app = app
    tenancy = Tenancy(app, api)
    owner = await tenancy.owner()
    made = Things(tenancy, owner)
    signed = await SignIn(app).open(owner.user, method="oidc", logout_hint="an ID token")
    made.refresh, made.session = signed.refresh_token, signed.session_id
    method = await owner.made("/login-methods", kind="ldap", name="Directory", config=DIRECTORY)
    made.method = UUID(method["id"])
    async with app.begin(Principal.system(owner.tenant_id)) as work:
        await ModelService(work).put_connection(
            app.keyring, kind="openai", name="Models", config={"api_key": "sk-secret"}, models=[], rank=9
        )
        made.link = await Links(app).make(work, (await _invited(work, owner.tenant_id)), "invitation")
    made.link_token = token_of(app.keyring, made.link)
    collection = await owner.collection()
    (document,) = await owner.upload(collection, ("rules.txt", TEXT))
    made.document = document["id"]
    auth = {"kind": "basic", "user": "reader", "password": SECRET}
    website = await owner.made(f"/collections/{collection}/websites", url="https://www.example.org/", auth=auth)
    made.website = UUID(website["id"])
    body = {"name": "Maps", "kind": "http", "config": {"url": "http://127.0.0.1:1/mcp", "token": SECRET}}
    made.server = UUID((await owner.post("/tool-servers?check=false", json=body)).json()["id"])
    retry = await owner.post(f"/documents/{made.document}/retry", json={"password": "open sesame"})
    assert retry.status_code == 202, retry.text
    begun = (await owner.post("/me/second-factor", json={"password": PASSWORD})).json()
    made.totp = parse_qs(urlsplit(begun["uri"]).query)["secret"][0]
    confirmed = await owner.post("/me/second-factor/confirm", json={"code": TOTP(made.totp).now()})
    made.codes = confirmed.json()["recovery_codes"]
    async with app.begin(Principal.system(PLATFORM)) as work:
        work.record("platform.admin_granted", "user", owner.user.id)
    for tenant_id in (owner.tenant_id, PLATFORM):
        await seal(app, tenant_id)
    now = datetime.now(UTC) - timedelta(days=1)
    async with app.begin(Principal.platform()) as work:
        row = Certificate(tenant_id=uuid4(), tenant_name="Gone", requested_by="a test", requested_at=now,
                          completed_at=now, removed={"rows": {}})  # fmt: skip
        work.session.add(row)
        await work.session.flush()
        await work.session.refresh(row)
        sign(row, app.keyring)
    return made


async def _invited(work, tenant_id: UUID):
    return await UserService(work).create(
        f"{uuid4().hex}@people.example", None, name="Eve", role="user", state="invited"
    )


async def check_sealed(app: App, things: Things) -> None:
    """Everything that was sealed opens, by the ways that the product opens it."""
    async with app.begin(Principal.system(things.tenant_id)) as work:
        session = await work.session.get_one(Session, things.session)
        method = await work.session.get_one(LoginMethod, things.method)
        connection = await ModelService(work).find_connection("Models")
        website = await work.session.get_one(Website, things.website)
        server = await work.session.get_one(ToolServer, things.server)
        user = await work.session.get_one(User, things.owner.user.id)
    sealed, place = user.totp_secret, {"purpose": "totp", "tenant_id": things.tenant_id, "aad": user.id.bytes}
    assert (await app.keyring.open(sealed, **place)).decode() == things.totp
    assert await SignIn(app).logout_hint(session) == "an ID token"
    assert (await app.part(Backends).config(method))["bind_password"] == SECRET
    config = await app.keyring.open(connection.config, purpose=PURPOSE, tenant_id=things.tenant_id)
    assert b"sk-secret" in config
    assert (await website_secret.stored(app, website)).password == SECRET
    assert (await app.part(ToolServers).config_of(server))["token"] == SECRET
    async with client_of(app, things) as client:
        assert await password_of(app, things.tenant_id, UUID(things.document)) == "open sesame"
        content = await client.get(f"/documents/{things.document}/content")
        assert content.content == TEXT
        taken = await client.post(
            "/me/second-factor/recovery-codes", json={"password": PASSWORD, "code": things.codes.pop()}
        )
        assert taken.status_code == 200, taken.text
        things.codes = taken.json()["recovery_codes"]


async def check_vouched(app: App, things: Things) -> None:
    """Logs are whole, sealed to their end, and certificates hold."""
    for tenant_id in (things.tenant_id, PLATFORM):
        async with asyncio.timeout(20):
            while (verdict := await verify(app, tenant_id)).pending:
                await seal(app, tenant_id)
        assert verdict.faults == []
        assert verdict.events
    async with app.begin(Principal.platform()) as work:
        certificate = (await work.session.scalars(select(Certificate))).one()
        assert is_valid(certificate, app.keyring)


@asynccontextmanager
async def client_of(app: App, things: Things) -> AsyncIterator[httpx.AsyncClient]:
    """The owner, with a new access token and the one session, as this application serves them."""
    api = create_app(app.settings)
    api.state.app = app
    signed = await SignIn(app).open(things.owner.user, method="oidc")
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(api, raise_app_exceptions=False),
                base_url="http://folkmoot.test/api/v1",
                headers={"Authorization": f"Bearer {signed.access_token}"},
                timeout=60,
            )
        )


async def check_entry(app: App, things: Things) -> None:
    """Who was signed in still is, and a link that was sent is still good."""
    assert read(app.keyring, things.link_token).link_id == things.link.id
    assert (await Links(app).look(things.link_token)).link.id == things.link.id
    things.refresh = (await SignIn(app).refresh(things.refresh)).refresh_token


async def check_shut(app: App, things: Things) -> None:
    """Nobody gets in by what they had."""
    with pytest.raises(NotSignedIn):
        app.part(Tokens).read_refresh(things.refresh)
    with pytest.raises(BadRequest):
        read(app.keyring, things.link_token)


class KeyringOfBefore(Keyring):
    """Signs as releases did that had no data keys."""

    def __init__(self, master: bytes) -> None:
        super().__init__(master)
        self._master = master

    @property
    def roots(self):
        return self

    def derive(self, purpose, tenant_id=None):
        return old_form.derive(self._master, purpose, tenant_id)

    def derivations(self, purpose, tenant_id=None):
        return [self.derive(purpose, tenant_id)]


async def as_before(here: Ground, app: App, things: Things, master: bytes) -> None:
    """Bring all back to how a release without data keys had left it, and give out what that had given out."""
    tenant, user, was = things.tenant_id, things.owner.user.id, KeyringOfBefore(master)
    for column in COLUMNS:
        stored = f"SELECT id, {column.name} AS sealed FROM {column.table} WHERE {column.name} IS NOT NULL"
        for row in await here.fetch(f"{stored} AND tenant_id = $1", tenant):
            place = {"purpose": column.purpose, "tenant_id": tenant, "aad": row["id"].bytes if column.of_row else b""}
            sealed = old_form.seal(master, await app.keyring.open(row["sealed"], **place), **place)
            await here.fetch(f"UPDATE {column.table} SET {column.name} = $2 WHERE id = $1", row["id"], sealed)
    (path,) = here.files(tenant)
    key = str(path.relative_to(path.parents[1]))
    path.write_bytes(old_form.seal_file(master, TEXT, tenant_id=tenant, name=key))
    codes = [
        hmac.digest(was.derive("recovery-code", tenant), user.bytes + code.replace("-", "").upper().encode(), "sha256")
        for code in things.codes
    ]
    await here.fetch("UPDATE users SET recovery_codes = $2 WHERE id = $1", user, [code.hex() for code in codes])
    await here.fetch("DELETE FROM audit_seals")
    await here.fetch("DELETE FROM audit_checkpoints")
    await app.redis.flushdb()
    for of in (tenant, PLATFORM):
        await seal(replace(app, keyring=was), of)
    async with app.begin(Principal.platform()) as work:
        certificate = (await work.session.scalars(select(Certificate))).one()
        work.session.expunge(certificate)
    sign(certificate, was)
    await here.fetch(
        "UPDATE deletion_certificates SET key_id = $1, signature = $2", certificate.key_id, certificate.signature
    )
    (session,) = await here.fetch("SELECT generation FROM sessions WHERE id = $1", things.session)
    things.refresh = Tokens(was, 600).refresh(RefreshClaims(tenant, things.session, session["generation"]))
    things.link_token = token_of(was, Link(id=things.link.id, tenant_id=tenant))
    await here.fetch("DELETE FROM tenant_keys")
    await here.fetch(
        "INSERT INTO tenant_keys (id, tenant_id, purpose, version, wrapped)"
        " SELECT gen_random_uuid(), id, 'old', 0, '' FROM tenants"
    )
