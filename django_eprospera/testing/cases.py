"""The kit for unittest."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.test import override_settings

from django_eprospera.testing.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable

    # The mixin is used with a TestCase.
    from django.test import SimpleTestCase as _Case

    from django_eprospera.testing.clock import Clock
    from django_eprospera.testing.kit import Kit
    from django_eprospera.testing.sandbox import Sandbox
else:
    _Case = object

__all__ = ["EprosperaTestMixin"]


class EprosperaTestMixin(_Case):
    """The kit of docs/testing.md for `TestCase`, `TransactionTestCase` and `LiveServerTestCase`; it stands before them.

    A test of the class that would reach a provider on another machine fails.
    """

    def setUp(self) -> None:
        """Guard the test."""
        super().setUp()
        was_watching = guard.watching
        guard.start()
        # Last in, first out: the check comes after the test and before a runner's own guard goes on.
        if not was_watching:
            self.addCleanup(guard.stop)
        self.addCleanup(guard.check)

    @cached_property
    def _eprospera_kit(self) -> Kit:
        from django_eprospera.testing.kit import Kit  # its models need a Django that is set up

        kit = Kit(self._eprospera_change, getattr(self, "live_server_url", ""))
        self.addCleanup(kit.close)
        return kit

    def _eprospera_change(self, **values: Any) -> None:
        override = override_settings(**values)
        override.enable()
        self.addCleanup(override.disable)

    @property
    def eprospera_sandbox(self) -> Sandbox:
        """The sandbox of this process, reset, as the provider of the settings."""
        return self._eprospera_kit.sandbox

    @property
    def eprospera_login(self) -> Callable[..., Any]:
        """`self.eprospera_login(self.client, "lucia", companies=["kites"])` signs in and returns the user."""
        return self._eprospera_kit.login

    @property
    def eprospera_user(self) -> Callable[..., Any]:
        """`self.eprospera_user(residency="Resident", kyc="approved")` returns a user without any network."""
        return self._eprospera_kit.user

    @property
    def eprospera_faults(self) -> Callable[..., Any]:
        """`self.eprospera_faults("/api/v1/me/*", status=503)` makes the sandbox fail."""
        return self._eprospera_kit.sandbox.fault

    @property
    def eprospera_clock(self) -> Clock:
        """The clock of the site and the sandbox."""
        return self._eprospera_kit.clock
