"""A second process for tests: waits for a line on standard input, then works, and prints what became of it.

`ask PK [PK …]` asks for an access token of each connection (`ask-in-transaction`, `ask-in-snapshot`: on PostgreSQL, in an
open transaction, READ COMMITTED or REPEATABLE READ), `sync PK [PK …]` syncs each,
`audit SUBJECT [SUBJECT …]` adds audit entries, `manage COMMAND [ARGUMENT …]` runs a
command. The environment says against which provider (WORKER_PROVIDER, WORKER_CLIENT, WORKER_SECRET), under which settings
(WORKER_SETTINGS, a JSON object), and by how many seconds the process's clock is wrong (WORKER_CLOCK).
With WORKER_DIES the process kills itself (SIGKILL) at its so-many-th function call after a refresh token has arrived.
"""

import json
import os
import signal
import sys

import django
from django.conf import settings
from django.core.management import call_command


def ask(pk):
    from django_eprospera.errors import EprosperaError
    from django_eprospera.models import Connection
    from django_eprospera.tokens import access_token

    try:
        return access_token(Connection.objects.get(pk=pk))
    except EprosperaError as error:
        return type(error).__name__


def ask_in_transaction(pk, isolation="READ COMMITTED"):
    from django.db import connection, transaction

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        return ask(pk)


def ask_in_snapshot(pk):
    return ask_in_transaction(pk, "REPEATABLE READ")


def sync(pk):
    from django_eprospera.models import Connection
    from django_eprospera.sync import sync

    return sync(Connection.objects.get(pk=pk)).failed


def audit(subject):
    from django_eprospera.audit import record
    from django_eprospera.models import AuditEntry

    return record(AuditEntry.Action.VIEWED, subject).position


def die_after_arrival(calls):
    """Kill this process at the so-many-th function call after `recv_into` has returned bytes with a refresh token."""
    seen = None

    def count(frame, event, _argument):
        nonlocal seen
        if seen is not None:
            seen += event in ("call", "c_call")
            if seen == calls:
                os.kill(os.getpid(), signal.SIGKILL)
        elif event == "c_return" and frame.f_code.co_name == "recv_into" and b'"rt_' in bytes(frame.f_locals["buffer"]):
            seen = 0

    sys.setprofile(count)


def work():
    django.setup()
    settings.EPROSPERA_BASE_URL = os.environ["WORKER_PROVIDER"]
    settings.SOCIAL_AUTH_EPROSPERA_KEY = os.environ["WORKER_CLIENT"]
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = os.environ["WORKER_SECRET"]
    for name, value in json.loads(os.environ.get("WORKER_SETTINGS", "{}")).items():
        setattr(settings, name, value)
    print("ready", flush=True)
    sys.stdin.readline()
    if calls := int(os.environ.get("WORKER_DIES", 0)):
        die_after_arrival(calls)
    kind, *arguments = sys.argv[1:]
    if kind == "manage":
        call_command(*arguments)
        return
    known = {
        "ask": ask, "ask-in-transaction": ask_in_transaction, "ask-in-snapshot": ask_in_snapshot, "sync": sync, "audit": audit,
    }  # fmt: skip
    for pk in arguments:
        print(pk, known[kind](pk), flush=True)


def main():
    if offset := float(os.environ.get("WORKER_CLOCK", 0)):
        import time

        import time_machine

        with time_machine.travel(time.time() + offset, tick=True):
            work()
    else:
        work()


if __name__ == "__main__":
    main()
