"""A task queue that is down."""

import django

if django.VERSION >= (6, 0):
    from django.tasks.backends.base import BaseTaskBackend
else:
    from django_tasks.backends.base import BaseTaskBackend


class BrokenQueue(BaseTaskBackend):
    supports_async_task = True

    def enqueue(self, task, args, kwargs):
        raise ConnectionError("the queue at queue.internal does not answer")
