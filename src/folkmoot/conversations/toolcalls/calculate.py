"""Exact arithmetic for a model, which is bad at it. Pure.

A small grammar of its own instead of a programming language's: there is nothing in it to break out of, and each step
says beforehand how large its result may become. Numbers are fractions, so 1/3*3 is 1; they are rounded as they are
shown, and it is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from math import ceil, floor, isqrt

LONGEST = 1_000
"""Characters of an expression."""
DEEPEST = 40
"""Brackets in brackets, and signs before signs."""
MOST_BITS = 2_000
"""Of a result's numerator and denominator: about 600 digits."""
DIGITS = 30
"""That are shown of what has no end."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d_]+)|(?P<sign>\*\*|//|.))"
)
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "‸", "[": "(", "]": ")", ";": ","})


class CannotCalculate(Exception):
    """The sentence says what is wrong, and what to write instead."""


@dataclass(frozen=True)
class Calculated:
    text: str
    exact: bool


def calculate(expression: str) -> Calculated:
    """The value of an expression as text. Raises `CannotCalculate`."""
    if len(expression) > LONGEST:
        raise CannotCalculate(f"the expression has {len(expression)} characters: {LONGEST} are allowed")
    reader = _Reader(_tokens(expression))
    value = reader.sum(0)
    reader.end()
    return _shown(value, exact=reader.exact)


def _tokens(expression: str) -> list[tuple[str, str]]:
    text = expression.translate(_SIGNS).replace("‸", "**").strip().removesuffix("=").rstrip()
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            break
        kind, said = match.lastgroup, match.group(match.lastgroup)
        if kind == "number" and tokens and tokens[-1][0] == "number":
            raise CannotCalculate(
                f"two numbers stand beside each other at {said!r}: write no spaces or commas between digits"
            )
        tokens.append((kind, said))
        at = match.end()
    if not tokens:
        raise CannotCalculate("the expression is empty: write one such as 12.5 * (3 + 4)")
    return tokens


class _Reader:
    """Recursive descent: sum, product, power, value."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens, self._at = tokens, 0
        self.exact = True

    def sum(self, depth: int) -> Fraction:
        if depth > DEEPEST:
            raise CannotCalculate(f"more than {DEEPEST} brackets or signs stand within each other: write it in steps")
        value, _ = self._product(depth)
        while (sign := self._next("+", "-")) is not None:
            right, percent = self._product(depth)
            # As on a pocket calculator: 200 + 10 % is 220.
            if percent:
                right = _bounded(value * right)
            value = _bounded(value + right if sign == "+" else value - right)
        return value

    def end(self) -> None:
        """Nothing may be left over."""
        if self._at < len(self._tokens):
            raise self._unexpected()

    def _product(self, depth: int) -> tuple[Fraction, bool]:
        """The value, and whether it is a percentage alone."""
        value, percent = self._signed(depth)
        while (sign := self._next("*", "/", "//", "mod", "of")) is not None:
            right, _ = self._signed(depth)
            percent = False
            if sign in ("*", "of"):
                value = value * right
            elif right == 0:
                raise CannotCalculate("it divides by zero")
            elif sign == "/":
                value = value / right
            elif sign == "//":
                value = Fraction(floor(value / right))
            else:
                value = value - right * floor(value / right)
            value = _bounded(value)
        return value, percent

    def _signed(self, depth: int) -> tuple[Fraction, bool]:
        if depth > DEEPEST:
            raise CannotCalculate(f"more than {DEEPEST} brackets or signs stand within each other: write it in steps")
        if (sign := self._next("+", "-")) is not None:
            value, percent = self._signed(depth + 1)
            return (-value if sign == "-" else value), percent
        base = self._value(depth)
        percent = False
        while self._next("%") is not None:
            base, percent = base / 100, True
        if self._next("**") is not None:
            exponent, _ = self._signed(depth + 1)
            return self._power(base, exponent), False
        return base, percent

    def _power(self, base: Fraction, exponent: Fraction) -> Fraction:
        if exponent.denominator == 2:
            return self._power(self._root(base), Fraction(exponent.numerator))
        if exponent.denominator != 1:
            raise CannotCalculate("an exponent is a whole number, or a half for a square root")
        if base == 0 and exponent < 0:
            raise CannotCalculate("it divides by zero")
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if base not in (0, 1, -1) and (bits - 1) * abs(exponent) > MOST_BITS:
            raise _too_large()
        if base in (0, 1, -1):
            # Whatever the exponent, without multiplying.
            return base if exponent % 2 else base * base if exponent else Fraction(1)
        return _bounded(base ** int(exponent))

    def _value(self, depth: int) -> Fraction:
        kind, said = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        if kind == "number":
            self._at += 1
            return _number(said)
        if kind == "name" and said.lower() in _FUNCTIONS | {"sqrt": None}:
            self._at += 1
            self._expect("(")
            given = [self.sum(depth + 1)]
            while self._next(",") is not None:
                given.append(self.sum(depth + 1))
            self._expect(")")
            return self._called(said.lower(), given)
        if self._next("(") is not None:
            value = self.sum(depth + 1)
            if self._next(",") is not None:
                raise CannotCalculate("a decimal point is a point: write 1.5, not 1,5, and no separator for thousands")
            self._expect(")")
            return value
        raise self._unexpected()

    def _called(self, name: str, given: Sequence[Fraction]) -> Fraction:
        if name == "sqrt" and len(given) == 1:
            return self._root(given[0])
        least, most, call = _FUNCTIONS.get(name, (1, 1, None))
        if call is None or not least <= len(given) <= most:
            raise CannotCalculate(
                f"{name} takes {least if least == most else f'{least} to {most}'} number{'s' * (most > 1)}"
            )
        return _bounded(call(given))

    def _root(self, value: Fraction) -> Fraction:
        if value < 0:
            raise CannotCalculate("a negative number has no square root here")
        top, bottom = isqrt(value.numerator), isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
        self.exact = False
        return Fraction(_CONTEXT.sqrt(_decimal(value)))

    def _next(self, *signs: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at][1].lower() in signs:
            self._at += 1
            return self._tokens[self._at - 1][1].lower()
        return None

    def _expect(self, sign: str) -> None:
        if self._next(sign) is None:
            raise self._unexpected(f"{sign!r} is missing")

    def _unexpected(self, fact: str = "") -> CannotCalculate:
        if self._at >= len(self._tokens):
            return CannotCalculate(fact or "the expression ends too early")
        kind, said = self._tokens[self._at]
        if said == ",":
            return CannotCalculate("a decimal point is a point: write 1.5, not 1,5, and no separator for thousands")
        if kind == "number" and self._at and self._tokens[self._at - 1][1] == "%":
            return CannotCalculate("% means per cent: write 7 mod 3 for what is left over")
        if kind == "name":
            known = ", ".join(sorted([*_FUNCTIONS, "sqrt"]))
            return CannotCalculate(f"{said[:40]!r} is not known: there are numbers, + - * / // mod ^ % ( ) and {known}")
        return CannotCalculate(fact or f"{said!r} is not expected there")


