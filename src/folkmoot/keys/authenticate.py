"""Who an API key speaks for."""

from __future__ import annotations

from folkmoot.identity.standing import Standing
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import NotSignedIn

PREFIXES = ("fmu_", "fma_", "fmp_")
"""Of keys for a person, for one assistant, and for the platform."""


class Keys:
    """Checks keys; remembers each for less than a second. Lives as long as the process."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def authenticate(self, key: str, *, ip: str, origin: str | None) -> tuple[Principal, Standing]:
        """Raises `NotSignedIn` (`key-invalid`, `key-expired`, `key-revoked`) or `Forbidden` (`address-not-allowed`,
        `origin-not-allowed`, and what `Standing.check` raises)."""
        raise NotSignedIn("this API key is not valid", code="key-invalid")
