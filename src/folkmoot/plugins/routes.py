"""`/plugins`: what is installed, for administrators."""

from __future__ import annotations

from litestar import Controller, get
from litestar.di import NamedDependency

from folkmoot.kit.access import Permission
from folkmoot.kit.app import App
from folkmoot.kit.http import Page, needs
from folkmoot.kit.structs import Struct
from folkmoot.plugins.manager import PluginManager


class PluginOut(Struct, frozen=True, kw_only=True):
    name: str
    distribution: str
    version: str
    hooks: list[str]
    error: str | None
    """Why it is left out, if it is."""


class PluginController(Controller):
    path = "/plugins"
    tags = ["Administration"]
    opt = needs(Permission.MODELS)

    @get("/", operation_id="list_plugins", summary="List the installed plugins")
    async def page(self, app: NamedDependency[App]) -> Page[PluginOut]:
        """Broken ones too, with the reason."""
        return Page(
            items=[
                PluginOut(
                    name=found.name,
                    distribution=found.distribution,
                    version=found.version,
                    hooks=list(found.hooks),
                    error=found.error,
                )
                for found in app.part(PluginManager).plugins
            ]
        )
