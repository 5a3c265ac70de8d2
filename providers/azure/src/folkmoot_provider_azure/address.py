"""Where a resource's calls go, from the endpoint that somebody pasted and the version of the API.

`v1` has one address for all deployments and takes the deployment's name as the model. Dated versions have the name
in the path and the version in the query (learn.microsoft.com/azure/foundry/openai/api-version-lifecycle).
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple
from urllib.parse import quote

from folkmoot_sdk import InvalidRequest
from folkmoot_sdk.http import read_address

_DEFAULT_SCOPE = "https://cognitiveservices.azure.com/.default"
_PROJECT_SCOPE = "https://ai.azure.com/.default"

_KNOWS_USAGE = date(2024, 9, 1)
"""From here on versions know `stream_options`; older ones refuse the whole request."""
_KNOWS_EFFORT = date(2024, 12, 1)
_KNOWS_PARALLEL = date(2025, 1, 1)
_KNOWS_SCHEMA = date(2024, 8, 1)


class Address(NamedTuple):
    """What a resource and a version of the API make of a call."""

    base: str
    """Up to and including `/openai` or `/openai/v1`."""
    query: dict[str, str]
    dated: date | None
    """The version's day; None for `v1`, which knows everything."""
    project: str | None
    """The Foundry project's own address, which lists deployments."""
    scope: str
    """What a token must be for."""

    def path(self, call: str, deployment: str) -> str:
        """The path of `chat/completions`, `embeddings` or `audio/transcriptions` for a deployment."""
        return f"/{call}" if self.dated is None else f"/deployments/{quote(deployment, safe='')}/{call}"

    @property
    def knows_usage(self) -> bool:
        return self.dated is None or self.dated >= _KNOWS_USAGE

    @property
    def knows_effort(self) -> bool:
        return self.dated is None or self.dated >= _KNOWS_EFFORT

    @property
    def knows_parallel(self) -> bool:
        return self.dated is None or self.dated >= _KNOWS_PARALLEL

    @property
    def knows_schema(self) -> bool:
        return self.dated is None or self.dated >= _KNOWS_SCHEMA


def read_endpoint(endpoint: str, version: str) -> Address:
    """Raises `InvalidRequest` naming `endpoint` or `api_version`."""
    url = read_address(endpoint.split("?", 1)[0], "endpoint")
    # A gateway may have put something before the resource's own paths; what is pasted after them is cut off.
    before, found, rest = url.path.partition("/api/projects/")
    project = f"{before}{found}{rest.split('/', 1)[0]}" if found else None
    prefix = re.split(r"/openai(?:/|$)", before, maxsplit=1)[0].rstrip("/")
    root = str(url.copy_with(path="/", query=None)).rstrip("/")
    plain = version in ("v1", "preview")
    dated = None if plain else _day(version)
    return Address(
        base=f"{root}{prefix}/openai" + ("/v1" if plain else ""),
        query={} if version == "v1" else {"api-version": version},
        dated=dated,
        project=None if project is None else root + project,
        scope=_PROJECT_SCOPE if project is not None else _DEFAULT_SCOPE,
    )


def _day(version: str) -> date:
    try:
        return date.fromisoformat(version.removesuffix("-preview"))
    except ValueError:
        raise InvalidRequest(
            f"{version!r} is no version of the API: it is v1, or a day, as 2024-10-21", field="api_version"
        ) from None
