"""`manage.py eprospera_sync`: update the cached data of connections, by default of those that are due."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_eprospera import kyc, pace
from django_eprospera.models import Connection
from django_eprospera.sync.batch import sync_due, sync_each
from django_eprospera.sync.schedule import passes
from django_eprospera.tasks import sync_stale

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Generator

    from django_eprospera.sync import SyncReport

__all__ = ["Command"]

# Seconds between two reports of progress: on a terminal, where a line is written over, and elsewhere.
_OFTEN: Final = 0.2
_SELDOM: Final = 60.0


class Command(BaseCommand):
    """Command for a timer. Continues after failures, and fails if one of them needs somebody: see `handle`."""

    help = "Fetches from e-Próspera what the connected users allow, and reports what could not be fetched and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--due", action="store_true", help="Connections that are due, and only their old answers (default)."
        )
        which.add_argument(
            "--enqueue", action="store_true", help="Enqueue those that are due, in batches, for the workers of TASKS."
        )
        which.add_argument("--all", action="store_true", help="Every connection that is not waiting for a new sign-in.")
        which.add_argument("--user", help="The connection of one user, by username.")
        which.add_argument("--connection", type=uuid.UUID, help="One connection, by its id.")
        parser.add_argument(
            "--repair", action="store_true", help="Compare the rows also where the answer is the one that was stored."
        )
        parser.add_argument("--limit", type=int, default=1000, help="At most this many connections (default: 1000).")
        parser.add_argument(
            "--concurrency", type=int, default=1, help="How many connections to sync at a time (default: 1)."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Sync and report. Raises CommandError for failures that somebody has to end.

        Those are a failing receiver, and an error that does not pass by itself in a connection of which nothing could be
        fetched. An ended grant is none: only the person can renew it. When interrupted, the connections that are under way
        are finished first.
        """
        if options["concurrency"] < 1 or options["limit"] < 0:
            raise CommandError(_("--concurrency must be at least 1, and --limit not negative."))
        if options["enqueue"]:
            enqueued = sync_stale.call()["connections"]
            text = ngettext("%(count)d connection enqueued.", "%(count)d connections enqueued.", enqueued)
            self.stdout.write(text % {"count": enqueued})
            return
        self._reported_at = time.monotonic()
        count: Counter[str] = Counter()
        codes: Counter[str] = Counter()
        reports = self._reports(options)
        try:
            for pk, report in reports:
                count[_outcome(report)] += not report.paused
                count["broken"] += bool(report.receiver_errors)
                if not report.grant_ended:
                    codes.update(f"{resource}: {code}" for resource, code in report.failed.items())
                    count["lasting"] += report.failed_entirely and not all(map(passes, report.failed.values()))
                self._write_report(pk, report, options["verbosity"])
                self._write_progress(count)
        except KeyboardInterrupt:
            reports.close()
            self.stderr.write(_("Interrupted. What was synced is stored; the rest is due again soon."))
            raise SystemExit(130) from None
        finally:
            self._write_summary(count, codes)
        if (paused := pace.state()).paused_until is not None:
            self.stdout.write(
                _("The site pauses until %(time)s UTC (%(cause)s). What was not synced stays due.")
                % {"time": f"{paused.paused_until:%H:%M:%S}", "cause": paused.cause}
            )
        if count["broken"]:
            raise CommandError(
                _("A receiver of facts_synced failed: reviews may not be up to date. The log has the details.")
            )
        if count["lasting"]:
            raise CommandError(_("Not everything could be fetched; the lines above say why."))

    def _reports(self, options: dict[str, Any]) -> Generator[tuple[uuid.UUID, SyncReport]]:
        limit, repair, concurrency = options["limit"], options["repair"], options["concurrency"]
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
            kyc.evaluate_due()
            return sync_due(limit, concurrency=concurrency)
        found = list(rows.values_list("pk", flat=True)[:limit])
        if not found and not options["all"]:
            raise CommandError(_("There is no such connection."))
        return sync_each(found, repair=repair, concurrency=concurrency)

    def _write_report(self, pk: uuid.UUID, report: SyncReport, verbosity: int) -> None:
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

    def _write_progress(self, count: Counter[str]) -> None:
        now = time.monotonic()
        terminal = self.stdout.isatty()
        if now - self._reported_at < (_OFTEN if terminal else _SELDOM):
            return
        self._reported_at = now
        self.stdout.write(("\r" if terminal else "") + _summary(count), ending="" if terminal else "\n")
        self.stdout.flush()

    def _write_summary(self, count: Counter[str], codes: Counter[str]) -> None:
        self.stdout.write(("\r" if self.stdout.isatty() else "") + _summary(count))
        for code, number in codes.most_common():
            self.stdout.write(f"{number:>8}  {code}")


def _outcome(report: SyncReport) -> str:
    if report.grant_ended:
        return "ended"
    if report.failed:
        return "failed" if report.failed_entirely else "partly"
    return "synced"


def _summary(count: Counter[str]) -> str:
    return ngettext("%(count)d connection synced", "%(count)d connections synced", count["synced"]) % {
        "count": count["synced"]
    } + _(", %(partly)d in part, %(ended)d ended, %(failed)d failed.") % {
        name: count[name] for name in ("partly", "ended", "failed")
    }