def _number(said: str) -> Fraction:
    mantissa, _, exponent = said.lower().partition("e")
    if abs(int(exponent or 0)) > MOST_BITS // 4 or len(mantissa) > MOST_BITS // 4:
        raise _too_large()
    return _bounded(Fraction(said))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise _too_large()
    return value


def _too_large() -> CannotCalculate:
    return CannotCalculate("a number on the way has more than about 600 digits: that is more than is calculated here")


def _rounded(given: Sequence[Fraction]) -> Fraction:
    places = int(given[1]) if len(given) > 1 else 0
    if abs(places) > DIGITS:
        raise CannotCalculate(f"round keeps at most {DIGITS} decimals")
    scale = Fraction(10) ** places
    # Half away from zero, as people do it.
    half = Fraction(1, 2) if given[0] >= 0 else Fraction(-1, 2)
    moved = given[0] * scale + half
    return Fraction(floor(moved) if given[0] >= 0 else ceil(moved)) / scale


_MANY = 200
_FUNCTIONS: dict[str, tuple[int, int, Callable[[Sequence[Fraction]], Fraction]]] = {
    "abs": (1, 1, lambda given: abs(given[0])),
    "ceil": (1, 1, lambda given: Fraction(ceil(given[0]))),
    "floor": (1, 1, lambda given: Fraction(floor(given[0]))),
    "max": (1, _MANY, max),
    "mean": (1, _MANY, lambda given: sum(given, Fraction(0)) / len(given)),
    "min": (1, _MANY, min),
    "round": (1, 2, _rounded),
    "sum": (1, _MANY, lambda given: sum(given, Fraction(0))),
}
_CONTEXT = Context(prec=2 * DIGITS)


def _decimal(value: Fraction) -> Decimal:
    return _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))


def _shown(value: Fraction, *, exact: bool) -> Calculated:
    if value.denominator == 1 and exact:
        return Calculated(str(value.numerator), exact=True)
    twos, fives, rest = 0, 0, value.denominator
    while rest % 2 == 0:
        twos, rest = twos + 1, rest // 2
    while rest % 5 == 0:
        fives, rest = fives + 1, rest // 5
    places = max(twos, fives)
    if exact and rest == 1 and places <= DIGITS:
        digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
        return Calculated(f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}", exact=True)
    near = _decimal(value).normalize(Context(prec=DIGITS))
    return Calculated(f"{near:f}" if abs(near.adjusted()) < DIGITS else f"{near:E}", exact=False)
