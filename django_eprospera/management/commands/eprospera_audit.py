"""`manage.py eprospera_audit`: list audit entries, or verify the chain and the rows that it covers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import connections, router
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from django_eprospera.audit import verify
from django_eprospera.audit.verification import accept_head
from django_eprospera.errors import AuditError
from django_eprospera.models import AuditEntry, triggers

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["Command"]

_SHOWN = 50


class Command(BaseCommand):
    """Command that lists entries, or fails if the chain or a row that it covers was changed (`--verify`)."""

    help = "Lists audit entries, or verifies that no entry, decision, review or cached fact was changed (--verify)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--verify", action="store_true", help="Verify everything. Fails if anything was changed.")
        parser.add_argument(
            "--expect-head",
            metavar="DIGEST",
            help="With --verify: a head that was printed earlier. Fails if the chain does not contain it.",
        )
        parser.add_argument(
            "--accept-head",
            action="store_true",
            help="Replace the copy of the head in the storage by the current head, after a backup was restored.",
        )
        parser.add_argument(
            "--drop-triggers", action="store_true", help="Allow changes of audit entries and decisions in the database."
        )
        parser.add_argument("--create-triggers", action="store_true", help="Refuse such changes again.")
        parser.add_argument("--since", help="List entries from this date or time on (ISO 8601).")
        parser.add_argument("--subject", help="List entries about this subject, e.g. django_eprospera.review:<id>.")
        parser.add_argument("--actor", help="List entries of the user with this primary key.")
        parser.add_argument("--limit", type=int, default=100, help="List at most this many, the newest (default: 100).")

    def handle(self, *_: Any, **options: Any) -> None:
        """Do what the options say."""
        alias = router.db_for_write(AuditEntry)
        if options["drop_triggers"]:
            triggers.drop(connections[alias])
        elif options["create_triggers"]:
            triggers.create(connections[alias])
        elif options["accept_head"]:
            try:
                entry = accept_head()
            except AuditError as error:
                raise CommandError(str(error)) from None
            self.stdout.write(f"The head was replaced. Entry {entry.position} records it.")
        elif options["verify"] or options["expect_head"] is not None:
            self._verify(options["expect_head"])
        else:
            self._list(options)

    def _verify(self, expect_head: str | None) -> None:
        if expect_head is not None and not re.fullmatch(r"[0-9a-f]{64}", expect_head):
            raise CommandError(
                f"--expect-head must be a head of 64 hexadecimal digits, as --verify prints it, not {expect_head!r}."
            )
        report = verify(expect_head or "")
        if not report.ok:
            for problem in report.problems[:_SHOWN]:
                self.stderr.write(problem)
            if more := len(report.problems[_SHOWN:]):
                self.stderr.write(f"and {more} more")
            raise CommandError(
                f"The audit chain does not verify: {report.problems[0]}. Valid entries: {report.entries}. "
                "Compare with a backup before anything else is written (docs/operations.md#audit)."
            )
        self.stdout.write(self.style.SUCCESS(f"The audit chain verifies: {report.entries} entries."))
        self.stdout.write(f"Head: {report.head}")

    def _list(self, options: dict[str, Any]) -> None:
        entries = AuditEntry.objects.order_by("-position")
        if options["since"]:
            entries = entries.filter(at__gte=_moment(options["since"]))
        if options["subject"]:
            entries = entries.filter(subject=options["subject"])
        if options["actor"]:
            entries = entries.filter(actor_id=_user_key(options["actor"]))
        for entry in reversed(entries[: max(options["limit"], 0)]):
            at = entry.at.astimezone(UTC).isoformat(timespec="seconds")
            detail = " ".join(f"{name}={value}" for name, value in sorted(entry.detail.items()))
            actor = "-" if entry.actor_id is None else entry.actor_id
            self.stdout.write(f"{entry.position}\t{at}\t{entry.action}\t{actor}\t{entry.subject}\t{detail}")


def _user_key(text: str) -> Any:
    try:
        return get_user_model()._meta.pk.to_python(text)
    except ValidationError:
        raise CommandError(f"--actor must be the primary key of a user, not {text!r}.") from None


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
        day = None if moment else parse_date(text)
    except ValueError:
        moment = day = None
    if day is not None:
        moment = datetime(day.year, day.month, day.day)  # made aware below, in the site's time zone
    if moment is None:
        raise CommandError(f"--since must be a date or a time, such as 2026-01-31 or 2026-01-31T12:00, not {text!r}.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
