"""CPU time of this process and of its PostgreSQL backend."""

import time
from pathlib import Path

from django.db import connection

__all__ = ["Meter"]


class Meter:
    """Seconds of CPU spent inside `with meter:` blocks: `own` by this process, `backend` by its PostgreSQL backend.

    `backend` stays 0 where the server runs on another host, or /proc has no `schedstat`.
    """

    def __init__(self):
        connection.ensure_connection()
        self._stat = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
        self.own = self.backend = 0.0

    @property
    def total(self):
        return self.own + self.backend

    def __enter__(self):
        self._backend, self._own = self._backend_time(), time.process_time()

    def __exit__(self, *_):
        self.own += time.process_time() - self._own
        self.backend += self._backend_time() - self._backend

    def _backend_time(self):
        try:
            return int(self._stat.read_text().split()[0]) / 1e9
        except OSError:
            return 0.0
