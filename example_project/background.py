"""Task backend that runs each task in a thread of the web process, so that `runserver` needs no worker.

A task that has not finished when the process is killed is lost. Real sites (and `make demo`) set TASK_BACKEND to a durable
backend and run its worker.
"""

from __future__ import annotations

import threading
from typing import Any

import django
from django.db import connections

if django.VERSION >= (6, 0):
    from django.tasks.backends import immediate
else:
    from django_tasks.backends import immediate  # type: ignore[no-redef,unused-ignore]

__all__ = ["ThreadBackend"]


class ThreadBackend(immediate.ImmediateBackend):  # type: ignore[misc,name-defined,unused-ignore]
    """Runs each task immediately, in a thread of its own. The process waits for the thread, so no refresh is cut off."""

    def _execute_task(self, task_result: Any) -> None:
        threading.Thread(target=self._run, args=(task_result,), name="task").start()

    def _run(self, task_result: Any) -> None:
        try:
            super()._execute_task(task_result)  # type: ignore[misc,unused-ignore]
        finally:
            connections.close_all()
