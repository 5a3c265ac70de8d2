"""The OpenAPI document: what Litestar derives from the routes, with errors, security and examples filled in."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import msgspec
from litestar import Request, Response, get
from litestar.enums import MediaType
from litestar.openapi.plugins import JsonRenderPlugin

from folkmoot.kit.http import Problem
from folkmoot.kit.structs import Input

Json = dict[str, Any]
PROBLEM = "application/problem+json"
WITHOUT_TOKEN = (
    "login",
    "refresh",
    "forgot_password",
    "look_at_link",
    "accept_link",
    "list_ways_in",
    "start_external_login",
    "end_external_login",
    "external_login",
    "backchannel_logout",
)
ERRORS: dict[str, str] = {
    "400": "`validation-failed`, `bad-request`: the request makes no sense as it stands; `errors` names the fields.",
    "401": "`not-signed-in`, `token-expired`, `token-invalid`, `session-ended`, `second-factor-required`, "
    "`key-invalid`, `key-expired`, `key-revoked`: sign in, or refresh the token.",
    "403": "`forbidden`, `scope-missing`, `key-not-allowed`, `tenant-suspended`, `account-inactive`, "
    "`second-factor-needed`, `csrf-failed`: known to you, and not allowed to you.",
    "404": "`not-found`: not there, or not for you to know of.",
    "405": "`method-not-allowed`.",
    "408": "`request-timeout`: the body stood still for too long.",
    "409": "`conflict`, `already-exists`, `request-in-progress` and others: clashes with what is stored.",
    "412": "`changed-meanwhile`: somebody changed it since you read it.",
    "413": "`content-too-large`, `file-too-large`.",
    "415": "`unsupported-content-type`.",
    "429": "`too-many-requests`, `too-many-attempts`, `account-locked`: `Retry-After` says when to come back.",
    "500": "`internal-error`: our mistake, logged under `request_id`.",
    "503": "`not-available`: something that this needs is down.",
}
SAMPLES: dict[str, Any] = {
    "uuid": "01990a6e-3c1f-7c4b-9a52-0a4d6f1b2c3d",
    "date-time": "2026-11-22T09:30:00Z",
    "binary": "(bytes)",
}
NAMED: dict[str, Any] = {
    "status": "ready",
    "role": "admin",
    "email": "ada@municipality.example",
    "name": "Building permits",
    "title": "Fences",
    "content": "A fence may be 1.2 metres high [1].",
    "text": "A fence may be 1.2 metres high.",
    "quote": "A fence may be 1.2 metres high.",
    "media_type": "application/pdf",
    "access_token": "eyJhbGciOiJFZERTQSJ9…",
    "token_type": "Bearer",
    "expires_in": 600,
    "page": 3,
    "score": 0.71,
    "next_cursor": None,
    "document_name": "rules.pdf",
}


def finish(document: Json) -> Json:
    """A copy of Litestar's document with the error answers, security and an example for every operation."""
    done = copy.deepcopy(document)
    schemas: Json = done["components"]["schemas"]
    # Litestar loses the bounds of fields that may be absent; msgspec, which enforces them, tells them all.
    inputs = [kind for kind in _below(Input) if kind.__name__ in schemas]
    _, parts = msgspec.json.schema_components([Problem, *inputs], ref_template="#/components/schemas/{name}")
    schemas.update(parts)
    done["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "The access token of `POST /auth/login`."}
    }
    for path, item in cast("dict[str, Json]", done["paths"]).items():
        # Elsewhere errors have the form of another API, which its routes tell themselves.
        ours = path.startswith("/api/")
        for operation in item.values():
            if not isinstance(operation, dict) or "operationId" not in operation:
                continue
            responses = cast("Json", operation)["responses"]
            if operation["operationId"] in WITHOUT_TOKEN:
                operation["security"] = []
            for status, said in ERRORS.items() if ours else ():
                responses[status] = {
                    "description": said,
                    "content": {
                        PROBLEM: {
                            "schema": {"$ref": "#/components/schemas/Problem"},
                            "example": _problem(int(status), said),
                        }
                    },
                }
            body = cast("Json", operation).get("requestBody")
            for content in [body, *responses.values()] if body else responses.values():
                for media_type, media in content.get("content", {}).items():
                    if media_type in ("application/json", "multipart/form-data") and "example" not in media:
                        media["example"] = example(media["schema"], schemas)
    return done


def _below(kind: type[Input]) -> list[type[Input]]:
    return [found for child in kind.__subclasses__() for found in (child, *_below(child))]


def _problem(status: int, said: str) -> Json:
    code = said.split("`")[1]
    return {
        "type": f"https://folkmoot.eu/errors/{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": "a sentence that names the thing, the fact and the way out",
        "code": code,
        "request_id": "4f9c2d1a7b3e",
    }


def example(schema: Json, schemas: Json, name: str = "") -> Any:
    """A value that fits `schema`, made from its examples, formats and bounds; the same each time."""
    if schema.get("examples"):
        found: Any = schema["examples"]
        return next(iter(found.values())) if hasattr(found, "values") else found[0]
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas, name)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("oneOf", "anyOf"):
        if key in schema:
            some = [part for part in schema[key] if part.get("type") != "null"]
            return example(some[0], schemas, name) if some and name != "next_cursor" else None
    kinds: Any = schema.get("type")
    kind = str(kinds if isinstance(kinds, str) or kinds is None else next(part for part in kinds if part != "null"))
    if kind == "object":
        return {key: example(part, schemas, key) for key, part in schema.get("properties", {}).items()}
    if kind == "array":
        if schema.get("maxItems") == 0:
            return []
        return [example(schema["items"], schemas, name.removesuffix("s"))]
    if name in NAMED and (kind == "string") == isinstance(NAMED[name], str):
        return NAMED[name]
    return {"string": SAMPLES.get(schema.get("format", ""), name or "text"), "integer": 1, "number": 0.5,
            "boolean": True}.get(str(kind))  # fmt: skip


class _Cached:
    """Finishes the document once for all."""

    def __init__(self) -> None:
        self._done: Json | None = None

    def __call__(self, document: Json) -> Json:
        if self._done is None:
            self._done = finish(document)
        return self._done


class DocumentPlugin(JsonRenderPlugin):
    """`/api/openapi.json`."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=MediaType.JSON)
        self._finish = _Cached()

    def render(self, request: Request[Any, Any, Any], openapi_schema: Json) -> bytes:
        return super().render(request, self._finish(openapi_schema))  # pyright: ignore[reportUnknownMemberType]


DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Folkmoot API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/api/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/api/assets/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({url: "/api/openapi.json", dom_id: "#swagger-ui", deepLinking: true,
    displayOperationId: false, docExpansion: "none", presets: [SwaggerUIBundle.presets.apis]});
"""


@get("/api/docs", media_type=MediaType.HTML)
async def browse() -> Response[str]:
    """Swagger UI from a Python package, so that no browser asks another host for it; no inline script."""
    return Response(_PAGE, media_type=MediaType.HTML, headers={"Content-Security-Policy": DOCS_POLICY})


@get("/api/docs/start.js", media_type="text/javascript")
async def browse_start() -> str:
    return _START


def assets() -> Path:
    """Where the files of Swagger UI lie."""
    from importlib.util import find_spec

    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package swagger-ui-py is not installed")
    return Path(spec.origin).parent / "static"
