"""In-memory state of a running sandbox: switches, counters, and the lock for database writes.

One process serves all requests, so plain objects with a lock are sufficient. Imports no models.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from django.conf import settings

from django_eprospera.sandbox.options import Options, Switches, changed

__all__ = [
    "access_token_seconds",
    "change_switches",
    "count",
    "counters",
    "options",
    "reset_counters",
    "switches",
    "write_lock",
]

# SQLite allows one writer at a time and makes the others poll; waiting for a lock is faster and fair.
write_lock = threading.Lock()

_lock = threading.Lock()
_counters: Counter[str] = Counter()
_switches: list[Switches] = []


def options() -> Options:
    """Return the options that the sandbox was started with."""
    given: Options = settings.SANDBOX  # type: ignore[misc]  # a setting of the sandbox only
    return given


def switches() -> Switches:
    """Return the current switches."""
    return _switches[0] if _switches else options().switches


def access_token_seconds(_request: Any = None) -> int:
    """Return the lifetime of a new access token. oauthlib calls this at each token request."""
    return switches().access_token_seconds


def change_switches(changes: dict[str, Any] | None) -> None:
    """Change some switches, or with None restore those of the command line. Raises ValueError for unknown names or values."""
    _switches[:] = [] if changes is None else [changed(switches(), changes)]


def count(name: str) -> None:
    """Add one to a counter."""
    with _lock:
        _counters[name] += 1


def counters() -> dict[str, int]:
    """Return all counters by name."""
    with _lock:
        return dict(sorted(_counters.items()))


def reset_counters() -> None:
    """Reset all counters to zero."""
    with _lock:
        _counters.clear()
