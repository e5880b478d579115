"""python-social-auth's association of a user with a person (`UserSocialAuth`): its `uid`, and how it came about."""

from __future__ import annotations

import hashlib
from typing import Any, Final

__all__ = ["is_proven", "mark_proven", "uid_of"]

# Length of the column `uid` of python-social-auth.
_LONGEST: Final = 255
_PROOF: Final = "proof"


def uid_of(issuer: str, sub: str) -> str:
    """Return the association's `uid`, so that the same `sub` at another issuer is another person.

    An issuer is an origin and contains no space. What does not fit into the column is replaced by its SHA-256.
    """
    uid = f"{issuer} {sub}"
    return uid if len(uid) <= _LONGEST else f"sha256 {hashlib.sha256(uid.encode()).hexdigest()}"


def mark_proven(association: Any, proof: str) -> None:
    """Store how it was proven that identity and account belong to one person: `sign_up` or `recent_authentication`."""
    association.extra_data = {**association.extra_data, _PROOF: proof}
    association.save(update_fields=["extra_data"])


def is_proven(association: Any) -> bool:
    """Return whether the account was made by this identity, or its user had just authenticated when it was linked."""
    return bool(association.extra_data.get(_PROOF))
