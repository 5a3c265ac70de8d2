"""People who administer the installation, and organisations with a row in every table."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from folkmoot.platform.admins import PlatformAdminService
from folkmoot.platform.schemas import PlatformAdminGrant
from folkmoot.platform.service import Actor
from folkmoot.tenants.models import PLATFORM
from tests.support.people import PASSWORD

EVERY_TABLE = """
INSERT INTO embedding_spaces (id, tenant_id, model_id, dimensions) VALUES (gen_random_uuid(), :t, :model, 2);
INSERT INTO chunk_vectors
    (tenant_id, chunk_id, collection_id, document_id, space_id, dimensions, indexed, embedding)
    SELECT c.tenant_id, c.id, collection_id, document_id, s.id, 2, false, '[1,0]'::halfvec
    FROM chunks c JOIN embedding_spaces s ON s.tenant_id = c.tenant_id WHERE c.tenant_id = :t;
INSERT INTO chunk_refusals (tenant_id, chunk_id, collection_id, space_id, code)
    SELECT c.tenant_id, c.id, collection_id, s.id, 'context-too-long'
    FROM chunks c JOIN embedding_spaces s ON s.tenant_id = c.tenant_id WHERE c.tenant_id = :t;
INSERT INTO token_rates (tenant_id, model_id, language, estimated, counted) VALUES (:t, :model, 'en', 1, 1);
INSERT INTO embedding_moves (id, tenant_id, collection_id, model, state, chunk_count)
    SELECT gen_random_uuid(), :t, id, '', 'done', 0 FROM collections WHERE tenant_id = :t;
INSERT INTO document_facts (tenant_id, collection_id, name, value, document_id)
    SELECT tenant_id, collection_id, 'unit', 'true', id FROM documents WHERE tenant_id = :t;
INSERT INTO text_deletions (id, tenant_id, collection_id, chunk_count, term_total, chunks)
    SELECT gen_random_uuid(), :t, id, 0, 0, '' FROM collections WHERE tenant_id = :t;
INSERT INTO bulk_operations
    (id, tenant_id, collection_id, space_id, action, selection, total, done, moved_at, finished_at, actor_kind)
    SELECT gen_random_uuid(), :t, id, space_id, 'cancel', '{}', 0, 0, now(), now(), 'user'
    FROM collections WHERE tenant_id = :t;
INSERT INTO space_fitness
    (id, tenant_id, space_id, language, chunk_count, sampled, by_text, by_vector, unrelated, spread)
    SELECT gen_random_uuid(), :t, id, 'en', 1, 1, 1, 1, 0, 1 FROM embedding_spaces WHERE tenant_id = :t;
INSERT INTO golden_questions (id, tenant_id, collection_id, question, document_ids)
    SELECT gen_random_uuid(), :t, id, 'How high?', '{}' FROM collections WHERE tenant_id = :t;
INSERT INTO golden_runs (id, tenant_id, collection_id, space_id, cause, status)
    SELECT uuidv7(), :t, id, space_id, 'asked', 'completed' FROM collections WHERE tenant_id = :t;
INSERT INTO websites (id, tenant_id, collection_id, space_id, url, kind, max_pages, max_depth, max_bytes,
    max_page_bytes, max_seconds, schedule, download_files)
    SELECT gen_random_uuid(), :t, id, space_id, 'https://www.example.org/', 'links', 1, 1, 1, 1, 1, 'none', false
    FROM collections WHERE tenant_id = :t;
INSERT INTO website_pages (id, tenant_id, website_id, url, url_hash, seen_at, changed_at)
    SELECT gen_random_uuid(), :t, id, url, '\\x00', now(), now() FROM websites WHERE tenant_id = :t;
INSERT INTO crawls (id, tenant_id, website_id, status, cause)
    SELECT gen_random_uuid(), :t, id, 'completed', 'asked' FROM websites WHERE tenant_id = :t;
