"""`/v1/audio/transcriptions`: speech to text, from a form as OpenAI's clients send it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
from folkmoot_sdk import TranscribeRequest, Transcript
from litestar import Response
from msgspec import UNSET
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header  # pyright: ignore[reportUnknownVariableType]

from folkmoot.ai.runtime import Runtime
from folkmoot.gateway import subtitles
from folkmoot.gateway.answers import SpokenSegment, Transcription, TranscriptionUsage
from folkmoot.gateway.complete import account_of, choose
from folkmoot.gateway.errors import Refused
from folkmoot.kit.access import Principal
from folkmoot.kit.app import App
from folkmoot.kit.errors import BadRequest, ContentTooLarge, UnsupportedContent

LARGEST_AUDIO = 25 * 1024 * 1024
LARGEST_FIELD = 16 * 1024
MOST_PARTS = 40
LARGEST_BODY = LARGEST_AUDIO + MOST_PARTS * (LARGEST_FIELD + 8 * 1024)
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")


@dataclass
class Form:
    """The fields of a request, and its file."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    """By name; a field that comes several times is one with commas."""
    audio: bytes | None = None
    file_name: str = ""
    media_type: str = ""

    def need(self, name: str) -> str:
        found = self.fields.get(name, "")
        if not found:
            raise Refused(name, f"the form has no field {name!r}")
        return found


async def transcribe(app: App, principal: Principal, form: Form) -> Response[Any]:
    """Raises `Refused`, what `choose` raises, and `ProviderError`."""
    wanted = form.fields.get("response_format") or "json"
    if wanted not in FORMATS:
        raise Refused("response_format", f"{wanted[:40]!r} is not offered: it is one of {', '.join(FORMATS)}")
    if form.fields.get("stream", "").lower() in ("true", "1"):
        raise Refused("stream", "transcripts come whole: leave `stream` out")
    if "word" in form.fields.get("timestamp_granularities", "").split(","):
        raise Refused("timestamp_granularities", "times are told for segments, not for single words")
    model_id, temperature = form.need("model"), _number(form, "temperature")
    if form.audio is None:
        raise Refused("file", "the form has no file: send the audio in the field 'file'")
    if not form.audio:
        raise Refused("file", "the file is empty")
    _, route = await choose(app, principal, model_id, "transcription")
    asked = TranscribeRequest(
        model="",
        audio=form.audio,
        media_type=form.media_type or "application/octet-stream",
        language=form.fields.get("language") or None,
        file_name=form.file_name,
        prompt=form.fields.get("prompt", ""),
        temperature=temperature,
    )
    model, said = await app.part(Runtime).transcribe(route, account_of(principal), asked)
    if wanted in ("srt", "vtt"):
        spoken = subtitles.cues(said)
        if not spoken and said.text:
            raise Refused("response_format", f"{model.name} does not tell when something is said: ask for `json`")
        return _plain(subtitles.srt(spoken) if wanted == "srt" else subtitles.vtt(spoken))
    if wanted == "text":
        return _plain(f"{said.text}\n")
    return Response(msgspec.json.encode(_told(said, verbose=wanted == "verbose_json")), media_type="application/json")


def _plain(text: str) -> Response[Any]:
    return Response(text.encode("utf-8", "replace"), media_type="text/plain")


def _told(said: Transcript, *, verbose: bool) -> Transcription:
    usage = UNSET
    if said.usage is not None:
        given, written = said.usage.input_tokens, said.usage.output_tokens
        usage = TranscriptionUsage(
            type="tokens", input_tokens=given, output_tokens=written, total_tokens=given + written
        )
    elif said.seconds is not None:
        usage = TranscriptionUsage(type="duration", seconds=said.seconds)
    if not verbose:
        return Transcription(text=said.text, usage=usage)
    ends = (segment.end for segment in said.segments)
    return Transcription(
        text=said.text,
        usage=usage,
        task="transcribe",
        language=said.language or "",
        duration=said.seconds if said.seconds is not None else max(ends, default=0.0),
        segments=[
            SpokenSegment(id=number, start=segment.start, end=segment.end, text=segment.text)
            for number, segment in enumerate(said.segments)
        ],
    )


def _number(form: Form, name: str) -> float | None:
    text = form.fields.get(name)
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise Refused(name, f"{text[:40]!r} is no number")
    return found


async def read_form(content_type: str, body: AsyncIterator[bytes]) -> Form:
    """A multipart body, read to its end. Raises `UnsupportedContent`, `ContentTooLarge` or `BadRequest`."""
    kind, options = cast("tuple[str, dict[str, str]]", parse_options_header(content_type))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise UnsupportedContent("send the audio as multipart/form-data, in a field named `file`")
    form, reader = Form(), _Reader()
    try:
        parser = PushMultipartParser(
            options["boundary"], max_segment_count=MOST_PARTS, max_header_size=8192, max_header_count=10
        )
        async for piece in body:
            for event in parser.parse(piece):
                reader.take(form, event)
        for event in parser.parse(b""):
            reader.take(form, event)
    except ParserLimitReached as error:
        raise BadRequest(f"the multipart body has too many or too large parts: {error}") from error
    except (MultipartError, ValueError) as error:
        raise BadRequest(f"the multipart body is broken: {error}", code="multipart-broken") from error
    return form


class _Reader:
    """Gathers the parts of a form."""

    def __init__(self) -> None:
        self._part: MultipartSegment | None = None
        self._data = bytearray()

    def take(self, form: Form, event: MultipartSegment | bytearray | bytes | None) -> None:
        if isinstance(event, MultipartSegment):
            self._part, self._data = event, bytearray()
        elif event is None:
            self._end(form)
        else:
            self._data += event
            self._check_size()

    def _check_size(self) -> None:
        part = self._part
        most = LARGEST_AUDIO if part is not None and part.name == "file" else LARGEST_FIELD
        if len(self._data) > most:
            name = (part.name or "")[:40] if part is not None else ""
            raise ContentTooLarge(f"the field {name!r} has more than {most} bytes, the most that is taken")

    def _end(self, form: Form) -> None:
        part, data, self._part = self._part, bytes(self._data), None
        if part is None:
            return
        if part.name == "file":
            form.audio, form.file_name = data, (part.filename or "")[:200]
            form.media_type = (part.content_type or "")[:100]
        else:
            text, name = data.decode("utf-8", "replace").strip(), (part.name or "").removesuffix("[]")
            form.fields[name] = f"{form.fields[name]},{text}" if name in form.fields else text
