"""Going on with an answer that broke off: what it begins with, and how its model is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Container

from folkmoot_sdk import Message as Said
from folkmoot_sdk import TextPart

from folkmoot.conversations.answering.run import Run
from folkmoot.conversations.citations.cite import MARKER

TOLD = """\
Your answer above broke off. Go on with it exactly where it stops, in the middle of the sentence or word if it stops \
there. Repeat nothing of it, begin with no introduction, and do not say that you go on."""
_CITED = re.compile(rf" ?{MARKER.pattern}")


def without(gone: Container[int], content: str) -> str:
    """The text so far, without the markers of passages that are not there any more."""
    return _CITED.sub(lambda found: "" if int(found.group(1)) in gone else found.group(), content)


def has_its_passages(run: Run) -> bool:
    """Whether what it rested on is all there still, so that nothing needs to be searched for again."""
    return bool(run.trace.get("goes_on", {}).get("whole"))


def so_far(run: Run) -> list[Said]:
    """The turns that tell the model what it said before, and that it goes on."""
    length = run.trace.get("goes_on", {}).get("length", 0)
    text = "".join(run.text)[:length] if length else ""
    if not text:
        return []
    return [
        Said(role="assistant", content=(TextPart(text),)),
        Said(role="user", content=(TextPart(TOLD),)),
    ]
