"""Background tasks for `django.tasks`, with plain IDs as arguments and no secrets.

A worker runs them; the immediate backend (the default) runs them where they are enqueued. No task raises for errors of the
provider: `ResourceState` keeps the error, and a later batch tries again.
"""

from __future__ import annotations

import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import django
from django.db import connections, router
from django.utils import timezone

from django_eprospera import kyc, tokens
from django_eprospera.models import Connection
from django_eprospera.sign_in.notices import send_notice
from django_eprospera.sync import sync
from django_eprospera.sync.batch import sync_due
from django_eprospera.sync.schedule import claim, due
from django_eprospera.tokens import replaced

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task  # type: ignore[no-redef]

if TYPE_CHECKING:
    import uuid

__all__ = [
    "ask_for_sync", "keep_alive", "notify_owner", "revoke_pending", "revoke_replaced", "sync_batch", "sync_connection",
    "sync_stale",
]  # fmt: skip

# A job is bounded, so that it fits the time limits of the engines and others do not wait behind it: connections in it, threads
# that sync them, and the seconds after which none is begun.
_BATCH: Final = 50
_AT_ONCE: Final = 4
_SECONDS: Final = 120.0
# Connections that one call of `sync_stale` enqueues.
_ENQUEUED: Final = 5_000
# Batches go to this queue, if TASKS has it: the sync after a sign-in does not wait behind them then.
_QUEUE: Final = "eprospera"


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
def sync_batch(connection_ids: list[str]) -> dict[str, int]:
    """Sync those of the connections that are still due, several at a time. Begins none after two minutes.

    What it leaves, for that reason or because its worker was killed, is due and thus in a batch of a later `sync_stale`.
    """
    ends = time.monotonic() + _SECONDS
    synced = failed = 0
    with closing(sync_due(only=connection_ids, concurrency=_threads())) as reports:
        for _, report in reports:
            synced += 1
            failed += report.failed_entirely or bool(report.receiver_errors)
            if time.monotonic() > ends:
                break
    return {"synced": synced, "failed": failed}


def _threads() -> int:
    # Each thread has a database connection: SQLite has one writer, and another connection does not see an open transaction.
    connection = connections[router.db_for_write(Connection)]
    return 1 if connection.vendor == "sqlite" or connection.in_atomic_block else _AT_ONCE


@task()
def sync_stale() -> dict[str, int]:
    """Enqueue batches of the connections that are due, and evaluate the reviews that are. Enqueue it every few minutes.

    Nothing is claimed here: a batch that is enqueued twice, or lost, syncs nothing twice and loses nothing.
    """
    kyc.evaluate_due()
    ids = [str(pk) for pk in due(timezone.now()).values_list("pk", flat=True)[:_ENQUEUED]]
    batches = [ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH)]
    task = sync_batch.using(queue_name=_QUEUE) if _QUEUE in sync_batch.get_backend().queues else sync_batch
    for batch in batches:
        task.enqueue(batch)
    return {"connections": len(ids), "batches": len(batches)}


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
