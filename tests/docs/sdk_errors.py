"""The page of errors for plugin authors: what the SDK says of each, and what Folkmoot does with it."""

from __future__ import annotations

import inspect

from folkmoot_sdk import errors
from folkmoot_sdk.errors import PluginError, ProviderError

from folkmoot.gateway.errors import of_provider
from tests.docs.sdk_reference import fields_of, row, things_of

DOES = {
    "PluginError": "As for the family that it belongs to.",
    "ProviderError": "Tells the person. No other model is asked.",
    "AuthenticationFailed": "Asks the next model of the route; leaves the connection alone for half a minute. "
    "Administrators see why, clients of `/v1` only that an administrator must act.",
    "ModelNotFound": "Asks the next model of the route.",
    "InvalidRequest": "Tells the person. No other model is asked, for it would be asked in vain.",
    "ContextTooLong": "Asks those of the next models whose context window is longer.",
    "ContentRefused": "Tells the person. What one provider refuses to say, another is not asked to.",
    "QuotaExhausted": "As for `AuthenticationFailed`.",
    "RateLimited": "Asks again after `retry_after`, waiting at most 2 s where another model can answer and 30 s where "
    "none can, then asks the next model. A connection that asks for more than 2 s is left alone by all until then.",
    "Unavailable": "Asks again after about half a second: once where another model can answer, twice where none can. "
    "Then asks the next model. Several in a row, and the connection is left alone for some seconds.",
    "BadResponse": "As for `Unavailable`.",
    "ParserError": "The document is failed with this code and the message, which is shown to people.",
    "UnsupportedFile": "As for `ParserError`.",
    "EncryptedFile": "As for `ParserError`.",
    "CorruptFile": "As for `ParserError`.",
    "TooLarge": "As for `ParserError`.",
    "ParserUnavailable": "The document is read again some times, the pause doubling, and is failed then.",
    "AuthError": "Lets nobody in: `login-failed`.",
    "InvalidCredentials": "Lets nobody in, and counts the guess. The same words for a wrong name and a wrong password.",
    "AccountNotAllowed": "Lets nobody in; the message is shown.",
    "LoginExpired": "Lets nobody in, and says to start again.",
    "BackendUnavailable": "Says that it cannot be asked now. Those who are signed in stay so.",
}
"""What Folkmoot does when a plugin raises this."""


def errors_page(how: str) -> str:
    tree = inspect.getdoc(errors).partition("\n\n")[2].partition("\n\n`code`")[0]
    families = [
        f"## {title}\n\n{words}\n\n{_table(family)}"
        for title, words, family in (
            ("Of providers", PROVIDERS, ProviderError),
            ("Of parsers", "Raised while a file is read.", errors.ParserError),
            ("Of sign-in backends", "Raised while somebody signs in.", errors.AuthError),
        )
    ]
    fields = [field for each in ("ProviderError", "RateLimited") for field in fields_of(things_of(errors)[each].node)]
    extras = "\n".join(f"- `{name}`: {note}" for name, _, _, note in fields if note)
    return f"""\
# Errors of plugins
{how}
A plugin raises what went wrong from this tree, and nothing else. `code` is stable and may be stored; `retryable` tells
the host whether the same call may succeed later. A message names the thing, the fact and the way out, and never
contains a secret. What a plugin raises beside them is its own mistake: it is logged, and people read that something
went wrong.

```text
{inspect.cleandoc(tree)}
```

{(chr(10) * 2).join(families)}

## What they carry

{extras}

All of them are in `folkmoot_sdk`. A configuration that does not fit its Struct is `ConfigError`, which the host raises
by itself.
"""


PROVIDERS = """\
The *route* of a call is the model that was asked for and those that may answer in its place, none of which the text's
class forbids. Nothing is tried again and no other model is asked once the first event came: the answer so far is kept
and the error told. The last column is the status that a client of `/v1` gets."""


def family_of(kind: type[PluginError]) -> list[type[PluginError]]:
    """`kind` and all below it that the SDK itself defines, in the order of the tree."""
    below = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(deeper for child in below for deeper in family_of(child))]


def _table(family: type[PluginError]) -> str:
    provider = family is ProviderError
    head = ["error", "code", "retryable", "means", "what Folkmoot does", *(["`/v1`"] if provider else [])]
    rows = [
        row(
            f"`{kind.__name__}`",
            f"`{kind.code}`",
            "yes" if kind.retryable else "no",
            inspect.cleandoc(kind.__doc__ or ""),
            DOES[kind.__name__],
            *([str(of_provider(kind("")).status)] if provider else []),
        )
        for kind in family_of(family)
    ]
    return "\n".join((row(*head), row(*("---" for _ in head)), *rows))
