"""Requests for one connection's resources, with a valid access token and within a time limit. Writes no rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from django_eprospera import tokens
from django_eprospera.errors import ProviderUnavailable, TokenRejected
from django_eprospera.provider import configured

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_eprospera.models import Connection

__all__ = ["ResourceFetcher"]

T = TypeVar("T")
# Seconds for one whole sync. A person may share two hundred companies, each of which takes two requests.
_BUDGET: Final = 300.0


class ResourceFetcher:
    """The client and the access token of one connection, for the duration of one sync.

    The constructor and `fetch` raise what `tokens.access_token` raises.
    """

    def __init__(self, connection: Connection) -> None:
        self.client = configured.client()
        self._connection = connection
        self._token = tokens.access_token(connection)
        self._renewed = False
        self._ends = time.monotonic() + _BUDGET
        self._unavailable: ProviderUnavailable | None = None

    def fetch(self, method: Callable[..., T], *arguments: object) -> T:
        """Call a method of `client` with the token. Once per sync, a rejected token is renewed and the call repeated.

        Raises what the method raises. After a failed connection, or when the time limit is exceeded, every further call
        raises the same ProviderUnavailable without a request.
        """
        if self._unavailable is None and time.monotonic() > self._ends:
            self._unavailable = ProviderUnavailable("GET", "/api/v1/me/", "out_of_time")
        if self._unavailable is not None:
            raise self._unavailable
        try:
            return self._fetch(method, *arguments)
        except ProviderUnavailable as error:
            if error.code == "connect_failed":
                self._unavailable = error
            raise

    def _fetch(self, method: Callable[..., T], *arguments: object) -> T:
        try:
            return method(self._token, *arguments)
        except TokenRejected:
            if self._renewed:
                raise
        self._renewed = True
        self._token = tokens.access_token(self._connection, rejected=self._token)
        return method(self._token, *arguments)
