"""Clock of the sandbox, ahead of the machine's or behind it. It moves everything that this process asks for the time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

if TYPE_CHECKING:
    import time_machine

__all__ = ["Clock"]


class Clock:
    """A clock that goes on from where it is set."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._travel: time_machine.travel | None = None

    def set(self, ahead: float) -> None:
        """Set it so many seconds ahead of the machine's clock. Raises ValueError if time-machine is not installed."""
        if ahead == self.ahead:
            return
        try:
            import time_machine  # an extra of its own: few need it
        except ImportError:
            raise ValueError("The clock needs time-machine: install django-eprospera[testing].") from None
        if self._travel is not None:
            self._travel.stop()
            self._travel = None
        self.ahead = ahead
        if ahead:
            self._travel = time_machine.travel(timezone.now() + timedelta(seconds=ahead), tick=True)
            self._travel.start()
