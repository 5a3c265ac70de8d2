"""What a call costs, to the last millionth."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, inf, nan

import pytest
from folkmoot_sdk import Price
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.usage.money import CEILING, convert, cost, said

COUNT = st.integers(0, 10**9)
FIGURE = st.integers(0, 10**9)


def test_tokens_times_price_as_one_would_by_hand():
    price = Price(input=2_500_000, output=10_000_000, cached_input=1_250_000)
    # 1,000 tokens in, of which 400 from the cache, and 200 out: 600 x 2.50 + 400 x 1.25 + 200 x 10 for a million.
    assert cost(price, input_tokens=1_000, output_tokens=200, cached_input_tokens=400) == 1_500 + 500 + 2_000


def test_what_goes_into_the_cache_has_its_own_price_and_is_not_counted_twice():
    price = Price(input=3_000_000, output=15_000_000, cached_input=300_000, cache_write=3_750_000)
    tokens = {"input_tokens": 1_000_000, "cached_input_tokens": 500_000, "cache_write_tokens": 200_000}
    assert cost(price, **tokens, output_tokens=0) == 300_000 * 3 + 150_000 + 750_000


def test_without_a_price_of_its_own_the_cache_costs_as_any_input():
    tokens = {"input_tokens": 1_000_000, "cached_input_tokens": 300_000, "cache_write_tokens": 300_000}
    assert cost(Price(input=7), **tokens, output_tokens=0) == 7


def test_a_part_of_a_millionth_is_a_whole_one_and_nothing_is_nothing():
    assert cost(Price(input=1), input_tokens=1, output_tokens=0) == 1
    assert cost(Price(input=1, output=1), input_tokens=500_000, output_tokens=500_000) == 1, (
        "rounded up once, not twice"
    )
    assert cost(Price(), input_tokens=10**9, output_tokens=10**9, audio_seconds=3600) == 0


def test_calls_and_minutes_of_audio_have_prices_too():
    assert cost(Price(request=2_000), input_tokens=0, output_tokens=0) == 2_000
    assert cost(Price(request=2_000), input_tokens=0, output_tokens=0, requests=3) == 6_000
    assert cost(Price(audio_minute=6_000), input_tokens=0, output_tokens=0, audio_seconds=90) == 9_000
    assert cost(Price(audio_minute=6_000), input_tokens=0, output_tokens=0, audio_seconds=0.1) == 10


@pytest.mark.parametrize("seconds", [nan, -1.0, -inf])
def test_what_cannot_be_counts_as_nothing(seconds):
    price = Price(input=1_000_000, output=1_000_000, audio_minute=60_000_000)
    assert cost(price, input_tokens=-5, output_tokens=-5, audio_seconds=seconds) == 0
    assert cost(price, input_tokens=10, output_tokens=0, cached_input_tokens=-3) == 10
    assert cost(price, input_tokens=0, output_tokens=0, audio_seconds=inf) > 0


def test_more_from_the_cache_than_came_in_costs_what_the_cache_gave():
    price = Price(input=10_000_000, cached_input=1_000_000)
    assert cost(price, input_tokens=10, cached_input_tokens=25, output_tokens=0) == 25


@given(COUNT, COUNT, COUNT, COUNT, FIGURE, FIGURE, FIGURE, st.floats(0, 10_000))
def test_the_sum_is_exact(plain, cached, written, output, per_input, per_output, per_cached, seconds):
    price = Price(input=per_input, output=per_output, cached_input=per_cached, audio_minute=per_output, request=7)
    exact = (
        Fraction((plain + written) * per_input + cached * per_cached + output * per_output, 10**6)
        + Fraction(repr(seconds)) * per_output / 60
        + 7
    )
    found = cost(
        price,
        input_tokens=plain + cached + written,
        output_tokens=output,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        audio_seconds=seconds,
    )
    assert found == ceil(exact)


def test_another_currency_rounds_up_and_keeps_what_nobody_said():
    dollars = Price(input=2_500_000, output=3, request=10, as_of="2026-11-01")
    euros = convert(dollars, 0.92)
    assert euros == Price(input=2_300_000, output=3, request=10, as_of="2026-11-01")
    assert convert(dollars, 1.0) is dollars
    assert convert(Price(input=10, cached_input=0, cache_write=1), 10.5) == Price(
        input=105, cached_input=0, cache_write=11
    )


def test_the_ceiling_is_no_bargain():
    assert cost(CEILING, input_tokens=1_000_000, output_tokens=0) >= 150_000_000
    assert cost(CEILING, input_tokens=0, output_tokens=1_000_000) >= 600_000_000
    assert cost(CEILING, input_tokens=0, output_tokens=0, audio_seconds=60) > 0


@pytest.mark.parametrize(
    ("micros", "shown"),
    [(0, "0.00 EUR"), (12_500_000, "12.50 EUR"), (10_000, "0.01 EUR"), (9_000, "0.009 EUR"), (1, "0.000001 EUR")],
)
def test_amounts_are_shown_as_money(micros, shown):
    assert said(micros, "EUR") == shown
