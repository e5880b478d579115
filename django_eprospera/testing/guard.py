"""Guard that stops requests of `django_eprospera.provider` to other machines, and fails the test that caused them."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from django_eprospera.provider import http
from django_eprospera.provider.transport import Exchange
from django_eprospera.testing.errors import ProviderReached

__all__ = ["guard"]

_MESSAGE: Final = (
    "The test would have sent a request to {hosts}, which is not this machine. It was stopped. Use eprospera_sandbox or "
    "eprospera_login for a provider on this machine, or eprospera_user for a user that needs none (docs/testing.md). A pytest "
    "test that is meant to reach the provider has the marker eprospera_provider."
)


class _Guard:
    """While it is `watching`, no request leaves this machine. It covers all threads of this process."""

    error = ProviderReached

    def __init__(self) -> None:
        self.watching = False
        self._stopped: list[str] = []

    def start(self) -> None:
        """Watch from now on, and forget what was stopped before."""
        http.Exchange = self._open  # type: ignore[assignment,attr-defined]  # each request of the package begins there
        self.watching = True
        self.forget()

    def stop(self) -> None:
        """Let every request pass again."""
        self.watching = False

    def forget(self) -> None:
        """Forget what was stopped."""
        self._stopped.clear()

    def check(self) -> None:
        """Raise ProviderReached if a request was stopped since the last call: the code under test may have caught the error."""
        hosts, self._stopped = self._stopped, []
        if hosts:
            raise ProviderReached(_MESSAGE.format(hosts=", ".join(sorted(set(hosts)))))

    def _open(self, url: str, *args: Any, **more: Any) -> Exchange:
        host = urlsplit(url).hostname or "an unknown host"
        if self.watching and not http.is_loopback(host):
            self._stopped.append(host)
            raise ProviderReached(_MESSAGE.format(hosts=host))
        return Exchange(url, *args, **more)


guard: Final = _Guard()
