"""`manage.py eprospera_sandbox`: run the sandbox in a process of its own, with its own settings and database."""

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
    """Command that passes its arguments to `eprospera-sandbox`."""

    help = "Runs a local stand-in for e-Próspera. Takes the arguments of eprospera-sandbox (see --help there)."
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Pass all arguments on unchanged; the sandbox has none of Django's own options."""
        sys.exit(self._run(argv[2:]))

    def handle(self, *args: Any, **_options: Any) -> None:
        """Run from `call_command("eprospera_sandbox", "--port", "8001")`."""
        if code := self._run([str(argument) for argument in args]):
            sys.exit(code)

    def _run(self, arguments: list[str]) -> int:
        child = subprocess.Popen([sys.executable, "-m", "django_eprospera.sandbox", *arguments])  # noqa: S603 - our own module

        def pass_on(number: int, _frame: FrameType | None) -> None:
            child.send_signal(number)

        # The terminal sends Ctrl-C to the child too. The parent must not end before the child.
        before = signal.signal(signal.SIGTERM, pass_on), signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return child.wait()
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGINT, before[1])
