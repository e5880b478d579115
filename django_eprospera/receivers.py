"""Who listens to which signal? The one place where lower rooms are heard by higher ones. Imported by `apps.ready`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver

from django_eprospera import kyc, signals
from django_eprospera.fields.fixtures import after_raw_save, before_raw_save

if TYPE_CHECKING:
    from django_eprospera.models import Connection

__all__: list[str] = []


@receiver(signals.facts_synced)
def evaluate_reviews(connection: Connection, **_: Any) -> None:
    """New facts may queue a review, or put a decided one back into the queue."""
    kyc.evaluate(connection)

# Fixtures: sealed values come back as `dumpdata` wrote them.
pre_save.connect(before_raw_save, dispatch_uid="eprospera_before_raw_save")
post_save.connect(after_raw_save, dispatch_uid="eprospera_after_raw_save")
