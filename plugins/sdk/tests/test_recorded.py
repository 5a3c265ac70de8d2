"""A service is recorded once over a real line, and heard again without one; no secret comes into the file."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from folkmoot_sdk import (
    BadResponse,
    Embeddings,
    Finish,
    ModelInfo,
    PluginContext,
    ProviderSpec,
    Ranked,
    Secret,
    TextDelta,
    Transcript,
    Unavailable,
)
from folkmoot_sdk.http import ApiKey, Asked, Service
from folkmoot_sdk.testing.providers import ProviderConformance
from folkmoot_sdk.testing.recorded import NotRecorded, RecordingError, record, rehearse, replay
from folkmoot_sdk.testing.scrub import Scrubber

KEY = "sk-toy-9f8e7d6c5b4a3210"


class Line:
    """A server on a real socket that sends the pieces it is given, each in a write of its own."""

    def __init__(self) -> None:
        self.answers: dict[str, list[bytes | float]] = {}
        """By path: what is written, and the seconds of silence in between."""
        self.asked: list[bytes] = []

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            self.asked.append(head + await reader.readexactly(size))
            path = head.split(b" ", 2)[1].decode().partition("?")[0]
            for part in self.answers[path]:
                if isinstance(part, float):
                    await asyncio.sleep(part)
                else:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def say(self, path: str, *parts: bytes | float, headers: str = "", status: int = 200) -> None:
        head = f"HTTP/1.1 {status} Told\r\nConnection: close\r\n{headers}\r\n".encode()
        self.answers[path] = [head, *parts]


@pytest.fixture
async def service():
    async with Line() as service:
        yield service


@pytest.fixture
def file(tmp_path):
    return tmp_path / "recorded.json"


@pytest.fixture
def recording(file):
    @asynccontextmanager
    async def recording(**options):
        async with httpx.AsyncClient() as http, record(http, file, **options) as client:
            yield client

    return recording


def again(file, **options):
    return httpx.AsyncClient(transport=replay(file, **options))


async def pieces(client, url):
    async with client.stream("POST", url, json={"q": 1}) as response:
        return [piece async for piece in response.aiter_bytes()]


async def test_an_answer_is_heard_again_in_the_pieces_it_came_in(service, recording, file):
    service.say("/say", b"data: Hej p\xc3", 0.05, b"\xa5 dig\n\n", b"data: slut\n\n", headers="X-Kept: yes\r\n")
    async with recording() as client:
        heard = await pieces(client, f"{service.url}/say")
    assert len(heard) >= 2
    async with again(file) as client:
        assert await pieces(client, f"{service.url}/say") == heard
        response = await client.post(f"{service.url}/say", json={"q": 1})
    assert (response.status_code, response.headers["x-kept"]) == (200, "yes")
    assert len(service.asked) == 1, "the second time nobody was asked"
    call = json.loads(file.read_text())["calls"][0]
    assert call["body"] == {"json": {"q": 1}}
    assert call["pieces"][-1]["at"] >= 0.05


async def test_the_recorded_time_passes_as_fast_as_wanted(service, recording, file):
    service.say("/say", b"a", 0.1, b"b")
    async with recording() as client:
        await pieces(client, f"{service.url}/say")
    slept = []
    real = asyncio.sleep

    async def sleep(seconds):
        slept.append(seconds)
        await real(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("folkmoot_sdk.testing.recorded.asyncio.sleep", sleep)
        for pace in (0, 0.5):
            async with again(file, pace=pace) as client:
                await pieces(client, f"{service.url}/say")
            assert sum(slept) == pytest.approx(pace * json.loads(file.read_text())["calls"][0]["pieces"][-1]["at"])
            slept.clear()


async def test_the_same_request_gets_its_answers_in_turn_and_then_the_last_one(service, recording, file):
    async with recording() as client:
        for word in (b"one", b"two"):
            service.say("/say", word)
            await client.get(f"{service.url}/say")
    transport = replay(file)
    assert transport.left() == [f"GET {service.url}/say"] * 2
    async with httpx.AsyncClient(transport=transport) as client:
        assert [(await client.get(f"{service.url}/say")).text for _ in range(3)] == ["one", "two", "two"]
    assert transport.left() == []


async def test_a_request_that_was_not_recorded_says_what_differs(service, recording, file):
    service.say("/say", b"{}")
    async with recording() as client:
        await client.post(f"{service.url}/say", json={"model": "a", "turns": [{"text": "hello"}]})
    async with again(file) as client:
        with pytest.raises(NotRecorded, match=r"turns\[0\]\.text is 'bye', was 'hello'"):
            await client.post(f"{service.url}/say", json={"model": "a", "turns": [{"text": "bye"}]})
        with pytest.raises(NotRecorded, match=r"temperature is 1, was nothing"):
            await client.post(f"{service.url}/say", json={"temperature": 1, "turns": [{"text": "hello"}], "model": "a"})
        with pytest.raises(NotRecorded, match=r"GET .*/other was not recorded, only POST"):
            await client.get(f"{service.url}/other")
        # The order of keys is no difference.
        assert (await client.post(f"{service.url}/say", json={"turns": [{"text": "hello"}], "model": "a"})).is_success


async def test_a_line_that_broke_breaks_again(service, recording, file):
    service.say("/cut", b"half", headers="Content-Length: 100\r\n")
    async with recording() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{service.url}/cut")
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:9/closed")
    async with again(file) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{service.url}/cut")
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:9/closed")


async def test_what_the_plugin_does_not_wait_for_is_recorded_all_the_same(service, recording, file):
    service.say("/say", b"begin", 0.05, b"end")
    async with recording() as client, client.stream("GET", f"{service.url}/say") as response:
        await anext(response.aiter_bytes())
    async with again(file) as client:
        assert (await client.get(f"{service.url}/say")).text == "beginend"


async def test_a_secret_is_in_no_place_of_the_file(service, recording, file):
    """In the header, the address, the body, an answer that repeats it over two pieces, and one that is packed."""
    quoted = KEY.replace("-", "%2D")
    service.say(
        "/say", b'{"error": "wrong key: ' + KEY[:9].encode(), KEY[9:].encode() + b'"}', headers=f"X-Echo: {KEY}\r\n"
    )
    service.say(
        "/packed", gzip.compress(KEY.encode()), headers="Content-Encoding: gzip\r\nSet-Cookie: sid=abcdefgh123\r\n"
    )
    async with recording(secrets=[Secret(KEY)]) as client:
        response = await client.post(f"{service.url}/say?api_key={quoted}", json={"key": KEY, "seen": f"{KEY}!"})
        assert KEY in response.text
        packed = await client.post(f"{service.url}/packed", headers={"Authorization": f"Basic {basic('ada', KEY)}"})
        assert packed.text == KEY
    text = file.read_text()
    for shown in (KEY, quoted, KEY[:16], basic("ada", KEY), "abcdefgh123"):
        assert shown not in text
    assert '"seen": "***!"' in text

    made_up = "made-up-key"
    async with again(file, secrets=[made_up]) as client:
        response = await client.post(
            f"{service.url}/say?api_key={made_up}", json={"key": made_up, "seen": f"{made_up}!"}
        )
    assert response.json() == {"error": f"wrong key: {'*' * len(KEY)}"}


async def test_what_stands_in_a_hidden_header_is_a_secret_without_being_named(service, recording, file):
    service.say("/say", f"hello {KEY} of org-municipality".encode())
    async with recording(hide=["X-Account"]) as client:
        await client.get(f"{service.url}/say", headers={"X-API-Key": KEY, "X-Account": "org-municipality"})
    call = json.loads(file.read_text())["calls"][0]
    assert (call["headers"]["x-api-key"], call["headers"]["x-account"]) == ("***", "***")
    assert call["pieces"][0]["text"] == f"hello {'*' * len(KEY)} of {'*' * 16}"


@pytest.mark.parametrize(
    "said",
    [KEY[:18], KEY.upper(), f"xx{KEY[3:]}"],
    ids=["its beginning", "in another case", "all but its beginning"],
)
async def test_nothing_is_written_while_a_part_of_a_secret_would_be_in_it(service, recording, file, said):
    service.say("/say", said.encode())
    file.write_text("the old one")
    with pytest.raises(RecordingError, match=r"call 1, a GET to 127\.0\.0\.1, would still show") as caught:
        async with recording(secrets=[KEY]) as client:
            await client.get(f"{service.url}/say")
    assert file.read_text() == "the old one"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert said not in str(caught.value)


async def test_a_secret_too_short_to_be_told_from_other_text_is_refused(recording, file):
    with pytest.raises(RecordingError, match="shorter than 8"):
        async with recording(secrets=["hunter2"]):
            pass
    assert not file.exists()


async def test_nothing_is_written_when_the_recording_fails(service, recording, file):
    service.say("/say", b"hello")

    async def fails_on_the_way():
        async with recording() as client:
            await client.get(f"{service.url}/say")
            raise RuntimeError("the author's own")

    with pytest.raises(RuntimeError, match="the author's own"):
        await fails_on_the_way()
    assert not file.exists()


async def test_an_upload_matches_whatever_its_boundary_is(service, recording, file):
    service.say("/hear", b"{}")

    async def upload(client):
        return await client.post(f"{service.url}/hear", files={"file": ("a.wav", b"RIFF\x00\xff", "audio/wav")})

    async with recording() as client:
        await upload(client)
    async with again(file) as client:
        assert (await upload(client)).json() == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no recording"),
        ("[]", "is no recording"),
        ('{"folkmoot_recording": 9, "recorded_on": "", "calls": []}', "has the form 9"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(file, text, words):
    file.write_text(text)
    with pytest.raises(RecordingError, match=words):
        replay(file)


def test_a_recording_that_is_not_there_is_refused(file):
    with pytest.raises(RecordingError, match="there is no recording"):
        replay(file)


def basic(name, password):
    return base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize("before", ["", "a", "ab", "abc:"])
def test_a_secret_is_found_in_every_position_of_base64(before):
    coded = base64.b64encode(f"{before}{KEY}, and more".encode()).decode()
    assert Scrubber([KEY]).holds(coded)
    assert not Scrubber([KEY]).holds(Scrubber([KEY]).text(coded))


# A provider of everything, rehearsed and then tested against what was recorded.


class Config(msgspec.Struct, frozen=True):
    api_key: Secret
    base_url: str = "http://toy.example"


class Toy:
    def __init__(self, config: Config, context: PluginContext) -> None:
        self._service = Service(context, config.base_url, ApiKey(config.api_key))

    async def models(self):
        await self._ask("/list", json={})
        return [ModelInfo(f"toy-{kind}", kind) for kind in ("chat", "embedding", "rerank", "transcription")]

    async def chat(self, request):
        answer, end = {"question": request.messages[-1].text}, False
        async with self._service.open("POST", "/chat", json=answer, asked=Asked(request.model)) as response:
            async for line in self._service.lines(response.aiter_bytes()):
                said = self._read(line)
                end = end or "end" in said
                if said.get("word"):
                    yield TextDelta(said["word"])
        if not end:
            raise BadResponse("the toy was cut off")
        yield Finish("stop")

    async def embed(self, request):
        got = await self._ask("/embed", json={"texts": request.texts}) if request.texts else {"vectors": []}
        return Embeddings(got["vectors"])

    async def rerank(self, request):
        got = (
            await self._ask("/rank", json={"query": request.query, "of": request.texts})
            if request.texts
            else {"ranks": []}
        )
        return [Ranked(index, score) for index, score in got["ranks"]]

    async def transcribe(self, request):
        got = await self._ask(
            "/hear", files={"file": ("a.wav", request.audio, request.media_type)}, form={"words": "yes"}
        )
        return Transcript(got["text"])

    async def _ask(self, path, **what):
        async with self._service.open("POST", path, **what) as response:
            return self._read(await self._service.whole(response, limit=1000))

    def _read(self, data):
        try:
            return msgspec.json.decode(data, type=dict[str, Any])
        except ValueError:
            raise BadResponse("the toy talks nonsense") from None


@asynccontextmanager
async def connect(config: Config, context: PluginContext):
    yield Toy(config, context)


class Kit(ProviderConformance):
    spec = ProviderSpec(kind="toy", title="Toy", config=Config, connect=connect)
    chat_model = "toy-chat"
    embedding_model = "toy-embedding"
    rerank_model = "toy-rerank"
    transcription_model = "toy-transcription"
    names_fields = True
    file = None

    def config(self):
        return {"api_key": "made-up-key"}

    def transport(self):
        return replay(self.file)


def live(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/hear":
        return httpx.Response(200, json={"text": "what was heard"})
    asked = json.loads(request.content)
    match request.url.path:
        case "/chat":
            words = ["You ", "said ", asked["question"]]
            lines = [*({"word": word, "of": "an answer that is long enough"} for word in words), {"end": "a" * 80}]
            return httpx.Response(200, text="".join(f"{json.dumps(line)}\n" for line in lines))
        case "/embed":
            return httpx.Response(200, json={"vectors": [[float(len(text)), 1.0] for text in asked["texts"]]})
        case "/rank":
            return httpx.Response(200, json={"ranks": [[n, -float(n)] for n in range(len(asked["of"]))]})
    return httpx.Response(200, json={})


async def test_a_rehearsal_is_all_that_the_conformance_kit_asks_of_a_service(file):
    """Every promise of the kit: whoever adds a question to it learns here that a rehearsal must ask it too."""
    kit = Kit()
    kit.file = file
    async with httpx.AsyncClient(transport=httpx.MockTransport(live)) as http:
        await rehearse(kit, file, {"api_key": KEY}, http=http)
    assert KEY not in file.read_text()
    promises = [name for name in dir(kit) if name.startswith("test_")]
    assert len(promises) > 25
    for name in promises:
        await asyncio.to_thread(getattr(kit, name))


async def test_a_rehearsal_that_the_service_refuses_writes_nothing(file):
    def refuse(request):
        raise httpx.ConnectError("nobody is there", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        with pytest.raises(Unavailable):
            await rehearse(Kit(), file, {"api_key": KEY}, http=http)
    assert not file.exists()
