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
│   ├── NotFound                does not exist, is not shared, or is no longer represented: the provider does not tell which
│   ├── ClientRejected          the provider refuses our client ID, secret or request: fix the settings
│   └── InvalidGrant            the provider's `invalid_grant`: the code or refresh token is spent, revoked or expired
├── TokenError                  no valid access token can be handed out now
│   ├── RefreshBusy             another caller refreshes and did not finish in time: try again shortly
│   ├── RefreshRefused          nothing was spent: the database cannot keep the new token safe now
│   ├── RefreshPaused           the provider is unavailable, or its answer was lost: try later
│   └── GrantGone               the grant is over: the person has to sign in again
├── SignInRefused               a sign-in was refused: by the person, by the provider, or because it does not verify
├── OtherSubject                this user is connected as another person, or this person as another user
├── DocumentError               a file could not be fetched, or is not what it should be
├── DecisionRefused             a KYC decision cannot be taken: by this reviewer, on these facts, or without a reason
└── AuditError                  the audit chain was changed, or an entry cannot be added

No error message contains a token, a body, a URL's query or personal data.
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
    """Base class of all errors of this package."""


class ConfigurationError(EprosperaError):
    """A setting is missing or wrong; the message names it and how to fix it."""


class SealedValueError(EprosperaError):
    """A sealed value does not open. The message names model, field and primary key; nothing was changed."""


class UnsealableWrite(EprosperaError, TypeError):
    """A write that cannot bind the value to its row (`update()`, `bulk_update()`, an expression): use `save()`."""


class SealedLookupError(EprosperaError, TypeError):
    """A lookup on a sealed field. Equal values have different ciphertexts, so it could only match nothing."""


class ApiError(EprosperaError):
    """A call to the provider failed.

    `code` is a stable code for logs and for the reason why cached data is stale; `status` is the HTTP status, or None without
    an answer; `retry_after` is the number of seconds that the provider asks to wait, if it does.
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
    """The request was sent, and no complete answer arrived: whether it took effect is unknown."""


class MalformedAnswer(ProviderUnavailable):
    """An answer that is too large, is not JSON, or has not the promised structure."""


class TokenRejected(ApiError):
    """401: the access token is missing, expired or revoked (docs/provider.md#errors)."""


class ScopeMissing(ApiError):
    """403, or the older 401 `missing_scopes`: the token lacks the scope. Do not refresh; ask for consent."""


class NotFound(ApiError):
    """404: does not exist, is not shared, or is no longer represented (docs/provider.md#consent)."""


class ClientRejected(ApiError):
    """The provider refuses our client or our request (`invalid_client`, `invalid_request`): fix the settings."""


class InvalidGrant(ApiError):
    """`invalid_grant` (RFC 6749 section 5.2): the code or the refresh token is spent, revoked or expired."""


class TokenError(EprosperaError):
    """No valid access token is available now; the subclass says what to do."""


class RefreshBusy(TokenError):
    """Another caller refreshes this connection and did not finish within EPROSPERA_REFRESH_WAIT: try again shortly."""


class RefreshRefused(TokenError):
    """The database could not guarantee to keep a rotated token, so none was requested; the message says what to do."""


class RefreshPaused(TokenError):
    """The provider is unavailable, or its last answer was lost; `retry_at` is the time of the next attempt.

    `because` is the error of the attempt that has just failed; None if none was made.
    """

    def __init__(self, message: str, retry_at: datetime, because: ApiError | None = None) -> None:
        self.retry_at = retry_at
        self.because = because
        super().__init__(message)


class GrantGone(TokenError):
    """The grant is over (revoked, expired, disconnected): the person has to sign in again. `cause` is a stable code."""

    def __init__(self, message: str, cause: str) -> None:
        self.cause = cause
        super().__init__(message)


class SignInRefused(EprosperaError):
    """A sign-in was refused. `reason` is a stable code for the log and the error page, `stage` the step that refused it."""

    def __init__(self, reason: str, stage: str) -> None:
        self.reason = reason
        self.stage = stage
        super().__init__(f"{stage}: {reason}")


class OtherSubject(EprosperaError):
    """The user is connected as another `sub`, or the `sub` is connected with another user."""


class DocumentError(EprosperaError):
    """A file could not be fetched or is invalid; `code` is a stable code."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class DecisionRefused(EprosperaError):
    """A KYC decision cannot be taken; `code` is a stable code, and the message may be shown to the reviewer."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class AuditError(EprosperaError):
    """The audit chain does not verify, or an entry was to be changed; the message names the position."""
