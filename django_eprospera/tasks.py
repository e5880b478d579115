"""Background tasks for `django.tasks`, with plain IDs as arguments and no secrets.

A worker runs them; the immediate backend (the default) runs them where they are enqueued. No task raises for errors of the
provider: `ResourceState` keeps the error, and a later batch tries again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import django
from django.utils import timezone

from django_eprospera import kyc, tokens
from django_eprospera.models import Connection
from django_eprospera.sign_in.notices import send_notice
from django_eprospera.sync import sync
from django_eprospera.sync.batch import sync_due
from django_eprospera.sync.schedule import claim
from django_eprospera.tokens import replaced

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task  # type: ignore[no-redef]

if TYPE_CHECKING:
    import uuid

__all__ = [
    "ask_for_sync", "keep_alive", "notify_owner", "revoke_pending", "revoke_replaced", "sync_connection", "sync_stale",
]  # fmt: skip


def ask_for_sync(connection_id: uuid.UUID, *, pause: timedelta = timedelta(minutes=1)) -> bool:
    """Enqueue a sync of one connection. False when one was asked for within `pause`: then nothing is enqueued.

    Raises what the queue raises when it cannot be reached; the claim is given back then.
    """
    if not claim(connection_id, pause=pause):
        return False
    enqueue_claimed(connection_id)
    return True


def enqueue_claimed(connection_id: uuid.UUID) -> None:
    """Enqueue a sync of a connection that is claimed. Raises what the queue raises; the claim is given back then."""
    try:
        sync_connection.enqueue(str(connection_id))
    except BaseException:
        Connection.objects.filter(pk=connection_id).update(sync_requested_at=None, next_sync_at=timezone.now())
        raise


@task()
def sync_connection(connection_id: str) -> dict[str, Any]:
    """Sync one connection. Does nothing if it was disconnected meanwhile."""
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection is None:
        return {}
    report = sync(connection)
    return {"changed": report.changed, "failed": report.failed, "receiver_errors": report.receiver_errors}


@task()
def sync_stale() -> dict[str, int]:
    """Sync a batch of connections that are due, and evaluate the reviews that are. Enqueue it every few minutes."""
    kyc.evaluate_due()
    reports = [report for _, report in sync_due()]
    failed = sum(report.failed_entirely or bool(report.receiver_errors) for report in reports)
    return {"synced": len(reports), "failed": failed}


@task()
def revoke_pending() -> dict[str, int]:
    """Revoke the tokens of ended connections at the provider."""
    done, left = tokens.revoke_pending()
    return {"done": done, "left": left}


@task()
def revoke_replaced(connection_id: str) -> int:
    """Revoke the oldest grants of earlier sign-ins of one connection, if EPROSPERA_REPLACED_GRANTS holds fewer."""
    connection = Connection.objects.filter(pk=connection_id).first()
    return 0 if connection is None else replaced.revoke_replaced(connection)


@task()
def notify_owner(user_id: str, event: str, language: str) -> bool:
    """Send a user the e-mail about `event` in `language`. Returns whether it was sent; errors of the mail server are logged."""
    return send_notice(user_id, event, language)


@task()
def keep_alive() -> dict[str, int]:
    """Renew a batch of unused grants before they end, where EPROSPERA_KEEP_ALIVE asks for it."""
    kept = tokens.keep_alive()
    return {"renewed": kept.renewed, "gone": kept.gone, "failed": kept.failed}
