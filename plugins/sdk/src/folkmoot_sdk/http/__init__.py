"""Talking to a model service over HTTP: what every provider needs, whichever dialect it speaks.

    service = Service(context, config.base_url, ApiKey(config.api_key))
    async with service.open("POST", "/say", json=body, asked=Asked(model, "chat_models")) as response:
        async with aclosing(service.events(response.aiter_bytes())) as events:
            async for data in events:
                ...

Stable as the rest of the SDK is. Not imported with `folkmoot_sdk`, for it brings httpx along.
"""

from folkmoot_sdk.http.failures import (
    Asked,
    FailureRule,
    Fields,
    Meant,
    Said,
    Teller,
    cleaned,
    failure,
    inside_answer,
    read_body,
    read_error,
    retry_after,
)
from folkmoot_sdk.http.service import ApiKey, Credentials, Files, Service, drain, read_address
from folkmoot_sdk.http.sse import LINE_LIMIT, EventParser, LineParser, TooLong

__all__ = [
    "LINE_LIMIT",
    "ApiKey",
    "Asked",
    "Credentials",
    "EventParser",
    "FailureRule",
    "Fields",
    "Files",
    "LineParser",
    "Meant",
    "Said",
    "Service",
    "Teller",
    "TooLong",
    "cleaned",
    "drain",
    "failure",
    "inside_answer",
    "read_address",
    "read_body",
    "read_error",
    "retry_after",
]
