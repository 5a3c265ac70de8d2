"""The promises of embedding, reranking and transcribing, as tests that a provider's author inherits."""

from __future__ import annotations

import httpx

from folkmoot_sdk.errors import AuthenticationFailed
from folkmoot_sdk.providers import EmbedRequest, ModelKind, Ranked, RerankRequest, Transcript
from folkmoot_sdk.testing.harness import Reply
from folkmoot_sdk.testing.provider_calls import BROKEN, JSON, ProviderCalls


class OtherKinds(ProviderCalls):
    """What holds for every kind but chat."""

    def test_embeddings_come_one_a_text_and_in_order(self) -> None:
        if self.embedding_model is None:
            return

        async def promise() -> None:
            texts = ("a red apple", "the council meets on Tuesdays", "snow")
            async with self.connection(self._upstream()) as connection:
                request = EmbedRequest(model=self.embedding_model or "", texts=texts)
                vectors = (await connection.embed(request)).vectors
                assert len(vectors) == 3, f"three texts, but {len(vectors)} vectors"
                assert len({len(vector) for vector in vectors}) == 1, "vectors of different dimensions"
                for text, vector in zip(texts, vectors, strict=True):
                    alone = await connection.embed(EmbedRequest(model=request.model, texts=(text,)))
                    near = max(abs(a - b) for a, b in zip(vector, alone.vectors[0], strict=True))
                    assert near < 1e-3, f"the vector of {text!r} is not the one it has alone: order is lost"

        self.run(promise)

    def test_embedding_nothing_asks_nobody(self) -> None:
        if self.embedding_model is None:
            return
        upstream = self._upstream()

        async def promise() -> None:
            async with self.connection(upstream) as connection:
                before = upstream.requests if upstream else 0
                got = await connection.embed(EmbedRequest(model=self.embedding_model or "", texts=()))
                assert got.vectors == [], "no texts, so no vectors"
                assert upstream is None or upstream.requests == before, "no texts, yet the upstream was asked"

        self.run(promise)

    def test_embedding_fails_as_chatting_does(self) -> None:
        self._fails_alike("embedding")

    def test_ranks_name_each_text_once_best_first(self) -> None:
        if self.rerank_model is None:
            return

        async def promise() -> None:
            texts = ("a red apple", "the council meets on Tuesdays", "snow")
            async with self.connection(self._upstream()) as connection:
                request = RerankRequest(model=self.rerank_model or "", query="When do they meet?", texts=texts)
                ranks: list[Ranked] = await connection.rerank(request)
            indexes = [rank.index for rank in ranks]
            assert sorted(indexes) == [0, 1, 2], f"three texts, but ranks for {indexes}"
            scores = [rank.score for rank in ranks]
            assert scores == sorted(scores, reverse=True), f"the best must come first: {scores}"

        self.run(promise)

    def test_reranking_nothing_asks_nobody(self) -> None:
        if self.rerank_model is None:
            return
        upstream = self._upstream()

        async def promise() -> None:
            async with self.connection(upstream) as connection:
                before = upstream.requests if upstream else 0
                got = await connection.rerank(RerankRequest(model=self.rerank_model or "", query="?", texts=()))
                assert got == [], "no texts, so no ranks"
                assert upstream is None or upstream.requests == before, "no texts, yet the upstream was asked"

        self.run(promise)

    def test_reranking_fails_as_chatting_does(self) -> None:
        self._fails_alike("rerank")

    def test_a_transcript_has_a_text_and_times_that_go_forward(self) -> None:
        if self.transcription_model is None:
            return

        async def promise() -> None:
            async with self.connection(self._upstream()) as connection:
                transcript: Transcript = await self.call(connection, "transcription")
            assert transcript.text.strip(), "the transcript has no text"
            for segment in transcript.segments:
                assert 0 <= segment.start <= segment.end, f"impossible times: {segment}"
            starts = [segment.start for segment in transcript.segments]
            assert starts == sorted(starts), f"segments must follow each other: {starts}"
            assert transcript.seconds is None or transcript.seconds >= 0, f"impossible length: {transcript.seconds}"

        self.run(promise)

    def test_transcribing_fails_as_chatting_does(self) -> None:
        self._fails_alike("transcription")

    def _fails_alike(self, kind: ModelKind) -> None:
        if kind not in self.kinds() or self.transport() is None:
            return
        html = Reply(200, {"content-type": "text/html"}, b"<html></html>")
        for reply, kinds in ((Reply(401, JSON, b"{}"), (AuthenticationFailed,)), (html, BROKEN)):
            self._raises(kind, httpx.MockTransport(reply), *kinds, of=kind)
