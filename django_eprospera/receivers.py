"""Who listens to which signal? The one place where lower rooms are heard by higher ones. Imported by `apps.ready`."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save, pre_delete, pre_save
from django.dispatch import receiver

from django_eprospera import kyc, signals
from django_eprospera.fields.fixtures import after_raw_save, before_raw_save
from django_eprospera.models import Connection
from django_eprospera.tokens import queue_revocation

__all__: list[str] = []


@receiver(signals.facts_synced)
def evaluate_reviews(connection: Connection, **_: Any) -> None:
    """New facts may queue a review, or put a decided one back into the queue."""
    kyc.evaluate(connection)


@receiver(pre_delete, sender=Connection)
def revoke_what_ends(instance: Connection, **_: Any) -> None:
    """However a connection ends (disconnected, its user deleted), the provider is told that its tokens are."""
    queue_revocation(instance)


# Fixtures: sealed values come back as `dumpdata` wrote them.
pre_save.connect(before_raw_save, dispatch_uid="eprospera_before_raw_save")
post_save.connect(after_raw_save, dispatch_uid="eprospera_after_raw_save")
