"""How is the provider asked for one person's data: with which token, how often, for how long? No rows are written here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from django_eprospera import tokens
from django_eprospera.errors import ProviderUnavailable, TokenRejected
from django_eprospera.provider import configured

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_eprospera.models import Connection

__all__ = ["Asker"]

T = TypeVar("T")
# Seconds for one whole sync. A person may share two hundred companies, each of which is asked for twice.
_BUDGET: Final = 300.0


class Asker:
    """The client, and the token of one connection. Lives as long as one sync.

    Raises what `tokens.access_token` raises, when it is made and when it asks.
    """

    def __init__(self, connection: Connection) -> None:
        self.client = configured.client()
        self._connection = connection
        self._token = tokens.access_token(connection)
        self._renewed = False
        self._ends = time.monotonic() + _BUDGET
        self._gave_up: ProviderUnavailable | None = None

    def ask(self, method: Callable[..., T], *arguments: object) -> T:
        """Call a method of `client` with the token; once per sync, renew the token and repeat when it is refused.

        A provider that cannot be reached, or that has used up the time, is not asked again: the same error at once.
        """
        if self._gave_up is None and time.monotonic() > self._ends:
            self._gave_up = ProviderUnavailable("GET", "/api/v1/me/", "out_of_time")
        if self._gave_up is not None:
            raise self._gave_up
        try:
            return self._ask(method, *arguments)
        except ProviderUnavailable as error:
            if error.code == "connect_failed":
                self._gave_up = error
            raise

    def _ask(self, method: Callable[..., T], *arguments: object) -> T:
        try:
            return method(self._token, *arguments)
        except TokenRejected:
            if self._renewed:
                raise
        self._renewed = True
        self._token = tokens.access_token(self._connection, rejected=self._token)
        return method(self._token, *arguments)
