"""Figures of tokens, on PostgreSQL against a sandbox: a herd of processes, SIGKILL, rollbacks, wrong clocks, ends in a sync.

    DATABASE_URL=postgres://postgres@127.0.0.1/bench python -m benchmarks.tokens [herd] [kill] [aim] [rollback] [clock] [end]

The database is emptied. Everything is counted at the sandbox and in the database; nothing is taken from the code's word.
"""

from __future__ import annotations

import mmap
import os
import random
import re
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
import django
import time_machine

django.setup()

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection as database
from django.db import connections
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone

from django_eprospera.errors import EprosperaError, GrantGone
from django_eprospera.models import Connection, PendingRevocation
from django_eprospera.provider.configured import client
from django_eprospera.tokens import access_token
from tests.sandbox_process import LUCIA, PEOPLE, SandboxProcess
from tests.tokens.test_ending import ENDS, OF_A_PERSON, end_during_sync

SCOPE = "offline_access eprospera:person.residency.read"


def fill(sandbox, count, people=None):
    """`count` connections of real grants, their access tokens over; with `people` one of each, with ID tokens."""
    scope = f"openid {SCOPE}" if people else SCOPE
    Connection.objects.all().delete()
    PendingRevocation.objects.all().delete()
    get_user_model().objects.all().delete()
    sandbox.control("reset")
    if people:
        grants = [sandbox.mint(sub=sub, scopes=scope)[0] for sub in people]
    else:
        grants = sandbox.mint(sub=LUCIA, scopes=scope, count=count)
    users = get_user_model().objects.bulk_create(
        get_user_model()(username=f"bench-{number}") for number in range(count)
    )
    now = timezone.now()
    Connection.objects.bulk_create(
        Connection(
            user=user, issuer=sandbox.url, sub=sub, client_id=sandbox.client_id, scope=scope, signed_in_at=now,
            access_token=grant["access_token"], access_token_expires_at=now - timedelta(days=2),
            refresh_token=grant["refresh_token"], refresh_token_expires_at=now + timedelta(days=180),
        )
        for user, grant, sub in zip(users, grants, people or [user.username for user in users], strict=True)
    )  # fmt: skip
    sandbox.control("stats", "DELETE")
    return list(Connection.objects.values_list("pk", flat=True))


def still_good(sandbox):
    """How many connections hold an access token that the provider takes, and how many are gone, by cause."""
    good, gone = 0, Counter()
    for connection in Connection.objects.all():
        try:
            token = access_token(connection)
        except GrantGone as error:
            gone[error.cause] += 1
        else:
            good += sandbox.get("/api/v1/me/natural-person/residency", token).status_code == 200
    return good, dict(gone)


def fork(work):
    """Run `work` in a process with database connections of its own; returns its pid."""
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        random.seed()
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def herd(sandbox, processes=50, count=200):
    pks = fill(sandbox, count)
    started = time.monotonic()
    start_at = started + 3

    def ask():
        order = random.sample(pks, len(pks))
        time.sleep(max(0.0, start_at - time.monotonic()))
        for pk in order:
            access_token(Connection.objects.get(pk=pk))

    pids = [fork(ask) for _ in range(processes)]
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    took = time.monotonic() - start_at
    stats = sandbox.control("stats")
    good, gone = still_good(sandbox)
    print(f"herd: {processes} processes × the same {count} expired connections, {took:.1f} s")
    print(
        f"  refresh requests at the provider {stats['refresh_requests']} (goal {count}), reuse {stats['refresh_token_reuse']}"
    )
    print(f"  processes that failed {failed}, tokens lost {count - good}, gone {gone or 'none'}")


def kill(sandbox, kills=2000):
    """Children refresh one connection after the other and are killed at random instants after their first answer."""

    def at_random(arrived):
        wait_for_arrival(arrived, pause=0.001)
        time.sleep(random.uniform(0.0, 0.1))

    print(f"kill: {kills} SIGKILLs at random instants")
    report_kills(sandbox, kills, at_random)


def aim(sandbox, kills=500):
    """Children are killed within 300 microseconds of the arrival of an answer."""

    def after_arrival(arrived):
        wait_for_arrival(arrived)
        moment = time.perf_counter() + random.uniform(0.0, 0.0003)
        while time.perf_counter() < moment:
            pass

    print(f"aim: {kills} SIGKILLs within 300 µs of the arrival of an answer")
    report_kills(sandbox, kills, after_arrival)


def wait_for_arrival(arrived, pause=0.0):
    end = time.monotonic() + 5
    while not any(arrived[:4]) and time.monotonic() < end:
        if pause:
            time.sleep(pause)


