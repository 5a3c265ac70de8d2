"""A recording goes out as a form that the service can read, and comes back as text with what else it tells."""

from __future__ import annotations

from email.parser import BytesParser

import httpx
import pytest
from folkmoot_sdk import BadResponse, ModelNotFound, TranscribeRequest, Transcript, TranscriptSegment, Usage
from folkmoot_sdk.chat_completions import transcribe
from folkmoot_sdk.http import Asked

from plugins.sdk.tests.upstream import service


def form_of(request):
    """The fields of a multipart body, files as (name, type, bytes)."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    fields = {}
    for part in BytesParser().parsebytes(head + request.content).get_payload():
        name = part.get_param("name", header="content-disposition")
        body = part.get_payload(decode=True)
        file = part.get_filename()
        fields[name] = (file, part.get_content_type(), body) if file else body.decode()
    return fields


async def transcribed(answer, *, status=200, timed=True, more=None, **request):
    seen = []

    def handler(asked):
        seen.append(form_of(asked))
        return (
            httpx.Response(status, json=answer)
            if not isinstance(answer, bytes)
            else httpx.Response(200, content=answer)
        )

    async with service(handler) as reached:
        request = {"model": "whisper-1", "audio": b"\x00\xffRIFF", "media_type": "audio/mpeg"} | request
        got = await transcribe(
            reached, TranscribeRequest(**request), Asked("whisper-1", "transcription_models"), timed=timed, more=more
        )
    return got, seen[0]


WHOLE = {
    "task": "transcribe",
    "language": "swedish",
    "duration": "8.47",
    "text": " Hej på dig. ",
    "segments": [{"id": 0, "start": 0.0, "end": 3.32, "text": " Hej på dig.", "tokens": [1]}],
    "usage": {"type": "duration", "seconds": 9},
}


async def test_a_verbose_answer_tells_length_language_and_times():
    got, form = await transcribed(
        WHOLE, language="sv", prompt="Folkmoot", temperature=0.25, file_name="möte.mp3", more={"a": "b"}
    )
    assert got == Transcript("Hej på dig.", (TranscriptSegment(0.0, 3.32, "Hej på dig."),), "sv", 8.47)
    file = form.pop("file")
    assert file[1:] == ("audio/mpeg", b"\x00\xffRIFF")
    assert form == {
        "model": "whisper-1",
        "response_format": "verbose_json",
        "language": "sv",
        "prompt": "Folkmoot",
        "temperature": "0.25",
        "a": "b",
    }


async def test_a_model_that_counts_tokens_tells_them():
    answer = {"text": "Hej", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}}
    got, form = await transcribed(answer, timed=False)
    assert got == Transcript("Hej", usage=Usage(14, 3))
    assert form["response_format"] == "json"


async def test_seconds_are_read_from_the_usage_where_the_duration_is_missing():
    got, _ = await transcribed({"text": "Hej", "usage": {"type": "duration", "seconds": 3}})
    assert got.seconds == 3.0
    assert got.usage is None


@pytest.mark.parametrize(
    ("name", "media_type", "sent"),
    [
        ("", "audio/mpeg", "recording.mp3"),
        ("", "audio/webm;codecs=opus", "recording.webm"),
        ("", "application/x-unknown", "recording.wav"),
        ("note", "audio/ogg", "note.ogg"),
        ("../../etc/a.flac", "audio/flac", "a.flac"),
        ("C:\\tmp\\a.m4a", "audio/mp4", "a.m4a"),
        ('a"\r\nx: y.wav', "audio/wav", None),
    ],
)
async def test_the_file_has_a_name_that_tells_its_format_and_nothing_else(name, media_type, sent):
    _, form = await transcribed({"text": "x"}, file_name=name, media_type=media_type)
    assert set(form) == {"model", "response_format", "file"}
    assert sent is None or form["file"][0] == sent


@pytest.mark.parametrize(
    ("odd", "wanted"),
    [
        ({"duration": "soon", "language": 3}, Transcript("a")),
        ({"duration": -1, "language": "klingon"}, Transcript("a")),
        ({"language": "EN", "segments": None, "usage": []}, Transcript("a", language="en")),
        ({"segments": [{"start": 5, "end": 1, "text": "x"}, {"start": 0, "end": 1}]}, None),
    ],
)
async def test_odd_figures_are_left_out(odd, wanted):
    got, _ = await transcribed({"text": "a"} | odd)
    assert got == (wanted or Transcript("a", (TranscriptSegment(0.0, 1.0, ""),)))


@pytest.mark.parametrize(
    "answer", [b"<html>", b"", b"[]", b'{"text": 3', {"language": "sv"}, {"error": {"message": "boom"}}]
)
async def test_an_answer_that_is_no_transcript_is_a_bad_response(answer):
    with pytest.raises(BadResponse):
        await transcribed(answer)


async def test_an_unknown_model_names_its_field():
    with pytest.raises(ModelNotFound) as raised:
        await transcribed({"error": {"message": "no such model", "code": "model_not_found"}}, status=404)
    assert raised.value.field == "transcription_models"
