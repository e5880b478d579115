"""`manage.py eprospera_sandbox …`: starts the sandbox as a process of its own, with its own settings and database."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Command"]


class Command(BaseCommand):
    """Takes the same arguments as `eprospera-sandbox`."""

    help = "Starts a local stand-in for the e-Próspera provider. Takes the arguments of eprospera-sandbox (see --help there)."
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Passes every argument on as it is; Django's own options mean nothing to the sandbox."""
        sys.exit(self._run(argv[2:]))

    def handle(self, *args: Any, **_options: Any) -> None:
        """For `call_command("eprospera_sandbox", "--port", "8001")`."""
        if code := self._run([str(argument) for argument in args]):
            sys.exit(code)

    def _run(self, arguments: list[str]) -> int:
        child = subprocess.Popen([sys.executable, "-m", "django_eprospera.sandbox", *arguments])  # noqa: S603 - our own module

        def pass_on(number: int, _frame: FrameType | None) -> None:
            child.send_signal(number)

        # Ctrl-C reaches the child from the terminal; here it must only not end the parent before the child.
        before = signal.signal(signal.SIGTERM, pass_on), signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return child.wait()
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGINT, before[1])
