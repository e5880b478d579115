"""Sync of many connections, one after the other. Stops early when the provider is down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils import timezone

from django_eprospera.models import Connection
from django_eprospera.sync import SyncReport, sync
from django_eprospera.sync.schedule import claim, due

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Iterator

__all__ = ["sync_due", "sync_each"]

# After so many connections in a row that failed entirely, the provider is taken to be down.
_ENOUGH: Final = 3
_DOWN: Final = frozenset({"rate_limited", "unavailable"})


def sync_each(connection_ids: Iterable[uuid.UUID]) -> Iterator[tuple[uuid.UUID, SyncReport]]:
    """Sync the connections, and yield the report of each. Ends early when the provider seems to be down."""
    in_vain = 0
    for pk in connection_ids:
        connection = Connection.objects.filter(pk=pk).first()
        if connection is None:
            continue
        report = sync(connection)
        yield pk, report
        in_vain = in_vain + 1 if report.failed_entirely and _DOWN.issuperset(report.failed.values()) else 0
        if in_vain == _ENOUGH:
            return


def sync_due(limit: int = 100) -> Iterator[tuple[uuid.UUID, SyncReport]]:
    """Sync up to `limit` connections that are due, and yield the report of each. Several workers share the work."""
    waiting = list(due(timezone.now()).values_list("pk", flat=True)[:limit])
    return sync_each(pk for pk in waiting if claim(pk))
