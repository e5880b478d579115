"""Sync of many connections, several at a time. Stops early when the provider is down."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from django.db import connections
from django.utils import timezone

from django_eprospera.models import Connection
from django_eprospera.sync import SyncReport, sync
from django_eprospera.sync.schedule import claim_due, due

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Generator, Iterable, Iterator

    Done = tuple[uuid.UUID, SyncReport]

__all__ = ["sync_due", "sync_each"]

# After so many connections in a row that failed entirely, the provider is taken to be down.
_ENOUGH: Final = 3
_DOWN: Final = frozenset({"rate_limited", "unavailable"})


def sync_each(connection_ids: Iterable[uuid.UUID], *, concurrency: int = 1, repair: bool = False) -> Generator[Done]:
    """Sync the connections, `concurrency` at a time, and yield the report of each as it is done.

    Ends early when the provider seems to be down. With a concurrency of 1 everything runs in the caller's thread, else in
    threads with database connections of their own. `repair` is as in `sync`.
    """

    def one(pk: uuid.UUID) -> SyncReport | None:
        connection = Connection.objects.filter(pk=pk).first()
        return None if connection is None else sync(connection, repair=repair)

    return _until_down(_run(connection_ids, one, concurrency))


def sync_due(limit: int = 100, *, concurrency: int = 1) -> Generator[Done]:
    """Sync up to `limit` connections that are due, and yield the report of each, as `sync_each` does.

    Only answers that are old are requested. Several processes share the work.
    """
    waiting = list(due(timezone.now()).values_list("pk", flat=True)[:limit])
    return _until_down(_run(waiting, _sync_old, concurrency))


def _sync_old(pk: uuid.UUID) -> SyncReport | None:
    return sync(Connection(pk=pk), only_old=True) if claim_due(pk) else None


def _until_down(done: Iterator[Done]) -> Generator[Done]:
    in_vain = 0
    for pk, report in done:
        yield pk, report
        in_vain = in_vain + 1 if report.failed_entirely and _DOWN.issuperset(report.failed.values()) else 0
        if in_vain == _ENOUGH:
            return


def _run(ids: Iterable[uuid.UUID], one: Callable[[uuid.UUID], SyncReport | None], concurrency: int) -> Iterator[Done]:
    if concurrency == 1:
        for pk in ids:
            if (report := one(pk)) is not None:
                yield pk, report
        return
    waiting, stopping = iter(ids), threading.Event()
    lock = threading.Lock()
    done: SimpleQueue[Done | BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            while not stopping.is_set():
                with lock:
                    pk = next(waiting, None)
                if pk is None:
                    break
                if (report := one(pk)) is not None:
                    done.put((pk, report))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            done.put(error)
        finally:
            connections.close_all()
            done.put(None)

    threads = [threading.Thread(target=work, name=f"eprospera-sync-{n}") for n in range(concurrency)]
    for thread in threads:
        thread.start()
    running = concurrency
    try:
        while running:
            match done.get():
                case None:
                    running -= 1
                case BaseException() as error:
                    raise error
                case found:
                    yield found
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
