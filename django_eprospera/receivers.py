"""Who listens to which signal? The one place where lower rooms are heard by higher ones. Imported by `apps.ready`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver

from django_eprospera import documents, kyc, signals, tasks
from django_eprospera.fields.fixtures import after_raw_save, before_raw_save
from django_eprospera.models import Connection, EntityDocument, VerificationImage
from django_eprospera.tokens import queue_revocation

__all__: list[str] = []


@receiver(signals.signed_in)
def sync_after_sign_in(connection: Connection, **_: Any) -> None:
    """The sign-in does not wait for the sync, and does not fail when the queue is down: a later batch sees to it."""
    transaction.on_commit(lambda: tasks.ask_for_sync(connection.pk, pause=timedelta(0)), robust=True)


@receiver(signals.revocation_pending)
def revoke_soon(**_: Any) -> None:
    """Whoever disconnects does not wait for the provider either; what cannot be enqueued stays in its table."""
    transaction.on_commit(tasks.revoke_pending.enqueue, robust=True)


@receiver(signals.facts_synced)
def evaluate_reviews(connection: Connection, **_: Any) -> None:
    """New facts may queue a review, or put a decided one back into the queue."""
    kyc.evaluate(connection)


@receiver(pre_delete, sender=Connection)
def revoke_what_ends(instance: Connection, **_: Any) -> None:
    """However a connection ends (disconnected, its user deleted), the provider is told that its tokens are."""
    queue_revocation(instance)


@receiver(post_delete, sender=VerificationImage)
@receiver(post_delete, sender=EntityDocument)
def remove_file(instance: VerificationImage | EntityDocument, **_: Any) -> None:
    """A row takes its file along, however it is deleted."""
    documents.forget(instance)


# Fixtures: sealed values come back as `dumpdata` wrote them.
pre_save.connect(before_raw_save, dispatch_uid="eprospera_before_raw_save")
post_save.connect(after_raw_save, dispatch_uid="eprospera_after_raw_save")
