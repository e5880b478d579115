"""`manage.py eprospera_status`: the state of connections, syncs, tokens, reviews and storage in numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from django_eprospera.status import gather

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["Command"]


class Command(BaseCommand):
    """Command that prints numbers, and fails with `--check` if something needs somebody."""

    help = "Shows connections, syncs, tokens, the review queue and storage in numbers. Cheap for any number of people."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print JSON with stable names, for monitoring.")
        parser.add_argument("--check", action="store_true", help="Fail if something needs somebody.")

    def handle(self, *_args: Any, check: bool, **options: Any) -> None:
        status = gather()
        if options["json"]:
            self.stdout.write(json.dumps(status.as_json(), indent=2))
        else:
            lines = [line for section in status.sections for line in section.lines]
            label = max(len(line.label) for line in lines)
            value = max(len(str(line)) for line in lines)
            for section in status.sections:
                self.stdout.write(self.style.MIGRATE_HEADING(section.title))
                for line in section.lines:
                    self.stdout.write(f"  {line.label:<{label}}  {line!s:>{value}}")
            for sentence in status.attention.values():
                self.stdout.write(self.style.WARNING(sentence))
        if check and status.attention:
            raise CommandError(", ".join(status.attention))
