"""Pending sign-ins: what is kept between the redirect to e-Próspera and the callback, always sealed.

python-social-auth keeps the state in the session and, so that it serves once, in its nonce table. What else belongs to it
(nonce, PKCE verifier, where to go afterwards) is sealed here and bound to that state: the session may lie in a cookie. The
data of a sign-in that a pipeline step has paused (`Partial.data`) is sealed in python-social-auth's table.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from social_django.models import Nonce

from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import ConfigurationError, SignInRefused
from django_eprospera.keys import keyring

__all__ = [
    "LIFETIME",
    "MOST_PENDING",
    "STATE_INDEX",
    "STATE_KEY",
    "STATE_SCOPE",
    "PendingSignIn",
    "open_partial",
    "prune_states",
    "restore_partial",
    "seal_partial",
]

LIFETIME: Final = 1800  # seconds from start to callback
MOST_PENDING: Final = 5  # sign-ins of one browser
_OWNER: Final = b"sign_in.transaction:"
# python-social-auth's names for our states: in its nonce table, and in the session.
STATE_SCOPE: Final = "social_core.oauth2.eprospera"
STATE_INDEX: Final = "eprospera_oauth2_transaction_index"
STATE_KEY: Final = "eprospera_oauth2_state_"

_BACKEND: Final = "eprospera"
_SEALED: Final = "eprospera_sealed"
_PARTIAL_OWNER: Final = b"partial.data:"
# Read before the rest is decrypted; contains no personal data.
_CLEAR: Final = ("pipeline_type", "allow_external_resume")


def _random() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """One pending sign-in. `user_id` is the user who started it, `next` the URL to return to; both may be empty."""

    nonce: str = field(default_factory=_random, repr=False)
    code_verifier: str = field(default_factory=_random, repr=False)
    user_id: str = ""
    next: str = ""
    prompt: str = ""
    max_age: int | None = None
    started: int = field(default_factory=lambda: int(time.time()))

    @property
    def code_challenge(self) -> str:
        """S256 challenge of the verifier (RFC 7636 section 4.2)."""
        digest = hashlib.sha256(self.code_verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")

    def check_fresh(self, auth_time: float | None, *, skew: float) -> None:
        """Raises SignInRefused when a fresh sign-in was requested and `auth_time` does not prove one.

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
        """Return the sign-in as text that opens for `state` alone."""
        return keyring().seal(_OWNER + state.encode(), json.dumps(asdict(self)).encode())

    @classmethod
    def open(cls, state: str, sealed: Any) -> PendingSignIn:
        """Return the sign-in of `state`. Raises SignInRefused when it does not open."""
        try:
            return cls(**json.loads(keyring().open(_OWNER + state.encode(), str(sealed))))
        except (DoesNotOpen, ValueError, TypeError):
            raise SignInRefused("session_context_missing", "callback") from None


def prune_states(limit: int = 100) -> int:
    """Delete up to `limit` states of abandoned sign-ins. Returns how many."""
    abandoned = Nonce.objects.filter(server_url=STATE_SCOPE, timestamp__lt=int(time.time()) - LIFETIME)
    batch = list(abandoned.values_list("pk", flat=True)[:limit])
    return int(abandoned.filter(pk__in=batch).delete()[0]) if batch else 0


def seal_partial(instance: Any, **_: Any) -> None:
    """Receiver of `pre_save`: encrypt the data. Raises ConfigurationError without a key; then nothing is saved."""
    if instance.backend != _BACKEND or _SEALED in instance.data:
        return
    sealed = keyring().seal(_partial_owner(instance), json.dumps(instance.data).encode())
    instance._eprospera_open = instance.data  # noqa: SLF001 - our attribute on python-social-auth's instance
    instance.data = {_SEALED: sealed, **{name: instance.data[name] for name in _CLEAR if name in instance.data}}


def restore_partial(instance: Any, **_: Any) -> None:
    """Receiver of `post_save`: restore the data, because the caller goes on working with the instance."""
    if opened := instance.__dict__.pop("_eprospera_open", None):
        instance.data = opened


def open_partial(instance: Any, **_: Any) -> None:
    """Receiver of `post_init`: decrypt the data. Data that does not open is emptied, and the sign-in ends on an error page."""
    data = instance.__dict__.get("data")
    if instance.__dict__.get("backend") != _BACKEND or not isinstance(data, dict) or _SEALED not in data:
        return
    clear = {name: data[name] for name in _CLEAR if name in data}
    try:
        instance.data = json.loads(keyring().open(_partial_owner(instance), str(data[_SEALED])))
    except (DoesNotOpen, ConfigurationError, ValueError):
        instance.data = {**clear, "args": [], "kwargs": {}}


def _partial_owner(instance: Any) -> bytes:
    return _PARTIAL_OWNER + str(instance.token).encode()
