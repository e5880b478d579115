"""The provider's signing keys, cached per process. No Django.

Keys rotate without notice, so an unknown key ID makes the set be fetched again. The number of such requests is limited, because
a forged token can name a new key ID each time.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import jwt

from django_eprospera.provider.id_token import signing_keys
from django_eprospera.provider.shared import Shared

if TYPE_CHECKING:
    from django_eprospera.provider.client import Client

__all__ = ["Keys", "forget_keys", "known_keys", "newer_keys"]

Keys = tuple[tuple[str | None, jwt.PyJWK], ...]

_LIFETIME: Final = 3600.0
# Seconds for which another thread's fetch is waited for: as long as a fetch may take.
_PATIENCE: Final = 30.0
# Fetches that unknown keys may cause in a row, and the seconds after which one more is allowed.
_BURST: Final = 5
_PAUSE: Final = 10.0


@dataclass
class _KeySet:
    """The key set of one provider. `credit` is how many unknown keys may still cause a fetch."""

    keys: Shared[Keys] = field(default_factory=lambda: Shared(_LIFETIME))
    credit: float = float(_BURST)
    credited_at: float = field(default_factory=time.monotonic)


_lock = threading.Lock()
_sets: dict[
    tuple[int, str], _KeySet
] = {}  # by process (a forked child must not wait for a fetch of its parent's) and URL


def known_keys(client: Client) -> Keys:
    """Return the provider's signing keys, at most an hour old. Raises ProviderUnavailable."""
    return _set_of(client).keys.get(lambda: signing_keys(client.jwks()), patience=_PATIENCE)


def newer_keys(client: Client, than: Keys) -> Keys:
    """Return the key set as it is now, for a token under a key that is not in `than`; empty when asked for too often.

    Raises ProviderUnavailable.
    """
    kept = _set_of(client)
    with _lock:
        if kept.keys.value is not None and kept.keys.value is not than:
            return kept.keys.value  # another thread has just fetched it
        now = time.monotonic()
        kept.credit = min(kept.credit + (now - kept.credited_at) / _PAUSE, _BURST)
        kept.credited_at = now
        if kept.credit < 1:
            return ()
        kept.credit -= 1
    return kept.keys.get(lambda: signing_keys(client.jwks()), patience=_PATIENCE, than=than)


def forget_keys() -> None:
    """Fetch the keys again at the next sign-in: for tests, and after a key was compromised."""
    with _lock:
        _sets.clear()


def _set_of(client: Client) -> _KeySet:
    with _lock:
        return _sets.setdefault((os.getpid(), client.base_url), _KeySet())
