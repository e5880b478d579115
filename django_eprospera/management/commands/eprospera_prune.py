"""`manage.py eprospera_prune`: erase data whose consent was withdrawn, and data that belongs to no row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from django_eprospera.prune import prune

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["Command"]


class Command(BaseCommand):
    """Command for a daily timer. Prints what was erased."""

    help = (
        "Erases data whose consent was withdrawn longer ago than EPROSPERA_ERASE_AFTER, companies that nobody shares any more, "
        "files that belong to no row, and rows of abandoned sign-ins."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be erased.")

    def handle(self, *_args: Any, dry_run: bool, **_options: Any) -> None:
        count = prune(dry_run=dry_run)
        lines = [
            (_("consents to companies"), count.consents),
            (_("companies that nobody shares"), count.entities),
            (_("documents"), count.documents),
            (_("facts of persons"), count.facts),
            (_("files without a row"), count.files),
        ]
        if not dry_run:
            lines.append((_("rows of abandoned sign-ins"), count.sign_ins))
        self.stdout.write(_("Would be erased:") if dry_run else _("Erased:"))
        for label, number in lines:
            self.stdout.write(f"{number:>8}  {label}")
