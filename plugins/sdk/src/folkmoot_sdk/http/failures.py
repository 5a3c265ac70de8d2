"""From what a service says went wrong to the error that the host acts on.

Status first, then the code, type and words of the body: services agree on the first, nearly on the second.
What one service has of its own is a `FailureRule`, which is asked before the common ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, cast

import msgspec

from folkmoot_sdk.context import Clock
from folkmoot_sdk.errors import (
    AuthenticationFailed,
    BadResponse,
    ContentRefused,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)

_QUOTA = re.compile(
    r"insufficient[_ ](quota|balance|funds|credit)|exceeded your current quota|billing|"
    r"credit balance|out of credits|payment required"
)
_TOO_LONG = re.compile(
    r"context_length|string_above_max_length|context (length|window|size)|maximum context|"
    r"prompt is too long|input (is )?too long|too many (input )?tokens|reduce the length"
)
_REFUSED = re.compile(r"content_filter|content_policy|content management policy|responsibleai|safety system")
_NO_MODEL = re.compile(
    r"model_not_found|unknown_model|invalid_model|model .{0,80}(not found|does not exist|not exist|"
    r"not available)|no such model|unknown model|invalid model name"
)
_NO_KEY = re.compile(r"invalid_api_key|incorrect api key|api[_ ]key[_ ](not[_ ]valid|invalid)|invalid_authentication")

_KEY_LIKE = re.compile(
    r"(?i)\bbearer\s+\S+|\b(?:sk|pk|rk|gsk|xai|hf|nvapi|key|api|tgp|csk|fw)[-_][\w*.…-]{6,}|"
    r"\b(?=[\w-]{0,64}\d)(?=[\w-]{0,64}[a-z])[\w-]{28,}\b|[\w-]{0,64}\*{4,}[\w-]*"
)

_WAIT = re.compile(r"(?i)(?:try again in|retry after|retry in) (\d{1,6}(?:\.\d{1,6})?) ?(ms|millisec|s)")


class Said(NamedTuple):
    """What the body of a failure tells, whichever shape it has."""

    sentence: str = ""
    codes: str = ""
    """Its `code`, `type` and `status`, side by side."""
    status: int | None = None
    """The HTTP status that the body itself names."""

    @property
    def all(self) -> str:
        """Codes and sentence in lower case, to look for words in."""
        return f"{self.codes} {self.sentence}".lower()


class Fields(NamedTuple):
    """What the plugin's configuration calls the things that an error can mean, for `ProviderError.field`."""

    address: str = "base_url"
    key: str | None = "api_key"
    key_is: str = "API key"
    """What people call it, in a sentence."""


class Asked(NamedTuple):
    """Which model a call is about, and the field of the configuration that names it."""

    model: str = ""
    field: str | None = None


USUAL = Fields()
NOBODY = Asked()

_DEPTH = 4
"""How often an error may be wrapped in another before it is no longer read."""


class Meant(NamedTuple):
    """What a failure means, and the field of the configuration that must change, if it is known to be that one."""

    kind: type[ProviderError]
    field: str | None = None


FailureRule = Callable[[int, Said], type[ProviderError] | Meant | None]
"""`rule(status, said)`: the error that this stands for at this one service, or None to ask the next rule."""


class Teller(NamedTuple):
    """Who tells of failures, and all that the sentence about one needs."""

    where: str
    """The service as people know it: its host."""
    clock: Clock
    secrets: Sequence[str] = ()
    """Never shown, whatever the service repeats of them."""
    fields: Fields = USUAL
    rules: tuple[FailureRule, ...] = ()


