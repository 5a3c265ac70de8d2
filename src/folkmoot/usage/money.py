"""What a call costs, in millionths of a unit of currency.

Whole numbers all the way, rounded up once at the end: a sum of entries is what the tokens come to, and no call
costs less than the provider says.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from folkmoot_sdk import Price

MICROS = 1_000_000
"""Of the smallest unit in which we count in one unit of currency."""
CEILING = Price(input=150_000_000, output=600_000_000, request=10_000, audio_minute=100_000)
"""What a model costs whose price nobody knows, in millionths of a US dollar.

Zero would let such a model past every budget. These are the highest figures that a large provider has asked in a
public price list: 150 and 600 $ for a million tokens (OpenAI's o1-pro, March 2025); for a minute of audio and for
a call more than any of them asks, ten cents and one cent. So the real price is lower, and whoever sees what the
ceiling comes to states it.
"""


def cost(
    price: Price,
    *,
    input_tokens: int,
    output_tokens: int,
    cached_input_tokens: int = 0,
    cache_write_tokens: int = 0,
    audio_seconds: float = 0.0,
    requests: int = 1,
) -> int:
    """What a call comes to in micro-units, exactly, rounded up at the end.

    Tokens as `folkmoot_sdk.Usage` has them: those from the cache and those written to it are among
    `input_tokens`. What a provider says that cannot be, such as a negative count, counts as nothing.
    """
    cached, written = max(0, cached_input_tokens), max(0, cache_write_tokens)
    plain = max(0, input_tokens - cached - written)
    for_tokens = (
        plain * price.input
        + cached * (price.input if price.cached_input is None else price.cached_input)
        + written * (price.input if price.cache_write is None else price.cache_write)
        + max(0, output_tokens) * price.output
        + max(0, requests) * price.request * MICROS
    )
    # As the provider wrote it: 0.1 is a tenth, which a float is not.
    seconds, of = Decimal(repr(max(0.0, min(float(audio_seconds), 1e9)))).as_integer_ratio()
    whole = for_tokens * of * 60 + price.audio_minute * seconds * MICROS
    return -(-whole // (of * 60 * MICROS))


def convert(price: Price, rate: float) -> Price:
    """`price` in another currency, of which `rate` units are one of `price`'s; each figure rounded up."""
    if rate == 1:
        return price
    factor = Decimal(repr(rate))

    def of(figure: int) -> int:
        return int((figure * factor).to_integral_value(ROUND_CEILING))

    return Price(
        input=of(price.input),
        output=of(price.output),
        cached_input=None if price.cached_input is None else of(price.cached_input),
        cache_write=None if price.cache_write is None else of(price.cache_write),
        request=of(price.request),
        audio_minute=of(price.audio_minute),
        as_of=price.as_of,
    )


def said(micros: int, currency: str) -> str:
    """An amount for people: `12.50 EUR`; with more places if it would be nothing otherwise."""
    amount = Decimal(micros) / MICROS
    return f"{amount:.2f} {currency}" if micros == 0 or abs(micros) >= MICROS // 100 else f"{amount:f} {currency}"
