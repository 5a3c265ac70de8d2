"""Telling somebody that an API key has spent its month before anything is stored for them."""

from __future__ import annotations

from datetime import UTC, datetime

from folkmoot.kit.work import Work
from folkmoot.usage import books
from folkmoot.usage.account import Place, first_day
from folkmoot.usage.ledger import key_facts
from folkmoot.usage.limits import tokens_spent


async def check_tokens(work: Work) -> None:
    """Raise `TooManyRequests` (`spending-limit-reached`) if the caller is a key whose tokens of the month are spent.

    `Ledger.reserve` refuses the call in any case; asked here, the refusal comes while somebody still listens.
    """
    if (key_id := work.principal.key_id) is None:
        return
    facts, now = await key_facts(work, key_id), datetime.now(UTC)
    if facts.tokens_per_month is None:
        return
    place = Place("key", facts.family_id, "month", first_day("month", now))
    counter = (await books.counters(work, [place], lock=False)).get(place)
    tokens = counter.tokens if counter else (await books.total(work, place))[1]
    if tokens >= facts.tokens_per_month:
        raise tokens_spent(tokens, facts.tokens_per_month, now)
