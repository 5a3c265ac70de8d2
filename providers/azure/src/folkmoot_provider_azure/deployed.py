"""Asking a resource what is deployed there.

Only a Foundry project tells, to a token of Entra ID (GET /deployments of its REST API). Of plain resources the list
moved to the management plane, which needs rights that a platform like this should not have; an old version of the
API still answers on some.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from folkmoot_sdk import BadResponse, InvalidRequest
from folkmoot_sdk.http import Service

from folkmoot_provider_azure import Deployment
from folkmoot_provider_azure.known import CATALOGUE

_LIST_LIMIT = 4 * 1024 * 1024
_PAGES = 50
_OLD_VERSION = "2023-03-15-preview"


class _Sku(msgspec.Struct):
    name: str = ""


class _Row(msgspec.Struct):
    name: str = ""
    id: str = ""
    """The name, in the old list."""
    modelName: str = ""  # noqa: N815 - the name on the wire
    model: str = ""
    capabilities: Any = None
    sku: _Sku | None = None
    status: str = "succeeded"


class _Page(msgspec.Struct):
    value: list[_Row] | None = None
    data: list[_Row] | None = None
    nextLink: str | None = None  # noqa: N815 - the name on the wire


async def deployed(service: Service, *, project: bool) -> list[Deployment]:
    """What is deployed and of use here. `service` is the project's, or the resource's under `/openai`.

    Raises `ProviderError`, with field `deployments` if the service does not tell.
    """
    query = {"api-version": "v1" if project else _OLD_VERSION}
    found: list[Deployment] = []
    for _ in range(_PAGES):
        page = await _page(service, query, project=project)
        found += [deployment for row in page.value or page.data or [] if (deployment := _read(row)) is not None]
        if not page.nextLink:
            break
        # Only its query is followed: a link to another host would carry our token there.
        query |= dict(parse_qsl(urlsplit(page.nextLink).query))
    return list({deployment.name: deployment for deployment in found}.values())


async def _page(service: Service, query: dict[str, str], *, project: bool) -> _Page:
    untold = f"{service.where} does not tell what is deployed: name the deployments in the configuration" + (
        "" if project else ", or put in the address of a Foundry project and Entra ID's credentials"
    )
    try:
        async with service.open("GET", "/deployments", query=query) as response:
            body = await service.whole(response, limit=_LIST_LIMIT)
        page = msgspec.json.decode(body, type=_Page)
    except InvalidRequest as error:
        if project and error.field == "endpoint":
            raise
        raise InvalidRequest(untold, field="deployments") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadResponse(untold, field="deployments") from None
    return page


def _read(row: _Row) -> Deployment | None:
    name, model = row.name or row.id, row.modelName or row.model
    if not name or row.status != "succeeded":
        return None
    kind = CATALOGUE.kind_of(model or name)
    if kind is None or kind == "rerank":
        return None
    return Deployment(name, model, kind, global_standard=row.sku is not None and row.sku.name == "GlobalStandard")
