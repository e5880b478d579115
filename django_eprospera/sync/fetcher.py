"""Requests for one connection's resources, side by side, with a valid access token and within a time limit. Writes no rows."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from django_eprospera import pace, tokens
from django_eprospera.errors import EprosperaError, ProviderUnavailable, TokenRejected
from django_eprospera.provider import configured
from django_eprospera.provider.http import Retries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django_eprospera.models import Connection
    from django_eprospera.pace import Turn

    # A method of the client, and its arguments after the token.
    Call = tuple[Callable[..., Any], *tuple[Any, ...]]

__all__ = ["ResourceFetcher"]

# Seconds for one whole sync. A person may share two hundred companies, each of which takes two requests.
_BUDGET: Final = 300.0
_AT_ONCE: Final = 8


class ResourceFetcher:
    """The client and the access token of one connection, for the duration of one sync.

    A context manager, which ends its threads. The answers and errors of all requests are added to `outcomes`. The constructor
    raises what `tokens.access_token` raises.
    """

    def __init__(self, connection: Connection, turn: Turn, outcomes: list[Any]) -> None:
        retries = Retries(patient=False, sleep=self._sleep)
        self.client = configured.client(retries=replace(retries, attempts=1) if turn.careful else retries)
        self._turn, self._outcomes = turn, outcomes
        self._connection = connection
        # Requests that were sent beside those of `each`: repeated ones, and refreshes.
        self._more = 0
        self._token = self._access_token()
        self._renewed = False
        self._ends = time.monotonic() + _BUDGET
        self._stopped: EprosperaError | None = None
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="eprospera-sync")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        self._turn.count(self._more)

    def each(self, calls: Sequence[Call]) -> list[Any]:
        """Send the requests, up to nine at a time, and return the answer or the EprosperaError of each, in their order.

        Once per sync, a rejected token is renewed and what it was rejected for is repeated. After a failed connection or a 429,
        when no new token can be had, or when the time limit is exceeded, no more requests are sent, and each gets that error.
        """
        outcomes = self._send(calls)
        rejected = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, TokenRejected)]
        if rejected and not self._renewed:
            self._renewed = True
            repeated: list[Any]
            try:
                self._token = self._access_token(rejected=self._token)
            except EprosperaError as error:
                self._stopped = error
                repeated = [error] * len(rejected)
            else:
                repeated = self._send([calls[n] for n in rejected])
            for n, outcome in zip(rejected, repeated, strict=True):
                outcomes[n] = outcome
        return outcomes

    def _access_token(self, rejected: str | None = None) -> str:
        before = self._connection.generation
        token = tokens.access_token(self._connection, rejected=rejected, patient=False)
        self._more += self._connection.generation != before
        return token

    def _sleep(self, seconds: float) -> None:
        self._more += 1
        time.sleep(seconds)

    def _send(self, calls: Sequence[Call]) -> list[Any]:
        if not calls:
            return []
        try:
            slots = self._turn.slots(len(calls))
        except pace.SitePaused:
            self._stopped = ProviderUnavailable("GET", "/api/v1/me/", "paused")
            return [self._stopped] * len(calls)
        outcomes = [self._outcome(calls[0], slots[0])] if self._turn.careful else []
        if outcomes and pace.outage(outcomes[0]) is not None:
            self._stopped = outcomes[0]
        elif outcomes:
            self._turn.succeed()
        # The first in this thread, which would only wait otherwise.
        left = list(zip(calls, slots, strict=True))[len(outcomes) :]
        others = [self._pool.submit(self._outcome, *each) for each in left[1:]]
        outcomes += [self._outcome(*each) for each in left[:1]]
        outcomes += [other.result() for other in others]
        self._outcomes += outcomes
        return outcomes

    def _outcome(self, call: Call, slot: float) -> Any:
        if self._stopped is None and (wait := slot - time.monotonic()) > 0:
            time.sleep(wait)
        if self._stopped is None and time.monotonic() > self._ends:
            self._stopped = ProviderUnavailable("GET", "/api/v1/me/", "out_of_time")
        if self._stopped is not None:
            return self._stopped
        method, *arguments = call
        try:
            return method(self._token, *arguments)
        except EprosperaError as error:
            if isinstance(error, ProviderUnavailable) and (
                error.code == "connect_failed" or (error.status == 429 and error.retry_after != 0)
            ):
                self._stopped = error
            return error
