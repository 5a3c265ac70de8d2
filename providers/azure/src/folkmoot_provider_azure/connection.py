"""One connected resource: lists its deployments, chats, embeds, transcribes.

To the host a deployment is a model, by the deployment's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec
from folkmoot_sdk import (
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    InvalidRequest,
    ModelInfo,
    ModelKind,
    PluginContext,
    ProviderError,
    TranscribeRequest,
    Transcript,
)
from folkmoot_sdk.chat_completions import Quirks, chat_body, count_tokens, embed, stream_chat, transcribe
from folkmoot_sdk.http import ApiKey, Asked, Credentials, Fields, Service

from folkmoot_provider_azure import Config, Deployment
from folkmoot_provider_azure.address import Address, read_endpoint
from folkmoot_provider_azure.deployed import deployed
from folkmoot_provider_azure.entra import EntraToken
from folkmoot_provider_azure.known import CATALOGUE, is_openais
from folkmoot_provider_azure.rules import rules_for

_BATCH = 256
_CALLS: dict[ModelKind, str] = {
    "chat": "chat/completions",
    "embedding": "embeddings",
    "transcription": "audio/transcriptions",
}


class Connection:
    """Follows `ChatModel`, `TokenCounter`, `Embedder` and `Transcriber`."""

    def __init__(self, config: Config, context: PluginContext) -> None:
        """Raises `InvalidRequest` naming the field, for an endpoint, a version or credentials that are none."""
        self._config = config
        self._address = read_endpoint(config.endpoint, config.api_version)
        credentials, fields = _credentials(config, context, self._address)
        self._credentials = credentials
        self._context = context
        self._fields = fields
        self._service = self._at(self._address.base, self._address.query)
        self._deployed = {deployment.name: deployment for deployment in config.deployments}
        self._asking = asyncio.Lock()
        self._asked = bool(config.deployments)

    async def models(self) -> list[ModelInfo]:
        """The deployments. Raises `ProviderError`, with the field to change.

        Those that the configuration names are asked for one by one, with a request that cannot succeed and costs
        nothing: there is no other way to learn that a name is wrong.
        """
        if self._config.deployments:
            for deployment in self._deployed.values():
                await self._probe(deployment)
        else:
            await self._learn()
        found: list[tuple[Deployment, ModelKind]] = [(each, self._kind(each)) for each in self._deployed.values()]
        found.sort(key=lambda pair: CATALOGUE.preference(_model(pair[0]), pair[1]))
        return [self._describe(deployment, kind) for deployment, kind in found]

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Streams one answer. Raises `ProviderError`."""
        async with aclosing(await self._chat(request)) as events:
            async for event in events:
                yield event

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """By the vocabulary of the model behind the deployment; None for models of others than OpenAI."""
        return await count_tokens(request, await self._model_of(request.model))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector a text, in order; more than a batch goes in several requests. Raises `ProviderError`."""
        if not request.texts:
            return Embeddings([])
        known = CATALOGUE.known(await self._model_of(request.model), "embedding")
        return await embed(
            self._service,
            request,
            _asked(request.model),
            path=self._path("embedding", request.model),
            batch=_BATCH,
            prefix=known.query if request.purpose == "query" else known.document,
        )

    async def transcribe(self, request: TranscribeRequest) -> Transcript:
        """The text of a recording; times and length only from models that tell them. Raises `ProviderError`."""
        model = await self._model_of(request.model)
        return await transcribe(
            self._service,
            request,
            _asked(request.model),
            path=self._path("transcription", request.model),
            timed=CATALOGUE.known(model, "transcription").timed,
            more={"chunking_strategy": "auto"} if "diarize" in model else None,
        )

    async def _chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent]:
        model = await self._model_of(request.model)
        known, address = CATALOGUE.known(model, "chat"), self._address
        new = known.fixed_sampling or (address.dated is None and is_openais(model))
        quirks = Quirks(
            length_limit="max_completion_tokens" if new else "max_tokens",
            sampling=not known.fixed_sampling,
            stream_usage=address.knows_usage,
            parallel_tools=known.parallel_tools and address.knows_parallel,
            efforts=known.efforts if address.knows_effort else (),
            tools_effort=known.tools_effort if address.knows_effort else None,
            response_format=address.knows_schema,
        )
        body = chat_body(request, quirks)
        return stream_chat(self._service, body, _asked(request.model), path=self._path("chat", request.model))

    async def _probe(self, deployment: Deployment) -> None:
        path = self._path(self._kind(deployment), deployment.name)
        try:
            async with self._service.open("POST", path, json={"model": deployment.name}, asked=_asked(deployment.name)):
                pass
        except ProviderError as error:
            if error.field is not None:
                raise
            # Anything else is said of the empty request, or passes: the deployment is there.

    async def _learn(self) -> None:
        project = self._address.project
        service = self._at(project, {}) if project else self._at(self._address.base.removesuffix("/v1"), {})
        found = await deployed(service, project=bool(project))
        self._deployed = {deployment.name: deployment for deployment in found}
        self._asked = True

    async def _model_of(self, name: str) -> str:
        """The model behind a deployment: without it nobody knows which parameters it refuses."""
        if not self._asked:
            async with self._asking:
                if not self._asked:
                    try:
                        await self._learn()
                    except InvalidRequest:
                        self._asked = True
        deployment = self._deployed.get(name)
        return name if deployment is None else _model(deployment)

    def _at(self, base: str, query: dict[str, str]) -> Service:
        return Service(
            self._context,
            base,
            self._credentials,
            query=query,
            silence_limit=self._config.silence_limit,
            fields=self._fields,
            rules=rules_for(dated=self._address.dated is not None),
        )

    def _path(self, kind: ModelKind, deployment: str) -> str:
        return self._address.path(_CALLS[kind], deployment)

    def _kind(self, deployment: Deployment) -> ModelKind:
        kind: ModelKind | None = deployment.kind or CATALOGUE.kind_of(_model(deployment))
        return "chat" if kind is None or kind == "rerank" else kind

    def _describe(self, deployment: Deployment, kind: ModelKind) -> ModelInfo:
        model = deployment.model.strip()
        sovereign = self._service.url.host.endswith((".us", ".cn"))
        described = CATALOGUE.describe(
            deployment.name,
            kind,
            # A name alone is no proof of what is behind it.
            priced=bool(model) and deployment.global_standard and not sovereign,
            dialect="chat-completions",
            max_batch=_BATCH,
            known_as=_model(deployment),
            strict_tools=True,
        )
        title = f"{deployment.name} ({model})" if model and model != deployment.name else ""
        return msgspec.structs.replace(described, title=title)


def _model(deployment: Deployment) -> str:
    return deployment.model.strip() or deployment.name


def _asked(deployment: str) -> Asked:
    return Asked(deployment, "deployments")


def _credentials(config: Config, context: PluginContext, address: Address) -> tuple[Credentials, Fields]:
    entra = {"tenant_id": config.tenant_id, "client_id": config.client_id, "client_secret": config.client_secret}
    given = [name for name, value in entra.items() if value]
    if config.client_secret is not None and len(given) == len(entra):
        token = EntraToken(
            context,
            authority=config.authority,
            tenant_id=config.tenant_id,
            client_id=config.client_id,
            secret=config.client_secret,
            scope=config.scope or address.scope,
        )
        return token, Fields("endpoint", "client_id", "token of Entra ID")
    if config.api_key is not None:
        return ApiKey(config.api_key, header="api-key", prefix=""), Fields("endpoint", "api_key")
    missing = next((name for name in entra if given and name not in given), "api_key")
    raise InvalidRequest(
        f"the connection to Azure has no {missing}: give an API key, or tenant_id, client_id and client_secret",
        field=missing,
    )
