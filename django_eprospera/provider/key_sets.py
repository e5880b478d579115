"""The provider's signing keys, cached per process. No Django.

Keys rotate without notice, so an unknown key ID makes the set be fetched again. The number of such requests is limited, because
a forged token can name a new key ID each time.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import jwt

from django_eprospera.provider.id_token import signing_keys

if TYPE_CHECKING:
    from django_eprospera.provider.client import Client

__all__ = ["Keys", "forget_keys", "known_keys", "newer_keys"]

Keys = tuple[tuple[str | None, jwt.PyJWK], ...]

_LIFETIME: Final = 3600.0
# Fetches that unknown keys may cause in a row, and the seconds after which one more is allowed.
_BURST: Final = 5
_PAUSE: Final = 10.0


@dataclass
class _KeySet:
    """The key set of one provider. `credit` is how many unknown keys may still cause a fetch."""

    keys: Keys = ()
    fetched_at: float = float("-inf")
    credit: float = float(_BURST)
    credited_at: float = field(default_factory=time.monotonic)


_lock = threading.Lock()
_sets: dict[str, _KeySet] = {}


def known_keys(client: Client) -> Keys:
    """The provider's signing keys, at most an hour old. Raises ProviderUnavailable."""
    with _lock:
        kept = _sets.setdefault(client.base_url, _KeySet())
    if time.monotonic() - kept.fetched_at < _LIFETIME:
        return kept.keys
    return _fetch(client, kept)


def newer_keys(client: Client, than: Keys) -> Keys:
    """The key set as it is now, for a token under a key that is not in `than`; empty when asked for too often.

    Raises ProviderUnavailable.
    """
    with _lock:
        kept = _sets.setdefault(client.base_url, _KeySet())
        if kept.keys is not than:
            return kept.keys  # somebody else has just fetched it
        now = time.monotonic()
        kept.credit = min(kept.credit + (now - kept.credited_at) / _PAUSE, _BURST)
        kept.credited_at = now
        if kept.credit < 1:
            return ()
        kept.credit -= 1
    return _fetch(client, kept)


def forget_keys() -> None:
    """Fetch the keys again at the next sign-in: for tests, and after a key was compromised."""
    with _lock:
        _sets.clear()


def _fetch(client: Client, kept: _KeySet) -> Keys:
    keys = signing_keys(client.jwks())  # outside of the lock: nobody waits for somebody else's fetch
    with _lock:
        kept.keys, kept.fetched_at = keys, time.monotonic()
    return keys
