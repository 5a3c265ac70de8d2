"""Addresses of servers on one's own machines, and how to say that somebody else lives there."""

from __future__ import annotations

from folkmoot_sdk import BadResponse, InvalidRequest, ProviderError
from folkmoot_sdk.http import cleaned, read_address


def local_address(address: str, product: str, example: str, endings: tuple[str, ...], *, version: str = "") -> str:
    """`address` without what people paste along with it, and with `version` if it has no path of its own.

    Raises `InvalidRequest` naming the field if it is no address.
    """
    text = address.strip().rstrip("/")
    for ending in endings:
        text = text.removesuffix(ending)
    try:
        url = read_address(text)
    except InvalidRequest:
        raise InvalidRequest(
            f"{cleaned(address)!r} is not the address of a server: that of {product} looks like {example}",
            field="base_url",
        ) from None
    return str(url.copy_with(path=version) if version and url.path in ("", "/") else url)


def not_this(where: str, product: str, example: str, error: ProviderError) -> ProviderError:
    """`error` in words for somebody who may have connected the wrong kind of server, or the wrong path."""
    if error.field != "base_url" and not isinstance(error, BadResponse):
        return error
    fact = str(error).partition(": check")[0]
    return type(error)(
        f"{where} does not answer as {product} does: {fact}. Check that it is {product} that runs there, and that the "
        f"address looks like {example}",
        field="base_url",
    )
