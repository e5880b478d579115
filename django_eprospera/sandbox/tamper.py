"""Changes to ID tokens and responses that imitate a broken or hostile provider, for tests of a client's checks.

Kept in memory until cleared. A null removes a member. Imports no models.
"""

from __future__ import annotations

import functools
import hmac
import json
from typing import TYPE_CHECKING, Any

import jwt
from jwcrypto.jwk import JWK

if TYPE_CHECKING:
    from django_eprospera.sandbox.keys import KeyRing

__all__ = ["KEYS", "Tampering"]

# What signs a tampered ID token: the sandbox's key, an unpublished key, nothing, or an HMAC keyed with the public key.
KEYS = ("own", "foreign", "none", "public")
_PARTS = {"id_token", "userinfo", "discovery", "token"}


def _merged(original: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (original | changes).items() if value is not None or name not in changes}


@functools.cache
def _foreign_key() -> JWK:
    return JWK.generate(kty="RSA", size=2048)


class Tampering:
    """The changes in force in one sandbox."""

    def __init__(self) -> None:
        self._changes: dict[str, Any] = {}

    def active(self) -> dict[str, Any]:
        """Return the changes in force."""
        return dict(self._changes)

    def clear(self) -> None:
        """Remove all changes."""
        self._changes = {}

    def set(self, given: dict[str, Any]) -> None:
        """Replace the changes in force. Raises ValueError for an unknown part."""
        if unknown := given.keys() - _PARTS:
            raise ValueError(f"Unknown parts: {', '.join(sorted(unknown))}. Parts: {', '.join(sorted(_PARTS))}.")
        if unknown := given.get("id_token", {}).keys() - {"claims", "header", "key"}:
            raise ValueError(
                f"Unknown members of id_token: {', '.join(sorted(unknown))}. Members: claims, header, key."
            )
        if given.get("id_token", {}).get("key", "own") not in KEYS:
            raise ValueError(f"key must be one of {', '.join(KEYS)}, not {given['id_token']['key']!r}.")
        self._changes = dict(given)

    def apply(self, part: str, original: dict[str, Any]) -> dict[str, Any]:
        """Return a response body with the changes for `part` applied."""
        changes = self._changes.get(part)
        return original if changes is None else _merged(original, changes)

    def signed_id_token(self, ring: KeyRing, claims: dict[str, Any]) -> str:
        """Return the signed ID token, with the changes in force applied."""
        changes = self._changes.get("id_token")
        if changes is None:
            return ring.sign(claims)
        claims = _merged(claims, changes.get("claims", {}))
        key, own = changes.get("key", "own"), ring.newest
        header = {"typ": "JWT", "kid": own["kid"], "alg": {"none": "none", "public": "HS256"}.get(key, "RS256")}
        header = _merged(header, changes.get("header", {}))
        # Assembled here because PyJWT insists on a kid that is a string, on its own alg, and on HMAC keys that are no PEM.
        message = b".".join(jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, claims))
        if key == "none":
            signature = b""
        elif key == "public":
            signature = hmac.digest(own.export_to_pem(), message, "sha256")
        else:
            private = (own if key == "own" else _foreign_key()).get_op_key("sign")
            signature = jwt.get_algorithm_by_name("RS256").sign(message, private)
        return b".".join([message, jwt.utils.base64url_encode(signature)]).decode()
