"""The promises of a provider, inherited from the conformance kit; what fails says which one is broken."""

from folkmoot_sdk.testing.providers import ProviderConformance

from __module__ import register_ai_providers


class TestProvider(ProviderConformance):
    spec = register_ai_providers()[0]
    chat_model = "__kind__-1"

    # Once chat() asks a service, say what it answers: a fake, or a recording of the real one. The kit then also
    # tests what happens when the service refuses, stalls, breaks off or talks nonsense:
    #
    # def config(self):
    #     return {"api_key": "made-up-key"}
    #
    # def transport(self):
    #     return replay("tests/recorded.json")  # from folkmoot_sdk.testing.recorded
