"""Walking the routes: what they ask for, and calls with somebody's ids in every place an id can stand."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field

from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from folkmoot.kit.access import Permission

IDS_IN_BODIES = {
    "collection_ids": "collection_id",
    "tool_ids": "tool_id",
    "model_id": "model_id",
    "document_ids": "document_id",
    "parent_id": "message_id",
    "file_ids": "attachment_id",
    "group_ids": "group_id",
    "group_id": "group_id",
    "role_ids": "role_id",
    "assistant_id": "assistant_id",
    "tenant_id": "tenant_id",
    "user_id": "user_id",
    "data_class_id": "class_id",
    "clearance_id": "class_id",
    "fallback_ids": "model_id",
    "replacement_id": "model_id",
    "to_model": "model_id",
    "subject_id": "user_id",
    "model": "model",
}
"""Fields of bodies that name things, and whose kind of id stands there."""
IDS_IN_QUERIES = {"group_id": "group_id", "reason_id": "reason_id", "actor_id": "user_id", "object_id": "space_id",
                  "data_class_id": "class_id", "to_model": "model_id", "assistant_id": "assistant_id",
                  "branch": "message_id"}  # fmt: skip
WITHOUT_THING = {"certificate_id": "tenant_id"}
"""Parameters of paths that are filled with another kind of id."""
ORIGIN = "http://folkmoot.test"
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
    """Names of the path's parameters, of the query's as `query:group_id`, and of the id fields of its body as
    `body:collection_ids`, or `body:provisioning.group_map.0.group_id`."""
    body: dict | None
    multipart: bool
    query: dict
    """Values of the query's other parameters that must be given."""
    statuses: frozenset[str] = field(default=frozenset())

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    def call(self, ids: dict[str, dict[str, str]]) -> dict:
        """Arguments for `client.request`; `ids` says for each slot whose ids to take."""
        # Paths of clients lie below `/api/v1`; what lies elsewhere is named whole.
        below = self.path.startswith("/api/v1/")
        path = self.path.removeprefix("/api/v1") if below else f"{ORIGIN}{self.path}"
        body = copy.deepcopy(self.body)
        query = dict(self.query)
        for slot in self.slots:
            where, _, name = slot.rpartition(":")
            if where == "body":
                *inner, last = name.split(".")
                holder = body
                for step in inner:
                    holder = holder[int(step) if step.isdecimal() else step]
                value = ids[slot][IDS_IN_BODIES[last]]
                holder[last] = [value] if last.endswith("_ids") else value
                if last == "assistant_id":
                    # The key of an assistant takes none.
                    body.pop("scopes", None)
            elif where == "query":
                query[name] = ids[slot][IDS_IN_QUERIES[name]]
            else:
                path = path.replace("{" + slot + "}", ids[slot][WITHOUT_THING.get(slot, slot)])
        arguments = {"method": self.method, "url": path, "params": query}
        if self.multipart:
            arguments["files"] = [("file", ("a.txt", b"not mine"))]
        elif body is not None:
            arguments["json"] = body
        return arguments


def from_root(url: str) -> str:
    """A call's URL for a client that is not below `/api/v1`."""
    return url if url.startswith(ORIGIN) else f"/api/v1{url}"


def operations(document: dict) -> list[Operation]:
    """Every operation. Fails for an id that nobody taught it to fill in."""
    found = []
    for path, item in document["paths"].items():
        for method, said in item.items():
            if "operationId" not in said:
                continue
            parameters = said.get("parameters", [])
            slots = [part["name"] for part in parameters if part["in"] == "path"]
            queries = [part for part in parameters if part["in"] == "query"]
            slots += [f"query:{part['name']}" for part in queries if part["name"] in IDS_IN_QUERIES]
            needed = {
                part["name"]: "ab" for part in queries if part.get("required") and f"query:{part['name']}" not in slots
            }
            content = said.get("requestBody", {}).get("content", {})
            body = copy.deepcopy(content.get("application/json", {}).get("example"))
            slots += [f"body:{place}" for place in _ids_in(body, said["operationId"])]
            found.append(
                Operation(
                    said["operationId"],
                    method.upper(),
                    path,
                    tuple(slots),
                    body,
                    "multipart/form-data" in content,
                    needed,
                    frozenset(said["responses"]),
                )
            )
    return found


def _ids_in(value, operation: str, place: str = "") -> list[str]:
    """Where ids stand in a body, as `provisioning.group_map.0.group_id`."""
    if isinstance(value, list):
        return [found for number, item in enumerate(value) for found in _ids_in(item, operation, f"{place}{number}.")]
    if not isinstance(value, dict):
        return []
    found = []
    for name, item in value.items():
        first = item[0] if isinstance(item, list) and item else item
        if name in IDS_IN_BODIES:
            found.append(place + name)
        elif isinstance(first, str) and _UUID.match(first):
            raise AssertionError(f"{operation} has the id {name!r} in its body: tell IDS_IN_BODIES")
        else:
            found += _ids_in(item, operation, f"{place}{name}.")
    return found
