"""What does a running sandbox keep in memory? Its switches, its counters, and the lock around its writes.

One process serves all requests, so plain objects behind a lock are enough. Knows no models.
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

# SQLite lets one writer in at a time and makes the others poll; queueing in the process is faster and fair.
write_lock = threading.Lock()

_lock = threading.Lock()
_counters: Counter[str] = Counter()
_switches: list[Switches] = []


def options() -> Options:
    """What the sandbox was started with."""
    given: Options = settings.SANDBOX  # type: ignore[misc]  # a setting of the sandbox only
    return given


def switches() -> Switches:
    """The habits in force now."""
    return _switches[0] if _switches else options().switches


def access_token_seconds(_request: Any = None) -> int:
    """Lifetime of an access token issued now. oauthlib asks for it at each token request."""
    return switches().access_token_seconds


def change_switches(changes: dict[str, Any] | None) -> None:
    """Sets some switches, or with None all back to what the command line said. Raises ValueError for nonsense."""
    _switches[:] = [] if changes is None else [changed(switches(), changes)]


def count(what: str) -> None:
    """Adds one to a counter."""
    with _lock:
        _counters[what] += 1


def counters() -> dict[str, int]:
    """A copy of all counters, by name."""
    with _lock:
        return dict(sorted(_counters.items()))


def reset_counters() -> None:
    """Starts all counters again at nothing."""
    with _lock:
        _counters.clear()
