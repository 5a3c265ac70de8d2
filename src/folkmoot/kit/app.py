"""What one process holds for its whole life, put together by the composition roots and passed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from folkmoot.kit.access import Principal
from folkmoot.kit.envelope import Keyring
from folkmoot.kit.redis import Redis
from folkmoot.kit.storage import Storage
from folkmoot.kit.stream import Streams
from folkmoot.kit.work import Sessions, begin
from folkmoot.settings import Settings

T = TypeVar("T")


@dataclass
class App:
    """The engines of kit, and the parts that higher layers add by their type."""

    settings: Settings
    sessions: Sessions
    redis: Redis
    keyring: Keyring
    storage: Storage
    streams: Streams
    parts: dict[type[Any], Any] = field(default_factory=dict[type[Any], Any])

    def part(self, kind: type[T]) -> T:
        """The part of this type, such as the plugin manager or the model runtime."""
        return cast("T", self.parts[kind])

    def add(self, part: object) -> None:
        self.parts[type(part)] = part

    def begin(self, principal: Principal) -> Any:
        """`begin()` with this process's sessions."""
        return begin(self.sessions, principal)
