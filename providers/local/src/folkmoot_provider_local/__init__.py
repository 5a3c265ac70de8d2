"""Models on your own machines for Folkmoot: Ollama, vLLM, llama.cpp, LM Studio, TEI and Infinity."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Annotated, Any

from folkmoot_sdk import PluginContext, ProviderConnection, ProviderSpec, Secret, hookimpl
from msgspec import Meta, Struct

FOLKMOOT_SDK_API = 1

_Key = Annotated[
    Secret | None,
    Meta(title="API key", description="Leave empty if the server, or the proxy before it, asks for none."),
]
_Silence = Annotated[
    float,
    Meta(
        title="Longest silence",
        ge=1,
        le=3600,
        description="Seconds without a byte before giving up. Loading a large model can take minutes.",
    ),
]
_Models = Annotated[list[str], Meta(description="Offer these instead of what the server lists.")]


def _address(example: str) -> Meta:
    return Meta(
        title="Address",
        pattern="^\\s*https?://",
        description=f"As in {example}. Inside your network, so the operator lists its host in FOLKMOOT_NET_ALLOW.",
    )


class OllamaConfig(Struct, frozen=True):
    base_url: Annotated[str, _address("http://localhost:11434")] = "http://localhost:11434"
    api_key: _Key = None
    context_length: Annotated[
        int,
        Meta(
            title="Length of the context",
            ge=0,
            le=10_000_000,
            description="Tokens that each model is loaded with, question and answer together: more takes more memory. "
            "0 leaves it to the server, which then may cut conversations short at 4096.",
        ),
    ] = 8192
    keep_alive: Annotated[
        str,
        Meta(
            title="Keep loaded for",
            pattern="^\\s*-?([0-9]{1,9}|([0-9]{1,9}(\\.[0-9]{1,3})?(ns|us|ms|s|m|h))+)?\\s*$",
            description="As 30m or 1h30m, or -1 for ever; empty: as the server has it.",
        ),
    ] = ""
    cloud_models: Annotated[
        bool,
        Meta(
            title="Cloud models",
            description="Also offer models that the server only hands on to ollama.com: text leaves your machines.",
        ),
    ] = False
    silence_limit: _Silence = 300.0


class VllmConfig(Struct, frozen=True):
    base_url: Annotated[str, _address("http://localhost:8000/v1")] = "http://localhost:8000/v1"
    api_key: _Key = None
    chat_models: _Models = []
    embedding_models: _Models = []
    rerank_models: _Models = []
    silence_limit: _Silence = 300.0


class LlamaCppConfig(Struct, frozen=True):
    base_url: Annotated[str, _address("http://localhost:8080/v1")] = "http://localhost:8080/v1"
    api_key: _Key = None
    chat_models: _Models = []
    embedding_models: _Models = []
    rerank_models: _Models = []
    silence_limit: _Silence = 300.0


class LmStudioConfig(Struct, frozen=True):
    base_url: Annotated[str, _address("http://localhost:1234/v1")] = "http://localhost:1234/v1"
    api_key: _Key = None
    silence_limit: _Silence = 300.0


_Prefix = Annotated[
    str | None,
    Meta(description="Put before each text; empty: nothing; not set: as the model was trained, by its name."),
]
_PromptName = Annotated[
    str,
    Meta(description="The name of a prompt in the model's own configuration, in place of a prefix."),
]


class TeiConfig(Struct, frozen=True):
    base_url: Annotated[str, _address("http://localhost:8080")] = "http://localhost:8080"
    api_key: _Key = None
    query_prefix: _Prefix = None
    document_prefix: _Prefix = None
    query_prompt_name: _PromptName = ""
    document_prompt_name: _PromptName = ""
    silence_limit: _Silence = 120.0


class InfinityConfig(Struct, frozen=True):
    base_url: Annotated[str, _address("http://localhost:7997")] = "http://localhost:7997"
    api_key: _Key = None
    query_prefix: _Prefix = None
    document_prefix: _Prefix = None
    silence_limit: _Silence = 120.0


def _connect(module: str, name: str) -> Callable[[Any, PluginContext], AbstractAsyncContextManager[ProviderConnection]]:
    """Opens nothing and asks nobody; what a kind needs is imported when it is first connected."""

    @asynccontextmanager
    async def connect(config: Struct, context: PluginContext) -> AsyncGenerator[ProviderConnection]:
        yield getattr(import_module(f"{__name__}.{module}"), name)(config, context)

    return connect


@hookimpl
def register_ai_providers() -> list[ProviderSpec]:
    return [
        ProviderSpec(
            kind="ollama",
            title="Ollama",
            config=OllamaConfig,
            connect=_connect("ollama", "Ollama"),
            description="Models on your own machine, pulled by name: chat, images, tools, thinking, embeddings.",
        ),
        ProviderSpec(
            kind="vllm",
            title="vLLM",
            config=VllmConfig,
            connect=_connect("vllm", "Vllm"),
            description="One model on your own graphics cards, for many people at once.",
        ),
        ProviderSpec(
            kind="llama-cpp",
            title="llama.cpp",
            config=LlamaCppConfig,
            connect=_connect("llama_cpp", "LlamaCpp"),
            description="A llama-server with a GGUF model, or several behind its router.",
        ),
        ProviderSpec(
            kind="lm-studio",
            title="LM Studio",
            config=LmStudioConfig,
            connect=_connect("lm_studio", "LmStudio"),
            description="The models of LM Studio on a desk, or of its `lms` server.",
        ),
        ProviderSpec(
            kind="tei",
            title="Text Embeddings Inference",
            config=TeiConfig,
            connect=_connect("tei", "Tei"),
            description="Hugging Face's server for one model that embeds or reranks.",
        ),
        ProviderSpec(
            kind="infinity",
            title="Infinity",
            config=InfinityConfig,
            connect=_connect("infinity", "Infinity"),
            description="A server for several models that embed or rerank.",
        ),
    ]
