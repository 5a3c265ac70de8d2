"""Whether a web page of some origin may call us at all, before we know for whom."""

from __future__ import annotations

import time

from sqlalchemy import select

from folkmoot.kit.access import Principal
from folkmoot.kit.log import get_logger
from folkmoot.kit.work import Sessions, begin
from folkmoot.tenants.models import AllowedOrigin

log = get_logger(__name__)
KEEP_SECONDS = 15.0
MOST = 1_000


class Origins:
    """Remembers its answers for some seconds. Lives as long as the process."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._known: dict[str, tuple[bool, float]] = {}

    async def may_call(self, origin: str) -> bool:
        """Whether any organisation allows `origin`. Which one is asked again once the caller is known."""
        now = time.monotonic()
        allowed, until = self._known.get(origin, (False, 0.0))
        if until > now:
            return allowed
        if len(origin) > 300 or origin == "null":
            return False
        try:
            async with begin(self._sessions, Principal.stranger(origin)) as work:
                row = await work.session.scalar(select(AllowedOrigin.id).where(AllowedOrigin.origin == origin).limit(1))
        except Exception as error:  # noqa: BLE001 - asked while an answer is sent: it must not cost the answer
            log.warning("origins.not_asked", error=repr(error))
            return False
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[origin] = (row is not None, now + KEEP_SECONDS)
        return row is not None
