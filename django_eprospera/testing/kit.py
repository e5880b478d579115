"""The kit of one test: what the pytest fixtures and the mixin share."""

from __future__ import annotations

import atexit
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import Fernet
from django.conf import settings
from django.db import connections, router

from django_eprospera.models import AuditEntry, triggers
from django_eprospera.provider.discovery import forget_discovered
from django_eprospera.provider.key_sets import forget_keys
from django_eprospera.testing.clock import Clock
from django_eprospera.testing.sandbox import Sandbox
from django_eprospera.testing.sign_in import callback_path, sign_in
from django_eprospera.testing.users import make_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.test import Client

__all__ = ["Kit"]

# For a site whose settings read the keys from a file that its tests do not have.
_KEY: Final = Fernet.generate_key().decode()
_STORAGE: Final = "eprospera_testing"


class Kit:
    """The kit of one test, made once the test may use the database. `change` overrides settings until the end of the test."""

    def __init__(self, change: Callable[..., None], site_url: str = "") -> None:
        self._change, self._site_url = change, site_url
        self.clock = Clock(lambda: self.__dict__.get("sandbox"))  # None until it is used
        memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
        change(STORAGES={**settings.STORAGES, _STORAGE: memory}, EPROSPERA_STORAGE=_STORAGE)
        if not settings.FIELD_ENCRYPTION_KEY:
            change(FIELD_ENCRYPTION_KEY=_KEY)
        connection = connections[router.db_for_write(AuditEntry)]
        if connection.vendor == "sqlite" and not connection.in_atomic_block:
            # The test's end empties tables with DELETE, which the triggers would refuse. PostgreSQL has TRUNCATE.
            triggers.drop(connection)

    def close(self) -> None:
        """Set the clock right."""
        if self.clock.ahead:
            self.clock.reset()

    @cached_property
    def sandbox(self) -> Sandbox:
        """The sandbox of this process, as it was when it started, as the provider of the settings."""
        sandbox = _running()
        sandbox.control("reset")
        forget_discovered()
        forget_keys()
        self._change(
            EPROSPERA_BASE_URL=sandbox.url,
            SOCIAL_AUTH_EPROSPERA_KEY=sandbox.client_id,
            SOCIAL_AUTH_EPROSPERA_SECRET=sandbox.client_secret,
        )
        if self._site_url:
            sandbox.register(self._site_url + callback_path())
        if self.clock.ahead:
            sandbox.control("clock", ahead=self.clock.ahead.total_seconds())
        return sandbox

    def login(self, client: Client, persona: str = "lucia", *, companies: Iterable[str] | None = None) -> Any:
        """Sign in a persona of the sandbox and return the user, whose first sync is done. Raises SignInFailed.

        `companies` are those that the persona shares, such as `["kites"]`; None: all that the persona represents.
        """
        return sign_in(client, self.sandbox, persona, companies)

    def user(self, **described: Any) -> Any:
        """Return a connected user without a network: the arguments are those of `make_user`."""
        return make_user(**described)


_started: dict[int, Sandbox] = {}


def _running() -> Sandbox:
    """Return the sandbox of this process, started at its first use. A forked child has its own."""
    pid = os.getpid()
    sandbox = _started.get(pid)
    if sandbox is None or sandbox.process is None or sandbox.process.poll() is not None:
        sandbox = _started[pid] = Sandbox().start()
        atexit.register(_stop, pid)
    return sandbox


def _stop(pid: int) -> None:
    if pid == os.getpid():
        _started[pid].stop()
