"""`manage.py eprospera_export`: write the case file of a review."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from django_eprospera.casefile import Purpose, export
from django_eprospera.errors import EprosperaError
from django_eprospera.models import Review

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["Command"]


class Command(BaseCommand):
    """Command that writes a case file, readable by this user alone, and fails if a file of the case could not be read."""

    help = "Writes the case file of a review, which contains personal data in plain text, and records that."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("review", help="Primary key of the review.")
        parser.add_argument("--purpose", required=True, choices=Purpose.values, help="What it is exported for.")
        parser.add_argument("--output", help="File to write, which must not exist (default: a name in this directory).")
        parser.add_argument("--language", default="", help="Language of the summary (default: that of the site).")

    def handle(self, *_: Any, **options: Any) -> None:
        """Export the review."""
        try:
            review = Review.objects.filter(pk=options["review"]).first()
        except ValidationError:
            review = None
        if review is None:
            raise CommandError(f"There is no review {options['review']!r}.")
        try:
            case = export(review, purpose=Purpose(options["purpose"]), language=options["language"])
        except EprosperaError as error:
            raise CommandError(str(error)) from None
        path = Path(options["output"] or case.name)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in case.chunks():
                    file.write(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        for name, why in case.missing.items():
            self.stderr.write(f"{name} could not be read: {why}")
        if case.missing:
            raise CommandError(f"{path} was written, and misses {len(case.missing)} files.")
        self.stdout.write(f"{path} was written: {len(case.entries)} audit entries, {len(case.files)} files.")
