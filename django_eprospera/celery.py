"""Backend of Django's Tasks that hands them to Celery: docs/workers.md#celery.

Imported where TASKS names it and nowhere else, so that only such a site needs Celery.
"""

from __future__ import annotations

import uuid
from typing import Any

import django
from celery import shared_task
from django.core.exceptions import SuspiciousOperation
from django.utils import timezone
from django.utils.module_loading import import_string

if django.VERSION >= (6, 0):
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskResult, TaskResultStatus
    from django.tasks.exceptions import InvalidTask
    from django.tasks.signals import task_enqueued
else:
    from django_tasks.backends.base import BaseTaskBackend  # type: ignore[no-redef]
    from django_tasks.base import Task, TaskResult, TaskResultStatus  # type: ignore[no-redef]
    from django_tasks.exceptions import InvalidTaskError as InvalidTask  # type: ignore[no-redef]
    from django_tasks.signals import task_enqueued  # type: ignore[no-redef]

__all__ = ["CeleryBackend", "run"]


@shared_task(name="django_eprospera.celery.run", ignore_result=True)  # type: ignore[untyped-decorator]
def run(path: str, args: list[Any] | None = None, kwargs: dict[str, Any] | None = None) -> None:
    """Run the task of Django's at a dotted path. Raises SuspiciousOperation for a path of anything else."""
    task = import_string(path)
    if not isinstance(task, Task):
        raise SuspiciousOperation(f"A message names {path}, which is no task of Django's Tasks. It was not run.")
    task.call(*(args or ()), **(kwargs or {}))


class CeleryBackend(BaseTaskBackend):  # type: ignore[misc,unused-ignore]
    """Sends each task as a message for `run`. Results are not kept."""

    supports_defer = True
    supports_async_task = True

    def validate_task(self, task: Any) -> None:
        """Raise InvalidTask for a task that cannot run here: one that takes a context, too."""
        super().validate_task(task)
        if task.takes_context:
            raise InvalidTask("This backend gives tasks no context: define the task without takes_context.")

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Send the message. Raises kombu's OperationalError when the broker cannot be reached."""
        self.validate_task(task)
        result: Any = TaskResult(
            task=task, id=str(uuid.uuid4()), status=TaskResultStatus.READY, enqueued_at=timezone.now(), started_at=None,
            finished_at=None, last_attempted_at=None, args=args, kwargs=kwargs, backend=self.alias, errors=[], worker_ids=[],
        )  # fmt: skip
        queue = {} if task.queue_name == "default" else {"queue": task.queue_name}
        run.apply_async((task.module_path, args, kwargs), task_id=result.id, eta=task.run_after, **queue)
        task_enqueued.send(type(self), task_result=result)
        return result