INSERT INTO crawl_pages (id, tenant_id, crawl_id, url, url_hash, depth, fate)
    SELECT gen_random_uuid(), :t, id, 'https://www.example.org/', '\\x00', 0, 'new' FROM crawls WHERE tenant_id = :t;
INSERT INTO groups (id, tenant_id, name) VALUES (:a, :t, 'Clerks');
INSERT INTO group_members (id, tenant_id, group_id, user_id) VALUES (gen_random_uuid(), :t, :a, :user);
INSERT INTO roles (id, tenant_id, name, permissions) VALUES (:b, :t, 'Reader', '{audit}');
INSERT INTO role_grants (id, tenant_id, role_id, user_id) VALUES (gen_random_uuid(), :t, :b, :user);
INSERT INTO api_keys (id, tenant_id, user_id, name, kind, secret_hash, hint, scopes, addresses, origins)
    VALUES (:c, :t, :user, 'Script', 'user', gen_random_uuid()::text, 'abcd', '{read}', '{}', '{}');
INSERT INTO key_addresses (id, tenant_id, key_id, ip) VALUES (gen_random_uuid(), :t, :c, '192.0.2.7');
INSERT INTO login_methods (id, tenant_id, kind, name, config, enabled, provisioning)
    VALUES (:d, :t, 'oidc', 'Our own', '\\x00', true, '{}');
INSERT INTO external_accounts (id, tenant_id, user_id, login_method_id, issuer, subject, email, last_used_at)
    VALUES (gen_random_uuid(), :t, :user, :d, 'https://id.example', 'ada', 'ada@people.example', now());
INSERT INTO data_classes (id, tenant_id, name, level) VALUES (gen_random_uuid(), :t, 'Confidential', 2);
INSERT INTO model_prices (id, tenant_id, model_id, valid_from, input, output, currency, source)
    VALUES (gen_random_uuid(), :t, :model, now(), 1, 1, 'USD', 'manual');
INSERT INTO model_moves (id, tenant_id, from_id, to_id, moved) VALUES (gen_random_uuid(), :t, :model, :model, '[]');
INSERT INTO budgets (id, tenant_id, kind, period, amount) VALUES (gen_random_uuid(), :t, 'tenant', 'day', 1);
INSERT INTO budget_counters
    (id, tenant_id, kind, subject_id, period, starts_on, spent, reserved, tokens, told, told_of)
    VALUES (gen_random_uuid(), :t, 'tenant', :t, 'month', date_trunc('month', now()), 0, 0, 0, 0, 0);
INSERT INTO usage_reservations (id, tenant_id, begun_at, expires_at, amount, counters, purpose)
    VALUES (gen_random_uuid(), :t, now(), now() + interval '1 hour', 1, '{}', 'api');
INSERT INTO tool_servers (id, tenant_id, name, kind, config) VALUES (:a, :t, 'Maps', 'http', '\\x00');
INSERT INTO tools (id, tenant_id, server_id, name) VALUES (:a, :t, :a, 'find_parcel');
INSERT INTO space_tools (id, tenant_id, space_id, tool_id)
    SELECT gen_random_uuid(), :t, id, :a FROM spaces WHERE tenant_id = :t LIMIT 1;
INSERT INTO links (id, tenant_id, user_id, purpose, expires_at) VALUES (gen_random_uuid(), :t, :user, 'reset', now());
INSERT INTO allowed_origins (id, tenant_id, origin) VALUES (gen_random_uuid(), :t, 'https://intranet.example');
INSERT INTO platform_admins (id, tenant_id, user_id, granted_by) VALUES (uuidv7(), :t, :user, 'a test');
INSERT INTO attachments (id, tenant_id, conversation_id, kind, name, media_type, size, document_id)
    SELECT gen_random_uuid(), :t, c.id, 'document', 'a.txt', 'text/plain', 1, d.id
    FROM conversations c JOIN documents d ON d.tenant_id = c.tenant_id WHERE c.tenant_id = :t LIMIT 1;
