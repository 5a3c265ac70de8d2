"""`folkmoot ask`: the whole way from files to a cited answer, in the terminal, on engines of its own."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from sqlalchemy import select

from folkmoot import migrate
from folkmoot.ai.catalogue import Catalogue
from folkmoot.assemble import assemble
from folkmoot.assistants.schemas import AssistantCreate
from folkmoot.assistants.service import AssistantService
from folkmoot.conversations.ask import ask
from folkmoot.conversations.schemas import Ask, ConversationCreate
from folkmoot.conversations.service import ConversationService
from folkmoot.conversations.tasks import answer_message
from folkmoot.embedded import Engines
from folkmoot.files.service import FileService
from folkmoot.identity.models import User
from folkmoot.kit.access import Access, Principal, permissions_of
from folkmoot.kit.app import App
from folkmoot.kit.errors import AppError
from folkmoot.knowledge.models import Document
from folkmoot.knowledge.schemas import CollectionCreate
from folkmoot.knowledge.service import CollectionService, DocumentService
from folkmoot.knowledge.tasks import ingest_document
from folkmoot.platform.service import ensure_first
from folkmoot.settings import LANES, Settings
from folkmoot.spaces.schemas import SpaceCreate
from folkmoot.spaces.service import SpaceService
from folkmoot.up import settings_for
from folkmoot.worker import working

READ_BYTES = 1 << 20


def run(files: list[Path], question: str, data: Path | None, base: Settings) -> int:
    """Answer; returns the exit status: 1 if no file could be read or the answer failed."""
    folder = data or Path(tempfile.mkdtemp(prefix="folkmoot-"))
    errors = Console(stderr=True)
    engines = Engines(folder)
    try:
        with errors.status("starting"):
            points = engines.start()
            migrate.upgrade(points.owner_url)
        settings = replace(settings_for(folder, points, base), lanes=LANES, database_pool=10)
        return asyncio.run(_ask(settings, files, question, errors))
    except KeyboardInterrupt:
        return 130
    finally:
        engines.stop()
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _ask(settings: Settings, files: list[Path], question: str, errors: Console) -> int:
    async with assemble(settings) as app, working(app):
        await ensure_first(app)
        principal = await _first_person(app)
        async with app.begin(principal) as work:
            space = await SpaceService(work).create(SpaceCreate(name="Terminal"))
            collection = await CollectionService(work).create(space.id, CollectionCreate(name="Files"))
        ready = await _read_files(app, principal, collection.id, files, errors)
        if not ready:
            return 1
        async with app.begin(principal) as work:
            data = AssistantCreate(name="Terminal", collection_ids=[collection.id])
            assistant, _ = await AssistantService(work).create(space.id, data)
            conversation = await ConversationService(work).create(assistant.id, ConversationCreate())
        return await _answer(app, principal, conversation.id, question, errors)


async def _first_person(app: App) -> Principal:
    from folkmoot.tenants.service import TenantService

    async with app.begin(Principal.platform()) as work:
        tenant = await TenantService(work).first()
    assert tenant is not None
    async with app.begin(Principal.system(tenant.id)) as work:
        user = (await work.session.scalars(select(User).order_by(User.id).limit(1))).one()
    return Principal(tenant_id=tenant.id, user_id=user.id, kind="user", permissions=permissions_of([user.role]))


async def _read_files(app: App, principal: Principal, collection_id: UUID, files: list[Path], errors: Console) -> bool:
    """Read all files, showing how far each is; True if at least one can be asked."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, console=errors, transient=True) as progress:
        waiting: dict[UUID, TaskID] = {}
        for path in files:
            try:
                file = await FileService(app).receive(principal, path.name, _bytes_of(path))
            except AppError as error:
                errors.print(f"[red]{escape(path.name)}[/red]: {escape(error.detail)}")
                continue
            async with app.begin(principal) as work:
                collection = await CollectionService(work).get(collection_id, Access.EDIT)
                document = await DocumentService(work, ingest_document).add(collection, file, "")
            waiting[document.id] = progress.add_task(escape(path.name), total=1.0, state="queued")
        ready = False
        while waiting:
            async with app.begin(principal) as work:
                rows = (await work.session.scalars(select(Document).where(Document.id.in_(waiting)))).all()
            for row in rows:
                progress.update(waiting[row.id], completed=row.progress, state=row.step or row.status)
                if row.status == "failed":
                    errors.print(f"[red]{escape(row.name)}[/red]: {escape(row.error_message or '')}")
                for warning in row.warnings if row.status == "ready" else ():
                    errors.print(f"[yellow]{escape(row.name)}[/yellow]: {escape(warning)}")
                if row.status in ("ready", "failed"):
                    ready = ready or row.status == "ready"
                    waiting.pop(row.id)
            await asyncio.sleep(0.05)
    return ready


async def _bytes_of(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, READ_BYTES):
            yield chunk


async def _answer(app: App, principal: Principal, conversation_id: UUID, question: str, errors: Console) -> int:
    """Stream the answer to standard output, then the sources."""
    models = await app.part(Catalogue).of(principal.tenant)
    async with app.begin(principal) as work:
        message = await ask(
            work,
            conversation_id,
            Ask(content=question),
            key=None,
            answer=answer_message,
            streams=app.streams,
            models=models,
        )
    sources: list[dict[str, Any]] = []
    async with aclosing(app.streams.read(str(message.id))) as entries:
        async for entry in entries:
            if entry is None:
                continue
            data: dict[str, Any] = msgspec.json.decode(entry.data)
            match entry.event:
                case b"text.delta":
                    sys.stdout.write(data["text"])
                    sys.stdout.flush()
                case b"citation":
                    sources.append(data)
                case b"message.failed":
                    errors.print(f"\n[red]{escape(data['detail'])}[/red]")
                    return 1
                case _:
                    pass
    sys.stdout.write("\n")
    if sources:
        sys.stdout.write("\nSources\n")
    for source in sorted(sources, key=lambda found: (found["n"], found["start"])):
        place = f", page {source['page']}" if source["page"] is not None else ""
        quote = " ".join(str(source["quote"]).split())
        sys.stdout.write(
            f"[{source['n']}] {source['document_name']}{place}: “{quote[:160]}{'…' if len(quote) > 160 else ''}”\n"
        )
    return 0
