"""`manage.py eprospera_sync`: update the cached data of connections, by default of those that are due."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_eprospera.models import Connection
from django_eprospera.sync.batch import sync_due, sync_each

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

    from django_eprospera.sync import SyncReport

__all__ = ["Command"]


class Command(BaseCommand):
    """Command for a timer. Continues after failures. Fails if a connection could not be synced whose grant has not ended."""

    help = "Fetches from e-Próspera what the connected users allow, and reports what could not be fetched and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--due", action="store_true", help="Connections that are due, and only their old answers (default)."
        )
        which.add_argument("--all", action="store_true", help="Every connection that is not waiting for a new sign-in.")
        which.add_argument("--user", help="The connection of one user, by username.")
        which.add_argument("--connection", type=uuid.UUID, help="One connection, by its id.")
        parser.add_argument(
            "--repair", action="store_true", help="Compare the rows also where the answer is the one that was stored."
        )
        parser.add_argument("--limit", type=int, default=1000, help="At most this many connections (default: 1000).")

    def handle(self, *_args: Any, **options: Any) -> None:
        synced = partly = ended = failed = broken = 0
        for pk, report in self._reports(options):
            synced += not report.failed
            ended += report.grant_ended
            failed += report.failed_entirely and not report.grant_ended
            broken += bool(report.receiver_errors)
            partly += bool(report.failed) and not report.failed_entirely
            self._tell(pk, report, options["verbosity"])
        self.stdout.write(
            ngettext("%(count)d connection synced", "%(count)d connections synced", synced) % {"count": synced}
            + _(", %(partly)d in part, %(ended)d ended, %(failed)d failed.")
            % {"partly": partly, "ended": ended, "failed": failed}
        )
        if broken:
            raise CommandError(
                _("A receiver of facts_synced failed: reviews may not be up to date. The log has the details.")
            )
        if failed:
            raise CommandError(_("Not everything could be fetched; the lines above say why."))

    def _reports(self, options: dict[str, Any]) -> Iterator[tuple[uuid.UUID, SyncReport]]:
        limit, repair = options["limit"], options["repair"]
        if repair and not (options["all"] or options["user"] or options["connection"]):
            raise CommandError(_("--repair needs --all, --user or --connection."))
        rows = Connection.objects.order_by("pk")
        if options["user"]:
            rows = rows.filter(**{f"user__{get_user_model().USERNAME_FIELD}": options["user"]})
        elif options["connection"]:
            rows = rows.filter(pk=options["connection"])
        elif options["all"]:
            rows = rows.filter(state=Connection.State.ACTIVE)
        else:
            return sync_due(limit)
        found = list(rows.values_list("pk", flat=True)[:limit])
        if not found and not options["all"]:
            raise CommandError(_("There is no such connection."))
        return sync_each(found, repair=repair)

    def _tell(self, pk: uuid.UUID, report: SyncReport, verbosity: int) -> None:
        for error in report.receiver_errors:
            self.stderr.write(f"{pk}  {error}")
        if report.grant_ended:
            self.stderr.write(f"{pk}  {_('The grant has ended. The person has to sign in again.')}")
        elif report.failed:
            why = ", ".join(f"{resource}: {code}" for resource, code in report.failed.items())
            self.stderr.write(f"{pk}  {why}")
        elif verbosity > 1:
            news = ", ".join(report.changed) or _("nothing new")
            self.stdout.write(f"{pk}  {news}")
