"""What is remembered of a sign-in between its begin and its return? Sealed, in the session, five at a time. No views.

python-social-auth keeps the state in the session and, so that it serves once, in its nonce table. What else belongs to it
(nonce, PKCE verifier, where to go afterwards) is sealed here and bound to that state: the session may lie in a cookie.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone
from social_django.models import Nonce, Partial

from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import SignInRefused
from django_eprospera.keys import keyring

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = ["LIFETIME", "MOST_PENDING", "Transaction", "prune_abandoned", "prune_states"]

LIFETIME: Final = 1800  # seconds from begin to return
MOST_PENDING: Final = 5  # sign-ins of one browser
_BATCH: Final = 100
_PARTIAL_LIFETIME: Final = 86_400
_OWNER: Final = b"sign_in.transaction:"
_SCOPE: Final = "social_core.oauth2.eprospera"  # python-social-auth's name for our states in its nonce table


def _random() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One pending sign-in. `user_id` is who was signed in at its begin, `next` where it leads, both possibly empty."""

    nonce: str = field(default_factory=_random, repr=False)
    code_verifier: str = field(default_factory=_random, repr=False)
    user_id: str = ""
    next: str = ""
    prompt: str = ""
    max_age: int | None = None
    started: int = field(default_factory=lambda: int(time.time()))

    @property
    def code_challenge(self) -> str:
        """The S256 challenge of the verifier (RFC 7636 section 4.2)."""
        digest = hashlib.sha256(self.code_verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")

    def check_fresh(self, auth_time: float | None, *, skew: float) -> None:
        """Raises SignInRefused when a fresh sign-in was asked for and `auth_time` does not prove one.

        OpenID Connect Core 1.0 sections 3.1.2.1 (`prompt=login`: since our begin) and 3.1.3.7 (`max_age`).
        """
        oldest = []
        if self.prompt == "login":
            oldest.append(float(self.started))
        if self.max_age is not None:
            oldest.append(time.time() - self.max_age)
        if oldest and (auth_time is None or auth_time < max(oldest) - skew):
            raise SignInRefused("not_fresh", "id_token")

    def seal(self, state: str) -> str:
        """The transaction as it lies in the session."""
        return keyring().seal(_OWNER + state.encode(), json.dumps(asdict(self)).encode())

    @classmethod
    def open(cls, state: str, sealed: Any) -> Transaction:
        """The transaction of `state`. Raises SignInRefused when it was sealed for another state or under a lost key."""
        try:
            return cls(**json.loads(keyring().open(_OWNER + state.encode(), str(sealed))))
        except (DoesNotOpen, ValueError, TypeError):
            raise SignInRefused("session_context_missing", "callback") from None


def prune_states(limit: int = _BATCH) -> int:
    """Delete up to `limit` states whose sign-in never returned. Returns how many."""
    now = int(time.time())
    return _delete(Nonce.objects.filter(server_url=_SCOPE, timestamp__lt=now - LIFETIME), limit)


def prune_abandoned() -> int:
    """Delete everything that abandoned sign-ins left in python-social-auth's tables. Returns how many rows.

    Their sessions are Django's, and go with `manage.py clearsessions`.
    """
    old = timezone.now() - timedelta(seconds=_PARTIAL_LIFETIME)
    done = 0
    while found := prune_states() + _delete(Partial.objects.filter(backend="eprospera", timestamp__lt=old), _BATCH):
        done += found
    return done


def _delete(rows: QuerySet[Any], limit: int) -> int:
    batch = list(rows.values_list("pk", flat=True)[:limit])
    return rows.filter(pk__in=batch).delete()[0] if batch else 0
