"""Counts of requests per credential for rate limits. Kept in memory. Imports no models."""

from __future__ import annotations

import threading
import time

__all__ = ["Limits"]


class Limits:
    """Fixed windows: so many requests per name and so many seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, int], tuple[float, int]] = {}

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._windows.clear()

    def wait(self, name: str, limit: int, seconds: int) -> int:
        """Count a request. Return 0 if it is within the limit, otherwise the seconds until the window ends, at least one."""
        with self._lock:
            now = time.monotonic()
            started, number = self._windows.get((name, seconds), (now, 0))
            if now - started >= seconds:
                started, number = now, 0
            self._windows[name, seconds] = (started, number + 1)
            return 0 if number < limit else max(1, int(started + seconds - now))
