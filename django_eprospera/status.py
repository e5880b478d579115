"""The state of a site in numbers, for `eprospera_status` and its page in the admin, cheap for any number of people.

What PostgreSQL's planner expects to be many, from the statistics of the last ANALYZE, is an estimate. Anything else is counted
up to 1,000, on another database too. Contains no personal data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.db import connections, router
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.text import capfirst
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from django_eprospera import pace, tokens
from django_eprospera.freshness import is_error_of_site, reason_of
from django_eprospera.models import (
    Connection,
    EntityDocument,
    PendingRevocation,
    ResourceState,
    Review,
    VerificationImage,
)
from django_eprospera.sync import schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet

__all__ = ["Line", "Number", "Section", "Status", "gather"]

_COUNTED: Final = 1_000
# A timer syncs every few minutes. A connection that is due for longer than this means that none does, or not enough.
_LATE: Final = timedelta(hours=1)
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, which is `exact`, `about` or `more_than`; `unit` is `bytes` or empty. As text: in the active language."""

    number: int
    precision: str = "exact"
    unit: str = ""

    def __str__(self) -> str:
        text = filesizeformat(self.number) if self.unit else number_format(self.number, force_grouping=True)
        if self.precision == "about":
            return _("about %(number)s") % {"number": text}
        return _("more than %(number)s") % {"number": text} if self.precision == "more_than" else text


@dataclass(frozen=True, slots=True)
class Line:
    """A number or a time (None: there is none), with its stable name and its label."""

    name: str
    label: str
    value: Number | datetime | None

    def __str__(self) -> str:
        if isinstance(self.value, datetime):
            since = date_format(timezone.localtime(self.value), "SHORT_DATETIME_FORMAT")
            return f"{since} ({timesince(self.value)})" if self.value < timezone.now() else since
        return "–" if self.value is None else str(self.value)


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a heading, with a stable name."""

    name: str
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """All sections, and what needs somebody: sentences by their stable codes."""

    at: datetime
    sections: tuple[Section, ...]
    attention: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return names, numbers and times (ISO 8601) without the texts."""
        sections = {
            section.name: {line.name: _plain(line.value) for line in section.lines} for section in self.sections
        }
        return {"at": self.at.isoformat(), "attention": list(self.attention), **sections}


def gather() -> Status:
    """Return the state now, in the active language. Sends no request and decrypts nothing."""
    now = timezone.now()
    due, receivers = schedule.due(now), _count(Connection.objects.exclude(sync_error=""))
    oldest = due.values_list("next_sync_at", flat=True).first()
    failures = tuple(_failures())
    sections = (
        Section("connections", _("Connections"), tuple(_connections())),
        Section(
            "sync",
            _("Sync"),
            (
                Line("due", _("due now"), _count(due)),
                Line("oldest", _("longest wait since"), oldest),
                Line("receivers_failed", _("error after the last sync"), receivers),
                Line("paused_until", _("requests pause until"), pace.state().paused_until),
            ),
        ),
        Section("failures", _("Answers that could not be fetched, by code"), failures),
        Section("refreshes", _("Access"), tuple(_refreshes(now))),
        Section("revocations", _("Tokens that are not revoked yet"), tuple(_revocations())),
        Section("queue", _("Review queue"), tuple(_queue(now))),
        Section("storage", _("Storage"), tuple(_storage())),
    )
    return Status(now, sections, dict(_attention(now, oldest, receivers, failures)))


def _attention(
    now: datetime, oldest: datetime | None, receivers: Number, failures: tuple[Line, ...]
) -> Iterator[tuple[str, str]]:
    if oldest is not None and oldest < now - _LATE:
        yield "sync_late", _("A connection is due for more than an hour: eprospera_sync does not run, or not enough.")
    if receivers.number:
        yield "receivers_failed", _("A receiver of facts_synced failed: reviews may not be up to date.")
    if codes := [line.name for line in failures if is_error_of_site(line.name)]:
        text = _("Errors of this site prevent requests (%(codes)s). The log has the reasons.")
        yield "site_errors", text % {"codes": ", ".join(codes)}


def _connections() -> Iterator[Line]:
    for state in Connection.State:
        yield Line(state.value, str(state.label), _count(Connection.objects.filter(state=state)))
    for cause in filter(None, Connection.Cause):
        yield Line(cause.value, str(cause.label), _count(Connection.objects.filter(state_cause=cause)))


def _failures() -> Iterator[Line]:
    """Yield each code that occurs, found by one look-up in the index."""
    states, code = ResourceState.objects.exclude(error="").order_by("error"), ""
    while code := states.filter(error__gt=code).values_list("error", flat=True).first() or "":
        yield Line(code, f"{code}: {reason_of(code)}", _count(ResourceState.objects.filter(error=code)))


