"""Rate and shared pause of requests that nobody waits for: syncs, renewals of unused grants, revocations.

One row in the database has both for all processes and hosts, by the database's clock: Django's default cache is one per
process, and a cache may forget. Sign-ins, and refreshes that a person waits for, neither ask nor wait.

The rate is a bucket that holds one second's worth of requests (generic cell rate algorithm): one UPDATE reserves the times of
several requests ahead. The pause begins with a 429, or when nothing could be fetched of several connections in a row. When it
is over, one process sends one request: if it succeeds the pause has ended, otherwise the next one is twice as long.
"""

from __future__ import annotations

import math
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.db import connections, router
from django.db.models import F, FloatField, Func, Q, QuerySet, Value
from django.db.models.functions import Greatest

from django_eprospera.conf import conf
from django_eprospera.errors import ApiError, EprosperaError, MalformedAnswer, ProviderUnavailable, RefreshPaused
from django_eprospera.models import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PaceState", "SitePaused", "Turn", "outage", "state", "turn"]

# Connections in a row of which nothing could be fetched, after which the provider is taken to be down.
_ENOUGH: Final = 3
# Seconds: the first pause, the longest one, and for how long a batch waits for the end of pauses before it stops.
_FIRST: Final = 1.0
_LONGEST: Final = 900.0
_PATIENCE: Final = 10.0
# How often to look whether another process has ended the pause, and the longest sleep between two looks.
_LOOK: Final = 0.25
_NAP: Final = 1.0
# The right to send the one request ends after so many EPROSPERA_DEADLINE: discovery document and refresh may come before it.
_PROBE: Final = 4

_EPOCH: Final = {
    "postgresql": "EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())::float8",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}


