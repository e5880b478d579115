"""How does a task run beside the request when no worker process is there? In a thread of the site.

`runserver` alone needs nothing more. A task that waits when the process ends is lost, so a real site (and `make demo`)
sets TASK_BACKEND to a durable backend and runs its worker.
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
    """Runs each task at once, in a thread of its own. The thread ends before the process does: no refresh is cut off."""

    def _execute_task(self, task_result: Any) -> None:
        threading.Thread(target=self._run, args=(task_result,), name="task").start()

    def _run(self, task_result: Any) -> None:
        try:
            super()._execute_task(task_result)  # type: ignore[misc,unused-ignore]
        finally:
            connections.close_all()
