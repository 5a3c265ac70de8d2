"""A transcript with times, as SubRip (`srt`) or WebVTT (`vtt`). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from folkmoot_sdk import Transcript, TranscriptSegment


def cues(transcript: Transcript) -> Sequence[TranscriptSegment]:
    """What is said when. All of it as one, if only its length is known; empty if not even that."""
    if transcript.segments:
        return transcript.segments
    if transcript.seconds is None:
        return ()
    return (TranscriptSegment(0.0, transcript.seconds, transcript.text),)


def srt(spoken: Sequence[TranscriptSegment]) -> str:
    parts = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_line(cue.text)}\n"
        for number, cue in enumerate(spoken, start=1)
    )
    return "\n".join(parts)


def vtt(spoken: Sequence[TranscriptSegment]) -> str:
    """W3C WebVTT; what would be markup there is escaped."""
    parts = (f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(_line(cue.text))}\n" for cue in spoken)
    return "\n".join(("WEBVTT\n", *parts))


def _clock(seconds: float, point: str) -> str:
    whole = round(max(0.0, min(seconds, 359_999_999.0)) * 1000)
    minutes, rest = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _line(text: str) -> str:
    """An empty line would end the cue."""
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("-->", "--&gt;")
