"""What operations need before they can be done with success, under the names of the operations."""

from __future__ import annotations

from uuid import uuid4

import httpx
from pyotp import TOTP
from sqlalchemy import text

from tests.architecture.furnish import TOOL_SERVER
from tests.identity.browsing import address
from tests.support.people import PASSWORD


class Stage:
    """Each method gives what differs from the example: ids, a body, or who does it (`by`)."""

    def __init__(self, one, tenancy, superuser, method, world, browsers, api):
        self.owner, self.one, self.tenancy, self.superuser = one.owner, one, tenancy, superuser
        self.method, self.world, self.browsers, self.api = method, world, browsers, api

    async def _person(self, **fields):
        return await self.tenancy.colleague(self.owner, **fields)

    async def _someone(self) -> str:
        return str((await self._person()).user.id)

    async def _group(self) -> str:
        return (await self.owner.made("/groups", name=uuid4().hex))["id"]

    async def _role(self) -> str:
        return (await self.owner.made("/roles", name=uuid4().hex, permissions=["audit"]))["id"]

    async def _key(self) -> str:
        return (await self.owner.made("/api-keys", name="A program"))["id"]

    async def _draft(self) -> str:
        return await self.owner.assistant(self.one.ids["space_id"])

    async def _put(self, path: str, **fields):
        answer = await self.owner.put(path, json=fields or None)
        assert answer.status_code < 300, answer.text

    # People, groups and roles

    async def update_user(self):
        return {"user_id": await self._someone()}

    delete_user = reset_user = end_user_sessions = put_group_member = put_member = grant_role = update_user

    async def erase_user(self):
        gone = await self._someone()
        assert (await self.owner.delete(f"/users/{gone}")).status_code == 204
        return {"user_id": gone}

    async def invite_user_again(self):
        return {"user_id": self.one.invited["id"]}

    async def remove_user_second_factor(self):
        person, _ = await self._enrolled()
        return {"user_id": str(person.user.id)}

    async def revoke_role(self):
        user, role = await self._someone(), await self._role()
        await self._put(f"/users/{user}/roles/{role}")
        return {"user_id": user, "role_id": role}

    async def remove_group_member(self):
        user, group = await self._someone(), await self._group()
        await self._put(f"/groups/{group}/members/{user}")
        return {"user_id": user, "group_id": group}

    async def grant_group_role(self):
        return {"group_id": await self._group(), "role_id": await self._role()}

    async def revoke_group_role(self):
        given = await self.grant_group_role()
        await self._put(f"/groups/{given['group_id']}/roles/{given['role_id']}")
        return given

    async def delete_group(self):
        return {"group_id": await self._group()}

    async def delete_role(self):
        return {"role_id": await self._role()}

    # Spaces and what lies in them

    async def delete_space(self):
        return {"space_id": await self.owner.space()}

    async def remove_member(self):
        user = await self._someone()
        await self._put(f"/spaces/{self.one.ids['space_id']}/members/{user}", role="viewer")
        return {"user_id": user}

    async def remove_group_from_space(self):
        group = await self._group()
        await self._put(f"/spaces/{self.one.ids['space_id']}/groups/{group}", role="viewer")
        return {"group_id": group}

    async def delete_assistant(self):
        return {"assistant_id": await self._draft()}

    publish_assistant = delete_assistant

    async def unpublish_assistant(self):
        return {"assistant_id": await self.owner.assistant(self.one.ids["space_id"], published=True)}

    async def delete_collection(self):
        return {"collection_id": await self.owner.collection(self.one.ids["space_id"])}

    async def delete_document(self):
        collection = await self.owner.collection(self.one.ids["space_id"])
        (document,) = await self.owner.knows(collection, ("rules.txt", b"A fence may be 1.2 metres high."))
        return {"document_id": document["id"]}

    retry_document = delete_document

    async def update_document(self):
        return {"document_id": (await self.delete_document())["document_id"], "json": {"name": "laws.txt"}}

    async def cancel_document(self):
        given = await self.delete_document()
        async with self.superuser.begin() as connection:
            # Waiting for so long that no worker takes it first.
            later = "UPDATE documents SET status = 'queued', retry_at = now() + interval '1 hour' WHERE id = :d"
            await connection.execute(text(later), {"d": given["document_id"]})
        return given

    async def delete_golden_question(self):
        path = f"/collections/{self.one.ids['collection_id']}/golden-questions"
        asked = {"question": "Where is it?", "document_ids": [self.one.ids["document_id"]]}
        return {"golden_question_id": (await self.owner.made(path, **asked))["id"]}

    async def delete_website(self):
        path = f"/collections/{self.one.ids['collection_id']}/websites"
        return {"website_id": (await self.owner.made(path, url="http://127.0.0.1:1/"))["id"]}

    crawl_website = delete_website

    async def update_website(self):
        return {**(await self.delete_website()), "json": {"max_pages": 7}}

    async def cancel_crawl(self):
        given = await self.delete_website()
        # Made where no worker hears of it, which would be quicker than the call.
        queued = (
            "INSERT INTO crawls (id, tenant_id, website_id, status, cause)"
            " SELECT gen_random_uuid(), tenant_id, id, 'queued', 'asked' FROM websites WHERE id = CAST(:w AS uuid)"
        )
        async with self.superuser.begin() as connection:
            await connection.execute(text(queued), {"w": given["website_id"]})
        return given

    async def remove_attachment(self):
        conversation = await self.owner.conversation(self.one.ids["assistant_id"])
        sent = await self.owner.post(f"/conversations/{conversation}/files", files=[("file", ("a.txt", b"a"))])
        return {"conversation_id": conversation, "attachment_id": sent.json()["items"][0]["id"]}

    async def delete_conversation(self):
        return {"conversation_id": await self.owner.conversation(self.one.ids["assistant_id"])}

    async def stop_message(self):
        conversation = await self.owner.conversation(self.one.ids["assistant_id"])
        message = (await self.owner.ask(conversation, "Where is it?"))["id"]
        async with self.superuser.begin() as connection:
            await connection.execute(text("UPDATE messages SET status = 'streaming' WHERE id = :m"), {"m": message})
        return {"message_id": message}

    async def decide_tool_call(self):
        given = await self.regenerate_message()
        waits = "UPDATE messages SET status = 'waiting_for_approval' WHERE id = :m"
        asks = (
            "INSERT INTO tool_calls (id, tenant_id, message_id, round, call_id, name, arguments, status)"
            " SELECT gen_random_uuid(), tenant_id, id, 1, '1-1', 'send', '{}', 'waiting' FROM messages WHERE id = :m"
        )
        async with self.superuser.begin() as connection:
            for statement in (waits, asks):
                await connection.execute(text(statement), {"m": given["message_id"]})
        return {**given, "json": {"call_id": "1-1", "approved": False}}

    async def regenerate_message(self):
        conversation = await self.owner.conversation(self.one.ids["assistant_id"])
        return {"message_id": (await self.owner.ask(conversation, "Where is it?"))["id"]}

    async def continue_message(self):
        given = await self.regenerate_message()
        async with self.superuser.begin() as connection:
            broke_off = "UPDATE messages SET status = 'stopped' WHERE id = :m"
            await connection.execute(text(broke_off), {"m": given["message_id"]})
        return given

    async def unrate_message(self):
        given = await self.regenerate_message()
        await self._put(f"/messages/{given['message_id']}/feedback", rating="up")
        return given

    async def revoke_api_key(self):
        return {"key_id": await self._key()}

    rotate_api_key = update_api_key = revoke_api_key

    # Embedding models: moves to no model end at once, whatever is connected

    async def start_embedding_move(self):
        collection = await self.owner.collection(self.one.ids["space_id"])
        return {"collection_id": collection, "json": {"model_id": None}}

    async def undo_embedding_move(self):
        given = await self.start_embedding_move()
        path = f"/collections/{given['collection_id']}/embedding-moves"
        return {"embedding_move_id": (await self.owner.post(path, json=given["json"])).json()["id"]}

    confirm_embedding_move = undo_embedding_move

    async def cancel_embedding_move(self):
        given = await self.undo_embedding_move()
        move = given["embedding_move_id"]
        async with self.superuser.begin() as connection:
            # Later than any worker looks: it stays as it is until the test ends it.
            await connection.execute(
                text(
                    "UPDATE embedding_moves SET state = 'filling', retry_at = now() + interval '1 hour' WHERE id = :m"
                ),
                {"m": move},
            )
        return given

    # The organisation and the installation

    async def update_organisation(self):
        return {"json": {"settings": {"allowed_origins": [f"https://{uuid4().hex}.example"]}}}

    # Models and what they may see

    async def _connection(self) -> dict:
        return await self.owner.made("/connections", kind="extractive", name=uuid4().hex)

    async def _model(self) -> str:
        made = await self._connection()
        return (await self.owner.get(f"/connections/{made['id']}/models")).json()["items"][0]["id"]

    async def create_connection(self):
        return {"json": {"kind": "extractive", "name": uuid4().hex}}

    async def update_connection(self):
        return {"connection_id": (await self._connection())["id"], "json": {"country": "SE"}}

    async def delete_connection(self):
        return {"connection_id": (await self._connection())["id"]}

    async def update_model(self):
        return {"model_id": await self._model(), "json": {"country": "SE"}}

    async def add_price(self):
        return {"model_id": await self._model(), "json": {"input": 1}}

    async def move_model(self):
        return {"model_id": await self._model(), "json": {"to_model": await self._model()}}

    async def undo_move(self):
        given = await self.move_model()
        return {"move_id": (await self.owner.made(f"/models/{given['model_id']}/moves", **given["json"]))["id"]}

    # Tool servers: nothing answers there, which a refresh tells

    async def _server(self) -> str:
        made = await self.owner.post("/tool-servers?check=false", json=TOOL_SERVER | {"name": uuid4().hex})
        assert made.status_code == 201, made.text
        return made.json()["id"]

    async def create_tool_server(self):
        return {"json": TOOL_SERVER | {"name": uuid4().hex}, "params": {"check": "false"}}

    async def update_tool_server(self):
        return {"server_id": await self._server(), "json": {"enabled": False}}

    async def delete_tool_server(self):
        return {"server_id": await self._server()}

    refresh_tool_server = delete_tool_server

    async def update_tool(self):
        return {"json": {"approval": "never"}}

    async def put_space_tools(self):
        return {"space_id": await self.owner.space(), "json": {"tool_ids": [self.one.ids["tool_id"]]}}

    async def create_data_class(self):
        return {"json": {"name": uuid4().hex, "level": 77}}

    async def update_data_class(self):
        return {"class_id": await self._class(), "json": {"description": "Of persons"}}

    async def delete_data_class(self):
        return {"class_id": await self._class()}

    async def _class(self) -> str:
        self._levels = getattr(self, "_levels", 100) + 1
        return (await self.owner.made("/data-classes", name=uuid4().hex, level=self._levels))["id"]

    async def create_budget(self):
        return {"json": {"kind": "user", "subject_id": await self._someone(), "period": "day", "limit_micros": 1}}

    async def update_budget(self):
        made = await self.owner.made("/budgets", **(await self.create_budget())["json"])
        return {"budget_id": made["id"], "json": {"limit_micros": 2}}

    async def delete_budget(self):
        return {"budget_id": (await self.update_budget())["budget_id"]}

    async def update_tenant(self):
        return {"json": {"max_users": 100_000}}

    async def grant_platform_admin(self):
        return {"json": {"tenant_id": str(self.owner.tenant_id), "user_id": await self._someone()}}

    async def revoke_platform_admin(self):
        given = await self.grant_platform_admin()
        assert (await self.owner.post("/platform/admins", json=given["json"])).status_code == 201
        return {"user_id": given["json"]["user_id"]}

    async def suspend_tenant(self):
        return {"tenant_id": str((await self.tenancy.tenant())[0])}

    async def resume_tenant(self):
        given = await self.suspend_tenant()
        path = f"/platform/tenants/{given['tenant_id']}/suspend"
        assert (await self.owner.post(path, json={"reason": "A test"})).status_code == 200
        return given

    async def delete_tenant(self):
        tenant_id, name = await self.tenancy.tenant()
        return {"tenant_id": str(tenant_id), "params": {"name": name}}

    async def create_login_method(self):
        return {"json": {"kind": "fake-id", "name": uuid4().hex, "config": {"issuer": "https://id.example"}}}

    async def update_login_method(self):
        made = await self.method(by=self.owner)
        return {"method_id": made.id, "json": {"enabled": False}}

    async def delete_login_method(self):
        return {"method_id": (await self.method(by=self.owner)).id}

    # Signing in and out; each by a person of its own, whose session may end

    async def _directory(self, **fields):
        made = await self.method(by=self.owner, kind="fake-directory", create=True)
        self.world.add(made.issuer, "ada", email=f"{uuid4().hex[:12]}@x.example")
        return made

    async def _enrolled(self):
        person = await self._person()
        begun = await person.post("/me/second-factor", json={"password": PASSWORD})
        phone = TOTP(begun.json()["secret"])
        confirmed = await person.post("/me/second-factor/confirm", json={"code": phone.now()})
        assert confirmed.status_code == 200, confirmed.text
        return person, confirmed.json()["recovery_codes"]

    async def logout(self):
        return {"by": await self._person()}

    provider_logout = logout

    async def change_my_password(self):
        said = {"current_password": PASSWORD, "new_password": f"{uuid4()} is long enough"}
        return {"by": await self._person(), "json": said}

    async def end_my_session(self):
        person = await self._person()
        return {"by": person, "session_id": (await person.get("/me/sessions")).json()["items"][0]["id"]}

    async def end_my_other_sessions(self):
        person = await self._person()
        await self._sign_in(person)
        return {"by": person}

    async def confirm_second_factor(self):
        person = await self._person()
        begun = await person.post("/me/second-factor", json={"password": PASSWORD})
        return {"by": person, "json": {"code": TOTP(begun.json()["secret"]).now()}}

    async def remove_second_factor(self):
        person, codes = await self._enrolled()
        return {"by": person, "json": {"password": PASSWORD, "code": codes[0]}}

    renew_recovery_codes = remove_second_factor

    async def link_directory_account(self):
        made, person = await self._directory(), await self._person()
        return {"by": person, "method_id": made.id, "json": {"identifier": "ada", "password": "open sesame"}}

    async def _sign_in(self, person):
        said = {"email": person.user.email, "password": PASSWORD}
        answer = await self._stranger().post("/auth/login", json=said, params={"cookie": "false"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _stranger(self):
        transport = httpx.ASGITransport(self.api, raise_app_exceptions=False, client=(address(), 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://folkmoot.test/api/v1", timeout=60)

    async def login(self):
        person = await self._person()
        said = {"email": person.user.email, "password": PASSWORD}
        return {"by": self._stranger(), "actor": person.user.id, "json": said}

    async def forgot_password(self):
        person = await self._person()
        return {"by": self._stranger(), "json": {"email": person.user.email}}

    async def accept_link(self):
        invited = await self.owner.made("/users", email=f"{uuid4().hex}@people.example")
        said = {"token": invited["link"].partition("#")[2], "password": f"{uuid4()} is long enough"}
        return {"by": self._stranger(), "actor": invited["id"], "json": said}

    async def external_login(self):
        made, person = await self._directory(), await self._person()
        said = {"identifier": "ada", "password": "open sesame"}
        linked = await person.post(f"/me/accounts/{made.id}/login", json=said)
        assert linked.status_code == 204, linked.text
        return {"by": self._stranger(), "actor": person.user.id, "method_id": made.id, "json": said}

    async def backchannel_logout(self):
        made, browser = await self.method(by=self.owner, create=True), self.browsers()
        self.world.add(made.issuer, "ada", email=f"{uuid4().hex[:12]}@x.example", session="s-1")
        assert (await browser.signs_in(made.id, "ada")).status_code == 303
        notice = {"logout_token": f"genuine:{uuid4().hex},s-1,"}
        return {"by": self._stranger(), "method_id": made.id, "data": notice}
