"""How far the clock of this host is from the provider's, measured by the answers that it gets. A wrong clock is logged.

The difference is only reported. A refresh does not depend on it, and a sign-in is refused while it is too large.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["TOLERATED", "compare", "compare_date", "parse_date", "seconds_behind"]

logger = logging.getLogger(__name__)

# Seconds. An answer takes some of them to arrive, and a `Date` header leaves out the fractions.
TOLERATED: Final = 30.0
# Seconds between two log entries of a process.
_SILENCE: Final = 3600.0

_lock = threading.Lock()
_behind: float | None = None
_logged_at = float("-inf")


def seconds_behind() -> float | None:
    """Return by how many seconds this host's clock was behind the provider's when last compared; negative when ahead."""
    return _behind


def compare_date(header: str | None) -> None:
    """Compare with the `Date` header (RFC 9110 section 6.6.1) of an answer that has just arrived, if it has one."""
    date = parse_date(header or "")
    if date is not None:
        compare(date.timestamp())


def parse_date(header: str) -> datetime | None:
    """Return the time that a header names (RFC 9110 section 5.6.7); None for anything else."""
    try:
        date = parsedate_to_datetime(header[:64])
    except (ValueError, TypeError, IndexError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def compare(moment: float) -> None:
    """Compare with a time, in unix seconds, that the provider has just named. Log a large difference, once per hour."""
    global _behind, _logged_at  # noqa: PLW0603 - one host has one clock
    behind = moment - time.time()
    with _lock:
        _behind = behind
        quiet = abs(behind) <= TOLERATED or time.monotonic() - _logged_at < _SILENCE
        if not quiet:
            _logged_at = time.monotonic()
    if not quiet:
        logger.error(
            "The clock of this host is %d seconds %s e-Próspera's. Set it (NTP): sign-ins are refused until then.",
            abs(behind),
            "behind" if behind > 0 else "ahead of",
        )
