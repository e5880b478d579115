"""`manage.py eprospera_rotate_keys`: re-encrypt under the newest key, or report what needs which key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, router

from django_eprospera.audit.verification import keys_in_use, renew
from django_eprospera.conf import conf
from django_eprospera.crypto import Keyring
from django_eprospera.errors import AuditError
from django_eprospera.keys import keyring
from django_eprospera.models import AuditEntry
from django_eprospera.rotation import (
    Counts,
    Progress,
    census,
    count_outdated,
    outdated_files,
    rotate_files,
    rotate_rows,
    tables,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["Command"]

_BAR = 40


class Command(BaseCommand):
    """Command that rotates keys, or counts what each key is needed for (`--check`)."""

    help = (
        "Encrypts every sealed column, file and blind index again under the first key of FIELD_ENCRYPTION_KEY. The site may "
        "stay in use. To continue an interrupted run, run the command again. --check shows which keys may be removed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="Only report how much needs which key.")
        parser.add_argument("--batch-size", type=int, default=1_000, help="Rows per batch (default: 1000).")
        parser.add_argument("--database", default="default", help="Alias of the database (default: default).")

    def handle(self, *, check: bool, batch_size: int, database: str, verbosity: int, **_: Any) -> None:
        if batch_size < 1:
            raise CommandError(f"--batch-size must be at least 1, not {batch_size}.")
        try:
            if check:
                self._check(database)
            else:
                self._rotate(database, batch_size, verbosity)
        except (AuditError, RuntimeError) as error:
            raise CommandError(str(error)) from None
        except OperationalError as error:
            raise CommandError(
                f"The database failed: {error} No row was left half written. Run the command again."
            ) from None

    def _rotate(self, using: str, batch_size: int, verbosity: int) -> None:
        todo = list(tables(using))
        total = sum(map(count_outdated, todo)) + sum(rows.count() for rows in outdated_files(using))
        progress = Progress(report=self._bar(total) if verbosity and self.stdout.isatty() else lambda _: None)
        for table in todo:
            rotate_rows(table, progress, batch_size=batch_size)
        rotate_files(using, progress)
        for place, why in progress.closed.items():
            self.stderr.write(f"{place}: {why}")
        if verbosity:
            key = keyring().current
            self.stdout.write(f"Encrypted again under key {key}: {progress.rows:,} rows and {progress.files:,} files.")
        if progress.closed:
            raise CommandError(
                f"{len(progress.closed):,} sealed values cannot be decrypted. They are listed above and were not changed."
            )
        if using == router.db_for_write(AuditEntry):
            renewed = renew()
            if verbosity:
                self.stdout.write(f"Renewed digests of the audit chain: {renewed:,}.")
        left = sum(map(count_outdated, todo))
        if left:
            raise CommandError(f"{left:,} rows were saved under an older key during the run. Run the command again.")

    def _bar(self, total: int) -> Any:
        def draw(progress: Progress) -> None:
            done = progress.rows + progress.files
            part = min(done / total, 1.0) if total else 1.0
            filled = "#" * int(part * _BAR)
            self.stdout.write(f"\r[{filled:<{_BAR}}] {part:4.0%}  {done:,} of {total:,}", ending="")
            if done >= total:
                self.stdout.write("")
            self.stdout.flush()

        return draw

    def _check(self, using: str) -> None:
        counts = dict(census(using))
        digests = keys_in_use() if using == router.db_for_write(AuditEntry) else {}
        keys = keyring()
        first = keys.current
        self.stdout.write("FIELD_ENCRYPTION_KEY, newest first:")
        for key_id in keys.key_ids:
            self._line(key_id, counts.pop(key_id, Counts()), newest=key_id == first, digests=digests.get(key_id, 0))
        index_ids = Keyring(conf.EPROSPERA_INDEX_KEY).key_ids if conf.EPROSPERA_INDEX_KEY else ()
        if index_ids:
            self.stdout.write("EPROSPERA_INDEX_KEY, newest first:")
        for key_id in index_ids:
            self._line(key_id, counts.pop(key_id, Counts()), newest=key_id == index_ids[0])
        plain = counts.pop("", Counts())
        for key_id, count in counts.items():
            self.stdout.write(f"  {key_id}  {count}: the key is not configured")
        if plain:
            self.stdout.write(f"  Not sealed: {plain}")
        if counts or plain:
            raise CommandError("Some values cannot be decrypted. Put the missing keys back, at the end of the list.")

    def _line(self, key_id: str, count: Counts, *, newest: bool, digests: int = 0) -> None:
        state = "newest" if newest else "still needed" if count or digests else "may be removed"
        needed = f"{count}, {digests:,} audit digests" if digests else str(count)
        self.stdout.write(f"  {key_id}  {needed}: {state}")
