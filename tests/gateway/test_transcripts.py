"""`/v1/audio/transcriptions`."""

import pytest

from folkmoot.gateway.transcripts import LARGEST_AUDIO
from tests.gateway.conftest import told
from tests.gateway.test_chat import settled

SOUND = ("fence.wav", b"RIFF....WAVE", "audio/wav")


async def heard(program, file=SOUND, **fields):
    return await program.post(
        "/audio/transcriptions", data={"model": "whisper-1", **fields}, files={"file": file} if file else None
    )


async def test_speech_becomes_text(program, connected):
    answer = await heard(program, language="en", prompt="fence", temperature="0.2")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"text": "A fence may be high.", "usage": {"type": "duration", "seconds": 4.5}}
    (entry,) = await settled(connected)
    assert (entry["purpose"], entry["model"], entry["audio_seconds"]) == ("api", "whisper-1", "4.5")


async def test_each_form_of_a_transcript(program):
    text = await heard(program, response_format="text")
    assert (text.text, text.headers["content-type"]) == ("A fence may be high.\n", "text/plain; charset=utf-8")
    srt = (await heard(program, response_format="srt")).text
    assert srt.startswith("1\n00:00:00,000 --> 00:00:02,000\nA fence\n\n2\n")
    vtt = (await heard(program, response_format="vtt")).text
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nA fence\n")
    verbose = (await heard(program, response_format="verbose_json")).json()
    assert (verbose["task"], verbose["language"], verbose["duration"]) == ("transcribe", "en", 4.5)
    assert verbose["segments"][1] == {"id": 1, "start": 2.0, "end": 4.5, "text": "may be high."}


async def test_subtitles_of_a_model_that_tells_no_times_are_refused(program, upstream):
    upstream.spoken = {"text": "A fence may be high."}
    answer = await heard(program, response_format="srt")
    assert (answer.status_code, told(answer)["param"]) == (400, "response_format")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"stream": "true"}, "stream"),
        ({"timestamp_granularities[]": ["segment", "word"]}, "timestamp_granularities"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"model": ""}, "model"),
        ({"file": None}, "file"),
        ({"file": ("a.wav", b"")}, "file"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_its_field(program, fields, param):
    answer = await heard(program, **fields) if "file" in fields else await heard(program, SOUND, **fields)
    if fields.get("file", "") is None:
        assert (answer.status_code, told(answer)["code"]) == (415, "unsupported_content_type")
        return
    assert answer.status_code == 400, answer.text
    assert told(answer)["param"] == param


async def test_a_form_without_a_file_is_told_so(program):
    answer = await program.post("/audio/transcriptions", files={"model": (None, "whisper-1")})
    assert (answer.status_code, told(answer)["param"]) == (400, "file")


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"x", 415),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nnonsense", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 50 + b"\r\n", 400),
        ("multipart/form-data; boundary=x",
         b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' for _ in range(60)) + b"--x--", 400),
        ("multipart/form-data; boundary=" + "x" * 5000, b"--x", 400),
        ("multipart/form-data; boundary=\xff", b"--x", 415),
    ],
)  # fmt: skip
async def test_a_form_that_is_none_is_refused(program, content_type, body, status):
    answer = await program.post(
        "/audio/transcriptions", content=body, headers={"Content-Type": content_type.encode("latin-1")}
    )
    assert answer.status_code == status, answer.text
    assert told(answer)["type"] == "invalid_request_error"


async def test_more_audio_than_is_taken_is_refused(program):
    answer = await heard(program, ("long.wav", b"\0" * (LARGEST_AUDIO + 1), "audio/wav"))
    assert (answer.status_code, told(answer)["code"]) == (413, "content_too_large")
    answer = await heard(program, prompt="x" * 20_000)
    assert (answer.status_code, told(answer)["code"]) == (413, "content_too_large")


async def test_only_a_model_for_it_can_do_it(program):
    answer = await heard(program, model="stub-chat")
    assert answer.status_code == 400
    assert "transcription" in told(answer)["message"]
