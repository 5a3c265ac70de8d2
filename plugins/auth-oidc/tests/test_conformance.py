"""The promises of every auth backend, and those of the two more that this one is."""

from __future__ import annotations

import httpx
import pytest
from folkmoot_auth_oidc import SPEC, register_auth_backends
from folkmoot_sdk import EndsSession, HearsLogout, RedirectBackend
from folkmoot_sdk.testing.auth import AuthConformance


class TestOpenIDConnect(AuthConformance):
    spec = SPEC

    @pytest.fixture(autouse=True)
    def _provider(self, fake):
        self.fake = fake
        fake.client_secret = "made-up-secret"

    def config(self):
        return {"issuer": self.fake.metadata["issuer"], "client_id": "folkmoot", "client_secret": "made-up-secret"}

    def transport(self):
        return httpx.MockTransport(self.fake)

    def come_back(self, start):
        return self.fake.sign_in(start)


def test_the_hook_offers_one_backend_of_a_kind_that_is_stored():
    assert [spec.kind for spec in register_auth_backends()] == ["oidc"]


async def test_it_also_ends_sessions_and_hears_of_ended_ones(meeting):
    async with meeting.backend() as backend:
        assert isinstance(backend, RedirectBackend)
        assert isinstance(backend, EndsSession)
        assert isinstance(backend, HearsLogout)
