"""Walking the routes: what they ask for, and calls with somebody's ids in every place an id can stand."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field

from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from folkmoot.kit.access import Permission

IDS_IN_BODIES = {"collection_ids": "collection_id", "model_id": "model_id", "parent_id": "message_id"}
"""Fields of bodies that name things, and whose kind of id stands there."""
_UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")


def open_handlers(app) -> tuple[list[str], set[str]]:
    """Routes that name neither a permission nor that they are public, and the paths of the public ones."""
    unguarded, public = [], set()
    for route in app.routes:
        handlers = route.route_handlers if isinstance(route, HTTPRoute) else [route.route_handler]
        for handler in handlers:
            if isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}:
                continue
            if handler.opt.get("public"):
                public.add(route.path)
            elif not isinstance(handler.opt.get("permission"), Permission):
                unguarded.append(f"{route.path} ({handler.handler_name})")
    return unguarded, public


@dataclass(frozen=True)
class Operation:
    """One operation of the OpenAPI document."""

    id: str
    method: str
    path: str
    slots: tuple[str, ...]
    """Names of the path's parameters, and of the id fields of its body as `body:collection_ids`."""
    body: dict | None
    multipart: bool
    statuses: frozenset[str] = field(default=frozenset())

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    def call(self, ids: dict[str, dict[str, str]]) -> dict:
        """Arguments for `client.request`; `ids` says for each slot whose ids to take."""
        path = self.path.removeprefix("/api/v1")
        body = copy.deepcopy(self.body)
        for slot in self.slots:
            if slot.startswith("body:"):
                name = slot.removeprefix("body:")
                value = ids[slot][IDS_IN_BODIES[name]]
                body[name] = [value] if name.endswith("_ids") else value
            else:
                path = path.replace("{" + slot + "}", ids[slot][slot])
        arguments = {"method": self.method, "url": path}
        if self.multipart:
            arguments["files"] = [("file", ("a.txt", b"not mine"))]
        elif body is not None:
            arguments["json"] = body
        return arguments


def operations(document: dict) -> list[Operation]:
    """Every operation under `/api/v1`. Fails for an id that nobody taught it to fill in."""
    found = []
    for path, item in document["paths"].items():
        for method, said in item.items():
            if "operationId" not in said:
                continue
            slots = [part["name"] for part in said.get("parameters", []) if part["in"] == "path"]
            content = said.get("requestBody", {}).get("content", {})
            body = copy.deepcopy(content.get("application/json", {}).get("example"))
            for name, value in list((body or {}).items()):
                first = value[0] if isinstance(value, list) and value else value
                if name in IDS_IN_BODIES:
                    slots.append(f"body:{name}")
                elif isinstance(first, str) and _UUID.match(first):
                    raise AssertionError(f"{said['operationId']} has the id {name!r} in its body: tell IDS_IN_BODIES")
            found.append(
                Operation(
                    said["operationId"],
                    method.upper(),
                    path,
                    tuple(slots),
                    body,
                    "multipart/form-data" in content,
                    frozenset(said["responses"]),
                )
            )
    return found
