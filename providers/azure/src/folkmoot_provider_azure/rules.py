"""How Azure words its failures, where it has its own way.

From learn.microsoft.com/azure/foundry/openai: errors come from the resource itself, from the gateway before it
(`Resource not found`, `Access denied`), or from the content filter, whose words the common rules know.
"""

from __future__ import annotations

from folkmoot_sdk import AuthenticationFailed, InvalidRequest, ModelNotFound
from folkmoot_sdk.http import FailureRule, Meant, Said


def rules_for(*, dated: bool) -> tuple[FailureRule, ...]:
    """The rules of a resource; `dated` if calls carry the day of a version, which may be the wrong one."""

    def rule(status: int, said: Said) -> Meant | None:
        words = said.all
        if "deploymentnotfound" in words or "deployment for this resource does not exist" in words:
            return Meant(ModelNotFound, "deployments")
        if status == 404 and "resource not found" in words:
            return Meant(InvalidRequest, "api_version" if dated else "endpoint")
        if status == 400 and ("api version not supported" in words or "unsupportedapiversion" in words):
            return Meant(InvalidRequest, "api_version")
        if status == 400 and "operationnotsupported" in words:
            return Meant(InvalidRequest, "deployments")
        if status in (401, 403) and ("permissiondenied" in words or "lacks the required data action" in words):
            return Meant(AuthenticationFailed, "client_id")
        if status == 403 and ("virtual network" in words or "firewall" in words or "public access" in words):
            return Meant(InvalidRequest, "endpoint")
        return None

    return (rule,)
