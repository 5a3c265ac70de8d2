"""An exported conversation as Markdown (CommonMark, with footnotes). Pure.

What people and models wrote stands in block quotes, line by line, so that no heading, fence or list of theirs ends
them; of what would still reach beyond them (HTML, pictures from elsewhere, footnotes), the first character is escaped.
In code that shows as a backslash: the JSON export has the exact text.
"""

from __future__ import annotations

import re
from uuid import UUID

import msgspec

from folkmoot.conversations.citations.cite import MARKER
from folkmoot.conversations.export import ConversationExport, ExportedMessage
from folkmoot.conversations.schemas import MessageOut, ToolCallOut

_REACHING = re.compile(r"(\\*)(<|!(?=\[)|\[(?=\^))")
"""With the backslashes before it: an odd one of them escapes it already, and one more would undo that."""
_DEFINES = re.compile(r"^([ \t]{0,3})\[(?=[^\]\n]*\]:)", re.MULTILINE)
_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&:$^])")
_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_TICKS = re.compile(r"`+")
NOTES = {"not_found": "not found in the sources", "weak": "hardly supported by the sources"}
"""What is said of a sentence after it was checked."""


def markdown(exported: ConversationExport) -> str:
    """The whole document."""
    conversation = exported.conversation
    parts = [
        f"# {plain(conversation.title or 'Conversation')}",
        f"Exported {exported.exported_at:%Y-%m-%d %H:%M} UTC. Answers in this document: **{plain(exported.ai_mark)}**.",
    ]
    numbers = {item.message.id: number for number, item in enumerate(exported.messages, start=1)}
    above: UUID | None = None
    for item in exported.messages:
        parts += _message(item, numbers, above)
        above = item.message.id
    return "\n\n".join(parts) + "\n"


def _message(item: ExportedMessage, numbers: dict[UUID, int], above: UUID | None) -> list[str]:
    message, number = item.message, numbers[item.message.id]
    kind = "Question" if message.role == "user" else "Answer"
    parts = [f"## {number}. {kind}", _about(item)]
    if message.parent_id is not None and message.parent_id != above and message.parent_id in numbers:
        parts.append(f"Follows {numbers[message.parent_id]}.")
    if message.continues_id is not None and message.continues_id in numbers:
        parts.append(f"Goes on with {numbers[message.continues_id]}, which broke off.")
    if item.attachments:
        parts.append(f"Attached: {', '.join(plain(file.name) or 'a file that is gone' for file in item.attachments)}.")
    parts += map(_call, item.tool_calls)
    if message.content:
        parts.append(_quoted(_body(message, number)))
    if message.error is not None:
        parts.append(f"Not finished: {plain(message.error.detail)}.")
    parts += [f"{plain(left.what)}: {left.count} left out: {plain(left.why)}." for left in message.left_out]
    if message.edited_at is not None:
        parts.append(f"Edited by a person on {message.edited_at:%Y-%m-%d %H:%M} UTC.")
    return parts + _footnotes(message, number)


def _about(item: ExportedMessage) -> str:
    message = item.message
    said = [f"{message.finished_at or message.created_at:%Y-%m-%d %H:%M} UTC"]
    if item.ai_mark is not None:
        if item.assistant is not None:
            said.append(f"{plain(item.assistant)} (version {item.assistant_version})")
        if message.model is not None:
            said.append(f"{plain(message.model.name)} of {plain(message.model.provider)}")
        if message.status != "complete":
            said.append(message.status.replace("_", " "))
        said.append(f"**{plain(item.ai_mark)}**")
    return " · ".join(said)


def _body(message: MessageOut, number: int) -> str:
    """The text with notes after sentences that the sources do not support, and footnotes for markers."""
    cited = {citation.n for citation in message.citations}
    pieces: list[str] = []
    done = 0
    for sentence in sorted(message.sentences, key=lambda sentence: sentence.end):
        note = NOTES.get(sentence.support)
        if note is not None and done <= sentence.end <= len(message.content):
            pieces += (_inert(message.content[done : sentence.end], number, cited), f" *({note})*")
            done = sentence.end
    pieces.append(_inert(message.content[done:], number, cited))
    return "".join(pieces)


def _inert(text: str, number: int, cited: set[int]) -> str:
    text = _REACHING.sub(_escaped, _BREAKS.sub("\n", text))
    text = _DEFINES.sub(r"\1\\[", text)
    return MARKER.sub(
        lambda found: f"[^{number}-{found.group(1)}]" if int(found.group(1)) in cited else found.group(), text
    )


def _escaped(found: re.Match[str]) -> str:
    before, sign = found.groups()
    return f"{before}{sign}" if len(before) % 2 else f"{before}\\{sign}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _footnotes(message: MessageOut, number: int) -> list[str]:
    notes: list[str] = []
    for n in sorted({citation.n for citation in message.citations}):
        of = [citation for citation in message.citations if citation.n == n]
        page = f", page {of[0].page}" if of[0].page is not None else ""
        quotes = " … ".join(f"“{plain(citation.quote)}”" for citation in of)
        notes.append(f"[^{number}-{n}]: {plain(of[0].document_name)}{page}: {quotes}")
    return notes


def _call(call: ToolCallOut) -> str:
    name = plain(call.title or call.name)
    told = call.arguments if isinstance(call.arguments, str) else _json(call.arguments)
    lines = [f"Tool {name}: {plain(call.status)}", fenced(told)]
    if call.result:
        lines.append(fenced(call.result))
    return "\n\n".join(lines)


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def fenced(text: str) -> str:
    """Text as it is, in a fence that nothing in it can close."""
    longest = max((len(ticks) for ticks in _TICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{_BREAKS.sub(chr(10), text)}\n{fence}"


def plain(text: str) -> str:
    """Text on one line in which nothing means anything to Markdown."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))