class SitePaused(Exception):
    """Nothing may be sent now. `seconds` is how long the pause still takes, as far as is known."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"paused for {seconds:.1f} s")


@dataclass(frozen=True, slots=True)
class PaceState:
    """What all processes share: the end of the pause or None, its cause, and how many there were in a row.

    `probing` says whether one process is just trying. `failures` counts connections in a row of which nothing could be fetched.
    `ahead` is how many seconds requests are reserved ahead.
    """

    paused_until: datetime | None
    cause: str
    pauses: int
    probing: bool
    failures: int
    ahead: float


@dataclass(slots=True)
class _Row:
    now: float
    next_at: float
    paused_until: float | None
    pauses: int
    probe_until: float | None
    failures: int
    cause: str = ""


class _Now(Func):
    """Seconds since 1970 by the database's clock."""

    output_field = FloatField()

    def as_sql(self, _compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        return _EPOCH[connection.vendor], []


class Turn:
    """The permission to send the requests of one connection, which `turn` returns. It ends with `noting` or `finish`."""

    def __init__(self, alias: str, row: _Row, slots: list[float]) -> None:
        self._alias, self._row, self._slots = alias, row, slots
        self.probing = row.paused_until is not None
        # Whether to send one request alone first, and to repeat none.
        self.careful = self.probing or row.failures > 0

    def slots(self, number: int) -> list[float]:
        """Return at which times of `time.monotonic` that many requests may be sent. Raises SitePaused."""
        rate = conf.EPROSPERA_RATE
        if rate is None:
            return [0.0] * number
        missing = number - len(self._slots)
        if missing > 0:
            row = _reserve(self._alias, missing, rate, probe=self._row.probe_until if self.probing else None)
            if row is None:
                raise SitePaused(_left(_look(self._alias)))
            self._slots += _times(row, missing, rate)
        taken, self._slots = self._slots[:number], self._slots[number:]
        return taken

    def count(self, number: int) -> None:
        """Count requests that have been sent without a slot. Later ones wait for them."""
        if number and (rate := conf.EPROSPERA_RATE) is not None:
            _reserve(self._alias, number, rate, probe=None, always=True)

    def succeed(self) -> None:
        """Note that the provider has answered: this ends the pause if this is the process that tries."""
        if self.careful:
            rows = self._mine() if self.probing else self._rows().filter(paused_until=None)
            rows.update(paused_until=None, probe_until=None, pauses=0, failures=0, last_failed="", cause="")
        self.probing = self.careful = False

    @contextmanager
    def noting(self, who: object) -> Iterator[list[Any]]:
        """Collect what becomes of the requests in the list that is yielded, an error that is raised too, and `finish`."""
        outcomes: list[Any] = []
        try:
            yield outcomes
        except EprosperaError as error:
            outcomes.append(error)
            raise
        finally:
            self.finish(outcomes, who)

    def finish(self, outcomes: list[Any], who: object) -> None:
        """Note what became of the requests: answers and errors. `who` is the connection or token that they were about."""
        outages = [error for outcome in outcomes if (error := outage(outcome)) is not None]
        limited = [error for error in outages if error.status == 429]
        if limited:
            wishes = [error.retry_after for error in limited if error.retry_after is not None]
            self._pause("rate_limited", max(wishes, default=None))
        elif any(map(_is_answer, outcomes)):
            self.succeed()
        elif outages:
            self._fail(outages[0].code, str(who))
        elif self.probing:  # nothing was sent: another process may try at once
            self._mine().update(probe_until=None)

    def _rows(self) -> QuerySet[Pace]:
        return Pace.objects.using(self._alias).filter(issuer=conf.EPROSPERA_BASE_URL)

    def _mine(self) -> QuerySet[Pace]:
        return self._rows().filter(probe_until=self._row.probe_until)

    def _fail(self, code: str, who: str) -> None:
        if self.probing:
            self._pause(code, None)
            return
        rows = self._rows().filter(paused_until=None)
        rows.exclude(last_failed=who).update(failures=F("failures") + 1, last_failed=who)
        self._begin(rows.filter(failures__gte=_ENOUGH), code, _length(0))

    def _pause(self, code: str, wish: float | None) -> None:
        if self.probing:
            step = self._row.pauses
            self._begin(self._mine(), code, _length(step) if wish is None else wish, step + (wish is None))
            return
        # Of several processes that learn it at the same time one begins the pause. What the provider asks for is kept to.
        seconds = _length(0) if wish is None else wish
        longer = Q(paused_until=None) if wish is None else Q(paused_until=None) | Q(paused_until__lt=_Now() + seconds)
        self._begin(self._rows().filter(longer), code, seconds)

    def _begin(self, rows: QuerySet[Pace], code: str, seconds: float, pauses: int = 1) -> None:
        until = _Now() + Value(seconds, output_field=FloatField())
        rows.update(
            paused_until=until, probe_until=None, pauses=Greatest(F("pauses"), pauses), cause=code[:64],
            failures=0, last_failed="",
        )  # fmt: skip


def turn(
    requests: int = 1,
    *,
    first: bool = False,
    until: float = math.inf,
    sleep: Callable[[float], bool | None] = time.sleep,
) -> Turn:
    """Wait for the permission to send that many requests, and return it.

    A batch gets it while no other requests are ahead, and waits some seconds for the end of a short pause. With `first`,
    requests that somebody has asked for get it at once (its slots may be later), or not at all. `until` is the time of
    `time.monotonic` until which to wait. A `sleep` that returns True ends the waiting.

    Raises SitePaused. Do not call it inside a transaction, which would stop all processes.
    """
    alias = router.db_for_write(Pace)
    patience = time.monotonic() + (0.0 if first else _PATIENCE)
    while True:
        got = _try(alias, requests, first=first)
        if isinstance(got, Turn):
            return got
        wait, paused = got
        if time.monotonic() + wait > (min(until, patience) if paused else until):
            raise SitePaused(wait)
        spread = random.uniform(0, 0.05)  # noqa: S311 - spreads load, keeps no secret
        if sleep(min(wait, _NAP) + spread):
            raise SitePaused(wait)


def state() -> PaceState:
    """Return the rate and pause of the settings' provider. One query."""
    row = _look(router.db_for_write(Pace))
    paused = None if row.paused_until is None else datetime.fromtimestamp(row.paused_until, UTC)
    probing = row.probe_until is not None and row.probe_until > row.now
    ahead = max(row.next_at - row.now, 0.0)
    return PaceState(paused, row.cause, row.pauses, probing, row.failures, ahead)


def outage(outcome: Any) -> ApiError | None:
    """Return the error that says that the provider is unavailable, if the outcome of a request is one."""
    error = outcome.because if isinstance(outcome, RefreshPaused) else outcome
    return error if isinstance(error, ProviderUnavailable) and not isinstance(error, MalformedAnswer) else None


def _is_answer(outcome: Any) -> bool:
    """Return whether the provider has answered: with what was asked for, or with a refusal of its own."""
    if isinstance(outcome, EprosperaError):
        return isinstance(outcome, ApiError) and not isinstance(outcome, ProviderUnavailable)
    return True


def _try(alias: str, requests: int, *, first: bool) -> Turn | tuple[float, bool]:
    """Return the turn, or how many seconds to wait, and whether that is for a pause."""
    rate = conf.EPROSPERA_RATE
    row = None
    if rate is None:
        row = _look(alias)
        if row.paused_until is None:
            return Turn(alias, row, [])
    row = _reserve(alias, requests, rate, first=first)
    if row is not None:
        return Turn(alias, row, [] if rate is None else _times(row, requests, rate))
    row = _look(alias)
    if row.paused_until is not None:
        return max(row.paused_until - row.now, _LOOK), True
    return 0.0 if rate is None else max(row.next_at - _tolerance(rate) - row.now, 0.0), False


def _reserve(
    alias: str,
    requests: int,
    rate: float | None,
    *,
    first: bool = True,
    probe: float | None = None,
    always: bool = False,
) -> _Row | None:
    """Reserve slots, and the right to try where a pause is over. None: there is a pause, or requests are ahead.

    With `probe`, which is the end of one's own right to try, the pause is not looked at; with `always` neither.
    """
    connection = connections[alias]
    now = _EPOCH[connection.vendor]
    later = "GREATEST" if connection.vendor == "postgresql" else "MAX"
    cost = 0.0 if rate is None else requests / rate
    free = math.inf if first or rate is None else _tolerance(rate)
    right = conf.EPROSPERA_DEADLINE * _PROBE
    allowed, arguments = "TRUE", []
    if probe is not None:
        allowed, arguments = "probe_until = %s", [probe]
    elif not always:
        allowed = f"paused_until IS NULL OR (paused_until <= {now} AND (probe_until IS NULL OR probe_until <= {now}))"
    keeps = (
        "probe_until"
        if probe is not None or always
        else f"CASE WHEN paused_until IS NULL THEN NULL ELSE {now} + {right!r} END"
    )
    statement = (
        f"UPDATE {Pace._meta.db_table} SET next_at = {later}(next_at, {now}) + %s, probe_until = {keeps} "  # noqa: S608
        f"WHERE issuer = %s AND ({allowed}) AND next_at - {now} <= %s "
        f"RETURNING {now}, next_at, paused_until, pauses, probe_until, failures"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [cost, conf.EPROSPERA_BASE_URL, *arguments, min(free, 1e12)])
        found = cursor.fetchone()
    return None if found is None else _Row(*found)


def _look(alias: str) -> _Row:
    rows = Pace.objects.using(alias).filter(issuer=conf.EPROSPERA_BASE_URL)
    names = ("next_at", "paused_until", "pauses", "probe_until", "failures", "cause")
    found = rows.values_list(_Now(), *names).first()
    if found is None:
        Pace.objects.using(alias).bulk_create([Pace(issuer=conf.EPROSPERA_BASE_URL)], ignore_conflicts=True)
        found = rows.values_list(_Now(), *names).get()
    return _Row(*found)


def _left(row: _Row) -> float:
    return max((row.paused_until or row.now) - row.now, _LOOK)


def _tolerance(rate: float) -> float:
    """Return by how many seconds requests may be early: a bucket of one second's worth, at least one request."""
    return (max(rate, 1.0) - 1) / rate


def _times(row: _Row, requests: int, rate: float) -> list[float]:
    """Return the times of `time.monotonic` of slots that were just reserved."""
    begin = time.monotonic() + (row.next_at - row.now) - requests / rate - _tolerance(rate)
    return [begin + number / rate for number in range(requests)]


def _length(step: int) -> float:
    """Return the seconds of the pause after that many others in a row."""
    growing = _FIRST * 2.0 ** min(step, 30) * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, keeps no secret
    return min(growing, _LONGEST)