def read_body(body: bytes) -> Said | None:
    """What a body says of an error; None if it is not JSON at all."""
    try:
        return read_error(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_error(value: object) -> Said:
    """What an error object says: OpenAI's, Anthropic's, a bare string, FastAPI's `detail`, a list of one."""
    return _read_error(value, 0)


def failure(
    teller: Teller, status: int, headers: Mapping[str, str], said: Said | None, asked: Asked = NOBODY
) -> ProviderError:
    """The error that an answer with this status stands for; `said` is None if the body was not JSON."""
    heard = said or Said()
    found = next((found for rule in teller.rules if (found := rule(status, heard)) is not None), None)
    if found is None:
        found = _kind(status, heard.all, may_be_model=said is not None and bool(asked.model))
    kind, field = found if isinstance(found, Meant) else (found, None)
    where, quote = teller.where, _quote(said, teller.secrets)
    if issubclass(kind, RateLimited):
        wait = retry_after(headers, teller.clock)
        wait = _wait_in_words(heard) if wait is None else wait
        when = f"in {wait:g} s" if wait is not None else "a little later"
        return RateLimited(f"{where} takes no more requests just now ({status}){quote}. Try again {when}", wait)
    elsewhere = kind is InvalidRequest and (300 <= status < 400 or status in (404, 405))
    if field is None and kind is AuthenticationFailed:
        field = teller.fields.key
    elif field is None and kind is ModelNotFound:
        field = asked.field
    elif field is None and elsewhere:
        field = teller.fields.address
    sentence = _sentence(kind, status, teller, asked.model)
    return kind(f"{sentence}{quote}{_WAY_OUT.get(kind, '')}", field=field)


def inside_answer(teller: Teller, said: Said, asked: Asked = NOBODY) -> ProviderError:
    """The error that came in place of an answer, under a 200."""
    if said.status is not None:
        return failure(teller, said.status, {}, said, asked)
    for pattern, status in ((_QUOTA, 429), (_NO_KEY, 401), (_NO_MODEL, 404), (_TOO_LONG, 400), (_REFUSED, 400)):
        if pattern.search(said.all):
            return failure(teller, status, {}, said, asked)
    if "rate_limit" in said.all:
        return failure(teller, 429, {}, said, asked)
    if "overloaded" in said.codes.lower():
        return failure(teller, 503, {}, said, asked)
    quote = _quote(said, teller.secrets)
    return BadResponse(f"{teller.where} sent an error in place of an answer{quote}. Ask again")


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` in seconds or as a date; None if not said."""
    exact = _seconds(headers.get("retry-after-ms"))
    if exact is not None:
        return exact / 1000
    value = headers.get("retry-after")
    plain = _seconds(value)
    if plain is not None or not value:
        return plain
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - clock.now()).total_seconds())


def cleaned(text: str, secrets: Sequence[str] = (), limit: int = 300) -> str:
    """A foreign sentence fit to show: one line, short, without anything that looks like a key."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    text = _KEY_LIKE.sub("***", " ".join(text[:2000].split()))
    text = "".join(letter for letter in text if letter.isprintable())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


_WAY_OUT: dict[type[ProviderError], str] = {
    AuthenticationFailed: ". Put in a key that is valid there and may use this model",
    ModelNotFound: ". Refresh the model list, or choose another model",
    ContextTooLong: ". Ask something shorter, attach less, or choose a model with a longer context",
    ContentRefused: ". Say it differently, or ask another model",
    QuotaExhausted: ". Add credit there, or choose another connection",
    Unavailable: ". Try again later",
}


def _sentence(kind: type[ProviderError], status: int, teller: Teller, model: str) -> str:
    where = teller.where
    key = f"does not accept the {teller.fields.key_is}"
    if not teller.secrets:
        key = f"asks for a key ({teller.fields.key_is}), and the connection has none"
    sentences: dict[type[ProviderError], str] = {
        AuthenticationFailed: f"{where} {key} ({status})",
        ModelNotFound: f"{where} offers no model {model!r} ({status})",
        ContextTooLong: f"this is longer than {model!r} at {where} can take ({status})",
        ContentRefused: f"{where} refuses to answer this by its own rules ({status})",
        QuotaExhausted: f"the account at {where} has nothing left to spend ({status})",
        Unavailable: f"{where} is in trouble ({status})",
    }
    if kind in sentences:
        return sentences[kind]
    if 300 <= status < 400:
        return f"{where} sends us elsewhere ({status}): check the connection's address"
    if status in (404, 405):
        return f"nothing answers at this address of {where} ({status}): check its path and version, as in /v1"
    return f"{where} does not take this request ({status})"


def _kind(status: int, words: str, *, may_be_model: bool) -> type[ProviderError]:
    if status == 401 or (status in (400, 403) and _NO_KEY.search(words)):
        return AuthenticationFailed
    if status == 402 or (status in (400, 403, 429) and _QUOTA.search(words)):
        return QuotaExhausted
    if status in (408, 409, 425) or status >= 500:
        return Unavailable
    if status == 429:
        return RateLimited
    for kind, pattern in ((ContextTooLong, _TOO_LONG), (ContentRefused, _REFUSED), (ModelNotFound, _NO_MODEL)):
        if pattern.search(words):
            return kind
    if status == 403:
        return AuthenticationFailed
    if status == 413:
        return ContextTooLong
    if status == 404 and may_be_model and words.strip() != "not found" and "invalid url" not in words:
        return ModelNotFound
    return InvalidRequest


def _read_error(value: object, depth: int) -> Said:
    if isinstance(value, list) and value:
        value = cast("list[object]", value)[0]
    if isinstance(value, str):
        return _read_words(value, depth)
    if not isinstance(value, dict) or depth > _DEPTH:
        return Said()
    error = cast("dict[str, Any]", value)
    inner = error.get("error")
    if inner and not error.get("error_description"):  # OAuth has its code there, and the sentence beside it
        said = _read_error(inner, depth + 1)
        return said if said.sentence else Said(_words(error.get("message")), said.codes, said.status)
    codes = [str(error[key]) for key in ("code", "type", "status", "error") if isinstance(error.get(key), str | int)]
    numbers = (_number(error.get(key)) for key in ("status", "code", "status_code"))
    sentence = next(
        (text for key in ("message", "detail", "msg", "error_description") if (text := _words(error.get(key)))), ""
    )
    number = next((n for n in numbers if n and 400 <= n < 600), None)
    wrapped = _read_words(sentence, depth)
    return Said(wrapped.sentence, " ".join([*codes, wrapped.codes]).strip(), number or wrapped.status)


def _read_words(text: str, depth: int) -> Said:
    """A sentence, or what another service said, passed on as text: gateways and local servers wrap it so."""
    if depth < _DEPTH and text.lstrip().startswith("{"):
        try:
            said = _read_error(msgspec.json.decode(text), depth + 1)
        except (msgspec.DecodeError, RecursionError):
            return Said(text)
        return said if said.sentence else Said(text, said.codes, said.status)
    return Said(text)


def _quote(said: Said | None, secrets: Sequence[str]) -> str:
    text = cleaned(said.sentence, secrets) if said else ""
    return f". It says: {text.rstrip('.')}" if text else ""


def _words(value: object) -> str:
    if isinstance(value, str):
        return value
    return " ".join(_deep(value))


def _deep(value: object, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and depth < 4:
        items = cast("dict[str, object]", value).values() if isinstance(value, dict) else cast("list[object]", value)
        for item in list(items)[:8]:
            yield from _deep(item, depth + 1)


def _number(value: object) -> int | None:
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{3}", value) else None


def _wait_in_words(said: Said) -> float | None:
    """OpenAI and Azure say it in the sentence when the header is missing."""
    found = _WAIT.search(said.sentence)
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2].startswith("m") else 1)


def _seconds(value: str | None) -> float | None:
    return float(value) if value and re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,6})?\s*", value) else None
