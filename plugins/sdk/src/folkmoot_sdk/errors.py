"""What can go wrong in a plugin, as a tree the host acts on.

    PluginError
    ├── ProviderError
    │   ├── AuthenticationFailed   the key or token is wrong: an administrator must act
    │   ├── ModelNotFound          the provider does not offer this model
    │   ├── InvalidRequest         the request can never succeed as it is
    │   │   ├── ContextTooLong     it is longer than the model's context
    │   │   └── ContentRefused     the provider will not answer this
    │   ├── QuotaExhausted         the account has no money or quota left
    │   ├── RateLimited            too many requests; `retry_after` in seconds, where told
    │   ├── Unavailable            no connection, a time-out, or an error on the provider's side
    │   └── BadResponse            an answer that breaks the provider's own protocol
    ├── ParserError
    │   ├── UnsupportedFile        not a format this parser reads
    │   ├── EncryptedFile          needs a password, or a different one
    │   ├── CorruptFile            damaged, truncated, or not what it says it is
    │   ├── TooLarge               would take more than its limits (a bomb, or just huge)
    │   └── ParserUnavailable      something that the parser needs is missing on this machine
    └── AuthError
        ├── InvalidCredentials     wrong name or password
        ├── AccountNotAllowed      known, but may not come in
        ├── LoginExpired           the sign-in took too long or was started elsewhere
        └── BackendUnavailable     the directory or identity provider does not answer

`code` is stable and may be stored; `retryable` tells the host whether the same call may succeed later.
A message names the thing, the fact and the way out, and never contains a secret.
"""

from __future__ import annotations

from typing import ClassVar


class PluginError(Exception):
    """Any failure that a plugin reports on purpose."""

    code: ClassVar[str] = "plugin-error"
    retryable: ClassVar[bool] = False


class ProviderError(PluginError):
    """A model provider could not do what was asked."""

    code: ClassVar[str] = "provider-error"

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        """The field of the configuration that must change, as `base_url`, if it is known to be that one."""


class AuthenticationFailed(ProviderError):
    """The provider does not accept the credentials."""

    code: ClassVar[str] = "provider-authentication-failed"


class ModelNotFound(ProviderError):
    """The provider offers no model of this name."""

    code: ClassVar[str] = "model-not-found"


class InvalidRequest(ProviderError):
    """The provider refuses the request as it stands; sending it again cannot help."""

    code: ClassVar[str] = "provider-invalid-request"


class ContextTooLong(InvalidRequest):
    """The request is longer than the model's context window."""

    code: ClassVar[str] = "context-too-long"


class ContentRefused(InvalidRequest):
    """The provider's own rules forbid an answer to this."""

    code: ClassVar[str] = "content-refused"


class QuotaExhausted(ProviderError):
    """The account behind the credentials has nothing left to spend."""

    code: ClassVar[str] = "provider-quota-exhausted"


class RateLimited(ProviderError):
    """The provider asks for patience."""

    code: ClassVar[str] = "provider-rate-limited"
    retryable: ClassVar[bool] = True

    def __init__(self, message: str = "", retry_after: float | None = None, *, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after = retry_after
        """Seconds to wait, if the provider said so."""


class Unavailable(ProviderError):
    """The provider cannot be reached, timed out, or failed on its side."""

    code: ClassVar[str] = "provider-unavailable"
    retryable: ClassVar[bool] = True


class BadResponse(ProviderError):
    """The provider's answer breaks its own protocol: cut off, not JSON, an error inside a 200."""

    code: ClassVar[str] = "provider-bad-response"
    retryable: ClassVar[bool] = True


class ParserError(PluginError):
    """A file could not be read."""

    code: ClassVar[str] = "parser-error"


class UnsupportedFile(ParserError):
    """Not a format that this parser reads."""

    code: ClassVar[str] = "unsupported-file"


class EncryptedFile(ParserError):
    """The file needs a password, or the given one is wrong."""

    code: ClassVar[str] = "encrypted-file"


class CorruptFile(ParserError):
    """The file is damaged, truncated, or not what it says it is."""

    code: ClassVar[str] = "corrupt-file"


class TooLarge(ParserError):
    """Reading the file would take more memory, pages or time than allowed."""

    code: ClassVar[str] = "file-too-large"


class ParserUnavailable(ParserError):
    """Something that the parser needs is missing on this machine."""

    code: ClassVar[str] = "parser-unavailable"
    retryable: ClassVar[bool] = True


class AuthError(PluginError):
    """Signing in did not work."""

    code: ClassVar[str] = "auth-error"


class InvalidCredentials(AuthError):
    """Wrong name or password; which of them is not said."""

    code: ClassVar[str] = "invalid-credentials"


class AccountNotAllowed(AuthError):
    """The backend knows the person, and the person may not come in."""

    code: ClassVar[str] = "account-not-allowed"


class LoginExpired(AuthError):
    """The sign-in took too long, was replayed, or was started in another browser."""

    code: ClassVar[str] = "login-expired"


class BackendUnavailable(AuthError):
    """The directory or identity provider does not answer."""

    code: ClassVar[str] = "auth-backend-unavailable"
    retryable: ClassVar[bool] = True
