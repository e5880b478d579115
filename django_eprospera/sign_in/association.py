"""Identity of a person in python-social-auth's association (`UserSocialAuth.uid`): issuer and `sub` together."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["uid_of"]

# Length of the column `uid` of python-social-auth.
_LONGEST: Final = 255


def uid_of(issuer: str, sub: str) -> str:
    """Return the association's `uid`, so that the same `sub` at another issuer is another person.

    An issuer is an origin and contains no space. What does not fit into the column is replaced by its SHA-256.
    """
    uid = f"{issuer} {sub}"
    return uid if len(uid) <= _LONGEST else f"sha256 {hashlib.sha256(uid.encode()).hexdigest()}"
