"""Taking known secrets out of what is written down, in the forms in which they travel."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

SHORTEST = 8
"""What is shorter stands in ordinary text as well, and could not be told from it."""
_PART = 16
"""So much of a longer secret gives it away too: services like to repeat the beginning of a wrong key."""
_TELLS = re.compile(r"(?i)^(.*[_-])?(api-?key|key|token|secret|password|sig|signature)$")
_STARS = "***"


class Scrubber:
    """Knows some secrets, and finds and hides them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Raises `ValueError` for a secret of fewer than eight characters."""
        self._secrets = sorted({secret for secret in secrets if secret})
        if short := sum(len(secret) < SHORTEST for secret in self._secrets):
            raise ValueError(
                f"{short} of the secrets are shorter than {SHORTEST} characters and cannot be told from other text: "
                "hide the header or the field that they stand in"
            )
        forms = {form for secret in self._secrets for form in _forms(secret)}
        # The longest first, or the rest of one that begins like another would stay.
        self._ordered = sorted(forms, key=len, reverse=True)
        either = "|".join(re.escape(form) for form in self._ordered)
        self._text = re.compile(either) if either else None
        self._bytes = re.compile(either.encode()) if either else None

    def text(self, text: str) -> str:
        """`text` with stars in place of each secret."""
        return self._text.sub(_STARS, text) if self._text else text

    def same_length(self, data: bytes) -> bytes:
        """`data` with as many stars as each secret is long, so that what is cut into pieces can be cut as before."""
        return self._bytes.sub(lambda found: b"*" * len(found[0]), data) if self._bytes else data

    def query(self, query: str) -> str:
        """`name=value&…` with stars as the value of each name that sounds secret."""
        pairs = (pair.partition("=") for pair in query.split("&"))
        hidden = (f"{name}={_STARS}" if value and _TELLS.match(name) else f"{name}{sign}{value}"
                  for name, sign, value in pairs)  # fmt: skip
        return self.text("&".join(hidden))

    def url(self, url: str) -> str:
        """`url` as `query` has it, and without what stands before its host."""
        head, mark, query = re.sub(r"^(\w+://)[^/?#]*@", r"\1", url).partition("?")
        return f"{self.text(head)}{mark}{self.query(query)}"

    def holds(self, text: str) -> bool:
        """Whether a secret, or a good part of one, still stands in `text`, in either case."""
        low = text.lower()
        forms = (form.lower() for form in self._ordered)
        return any(form in low for form in forms) or any(
            part in low for secret in self._secrets for part in _parts(secret.lower())
        )


def _forms(secret: str) -> Iterator[str]:
    """The secret as it stands in a header, in JSON, in a URL, and in the three positions that Base64 has."""
    yield secret
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield from (quote(secret, safe=""), quote_plus(secret), secret.encode().hex())
    data = secret.encode()
    for before in range(3):
        coded = base64.b64encode(bytes(before) + data).decode()
        # Without the characters at either end that depend on the neighbours too.
        whole = coded[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        yield from (whole, whole.replace("+", "-").replace("/", "_"))


def _parts(secret: str) -> Iterator[str]:
    if len(secret) > _PART:
        yield from (secret[start : start + _PART] for start in range(len(secret) - _PART + 1))
