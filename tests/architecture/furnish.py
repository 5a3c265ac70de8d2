"""A tenant with a row in every table, and the id of one thing of each kind."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

from sqlalchemy import text

from folkmoot.audit.seal import seal
from tests.support.groups import make_group

SECRET = "the spare key lies under the blue stone"
PICTURE = b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
"""One pixel."""
DIRECTORY = {"url": "ldaps://127.0.0.1:1", "base_dn": "dc=municipality,dc=example"}
TOOL_SERVER = {"kind": "http", "config": {"url": "http://127.0.0.1:1/mcp"}}
ADDED = (
    "INSERT INTO embedding_spaces (id, tenant_id, model_id, dimensions)"
    " VALUES (gen_random_uuid(), :tenant, CAST(:model_id AS uuid), 2)",
    "INSERT INTO chunk_vectors (tenant_id, chunk_id, collection_id, document_id, space_id, dimensions, indexed,"
    " embedding) SELECT c.tenant_id, c.id, collection_id, document_id, s.id, 2, false, '[1,0]'::halfvec"
    " FROM chunks c JOIN embedding_spaces s ON s.tenant_id = c.tenant_id WHERE c.tenant_id = :tenant LIMIT 1",
    "INSERT INTO document_facts (tenant_id, collection_id, name, value, document_id)"
    " SELECT tenant_id, collection_id, 'unit', '\"roads\"', id FROM documents WHERE tenant_id = :tenant LIMIT 1",
    "INSERT INTO text_deletions (id, tenant_id, collection_id, chunk_count, term_total, chunks)"
    " SELECT gen_random_uuid(), :tenant, id, 0, 0, '' FROM collections WHERE tenant_id = :tenant LIMIT 1",
    "INSERT INTO bulk_operations (id, tenant_id, collection_id, space_id, action, selection, total, done, moved_at,"
    " finished_at, actor_kind) SELECT gen_random_uuid(), :tenant, id, space_id, 'cancel', '{}', 0, 0, now(), now(),"
    " 'user' FROM collections WHERE tenant_id = :tenant LIMIT 1",
    "INSERT INTO chunk_refusals (tenant_id, chunk_id, collection_id, space_id, code)"
    " SELECT c.tenant_id, c.id, collection_id, s.id, 'context-too-long'"
    " FROM chunks c JOIN embedding_spaces s ON s.tenant_id = c.tenant_id WHERE c.tenant_id = :tenant LIMIT 1",
    "INSERT INTO token_rates (tenant_id, model_id, language, estimated, counted)"
    " VALUES (:tenant, CAST(:model_id AS uuid), 'en', 1, 1)",
    "INSERT INTO embedding_moves (id, tenant_id, collection_id, model, state, chunk_count)"
    " VALUES (CAST(:embedding_move_id AS uuid), :tenant, CAST(:collection_id AS uuid), '', 'done', 0)",
    "INSERT INTO space_fitness (id, tenant_id, space_id, language, chunk_count, sampled, by_text, by_vector, unrelated,"
    " spread) SELECT gen_random_uuid(), :tenant, id, 'en', 1, 1, 1, 1, 0, 1 FROM embedding_spaces"
    " WHERE tenant_id = :tenant LIMIT 1",
    "INSERT INTO golden_runs (id, tenant_id, collection_id, space_id, cause, status)"
    " VALUES (CAST(:golden_run_id AS uuid), :tenant, CAST(:collection_id AS uuid), CAST(:space_id AS uuid), 'asked',"
    " 'completed')",
    "INSERT INTO crawls (id, tenant_id, website_id, status, cause) VALUES (CAST(:crawl_id AS uuid), :tenant,"
    " CAST(:website_id AS uuid), 'completed', 'asked')",
    "INSERT INTO crawl_pages (id, tenant_id, crawl_id, url, url_hash, depth, fate) VALUES (uuidv7(), :tenant,"
    " CAST(:crawl_id AS uuid), 'https://www.example.org/', 'a', 0, 'new')",
    "INSERT INTO website_pages (id, tenant_id, website_id, url, url_hash, seen_at, changed_at) VALUES (uuidv7(),"
    " :tenant, CAST(:website_id AS uuid), 'https://www.example.org/', 'a', now(), now())",
    "INSERT INTO external_accounts (id, tenant_id, user_id, login_method_id, issuer, subject, email, last_used_at)"
    " VALUES (CAST(:account_id AS uuid), :tenant, CAST(:user_id AS uuid), CAST(:method_id AS uuid), 'ldap:x', 'ada',"
    " '', now())",
    "INSERT INTO key_addresses (id, tenant_id, key_id, ip)"
    " VALUES (gen_random_uuid(), :tenant, CAST(:key_id AS uuid), '192.0.2.1')",
    "INSERT INTO platform_admins (id, tenant_id, user_id, granted_by)"
    " VALUES (uuidv7(), :tenant, CAST(:colleague AS uuid), 'a test')",
    "INSERT INTO budget_counters (id, tenant_id, kind, subject_id, period, starts_on, spent, reserved, tokens, told,"
    " told_of) VALUES (uuidv7(), :tenant, 'user', CAST(:user_id AS uuid), 'month', date_trunc('month', now()), 0, 0, 0,"
    " 0, 0)",
    "INSERT INTO usage_reservations (id, tenant_id, begun_at, expires_at, amount, counters, purpose)"
    " VALUES (uuidv7(), :tenant, now(), now() + interval '1 hour', 1, '{}', 'check')",
    "INSERT INTO model_moves (id, tenant_id, from_id, to_id, moved)"
    " VALUES (CAST(:move_id AS uuid), :tenant, CAST(:model_id AS uuid), CAST(:model_id AS uuid), '[]')",
    "INSERT INTO tools (id, tenant_id, server_id, name, enabled)"
    " VALUES (CAST(:tool_id AS uuid), :tenant, CAST(:server_id AS uuid), 'find_parcel', true)",
    "INSERT INTO space_tools (id, tenant_id, space_id, tool_id)"
    " VALUES (uuidv7(), :tenant, CAST(:space_id AS uuid), CAST(:tool_id AS uuid))",
    "INSERT INTO allowed_origins (id, tenant_id, origin) VALUES (gen_random_uuid(), :tenant, :origin)",
    "INSERT INTO summaries (id, tenant_id, conversation_id, message_id, text, messages, model)"
    " VALUES (gen_random_uuid(), :tenant, CAST(:conversation_id AS uuid), CAST(:message_id AS uuid), 'Fences.', 1,"
    " '{}')",
    "INSERT INTO tool_calls (id, tenant_id, message_id, round, call_id, name, arguments, status)"
    " VALUES (gen_random_uuid(), :tenant, CAST(:message_id AS uuid), 1, '1-1', 'calculate', '{}', 'done')",
    "INSERT INTO receipts (id, tenant_id, message_id, number, statement, key_id, signature)"
    " VALUES (gen_random_uuid(), :tenant, CAST(:message_id AS uuid), 1, '{}', 'a', '')"
    " ON CONFLICT (message_id, number) DO NOTHING",
)


async def furnish(tenancy, superuser):
    owner = await tenancy.owner()
    colleague = await tenancy.colleague(owner)
    space = await owner.space(f"Space {uuid4().hex[:6]}")
    collection = await owner.collection(space)
    (document,) = await owner.knows(collection, ("secret.txt", f"Where is it? It is known that {SECRET}.".encode()))
    assistant = await owner.assistant(space, collection)
    budget = (await owner.made("/budgets", kind="tenant", period="month", limit_micros=10**12))["id"]
    conversation = await owner.conversation(assistant)
    answer = await owner.ask(conversation, "Where is the spare key?")
    group = await make_group(tenancy.app, owner, colleague)
    role = (await owner.made("/roles", name="Readers of the log", permissions=["audit"]))["id"]
    assert (await owner.put(f"/groups/{group}/roles/{role}")).status_code < 300
    invited = await owner.made("/users", email=f"{uuid4().hex}@people.example")
    class_id = (await owner.made("/data-classes", name="Confidential", level=2))["id"]
    model = (await owner.get("/models")).json()["items"][0]["id"]
    price = await owner.made(f"/models/{model}/prices", input=1)
    golden = await owner.made(
        f"/collections/{collection}/golden-questions", question="Where is it?", document_ids=[document["id"]]
    )
    website = await owner.made(f"/collections/{collection}/websites", url="https://www.example.org/")
    picture = [("file", ("a.gif", PICTURE))]
    attached = await owner.post(f"/conversations/{conversation}/files", files=picture)
    assert attached.status_code == 202, attached.text
    move = str(uuid4())
    server = await owner.post("/tool-servers?check=false", json=TOOL_SERVER | {"name": uuid4().hex})
    assert server.status_code == 201, server.text
    ids = {
        "space_id": space,
        "collection_id": collection,
        "document_id": document["id"],
        "website_id": website["id"],
        "crawl_id": str(uuid4()),
        "assistant_id": assistant,
        "model": f"assistant/{assistant}",
        "conversation_id": conversation,
        "message_id": answer["id"],
        "attachment_id": attached.json()["items"][0]["id"],
        "model_id": model,
        "user_id": str(owner.user.id),
        "session_id": (await owner.get("/me/sessions")).json()["items"][0]["id"],
        "group_id": group,
        "role_id": role,
        "key_id": (await owner.made("/api-keys", name="A program"))["id"],
        "method_id": (await owner.made("/login-methods", kind="ldap", name="Directory", config=DIRECTORY))["id"],
        "account_id": str(uuid4()),
        "class_id": class_id,
        "data_class_id": class_id,
        "connection_id": (await owner.get("/connections")).json()["items"][0]["id"],
        "budget_id": budget,
        "server_id": server.json()["id"],
        "tool_id": str(uuid4()),
        "price_id": price["id"],
        "golden_question_id": golden["id"],
        "golden_run_id": str(uuid4()),
        "move_id": move,
        "embedding_move_id": str(uuid4()),
        "reason_id": (await owner.made("/audit/reasons", reason="To see what was done"))["id"],
        "tenant_id": str(owner.tenant_id),
    }
    given = {
        **ids,
        "tenant": owner.tenant_id,
        "colleague": str(colleague.user.id),
        "origin": f"https://{uuid4().hex}.example",
    }
    async with superuser.begin() as connection:
        for statement in ADDED:
            await connection.execute(text(statement), {name: given[name] for name in given if f":{name}" in statement})
    await seal(tenancy.app, owner.tenant_id)
    return SimpleNamespace(owner=owner, colleague=colleague, invited=invited, ids=ids, tenant_id=owner.tenant_id)
