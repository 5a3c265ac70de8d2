"""The promises of the SDK, kept; there is no upstream to fail."""

from __future__ import annotations

from folkmoot_provider_extractive import register_ai_providers
from folkmoot_sdk import ChatRequest, Message, Passage, TextPart
from folkmoot_sdk.testing.providers import ProviderConformance


class TestExtractive(ProviderConformance):
    spec = register_ai_providers()[0]
    chat_model = "extractive"

    def request(self, text: str) -> ChatRequest:
        return ChatRequest(
            model="extractive",
            messages=(Message("user", (TextPart(f"What about {text}?"),)),),
            passages=(Passage(1, f"It is known that {text} lives here. Nothing else is.", "a.md"),),
            grounded=True,
        )
