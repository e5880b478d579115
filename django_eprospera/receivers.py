"""Who listens to which signal? The one place where lower rooms are heard by higher ones. Imported by `apps.ready`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.dispatch import receiver

from django_eprospera import kyc, signals

if TYPE_CHECKING:
    from django_eprospera.models import Connection

__all__: list[str] = []


@receiver(signals.facts_synced)
def evaluate_reviews(connection: Connection, **_: Any) -> None:
    """New facts may queue a review, or put a decided one back into the queue."""
    kyc.evaluate(connection)
