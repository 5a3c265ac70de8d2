"""Tools of our own: they read what the answer may read anyway, and change nothing."""

from __future__ import annotations

from folkmoot.conversations.run import Run
from folkmoot.kit.app import App
from folkmoot.kit.stream import StreamWriter
from folkmoot.tools.offer import Offer

NAMES = ("search_knowledge", "read_document", "calculate", "current_date")


def offers(app: App, run: Run, writer: StreamWriter) -> list[Offer]:
    """Those that the assistant may use."""
    wanted = NAMES if run.version.builtin_tools is None else run.version.builtin_tools
    made: dict[str, Offer] = {}
    return [made[name] for name in wanted if name in made and app is not None and writer is not None]
