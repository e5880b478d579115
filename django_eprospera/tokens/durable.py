"""Writes that stay committed although the caller's transaction may roll back.

Outside a transaction, the work runs directly. Inside one, it runs in a thread with a database connection of its own, which is
closed while the work sleeps. SQLite has one writer, so the second connection would wait for the first forever: the work is
refused instead. The transaction that `TestCase` wraps a test in does not count, because no other connection could see its rows.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from django.db import connections, transaction

from django_eprospera.errors import RefreshRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["in_transaction", "run", "short_lock_wait", "sleep"]

T = TypeVar("T")

# How long a statement waits for a locked row, in milliseconds.
_LOCK_WAIT = 2_000
_thread = threading.local()


def in_transaction(alias: str) -> bool:
    """Return whether the caller has an open transaction (`atomic()`, ATOMIC_REQUESTS, autocommit off)."""
    connection = connections[alias]
    if not connection.in_atomic_block:
        return not connection.get_autocommit()
    # `_from_testcase` is what atomic(durable=True) itself looks at.
    return not any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def run(alias: str, work: Callable[[], T]) -> T:
    """Run `work` so that what it commits stays committed. Raises RefreshRefused where the database cannot promise that."""
    if not in_transaction(alias):
        return work()
    if connections[alias].vendor == "sqlite":
        raise RefreshRefused(
            "A token has to be refreshed, but a transaction is open, and SQLite could not keep the new token if it rolls back. "
            "Nothing was spent. Ask for the access token before the transaction begins (with ATOMIC_REQUESTS: mark the view "
            "with transaction.non_atomic_requests), or use PostgreSQL."
        )
    return _in_thread(work)


def sleep(seconds: float) -> None:
    """Sleep. Inside `run`, a second database connection is closed meanwhile; the next query opens another."""
    if getattr(_thread, "is_ours", False):
        connections.close_all()
    time.sleep(seconds)


@contextmanager
def short_lock_wait(alias: str) -> Iterator[None]:
    """Transaction in which no statement waits longer than two seconds for a row lock: it raises OperationalError then."""
    with transaction.atomic(using=alias):
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {_LOCK_WAIT}")
        yield


def _in_thread(work: Callable[[], T]) -> T:
    outcome: Future[T] = Future()

    def target() -> None:
        _thread.is_ours = True
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            outcome.set_exception(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=target, name="eprospera-durable")
    thread.start()
    thread.join()
    return outcome.result()