def report_kills(sandbox, kills, wait, connections=1000):
    """Kill as many children, each after `wait`, and count the refresh tokens that had arrived and are lost."""
    settings.EPROSPERA_REFRESH_LEASE = timedelta(seconds=2)
    settings.EPROSPERA_REFRESH_WAIT = timedelta(seconds=0.02)
    total, causes, left = Counter(), Counter(), kills
    with TemporaryDirectory() as folder, arriving() as arrived:
        settings.EPROSPERA_SPOOL = Path(folder) / "spool"
        while left:
            pks, received = fill(sandbox, connections), set()
            due = Connection.objects.filter(state="active", access_token_expires_at__lt=timezone.now())

            def work(pks=pks):
                for pk in random.sample(pks, len(pks)):
                    with suppress(EprosperaError):
                        access_token(Connection.objects.get(pk=pk))

            client().discovery()  # remembered by the children
            while left and due.count() > connections / 10:
                arrived[:] = bytes(len(arrived))
                pid = fork(work)
                wait(arrived)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                left -= 1
                received.update(REFRESH_TOKEN.findall(arrived))
            refreshes = sandbox.control("stats")["refreshes"]
            time.sleep(2)
            for connection in Connection.objects.filter(refresh_sent_at__isnull=False):
                with suppress(EprosperaError):
                    access_token(connection)  # what is in the spool is committed
            rows = Connection.objects.all()
            kept = {row.refresh_token.encode() for row in rows.filter(state="active")}
            total.update(refreshes=refreshes, received=len(received), lost=len(received - kept))
            causes.update(rows.filter(state="reauthorize").values_list("state_cause", flat=True))
    print(f"  refreshes at the provider {total['refreshes']}")
    print(f"  new tokens that reached a process {total['received']}, of these lost {total['lost']}")
    print(f"  connections gone {dict(causes) or 'none'} (the lost ones, and answers that never reached a process)")


REFRESH_TOKEN = re.compile(rb'"refresh_token": ?"([^"]+)')


@contextmanager
def arriving(size=4 * 1024 * 1024):
    """Memory that survives a child and gets every answer with a refresh token that its sockets return."""
    memory, real = mmap.mmap(-1, size), socket.socket.recv_into

    def recv_into(self, buffer, *more):
        read = real(self, buffer, *more)
        if b'"refresh_token":' in (piece := bytes(buffer[:read])):
            start = int.from_bytes(memory[:4]) or 4
            memory[start : start + read] = piece
            memory[:4] = (start + read).to_bytes(4)
        return read

    socket.socket.recv_into = recv_into
    try:
        yield memory
    finally:
        del socket.socket.recv_into
        memory.close()


def refresh_and_fail(request, pk):
    access_token(Connection.objects.get(pk=pk))
    raise ZeroDivisionError


urlpatterns = [path("<uuid:pk>/", refresh_and_fail), path("", lambda request: HttpResponse())]


def rollback(sandbox, requests=1000):
    pks = fill(sandbox, requests)
    browser = Client(raise_request_exception=False)
    database.settings_dict["ATOMIC_REQUESTS"] = True
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        answers = Counter(browser.get(f"/{pk}/").status_code for pk in pks)
    database.settings_dict["ATOMIC_REQUESTS"] = False
    stats = sandbox.control("stats")
    good, gone = still_good(sandbox)
    print(f"rollback: {requests} requests under ATOMIC_REQUESTS that fail after refreshing: {dict(answers)}")
    print(
        f"  refreshes {stats['refreshes']}, connections good {good}, dead {requests - good} (goal 0), gone {gone or 'none'}"
    )


OFFSETS = {
    "-1 day": -86_400, "-2 h": -7_200, "-1 h": -3_600, "-90 s": -90,
    "+90 s": 90, "+1 h": 3_600, "+2 h": 7_200, "+1 day": 86_400,
}  # fmt: skip


def clock(sandbox, rounds=10):
    """Refreshes in a process whose clock is wrong."""
    for name, offset in OFFSETS.items():
        ended = asked = 0
        for _ in range(rounds):
            pks = fill(sandbox, len(PEOPLE), PEOPLE)

            def ask(pks=pks, offset=offset):
                with time_machine.travel(time.time() + offset, tick=True):
                    for pk in pks:
                        try:
                            access_token(Connection.objects.get(pk=pk))
                        except EprosperaError:
                            continue

            os.waitpid(fork(ask), 0)
            asked += sandbox.control("stats")["refreshes"]
            ended += Connection.objects.exclude(state="active").count()
        print(f"clock {name:>6}: {asked} refreshes, grants ended {ended} (goal 0)")


def end(sandbox, times=200):
    """Connections that end, or whose users are deleted, while two syncs of them run."""
    sandbox.control("reset")
    for name, ends in ENDS.items():
        failed, left = Counter(), 0
        for _ in range(times):
            try:
                end_during_sync(sandbox, ends, random.uniform(0.0, 0.4))
            except Exception as error:  # noqa: BLE001 - each is counted
                failed[type(error).__name__] += 1
            left += any(model.objects.exists() for model in (*OF_A_PERSON, PendingRevocation))
        print(f"end: {name} during a sync, {times} times: failed {dict(failed) or 0}, left something {left} (goal 0)")


def main():
    if database.vendor != "postgresql":
        sys.exit("Set DATABASE_URL to a PostgreSQL database that may be emptied.")
    import logging

    logging.disable(logging.CRITICAL)
    call_command("migrate", verbosity=0)
    chosen = sys.argv[1:] or ["herd", "kill", "aim", "rollback", "clock", "end"]
    with SandboxProcess() as sandbox:
        settings.EPROSPERA_BASE_URL = sandbox.url
        settings.SOCIAL_AUTH_EPROSPERA_KEY = sandbox.client_id
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = sandbox.client_secret
        for name in chosen:
            {"herd": herd, "kill": kill, "aim": aim, "rollback": rollback, "clock": clock, "end": end}[name](sandbox)


if __name__ == "__main__":
    main()
