"""Requests for one connection's resources, side by side, with a valid access token and within a time limit. Writes no rows."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

from django_eprospera import tokens
from django_eprospera.errors import EprosperaError, ProviderUnavailable, TokenRejected
from django_eprospera.provider import configured

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django_eprospera.models import Connection

    # A method of the client, and its arguments after the token.
    Call = tuple[Callable[..., Any], *tuple[Any, ...]]

__all__ = ["ResourceFetcher"]

# Seconds for one whole sync. A person may share two hundred companies, each of which takes two requests.
_BUDGET: Final = 300.0
_AT_ONCE: Final = 8


class ResourceFetcher:
    """The client and the access token of one connection, for the duration of one sync.

    A context manager, which ends its threads. The constructor raises what `tokens.access_token` raises.
    """

    def __init__(self, connection: Connection) -> None:
        self.client = configured.client()
        self._connection = connection
        self._token = tokens.access_token(connection)
        self._renewed = False
        self._ends = time.monotonic() + _BUDGET
        self._stopped: EprosperaError | None = None
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="eprospera-sync")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def each(self, calls: Sequence[Call]) -> list[Any]:
        """Send the requests, up to nine at a time, and return the answer or the EprosperaError of each, in their order.

        Once per sync, a rejected token is renewed and what it was rejected for is repeated. After a failed connection, when no
        new token can be had, or when the time limit is exceeded, no more requests are sent, and each gets that error.
        """
        outcomes = self._send(calls)
        rejected = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, TokenRejected)]
        if rejected and not self._renewed:
            self._renewed = True
            repeated: list[Any]
            try:
                self._token = tokens.access_token(self._connection, rejected=self._token)
            except EprosperaError as error:
                self._stopped = error
                repeated = [error] * len(rejected)
            else:
                repeated = self._send([calls[n] for n in rejected])
            for n, outcome in zip(rejected, repeated, strict=True):
                outcomes[n] = outcome
        return outcomes

    def _send(self, calls: Sequence[Call]) -> list[Any]:
        if len(calls) < 2:
            return [self._outcome(call) for call in calls]
        # The first in this thread, which would only wait otherwise.
        others = [self._pool.submit(self._outcome, call) for call in calls[1:]]
        return [self._outcome(calls[0]), *(other.result() for other in others)]

    def _outcome(self, call: Call) -> Any:
        if self._stopped is None and time.monotonic() > self._ends:
            self._stopped = ProviderUnavailable("GET", "/api/v1/me/", "out_of_time")
        if self._stopped is not None:
            return self._stopped
        method, *arguments = call
        try:
            return method(self._token, *arguments)
        except EprosperaError as error:
            if isinstance(error, ProviderUnavailable) and error.code == "connect_failed":
                self._stopped = error
            return error