def _refreshes(now: datetime) -> Iterator[Line]:
    rows = Connection.objects.all()
    ending = rows.filter(state=Connection.State.ACTIVE, refresh_token_expires_at__lt=now + _WEEK)
    ended = rows.filter(state=Connection.State.REAUTHORIZE, state_changed_at__gte=now - _DAY)
    yield Line("valid", _("access tokens that are valid now"), _count(rows.filter(access_token_expires_at__gt=now)))
    yield Line("ending", _("grants that end within 7 days unless they are used"), _count(ending))
    yield Line("ended", _("grants that ended within the last day"), _count(ended))


def _revocations() -> Iterator[Line]:
    left = tokens.remaining()
    for name, label, number in (
        ("due", _("due now"), left.due),
        ("later", _("tried again later"), left.later),
        ("held", _("held until their connection ends"), left.held),
        ("foreign", _("of another provider or client"), left.foreign),
    ):
        yield Line(name, label, Number(_COUNTED, "more_than") if number > _COUNTED else Number(number))
    oldest = PendingRevocation.objects.filter(held=False).order_by("created_at", "pk")
    yield Line("oldest", _("longest wait since"), oldest.values_list("created_at", flat=True).first())


def _queue(now: datetime) -> Iterator[Line]:
    waiting = Review.objects.filter(status=Review.Status.PENDING).order_by("queued_at", "pk")
    yield Line("day", _("less than a day"), _count(waiting.filter(queued_at__gt=now - _DAY)))
    yield Line("week", _("1 to 7 days"), _count(waiting.filter(queued_at__lte=now - _DAY, queued_at__gt=now - _WEEK)))
    yield Line("older", _("more than 7 days"), _count(waiting.filter(queued_at__lte=now - _WEEK)))
    yield Line("oldest", _("longest wait since"), waiting.values_list("queued_at", flat=True).first())


def _storage() -> Iterator[Line]:
    for name, model in (("pictures", VerificationImage), ("documents", EntityDocument)):
        files, size = _files(model)
        yield Line(name, str(capfirst(model._meta.verbose_name_plural)), files)
        yield Line(f"{name}_size", _("their size"), size)
    yield Line("database_size", _("tables and indexes"), _database_size())


def _files(model: type[VerificationImage | EntityDocument]) -> tuple[Number, Number]:
    """Return how many files there are, and their size. Of many, the first by primary key, which is random, are the sample."""
    sample = list(model.objects.order_by("pk").values_list("storage_name", "size")[: _COUNTED + 1])
    sizes = [size for name, size in sample if name]
    if len(sample) <= _COUNTED:
        return Number(len(sizes)), Number(sum(sizes), unit="bytes")
    share = max(_estimate(model.objects.all()) / len(sample), 1)
    precision = "about" if share > 1 else "more_than"
    return (
        Number(_rounded(len(sizes) * share), precision),
        Number(_rounded(sum(sizes) * share), precision, unit="bytes"),
    )


def _database_size() -> Number:
    database = connections[router.db_for_read(Connection)]
    with database.cursor() as cursor:
        if database.vendor == "postgresql":
            names = [model._meta.db_table for model in apps.get_app_config("django_eprospera").get_models()]
            cursor.execute(
                "SELECT SUM(pg_total_relation_size(quote_ident(name)::regclass)) FROM unnest(%s::text[]) AS name",
                [names],
            )
        else:  # SQLite: of the whole file
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return Number(int(cursor.fetchone()[0]), unit="bytes")


def _count(rows: QuerySet[Any]) -> Number:
    """Return the number of rows, for whose conditions there is an index."""
    if (estimate := _estimate(rows)) > 2 * _COUNTED:
        return Number(_rounded(estimate), "about")
    found = rows.order_by()[: _COUNTED + 1].count()
    return Number(found) if found <= _COUNTED else Number(_COUNTED, "more_than")


def _estimate(rows: QuerySet[Any]) -> int:
    """Return how many rows PostgreSQL's planner expects, and 0 on another database."""
    if connections[rows.db].vendor != "postgresql":
        return 0
    plan = re.search(r"rows=(\d+)", rows.order_by().values("pk").explain())  # the first is that of the whole
    return int(plan[1]) if plan else 0


def _rounded(number: float) -> int:
    """Round to two digits: an estimate knows no more."""
    return int(round(number, 2 - len(str(int(number)))))


def _plain(value: Number | datetime | None) -> Any:
    if isinstance(value, Number):
        return {"number": value.number, "precision": value.precision} | ({"unit": value.unit} if value.unit else {})
    return value and value.isoformat()
