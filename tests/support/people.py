"""Tenants, people and signed-in clients for tests."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import httpx
from sqlalchemy import update

from folkmoot.ai.connect import connect_defaults
from folkmoot.identity.models import User
from folkmoot.identity.passwords import hash_password
from folkmoot.identity.service import UserService
from folkmoot.identity.sign_in import SignIn
from folkmoot.kit.access import Principal
from folkmoot.knowledge.models import Document
from folkmoot.tenants.service import TenantService

PASSWORD = "correct horse battery staple"


class Person(httpx.AsyncClient):
    """A client that is signed in, below `/api/v1`."""

    user: User
    tenant_id: UUID
    tenant_name: str

    async def space(self, name: str = "Permits") -> str:
        return (await self.made("/spaces", name=name))["id"]

    async def collection(self, space_id: str | None = None, name: str = "Rules") -> str:
        space_id = space_id or await self.space()
        return (await self.made(f"/spaces/{space_id}/collections", name=name))["id"]

    async def assistant(self, space_id: str, *collection_ids: str, **fields) -> str:
        fields = {"name": "Helper", "collection_ids": list(collection_ids), **fields}
        return (await self.made(f"/spaces/{space_id}/assistants", **fields))["id"]

    async def conversation(self, assistant_id: str) -> str:
        return (await self.made(f"/assistants/{assistant_id}/conversations"))["id"]

    async def made(self, path: str, **fields) -> dict:
        response = await self.post(path, json=fields)
        assert response.status_code == 201, response.text
        return response.json()

    async def upload(self, collection_id: str, *files: tuple[str, bytes]) -> list[dict]:
        parts = [("file", (name, data)) for name, data in files]
        response = await self.post(f"/collections/{collection_id}/documents", files=parts)
        assert response.status_code == 202, response.text
        return response.json()["items"]

    async def read_through(self, document_id: str, seconds: float = 30) -> dict:
        """The document once it is ready or failed for good."""
        async with asyncio.timeout(seconds):
            while True:
                document = (await self.get(f"/documents/{document_id}")).json()
                if document["status"] in ("ready", "failed"):
                    return document
                await asyncio.sleep(0.05)

    async def knows(self, collection_id: str, *files: tuple[str, bytes]) -> list[dict]:
        """Upload and wait until all is ready."""
        documents = [await self.read_through(item["id"]) for item in await self.upload(collection_id, *files)]
        assert all(item["status"] == "ready" for item in documents), documents
        return documents

    async def ask(self, conversation_id: str, content: str, **headers) -> dict:
        """The finished answer."""
        response = await self.post(
            f"/conversations/{conversation_id}/messages", json={"content": content}, headers=headers, timeout=60
        )
        assert response.status_code == 201, response.text
        return response.json()


class Tenancy:
    def __init__(self, app, api):
        self.app, self._api = app, api
        self._clients: list[Person] = []

    async def tenant(self) -> tuple[UUID, str]:
        name = f"Tenant {uuid4().hex[:12]}"
        async with self.app.begin(Principal.platform()) as work:
            tenant = await TenantService(work).create(name)
        await connect_defaults(self.app, tenant.id, platform_account=False)
        return tenant.id, name

    async def owner(self) -> Person:
        tenant_id, name = await self.tenant()
        return await self.person(tenant_id, name, role="owner")

    async def colleague(self, of: Person, role: str = "user") -> Person:
        return await self.person(of.tenant_id, of.tenant_name, role=role)

    async def person(self, tenant_id: UUID, tenant_name: str, role: str = "user", email: str = "") -> Person:
        email = email or f"{uuid4().hex[:12]}@people.example"
        async with self.app.begin(Principal.system(tenant_id)) as work:
            user = await UserService(work).create(email, await hash_password(PASSWORD), name="Ada", role=role)
        signed = await SignIn(self.app).login(email, PASSWORD, tenant_name)
        client = Person(
            transport=httpx.ASGITransport(self._api, raise_app_exceptions=False),
            base_url="http://folkmoot.test/api/v1",
            headers={"Authorization": f"Bearer {signed.access_token}"},
            timeout=60,
        )
        client.user, client.tenant_id, client.tenant_name = user, tenant_id, tenant_name
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Nobody reads what a test has left in the queue: the next test's documents would wait for it."""
        left = update(Document).where(Document.status.in_(("queued", "processing"))).values(status="failed")
        for tenant_id in {client.tenant_id for client in self._clients}:
            async with self.app.begin(Principal.system(tenant_id)) as work:
                await work.session.execute(left)
        for client in self._clients:
            await client.aclose()
