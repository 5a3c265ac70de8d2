"""The promises of a provider, inherited from the conformance kit; what fails says which one is broken."""

from folkmoot_sdk.testing.providers import ProviderConformance

from __module__ import register_ai_providers


class TestProvider(ProviderConformance):
    spec = register_ai_providers()[0]
    chat_model = "__kind__-1"

    # Once chat() asks a service, give the kit a fake of it that answers correctly. It then also tests
    # what happens when that service refuses, stalls, breaks off or talks nonsense:
    #
    # def transport(self):
    #     return httpx.MockTransport(answer_like_my_service)
