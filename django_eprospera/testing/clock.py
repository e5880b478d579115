"""Clock of a test, for the site and the sandbox alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import time_machine
from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_eprospera.testing.sandbox import Sandbox

__all__ = ["Clock"]


class Clock:
    """The time in this process and in the sandbox. It goes on from where it is set, and is right again after the test.

    The database's own clock is not changed. It decides how long a failed refresh is not repeated (docs/testing.md#time).
    """

    def __init__(self, sandbox: Callable[[], Sandbox | None]) -> None:
        self._sandbox = sandbox
        self._travel: time_machine.travel | None = None
        self.ahead = timedelta(0)

    def move(self, by: timedelta) -> None:
        """Move the clock forward, or with a negative duration back."""
        self._set(self.ahead + by)

    def set(self, moment: datetime) -> None:
        """Set the clock to an aware datetime."""
        if timezone.is_naive(moment):
            raise ValueError(f"The clock is set to an aware datetime, with tzinfo, not to {moment!r}.")
        self._set(self.ahead + (moment - timezone.now()))

    def reset(self) -> None:
        """Set the clock right."""
        self._set(timedelta(0))

    def _set(self, ahead: timedelta) -> None:
        if self._travel is not None:
            self._travel.stop()
            self._travel = None
        self.ahead = ahead
        if ahead:
            self._travel = time_machine.travel(timezone.now() + ahead, tick=True)
            self._travel.start()
        if (sandbox := self._sandbox()) is not None:
            sandbox.control("clock", ahead=ahead.total_seconds())
