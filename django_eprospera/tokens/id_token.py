"""Is a refreshed ID token genuine, and does it speak of the same person? (OpenID Connect Core 1.0, section 12.2)"""

from __future__ import annotations

import hmac
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from django_eprospera.conf import conf

if TYPE_CHECKING:
    from django_eprospera.api import Client

__all__ = ["KeySet", "OtherPerson", "UnknownKey", "key_set", "verify"]

_TTL = 3_600.0
_lock = threading.Lock()
_cache: dict[str, tuple[float, KeySet]] = {}


class UnknownKey(Exception):
    """The token names a key that the cached key set does not hold: fetch the set once more."""


class OtherPerson(Exception):
    """The token is forged, or names another `iss`, `sub` or `aud`."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The provider's signing keys by `kid` (RFC 7517)."""

    keys: dict[str, jwt.PyJWK]


def key_set(client: Client, *, fresh: bool = False) -> KeySet:
    """Return the provider's key set, cached for an hour per process. Raises ApiError."""
    with _lock:
        cached = _cache.get(client.base_url)
    if cached and not fresh and time.monotonic() - cached[0] < _TTL:
        return cached[1]
    keys: dict[str, jwt.PyJWK] = {}
    for item in client.jwks():
        kid = item.get("kid")
        # Only RS256 is promised (contract section 3). A key of another kind is not an error, but never used.
        if isinstance(kid, str) and item.get("kty") == "RSA" and item.get("use", "sig") == "sig":
            try:
                keys[kid] = jwt.PyJWK(item, "RS256")
            except jwt.PyJWTError:
                continue
    found = KeySet(keys)
    with _lock:
        _cache[client.base_url] = (time.monotonic(), found)
    return found


def verify(id_token: str, *, keys: KeySet, issuer: str, client_id: str, sub: str, access_token: str) -> None:
    """Verify signature, `iss`, `sub`, `aud`, `azp`, `exp`, `iat` and `at_hash`. Raises UnknownKey or OtherPerson."""
    try:
        header = jwt.get_unverified_header(id_token)
        kid = header.get("kid")
        if kid is None and len(keys.keys) == 1:
            key = next(iter(keys.keys.values()))
        elif kid in keys.keys:
            key = keys.keys[kid]
        else:
            raise UnknownKey
        claims: dict[str, Any] = jwt.decode(
            id_token,
            key,
            algorithms=["RS256"],
            audience=client_id,
            issuer=issuer,
            leeway=conf.EPROSPERA_CLOCK_SKEW,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise OtherPerson(type(error).__name__) from None
    audience = claims["aud"]
    if not hmac.compare_digest(str(claims["sub"]).encode(), sub.encode()):
        raise OtherPerson("sub")
    if (isinstance(audience, list) and len(audience) > 1 and "azp" not in claims) or claims.get(
        "azp", client_id
    ) != client_id:
        raise OtherPerson("azp")
    if "at_hash" in claims and not _matches(claims["at_hash"], access_token, key):
        raise OtherPerson("at_hash")


def _matches(at_hash: Any, access_token: str, key: jwt.PyJWK) -> bool:
    digest = key.Algorithm.compute_hash_digest(access_token.encode())
    expected = jwt.utils.base64url_encode(digest[: len(digest) // 2])
    return isinstance(at_hash, str) and hmac.compare_digest(at_hash.encode(), expected)
