"""Sync of many connections, several at a time, within the rate of the site. Stops early when the site pauses."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from django.db import connections
from django.utils import timezone

from django_eprospera import pace
from django_eprospera.models import Connection
from django_eprospera.sync import SyncReport, sync
from django_eprospera.sync.schedule import claim_due, due

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator

    from django_eprospera.pace import Turn

    One = Callable[[uuid.UUID, Turn], SyncReport | None]
    Done = tuple[uuid.UUID, SyncReport]

__all__ = ["sync_due", "sync_each"]

# Requests for which a batch waits: those that a connection costs at least, with all scopes.
_REQUESTS: Final = 4


def sync_each(connection_ids: Iterable[uuid.UUID], *, concurrency: int = 1, repair: bool = False) -> Generator[Done]:
    """Sync the connections, `concurrency` at a time, and yield the report of each as it is done.

    Keeps to EPROSPERA_RATE, and ends early when the site pauses (see `pace`). With a concurrency of 1 everything runs in the
    caller's thread, else in threads with database connections of their own. `repair` is as in `sync`.
    """

    def one(pk: uuid.UUID, turn: Turn) -> SyncReport | None:
        connection = Connection.objects.filter(pk=pk).first()
        return None if connection is None else sync(connection, repair=repair, turn=turn)

    return _run(connection_ids, one, concurrency)


def sync_due(limit: int = 100, *, only: Collection[str] | None = None, concurrency: int = 1) -> Generator[Done]:
    """Sync up to `limit` connections that are due, or those of the IDs in `only`; yield the report of each as `sync_each` does.

    Only answers that are old are requested. Several processes share the work.
    """
    rows = due(timezone.now())
    if only is not None:
        rows = rows.filter(pk__in=only)
    waiting = list(rows.values_list("pk", flat=True)[:limit])
    return _run(waiting, _sync_old, concurrency)


def _sync_old(pk: uuid.UUID, turn: Turn) -> SyncReport | None:
    return sync(Connection(pk=pk), only_old=True, turn=turn) if claim_due(pk) else None


def _in_turn(ids: Iterator[uuid.UUID], one: One, sleep: Callable[[float], bool | None]) -> Generator[Done]:
    """Sync one after another. What was not begun when the site pauses stays as it is."""
    turn: Turn | None = None
    try:
        for pk in ids:
            turn = turn or pace.turn(_REQUESTS, sleep=sleep)
            report = one(pk, turn)
            if report is not None:
                turn = None
                yield pk, report
    except pace.SitePaused:
        return
    finally:
        if turn is not None:
            turn.finish([], "")


def _run(ids: Iterable[uuid.UUID], one: One, concurrency: int) -> Generator[Done]:
    if concurrency == 1:
        yield from _in_turn(iter(ids), one, time.sleep)
        return
    waiting, stopping = iter(ids), threading.Event()
    lock = threading.Lock()

    def shared() -> Generator[uuid.UUID]:
        while not stopping.is_set():
            with lock:
                pk = next(waiting, None)
            if pk is None:
                return
            yield pk

    done: SimpleQueue[Done | BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            for each in _in_turn(shared(), one, stopping.wait):
                done.put(each)
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
