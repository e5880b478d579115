"""ID token verification (OpenID Connect Core 1.0 section 3.1.3.7). No models, no network.

PyJWT checks the signature, `iss`, `aud`, `exp`, `nbf` and `iat`. The rules that it lacks are here: the form of `sub` and of
dates, the age of `iat`, `azp`, `at_hash`, `auth_time`. Whatever a token holds, it is accepted or refused with a reason.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
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
_REQUIRED: Final = ("iss", "aud", "sub", "exp", "iat")


class UnknownKey(Exception):
    """The token names a key that is not in the key set: the provider may have rotated its keys."""


@dataclass(frozen=True, slots=True)
class IdToken:
    """Claims of a verified ID token. Times are Unix seconds; `auth_time` is None when the token has none."""

    issuer: str
    sub: str = field(repr=False)
    issued_at: float
    auth_time: float | None


def signing_keys(items: Sequence[Mapping[str, Any]]) -> tuple[tuple[str | None, jwt.PyJWK], ...]:
    """Return the keys of a key set (RFC 7517) that can sign ID tokens, with their `kid`; other keys are left out.

    A key is bound to RS256, whatever algorithm it or a token names.
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

    `now` is when the token arrived, `skew` how many seconds the provider's clock may differ from ours, `max_age` how many
    seconds before `now` the token may have been issued. Returns the IdToken, and all claims for what the caller has to
    compare itself (`nonce`). Raises SignInRefused, and UnknownKey when the key set has to be fetched again.
    """
    # PyJWT compares with the time of its call. For a token that arrived earlier and is verified only now, the leeway grows
    # by its age, so that `exp` is compared as of its arrival; `iat`, which then has too much room, is compared below as well.
    leeway = skew + max(time.time() - now, 0)
    claims = _claims(token, keys, issuer=issuer, audience=client_id, leeway=leeway)
    _check_azp(claims, client_id)
    sub = claims["sub"]
    if not isinstance(sub, str) or not 0 < len(sub) <= 255 or not (sub.isascii() and sub.isprintable()):
        raise SignInRefused("sub", _STAGE)
    moments = {name: _moment(claims, name) for name in ("exp", "iat", "nbf") if name in claims}
    if moments["iat"] > now + skew:
        raise SignInRefused("iat_future", _STAGE)
    if moments["iat"] < now - max_age - skew:
        raise SignInRefused("iat_past", _STAGE)
    if "at_hash" in claims and not matches(claims["at_hash"], _at_hash(access_token)):
        raise SignInRefused("at_hash", _STAGE)
    auth_time = None if claims.get("auth_time") is None else _moment(claims, "auth_time")
    if auth_time is not None and auth_time > now + skew:
        raise SignInRefused("auth_time", _STAGE)
    return IdToken(issuer, sub, moments["iat"], auth_time), claims


def matches(claim: object, expected: str) -> bool:
    """Return whether a claim is this text, compared in constant time. False for other types and for empty text."""
    return (
        isinstance(claim, str)
        and bool(expected)
        and hmac.compare_digest(claim.encode(errors="replace"), expected.encode())
    )


def _claims(token: str, keys: Sequence[tuple[str | None, jwt.PyJWK]], **expected: Any) -> dict[str, Any]:
    """Claims of a token that one of `keys` signed, and whose `iss`, `aud` and times PyJWT accepts."""
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
    options: Any = {"require": _REQUIRED, "verify_sub": False, "verify_jti": False}
    for key in candidates:
        try:
            return jwt.decode(token, key, algorithms=[_ALGORITHM], options=options, **expected)
        except jwt.InvalidSignatureError:
            continue
        except jwt.PyJWTError as error:
            reason = _reason(error)
        raise SignInRefused(reason, _STAGE)  # not from PyJWT's error, which may quote claims
    if kid is None:
        raise UnknownKey  # perhaps a new key, which has no name either
    raise SignInRefused("signature", _STAGE)


def _reason(error: jwt.PyJWTError) -> str:
    """Our word for an error of PyJWT about claims. It tells its errors about dates apart in the text alone."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return str(error.claim)
    if isinstance(error, jwt.InvalidIssuerError):
        return "iss"
    if isinstance(error, jwt.InvalidAudienceError):
        return "aud"
    if isinstance(error, jwt.ExpiredSignatureError):
        return "exp"
    date = re.search(r"\((exp|iat|nbf)\)", str(error))
    if date is None:
        return "not_claims"
    return "iat_future" if date[1] == "iat" and isinstance(error, jwt.ImmatureSignatureError) else date[1]


def _check_azp(claims: Mapping[str, Any], client_id: str) -> None:
    # We trust no other client: a token for several has to say that it was issued to us.
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several and "azp" not in claims) or ("azp" in claims and not matches(claims["azp"], client_id)):
        raise SignInRefused("azp", _STAGE)


def _moment(claims: Mapping[str, Any], name: str) -> float:
    """A NumericDate (RFC 7519 section 2): a number of seconds. PyJWT also takes True, "1" and dates beyond every calendar."""
    value = claims.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LATEST:  # which NaN is not
        return float(value)
    raise SignInRefused(name, _STAGE)


def _at_hash(access_token: str) -> str:
    digest = hashlib.sha256(access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")
