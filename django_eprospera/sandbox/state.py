"""State of a running sandbox that is not in its database: options, switches, keys, clock, counters, faults and
tampering.

One process serves all requests, so plain objects with a lock are sufficient. Imports no models.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from django.conf import settings

from django_eprospera.sandbox.clock import Clock
from django_eprospera.sandbox.faults import Faults
from django_eprospera.sandbox.limits import Limits
from django_eprospera.sandbox.options import Options, Switches, changed
from django_eprospera.sandbox.tamper import Tampering

if TYPE_CHECKING:
    from django_eprospera.sandbox.keys import KeyRing

__all__ = ["State", "access_token_seconds", "current"]


class State:
    """State of one sandbox. `reset` returns it to the start; options, keys and redirect URIs stay."""

    def __init__(self, options: Options, keys: KeyRing) -> None:
        self.options, self.keys = options, keys
        self.switches: Switches = options.switches
        self.faults, self.tampering, self.limits = Faults(), Tampering(), Limits()
        self.clock = Clock()
        self.redirect_uris = options.redirect_uris
        # SQLite allows one writer at a time and makes the others poll; waiting for a lock is faster and fair.
        self.write_lock = threading.RLock()
        self._counters: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Restore switches and clock, and forget counters, faults, tampering and requests of rate limits."""
        self.change_switches(None)
        self.reset_counters()
        self.faults.clear()
        self.tampering.clear()
        self.limits.clear()
        self.clock.set(0)

    def change_switches(self, changes: dict[str, Any] | None) -> None:
        """Change some switches, or with None restore those of the command line. Raises ValueError for unknown ones."""
        self.switches = self.options.switches if changes is None else changed(self.switches, changes)

    def count(self, name: str) -> None:
        """Add one to a counter."""
        with self._lock:
            self._counters[name] += 1

    def counters(self) -> dict[str, int]:
        """Return all counters by name."""
        with self._lock:
            return dict(sorted(self._counters.items()))

    def reset_counters(self) -> None:
        """Reset all counters to zero."""
        with self._lock:
            self._counters.clear()


def current() -> State:
    """Return the state of this sandbox."""
    state: State = settings.SANDBOX  # type: ignore[misc]  # a setting of the sandbox only
    return state


def access_token_seconds(_request: Any = None) -> int:
    """Return the lifetime of a new access token. oauthlib calls this at each token request."""
    return current().switches.access_token_seconds
