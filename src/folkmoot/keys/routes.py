"""`/api-keys`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from folkmoot.keys.authenticate import Keys
from folkmoot.keys.models import ApiKey
from folkmoot.keys.schemas import KeyCreate, KeyMade, KeyOut, KeyRotate, KeyUpdate
from folkmoot.keys.service import KeyService
from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Cursor, IfMatch, Limit, Page, needs, tagged
from folkmoot.kit.work import Work

Everybody = Annotated[
    bool, QueryParameter(name="all", description="For administrators: the keys of everybody in the organisation.")
]


class KeyController(Controller):
    path = "/api-keys"
    tags = ["API keys"]
    opt = needs(Permission.KEYS, person=True)

    @get("/", operation_id="list_api_keys", summary="List my API keys")
    async def page(
        self,
        work: NamedDependency[Work],
        app: NamedDependency[App],
        limit: Limit = 50,
        cursor: Cursor = None,
        everybody: Everybody = False,
    ) -> Page[KeyOut]:
        """Newest first, with those that have ended. None shows the key itself."""
        rows, after = await _service(work, app).page(limit, cursor, everybody=everybody)
        return Page(items=[KeyOut.of(row) for row in rows], next_cursor=after)

    @post("/", operation_id="create_api_key", summary="Make an API key")
    async def create(
        self, work: NamedDependency[Work], app: NamedDependency[App], data: JSONBody[KeyCreate]
    ) -> Response[KeyMade]:
        """`key` is shown this once.

        It acts for the caller within its scopes, and never beyond what the caller may do at that moment. With
        `assistant_id` it is the key of one assistant that the caller may edit.
        """
        return _shown_once(*await _service(work, app).create(data))

    @get("/{key_id:uuid}", operation_id="get_api_key", summary="Read an API key")
    async def read(
        self, work: NamedDependency[Work], app: NamedDependency[App], key_id: FromPath[UUID]
    ) -> Response[KeyOut]:
        """What it may do and when it was used; administrators can read anybody's."""
        key = await _service(work, app).get(key_id)
        return tagged(KeyOut.of(key), key.revision)

    @patch("/{key_id:uuid}", operation_id="update_api_key", summary="Change an API key")
    async def update(
        self,
        work: NamedDependency[Work],
        app: NamedDependency[App],
        key_id: FromPath[UUID],
        data: JSONBody[KeyUpdate],
        if_match: IfMatch = None,
    ) -> Response[KeyOut]:
        """Holds within a second on every process. Only its owner can."""
        key = await _service(work, app).update(key_id, data, if_match)
        return tagged(KeyOut.of(key), key.revision)

    @delete("/{key_id:uuid}", operation_id="revoke_api_key", summary="Revoke an API key")
    async def revoke(self, work: NamedDependency[Work], app: NamedDependency[App], key_id: FromPath[UUID]) -> None:
        """Within a second it works nowhere. It stays in the list, as revoked; administrators can revoke anybody's."""
        await _service(work, app).revoke(key_id)

    @post("/{key_id:uuid}/rotate", operation_id="rotate_api_key", summary="Exchange an API key")
    async def rotate(
        self,
        work: NamedDependency[Work],
        app: NamedDependency[App],
        key_id: FromPath[UUID],
        data: JSONBody[KeyRotate | None] = None,
    ) -> Response[KeyMade]:
        """A new key with the same settings, shown this once; the old one works until the grace ends.

        Both belong together: they share conversations and what they may spend.
        """
        return _shown_once(*await _service(work, app).rotate(key_id, data or KeyRotate()))


def _service(work: Work, app: App) -> KeyService:
    return KeyService(work, app.part(Keys))


def _shown_once(key: ApiKey, secret: str) -> Response[KeyMade]:
    response = tagged(KeyMade.made(key, secret), key.revision, 201)
    response.headers["Cache-Control"] = "no-store"
    return response
