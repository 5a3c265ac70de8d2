"""Speech to text in the dialect: a multipart form in, a text out, with times where the model tells them."""

from __future__ import annotations

import math

import msgspec

from folkmoot_sdk.chat import Usage
from folkmoot_sdk.chat_completions.events import count, part_of
from folkmoot_sdk.chat_completions.wire import Spoken, spoken_decoder
from folkmoot_sdk.errors import BadResponse
from folkmoot_sdk.http import Asked, Service, read_error
from folkmoot_sdk.providers import TranscribeRequest, Transcript, TranscriptSegment

_ANSWER_LIMIT = 32 * 1024 * 1024

_SUFFIXES = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mp4": "m4a",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/webm": "webm",
    "video/webm": "webm",
    "video/mp4": "mp4",
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
}

_NAMES = (
    "afrikaans=af albanian=sq arabic=ar armenian=hy azerbaijani=az basque=eu belarusian=be bengali=bn bosnian=bs "
    "breton=br bulgarian=bg catalan=ca chinese=zh croatian=hr czech=cs danish=da dutch=nl english=en estonian=et "
    "faroese=fo finnish=fi french=fr galician=gl georgian=ka german=de greek=el gujarati=gu hebrew=he hindi=hi "
    "hungarian=hu icelandic=is indonesian=id italian=it japanese=ja kannada=kn kazakh=kk khmer=km korean=ko "
    "lao=lo latin=la latvian=lv lithuanian=lt luxembourgish=lb macedonian=mk malay=ms malayalam=ml maltese=mt "
    "maori=mi marathi=mr mongolian=mn nepali=ne norwegian=no nynorsk=nn occitan=oc pashto=ps persian=fa polish=pl "
    "portuguese=pt punjabi=pa romanian=ro russian=ru serbian=sr sinhala=si slovak=sk slovenian=sl somali=so "
    "spanish=es swahili=sw swedish=sv tagalog=tl tamil=ta telugu=te thai=th tibetan=bo turkish=tr ukrainian=uk "
    "urdu=ur uzbek=uz vietnamese=vi welsh=cy yiddish=yi yoruba=yo"
)
_LANGUAGES = {name: code for name, _, code in (pair.partition("=") for pair in _NAMES.split())}
"""Whisper names the language in English; the SDK has it as ISO 639-1."""


async def transcribe(
    service: Service,
    request: TranscribeRequest,
    asked: Asked,
    *,
    path: str = "/audio/transcriptions",
    timed: bool = True,
    more: dict[str, str] | None = None,
) -> Transcript:
    """The text of a recording. `timed` asks for `verbose_json`, which has segments and seconds but not for every model;
    `more` are further fields of the form. Raises `ProviderError`.
    """
    form = {"model": request.model, "response_format": "verbose_json" if timed else "json", **(more or {})}
    if request.language:
        form["language"] = request.language
    if request.prompt:
        form["prompt"] = request.prompt
    if request.temperature is not None:
        form["temperature"] = f"{request.temperature:g}"
    files = {"file": (file_name(request), request.audio, request.media_type or "application/octet-stream")}
    async with service.open("POST", path, form=form, files=files, asked=asked) as response:
        raw = await service.whole(response, limit=_ANSWER_LIMIT, asked=asked)
    try:
        spoken = spoken_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadResponse(f"{service.where} answers {path} with something else than a transcript") from None
    if spoken.error:
        raise service.inside(read_error(spoken.error), asked)
    if spoken.text is None:
        raise BadResponse(f"{service.where} sent a transcript without a text")
    return _transcript(spoken)


def file_name(request: TranscribeRequest) -> str:
    """A name whose suffix says the format: the service goes by it, not by the media type."""
    name = request.file_name.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if "." in name.strip("."):
        return name
    suffix = _SUFFIXES.get(request.media_type.split(";", 1)[0].strip().lower(), "wav")
    return f"{name.strip('.') or 'recording'}.{suffix}"


def _transcript(spoken: Spoken) -> Transcript:
    segments = tuple(
        TranscriptSegment(start=part.start, end=part.end, text=part.text.strip())
        for part in spoken.segments or ()
        if 0 <= part.start <= part.end < math.inf
    )
    seconds = _seconds(spoken.duration)
    if seconds is None:
        seconds = _seconds(part_of(spoken.usage, "seconds"))
    given, written = count(spoken.usage, "input_tokens"), count(spoken.usage, "output_tokens")
    return Transcript(
        text=(spoken.text or "").strip(),
        segments=segments,
        language=_language(spoken.language),
        seconds=seconds,
        usage=Usage(input_tokens=given, output_tokens=written) if given or written else None,
    )


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < math.inf else None


def _language(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    name = value.strip().lower()
    return name if len(name) == 2 and name.isalpha() else _LANGUAGES.get(name)
