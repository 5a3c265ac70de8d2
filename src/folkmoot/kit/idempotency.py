"""`Idempotency-Key`: a POST that is sent again with the same key gets the first answer again.

The answer is kept in Redis for a day, per user or API key, method and path; sealed, because it may hold a key
that is shown only once. A key that comes back with another body is refused, and so is one whose first request
still runs. Routes that keep their key in a row of their own say `opt={"idempotent": True}` and are left alone.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import msgspec
from litestar import Request, Response
from litestar.types import Message, Scope

from folkmoot.kit.app import App
from folkmoot.kit.crypto import Tampered
from folkmoot.kit.errors import BadRequest, Conflict
from folkmoot.kit.http import principal_of

KEEP_SECONDS = 24 * 3600
LARGEST = 1_000_000
RUNNING = b"running"
PURPOSE = "idempotency"
RUNNING_SECONDS = 120


class Kept(msgspec.Struct):
    """An answer as it was given."""

    fingerprint: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes


async def before_request(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """Answer a repeated request from memory, or remember that this one runs."""
    key = request.headers.get("idempotency-key")
    opt = request.route_handler.opt
    if key is None or request.method != "POST" or opt.get("public") or opt.get("idempotent"):
        return None
    if not 1 <= len(key) <= 200:
        raise BadRequest("`Idempotency-Key` must have 1 to 200 characters")
    principal = principal_of(request)
    app = cast("App", request.app.state.app)
    redis = app.redis
    whole = f"{principal.tenant_id}\n{principal.user_id}\n{principal.key_id}\n{request.url.path}\n{key}"
    name = f"folkmoot:idempotency:{principal.tenant_id}:{hashlib.sha256(whole.encode()).hexdigest()}"
    content_type = str(request.headers.get("content-type", ""))
    # A body that streams in is told apart by its length alone.
    body = request.headers.get("content-length", "").encode() if "multipart" in content_type else await request.body()
    fingerprint = hashlib.sha256(body).hexdigest()
    if not await redis.set(name, RUNNING, nx=True, ex=RUNNING_SECONDS):
        found = await redis.get(name)
        if found is None or found == RUNNING:
            raise Conflict("the first request with this key still runs", code="request-in-progress")
        try:
            opened = await app.keyring.open(found, purpose=PURPOSE, tenant_id=principal.tenant_id, aad=name.encode())
        except Tampered as error:
            raise Conflict(
                "a request with this key was answered, and the answer cannot be read any more: see what it did, and "
                "take a new key",
                code="idempotency-key-reused",
            ) from error
        kept = msgspec.msgpack.decode(opened, type=Kept)
        if kept.fingerprint != fingerprint:
            raise Conflict("this key was used for another request: take a new one", code="idempotency-key-reused")
        headers = {name: value for name, value in kept.headers if name != "content-length"}
        return Response(
            kept.body,
            status_code=kept.status,
            headers=headers | {"Idempotent-Replayed": "true"},
            media_type=headers.get("content-type"),
        )
    cast("dict[str, Any]", request.scope)["idempotency"] = (name, Kept(fingerprint, 0, [], b""))
    return None


async def before_send(message: Message, scope: Scope) -> None:
    """Keep the answer of a request that has a key; forget the key if it failed on our side."""
    found = cast("dict[str, Any]", scope).get("idempotency")
    if found is None:
        return
    name, kept = cast("tuple[str, Kept]", found)
    app = cast("App", scope["litestar_app"].state.app)
    redis = app.redis
    if message["type"] == "http.response.start":
        kept.status = message["status"]
        kept.headers = [
            (key.decode("latin-1").lower(), value.decode("latin-1"))
            for key, value in message["headers"]
            if key.lower() in (b"content-type", b"etag", b"location", b"cache-control")
        ]
    elif message["type"] == "http.response.body":
        kept.body += message.get("body", b"")
        if message.get("more_body"):
            return
        if kept.status >= 500 or kept.status in (401, 403, 429) or len(kept.body) > LARGEST:
            await redis.delete(name)
        else:
            tenant_id = cast("dict[str, Any]", scope)["principal"].tenant_id
            sealed = await app.keyring.seal(
                msgspec.msgpack.encode(kept), purpose=PURPOSE, tenant_id=tenant_id, aad=name.encode()
            )
            await redis.set(name, sealed, ex=KEEP_SECONDS)
