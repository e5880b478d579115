"""The errors of the package, sorted by what the caller can do about them.

EprosperaError
├── ConfigurationError          a setting is missing or wrong: fix it
├── SealedValueError            a sealed value does not open: wrong key, tampering, moved to another row
├── UnsealableWrite             a sealed field was written in a way that cannot bind the value to its row
├── SealedLookupError           a sealed field was searched: use its blind index
├── ApiError                    a call to the provider failed (method, path template, status, request id)
│   ├── ProviderUnavailable     slow, down, rate limiting or sending invalid answers: try later
│   │   ├── AnswerLost          the request may have reached the provider, its answer did not reach us
│   │   └── MalformedAnswer     an answer that is not what the provider promises (docs/provider.md)
│   ├── TokenRejected           the access token is missing, expired or revoked: refresh once, then sign in again
│   ├── ScopeMissing            the person did not grant this: ask for consent
│   ├── NotFound                not there, not shared, or no longer represented: the provider does not tell which
│   ├── ClientRejected          the provider refuses our client ID, secret or request: fix the settings
│   └── InvalidGrant            the provider's `invalid_grant`: the code or refresh token is good for nothing
├── TokenError                  no valid access token can be handed out now
│   ├── RefreshBusy             someone else refreshes and did not finish in time: try again shortly
│   ├── RefreshRefused          nothing was spent: the database could not keep the new token safe right now
│   ├── RefreshPaused           the provider is unavailable, or its answer was lost: try later
│   └── GrantGone               the grant is over: the person has to sign in again
├── SignInRefused               a sign-in was refused: by the person, by the provider, or because it does not verify
├── OtherSubject                this user is connected as another person, or this person as another user
├── DocumentError               a file could not be fetched, or is not what it should be
├── DecisionRefused             a KYC decision cannot be taken: by this reviewer, on these facts, or without a reason
└── AuditError                  the audit chain was changed, or an entry cannot be added

No error text holds a token, a body, a URL's query or a person's data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "AnswerLost",
    "ApiError",
    "AuditError",
    "ClientRejected",
    "ConfigurationError",
    "DecisionRefused",
    "DocumentError",
    "EprosperaError",
    "GrantGone",
    "InvalidGrant",
    "MalformedAnswer",
    "NotFound",
    "OtherSubject",
    "ProviderUnavailable",
    "RefreshBusy",
    "RefreshPaused",
    "RefreshRefused",
    "ScopeMissing",
    "SealedLookupError",
    "SealedValueError",
    "SignInRefused",
    "TokenError",
    "TokenRejected",
    "UnsealableWrite",
]


class EprosperaError(Exception):
    """The root of all errors of this package."""


class ConfigurationError(EprosperaError):
    """A setting is missing or wrong; the text names it and the fix."""


class SealedValueError(EprosperaError):
    """A sealed value does not open. The text names model, field and primary key; nothing was changed."""


class UnsealableWrite(EprosperaError, TypeError):
    """A write that cannot bind the value to its row (`update()`, `bulk_update()`, an expression): use `save()`."""


class SealedLookupError(EprosperaError, TypeError):
    """A lookup on a sealed field. Equal values have different ciphertexts, so it could only match nothing."""


class ApiError(EprosperaError):
    """A call to the provider failed.

    `code` is a short stable word for logs and for the cache's "why is this stale"; `status` is the HTTP status, or None
    when no answer came; `retry_after` is the provider's own wish in seconds, if it sent one.
    """

    def __init__(
        self,
        method: str,
        path: str,
        code: str,
        *,
        status: int | None = None,
        request_id: str = "",
        retry_after: float | None = None,
        advice: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.advice = advice
        parts = [f"{method} {path}: {code}"]
        if status is not None:
            parts.append(f"HTTP {status}")
        if request_id:
            parts.append(f"request {request_id}")
        text = ", ".join(parts)
        super().__init__(f"{text}. {advice}" if advice else text)


class ProviderUnavailable(ApiError):
    """The provider is slow, down or rate limiting (timeout, failure to connect, 429, 5xx): try later."""


class AnswerLost(ProviderUnavailable):
    """The request was sent, and its answer did not arrive whole: whether it took effect is unknown."""


class MalformedAnswer(ProviderUnavailable):
    """An answer that is too large, not JSON, or not of the promised shape."""


class TokenRejected(ApiError):
    """401: the access token is missing, expired or revoked (docs/provider.md#errors)."""


class ScopeMissing(ApiError):
    """403, or the older 401 `missing_scopes`: the token lacks the scope. Do not refresh; ask for consent."""


class NotFound(ApiError):
    """404: not there, not shared, or no longer represented (docs/provider.md#consent)."""


class ClientRejected(ApiError):
    """The provider refuses our client or our request (`invalid_client`, `invalid_request`): a matter of settings."""


class InvalidGrant(ApiError):
    """`invalid_grant` (RFC 6749 section 5.2): the code or the refresh token is spent, revoked or expired."""


class TokenError(EprosperaError):
    """No valid access token can be handed out now; the subclass says what to do."""


class RefreshBusy(TokenError):
    """Someone else is refreshing this connection and did not finish within the wait: try again shortly."""


class RefreshRefused(TokenError):
    """The database could not promise to keep a rotated token, so none was asked for; the text says what to do."""


class RefreshPaused(TokenError):
    """The provider is unavailable, or its last answer was lost; `retry_at` says when it is asked again."""

    def __init__(self, message: str, retry_at: datetime) -> None:
        self.retry_at = retry_at
        super().__init__(message)


class GrantGone(TokenError):
    """The grant is over (revoked, expired, disconnected): the person has to sign in again. `cause` is a stable word."""

    def __init__(self, message: str, cause: str) -> None:
        self.cause = cause
        super().__init__(message)


class SignInRefused(EprosperaError):
    """A sign-in was refused. `reason` is a short stable word for logs and for the page that says so, `stage` is where."""

    def __init__(self, reason: str, stage: str) -> None:
        self.reason = reason
        self.stage = stage
        super().__init__(f"{stage}: {reason}")


class OtherSubject(EprosperaError):
    """A grant of another `sub` than the one that the user is connected as, or of one who is connected as another user."""


class DocumentError(EprosperaError):
    """A file could not be fetched or is not what it should be; `code` is a short stable word."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class DecisionRefused(EprosperaError):
    """A KYC decision cannot be taken; `code` is a short stable word, and the text may be shown to the reviewer."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class AuditError(EprosperaError):
    """The audit chain does not verify, or an entry was to be changed; the text names the position."""
