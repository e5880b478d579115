"""Mapping of the provider's error responses to this package's errors. No Django.

The provider's `error` is sometimes a code and sometimes a sentence, and might one day quote what we sent: only words known
here get into our errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from django_eprospera.errors import (
    ApiError,
    ClientRejected,
    InvalidGrant,
    MalformedAnswer,
    NotFound,
    ProviderUnavailable,
    ScopeMissing,
    TokenRejected,
)

if TYPE_CHECKING:
    from django_eprospera.provider.http import Answer

__all__ = ["grant_refusal", "resource_refusal"]

E = TypeVar("E", bound=ApiError)
_KNOWN: Final = frozenset(
    {
        "access_denied",
        "insufficient_scope",
        "internal_server_error",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "invalid_token",
        "missing_parameters",
        "missing_scopes",
        "missing_token",
        "server_error",
        "slow_down",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_token_type",
        "user_not_found",
    }
)
_PASSING: Final = frozenset({"internal_server_error", "server_error", "slow_down", "temporarily_unavailable"})


def resource_refusal(answer: Answer) -> ApiError:
    """Return the error for an answer of `me/…` or userinfo that is not 200 (docs/provider.md#errors, in its order)."""
    code = _code(answer)
    unavailable = _unavailable(answer, code)
    if unavailable is not None:
        return unavailable
    if answer.status < 400:
        return answer.malformed("unexpected_status")
    if answer.status == 401 and code in {"missing_scopes", "insufficient_scope"}:
        return _error(ScopeMissing, answer, code, "The person has to consent to the scope.")
    if not _is_the_providers(answer):
        # The page of a gateway: it must not end what the person shared.
        return answer.malformed("not_json")
    if answer.status == 401:
        return _error(TokenRejected, answer, code)
    if answer.status == 403:
        return _error(ScopeMissing, answer, code, "The person has to consent to the scope.")
    if answer.status == 404:
        return _error(NotFound, answer, code if code in _KNOWN else "not_found")
    return _error(ClientRejected, answer, code)


def grant_refusal(answer: Answer) -> ApiError:
    """Return the error for an answer of the token or revocation endpoint that is not 200 (RFC 6749 section 5.2)."""
    code = _code(answer)
    # First: a 429 has the code `invalid_request` (docs/provider.md#revoke-and-introspect).
    unavailable = _unavailable(answer, code)
    if unavailable is not None:
        return unavailable
    if answer.status < 400:
        return answer.malformed("unexpected_status")
    if code == "invalid_grant":
        return _error(InvalidGrant, answer, code)
    if code not in _KNOWN and answer.status != 401:
        return answer.malformed("not_an_oauth_error")
    return _error(ClientRejected, answer, code, "Check client ID, client secret and the scopes of the client.")


def _unavailable(answer: Answer, code: str) -> ProviderUnavailable | None:
    if answer.status == 429 or answer.status >= 500:
        word = "rate_limited" if answer.status == 429 else code
    elif code in _PASSING and answer.status >= 400:
        word = code
    else:
        return None
    return _error(ProviderUnavailable, answer, word)


def _is_the_providers(answer: Answer) -> bool:
    """Return whether a refusal is the provider's own: it has its envelope, or a challenge (RFC 6750 section 3)."""
    if isinstance(_envelope(answer).get("error"), (str, dict)):
        return True
    return answer.status in {401, 403} and answer.headers.get("WWW-Authenticate", "").lower().startswith("bearer")


def _envelope(answer: Answer) -> dict[str, Any]:
    try:
        value = answer.json()
    except MalformedAnswer:
        return {}
    return value if isinstance(value, dict) else {}


def _code(answer: Answer) -> str:
    envelope = _envelope(answer)
    error = envelope.get("error")
    inner = error.get("code") if isinstance(error, dict) else error
    for word in (inner, envelope.get("code")):
        if isinstance(word, str):
            known = word.partition(":")[0].strip()  # `missing_scopes: <scope>`
            if known in _KNOWN:
                return known
    return f"http_{answer.status}"


def _error(kind: type[E], answer: Answer, code: str, advice: str = "") -> E:
    return kind(
        answer.method,
        answer.path,
        code,
        status=answer.status,
        request_id=answer.request_id,
        retry_after=answer.retry_after,
        advice=advice,
    )
