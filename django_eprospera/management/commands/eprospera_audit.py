"""Show the audit chain, or verify it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from django_eprospera.audit import verify
from django_eprospera.models import AuditEntry

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["Command"]


class Command(BaseCommand):
    """`manage.py eprospera_audit`."""

    help = "Lists audit entries, or verifies that none was changed, moved or removed (--verify)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--verify", action="store_true", help="Walk the whole chain; fails if it does not hold.")
        parser.add_argument(
            "--expect-head",
            default="",
            metavar="DIGEST",
            help="With --verify: a digest that was printed earlier. Fails if the chain does not hold it any more.",
        )
        parser.add_argument("--since", help="List entries from this date or time on (ISO 8601).")
        parser.add_argument("--subject", help="List entries about this subject, e.g. django_eprospera.review:<id>.")
        parser.add_argument("--actor", help="List entries of the user with this primary key.")
        parser.add_argument("--limit", type=int, default=100, help="List at most so many of the newest (default: 100).")

    def handle(self, *_: Any, **options: Any) -> None:
        """Verify or list."""
        if options["verify"] or options["expect_head"]:
            self._verify(options["expect_head"])
        else:
            self._list(options)

    def _verify(self, expect_head: str) -> None:
        report = verify(expect_head)
        if not report.ok:
            raise CommandError(
                f"The audit chain does not hold: {report.problem}. {report.entries} entries before it are sound. "
                "Compare with a backup before anything else is written."
            )
        self.stdout.write(self.style.SUCCESS(f"The audit chain holds: {report.entries} entries."))
        self.stdout.write(f"Head: {report.head}")
        self.stdout.write("Note it down outside this database: --expect-head with it shows a chain that was cut short.")

    def _list(self, options: dict[str, Any]) -> None:
        entries = AuditEntry.objects.order_by("-position")
        if options["since"]:
            entries = entries.filter(at__gte=_moment(options["since"]))
        if options["subject"]:
            entries = entries.filter(subject=options["subject"])
        if options["actor"]:
            entries = entries.filter(actor_ref=options["actor"])
        for entry in reversed(entries[: max(options["limit"], 0)]):
            at = entry.at.astimezone(UTC).isoformat(timespec="seconds")
            detail = " ".join(f"{name}={value}" for name, value in sorted(entry.detail.items()))
            self.stdout.write(
                f"{entry.position}\t{at}\t{entry.action}\t{entry.actor_ref or '-'}\t{entry.subject}\t{detail}"
            )


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
        day = None if moment else parse_date(text)
    except ValueError:
        moment = day = None
    if day is not None:
        moment = datetime(day.year, day.month, day.day)  # made aware below, in the site's zone
    if moment is None:
        raise CommandError(f"--since: {text!r} is neither a date nor a time. Write 2026-01-31 or 2026-01-31T12:00.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