INSERT INTO summaries (id, tenant_id, conversation_id, message_id, text, messages, model)
    SELECT gen_random_uuid(), :t, conversation_id, id, 'Fences.', 1, '{}' FROM messages
    WHERE tenant_id = :t AND role = 'assistant';
INSERT INTO tool_calls (id, tenant_id, message_id, round, call_id, name, arguments, status)
    SELECT gen_random_uuid(), :t, id, 1, '1-1', 'calculate', '{}', 'done' FROM messages
    WHERE tenant_id = :t AND role = 'assistant';
INSERT INTO receipts (id, tenant_id, message_id, number, statement, key_id, signature)
    SELECT gen_random_uuid(), :t, id, 1, '{}', 'a', '\\x00' FROM messages
    WHERE tenant_id = :t AND role = 'assistant' ON CONFLICT (message_id, number) DO NOTHING;
INSERT INTO audit_seals (id, tenant_id, position, event_id, mac)
    SELECT gen_random_uuid(), :t, -1, id, '\\x00' FROM events WHERE tenant_id = :t
    AND id NOT IN (SELECT event_id FROM audit_seals) LIMIT 1 ON CONFLICT DO NOTHING;
INSERT INTO audit_checkpoints (id, tenant_id, number, position, xid, seq, link, key_id, signature)
    VALUES (gen_random_uuid(), :t, -1, 1, 1, 1, '\\x00', 'a', '\\x00');
INSERT INTO audit_reasons (id, tenant_id, user_id, reason, expires_at)
    VALUES (gen_random_uuid(), :t, :user, 'a complaint', now())
"""


@pytest.fixture
async def admin(tenancy, app):
    """A client signed in as somebody who administers the installation."""
    person = await tenancy.owner()
    granted = PlatformAdminGrant(tenant_id=person.tenant_id, user_id=person.user.id)
    await PlatformAdminService(app, Actor.command("tester")).grant(granted)
    return person


@pytest.fixture
def furnish(tenancy, superuser):
    """Makes a tenant with a row in every table, and files."""

    async def make():
        owner = await tenancy.owner()
        space = await owner.space()
        collection = await owner.collection(space)
        await owner.knows(collection, ("rules.txt", b"A fence may be 1.2 metres high. " * 40))
        assistant = await owner.assistant(space, collection)
        conversation = await owner.conversation(assistant)
        answer = await owner.ask(conversation, "How high may a fence be?")
        model = (await owner.get("/models")).json()["items"][0]["id"]
        values = {"t": owner.tenant_id, "user": owner.user.id, "model": model}
        values |= {letter: uuid4() for letter in "abcd"}
        async with superuser.begin() as connection:
            for statement in EVERY_TABLE.split(";\n"):
                used = {name: value for name, value in values.items() if f":{name}" in statement.replace("::", "")}
                await connection.execute(text(statement), used)
        return SimpleNamespace(owner=owner, tenant_id=owner.tenant_id, name=owner.tenant_name, answer_id=answer["id"])

    return make


@pytest.fixture
def events(superuser):
    """The events about one object in a log, oldest first: `await events(tenant_id)`, `await events(PLATFORM, id)`."""

    async def read(log: UUID = PLATFORM, object_id: UUID | str | None = None):
        query = "SELECT * FROM events WHERE tenant_id = :log"
        values: dict = {"log": log}
        if object_id is not None:
            query += " AND object_id = :id"
            values["id"] = UUID(str(object_id))
        async with superuser.connect() as connection:
            return (await connection.execute(text(f"{query} ORDER BY seq"), values)).all()

    return read


@pytest.fixture
def sign_in(stranger):
    async def attempt(person, password: str = PASSWORD):
        body = {"email": person.user.email, "password": password, "tenant": person.tenant_name}
        return await stranger.post("/api/v1/auth/login", json=body)

    return attempt


@pytest.fixture
async def alone(admin, superuser):
    """`admin`, when nobody else administers the installation."""
    async with superuser.begin() as connection:
        await connection.execute(text("DELETE FROM platform_admins WHERE user_id <> :me"), {"me": admin.user.id})
    return admin
