"""What would a provider say that is broken or hostile? Changes laid over tokens and answers, for tests of a client's suspicion.

Kept in memory until cleared. A null takes a member away. Knows no models.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from django_eprospera.sandbox.keys import KeyRing

__all__ = ["KEYS", "active", "clear", "laid_over", "set_changes", "signed_id_token"]

# Who signs a tampered ID token: us, a key nobody published, nobody, or an HMAC keyed with our public key.
KEYS = ("own", "foreign", "none", "public")
_PARTS = {"id_token", "userinfo", "discovery", "token"}

_changes: dict[str, Any] = {}


def active() -> dict[str, Any]:
    """The changes in force."""
    return dict(_changes)


def clear() -> None:
    """Tells the truth again."""
    _changes.clear()


def set_changes(given: dict[str, Any]) -> None:
    """Replaces the changes in force. Raises ValueError for an unknown part."""
    if unknown := set(given) - _PARTS:
        raise ValueError(f"Cannot tamper with {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_PARTS))}.")
    if unknown := set(given.get("id_token", {})) - {"claims", "header", "key"}:
        raise ValueError(f"id_token has no {', '.join(sorted(unknown))}. Known: claims, header, key.")
    if given.get("id_token", {}).get("key", "own") not in KEYS:
        raise ValueError(f"key must be one of {', '.join(KEYS)}.")
    _changes.clear()
    _changes.update(given)


def _merged(truth: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (truth | changes).items() if value is not None or name not in changes}


def laid_over(part: str, truth: dict[str, Any]) -> dict[str, Any]:
    """An answer with the changes for its part."""
    return _merged(truth, _changes[part]) if part in _changes else truth


@functools.cache
def _foreign_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed_id_token(ring: KeyRing, claims: dict[str, Any]) -> str:
    """The ID token: as it should be, or as it was tampered with."""
    changes = _changes.get("id_token")
    if changes is None:
        return ring.sign(claims)
    claims = _merged(claims, changes.get("claims", {}))
    key, own = changes.get("key", "own"), ring.newest
    header = {"typ": "JWT", "kid": own.kid, "alg": {"none": "none", "public": "HS256"}.get(key, "RS256")}
    header = _merged(header, changes.get("header", {}))
    if key in ("own", "foreign"):
        # By hand for the header's sake: PyJWT would insist on a kid that is text and on its own alg.
        private = own.private if key == "own" else _foreign_key()
        return _compact(header, claims, lambda message: jwt.get_algorithm_by_name("RS256").sign(message, private))
    if key == "none":
        return _compact(header, claims, lambda _message: b"")
    public = own.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _compact(header, claims, lambda message: hmac.new(public, message, hashlib.sha256).digest())


def _compact(header: dict[str, Any], claims: dict[str, Any], sign: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    message = b".".join(parts)
    return b".".join([message, base64.urlsafe_b64encode(sign(message)).rstrip(b"=")]).decode()
