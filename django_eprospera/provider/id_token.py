"""Is an ID token genuine, and was it made for us, now? (OpenID Connect Core 1.0 section 3.1.3.7) No models, no network.

The signature is checked by PyJWT, the claims here: a claim of a wrong type, a number that is not one, or a time beyond what
a clock may differ is a refusal with a reason, never an exception of another kind.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import jwt

from django_eprospera.errors import SignInRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["IdToken", "UnknownKey", "matches", "signing_keys", "verify"]

_ALGORITHM: Final = "RS256"  # the only one that the provider promises (docs/provider.md#discovery)
_LEAST_KEY_BITS: Final = 2048
_MOST_KEYS: Final = 20
_LATEST: Final = 253_402_300_799  # the last second of the year 9999
_STAGE: Final = "id_token"


class UnknownKey(Exception):
    """The token names a key that is not among those known: the provider may have rotated its keys."""


@dataclass(frozen=True, slots=True)
class IdToken:
    """What a verified ID token says. Times are unix seconds; `auth_time` is None when the provider did not say."""

    issuer: str
    sub: str = field(repr=False)
    issued_at: float
    auth_time: float | None


def signing_keys(items: Sequence[Mapping[str, Any]]) -> tuple[tuple[str | None, jwt.PyJWK], ...]:
    """The keys of a key set (RFC 7517) that may have signed an ID token, with their `kid`. The others are left out.

    A key is bound to RS256 here, whatever it or a token says of itself.
    """
    found: list[tuple[str | None, jwt.PyJWK]] = []
    for item in items[:_MOST_KEYS]:
        kid, uses = item.get("kid"), item.get("key_ops", ["verify"])
        if item.get("kty") != "RSA" or item.get("use", "sig") != "sig" or item.get("alg", _ALGORITHM) != _ALGORITHM:
            continue
        if not isinstance(uses, list) or "verify" not in uses or not (kid is None or isinstance(kid, str)):
            continue
        try:
            key = jwt.PyJWK({"kty": "RSA", "n": item["n"], "e": item["e"]}, _ALGORITHM)
            if key.key.key_size >= _LEAST_KEY_BITS:
                found.append((kid, key))
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, AttributeError, OverflowError):
            continue
    return tuple(found)


def verify(
    token: str,
    keys: Sequence[tuple[str | None, jwt.PyJWK]],
    *,
    issuer: str,
    client_id: str,
    access_token: str,
    now: float,
    skew: float,
    max_age: float,
) -> tuple[IdToken, Mapping[str, Any]]:
    """Verify signature, `iss`, `aud`, `azp`, `sub`, `exp`, `iat`, `nbf` and `at_hash`.

    `skew` is how many seconds the provider's clock may differ from ours, `max_age` how many seconds ago the token may have
    been issued. Returns what it says, and all claims for what the caller has to compare itself (`nonce`). Raises
    SignInRefused, and UnknownKey when the key set has to be fetched again.
    """
    claims = _claims(token, keys)
    if not matches(claims.get("iss"), issuer):
        raise SignInRefused("iss", _STAGE)
    _check_audience(claims, client_id)
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= 255 or not (sub.isascii() and sub.isprintable()):
        raise SignInRefused("sub", _STAGE)
    issued_at = _check_times(claims, now=now, skew=skew, max_age=max_age)
    if "at_hash" in claims and not matches(claims["at_hash"], _at_hash(access_token)):
        raise SignInRefused("at_hash", _STAGE)
    auth_time = None if claims.get("auth_time") is None else _moment(claims, "auth_time")
    if auth_time is not None and auth_time > now + skew:
        raise SignInRefused("auth_time", _STAGE)
    return IdToken(issuer, sub, issued_at, auth_time), claims


def matches(claim: object, expected: str) -> bool:
    """Whether a claim is this text, in constant time. False for everything that is not text, and for empty text."""
    return (
        isinstance(claim, str)
        and bool(expected)
        and hmac.compare_digest(claim.encode(errors="replace"), expected.encode())
    )


def _claims(token: str, keys: Sequence[tuple[str | None, jwt.PyJWK]]) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise SignInRefused("not_a_jwt", _STAGE) from None
    if header.get("alg") != _ALGORITHM:
        raise SignInRefused("alg", _STAGE)
    if "crit" in header or "b64" in header:
        raise SignInRefused("crit", _STAGE)
    kid = header.get("kid")
    # Without a kid every key is tried: there are few, and each proves the same.
    candidates = [key for name, key in keys if kid is None or name == kid]
    if not candidates:
        raise UnknownKey
    for key in candidates:
        try:
            payload = jwt.PyJWS().decode(token, key, algorithms=[_ALGORITHM])
        except jwt.PyJWTError:
            continue
        return _read(payload)
    if kid is None:
        raise UnknownKey  # perhaps a new key, which has no name either
    raise SignInRefused("signature", _STAGE)


def _read(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise SignInRefused("not_claims", _STAGE)
    return claims


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(matches(name, client_id) for name in named):
        raise SignInRefused("aud", _STAGE)
    # We trust no other client: a token for several has to say that it was issued to us.
    if (len(named) > 1 and "azp" not in claims) or ("azp" in claims and not matches(claims["azp"], client_id)):
        raise SignInRefused("azp", _STAGE)


def _check_times(claims: Mapping[str, Any], *, now: float, skew: float, max_age: float) -> float:
    if _moment(claims, "exp") <= now - skew:
        raise SignInRefused("exp", _STAGE)
    issued_at = _moment(claims, "iat")
    if issued_at > now + skew:
        raise SignInRefused("iat_future", _STAGE)
    if issued_at < now - max_age - skew:
        raise SignInRefused("iat_past", _STAGE)
    if "nbf" in claims and _moment(claims, "nbf") > now + skew:
        raise SignInRefused("nbf", _STAGE)
    return issued_at


def _moment(claims: Mapping[str, Any], name: str) -> float:
    """A NumericDate (RFC 7519 section 2): a number, of seconds. True, "1" and infinity are none."""
    value = claims.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LATEST:  # which NaN is not
        return float(value)
    raise SignInRefused(name, _STAGE)


def _at_hash(access_token: str) -> str:
    digest = hashlib.sha256(access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")
