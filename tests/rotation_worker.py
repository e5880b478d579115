"""`eprospera_rotate_keys` in a process of its own, which can kill itself at a chosen UPDATE.

WORKER_KEYS is FIELD_ENCRYPTION_KEY, comma-separated. WORKER_DIES is empty or `before:3` or `after:3`: SIGKILL just before the
third UPDATE is sent, or after it was sent and before its transaction is committed. With WORKER_WAITS it prints "waiting"
before it opens the first file, and goes on after a line on standard input. The arguments are the command's.
"""

import os
import signal
import sys

import django
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.core.management import execute_from_command_line
from django.db.backends.signals import connection_created


class WaitingStorage(FileSystemStorage):
    has_waited = False

    def _open(self, name, mode="rb"):
        if not self.has_waited:
            self.has_waited = True
            print("waiting", flush=True)
            sys.stdin.readline()
        return super()._open(name, mode)


def main():
    settings.FIELD_ENCRYPTION_KEY = os.environ["WORKER_KEYS"].split(",")
    if os.environ.get("WORKER_WAITS"):
        settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": "tests.rotation_worker.WaitingStorage"}}
    django.setup()
    moment, _, number = os.environ.get("WORKER_DIES", "").partition(":")
    seen = 0

    def die_at(execute, sql, parameters, many, context):
        nonlocal seen
        counts = sql.startswith("UPDATE")
        seen += counts
        if counts and moment == "before" and seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        result = execute(sql, parameters, many, context)
        if counts and moment == "after" and seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    connection_created.connect(lambda connection, **_: connection.execute_wrappers.append(die_at), weak=False)
    execute_from_command_line(["manage.py", "eprospera_rotate_keys", "--skip-checks", *sys.argv[1:]])


if __name__ == "__main__":
    main()
