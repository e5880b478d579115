"""Figures of workers: connections per second and per CPU second on each engine of docs/workers.md, and memory of a worker.

    make .venv/.engines && make bench ARGS=workers
    DATABASE_URL=postgres://postgres@127.0.0.1/bench python -m benchmarks.workers [speed] [memory]

The database is emptied. A sync gets two answers in which nothing changed. The provider, a sandbox in one process of this
machine, takes 100 ms for each (none for the memory). CPU is that of the workers' processes.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
import django

django.setup()

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection as database
from django.db.models import Min
from django.utils import timezone

from benchmarks.machine import Machine
from django_eprospera.models import Connection
from tests.engines import brokers
from tests.engines.conftest import ENGINES
from tests.engines.mysite import Site, commands
from tests.sandbox_process import OTTO, SandboxProcess

SCOPE = "offline_access eprospera:person.details.read eprospera:person.residency.read"
LATENCY = 0.1
ENQUEUE = "python manage.py eprospera_sync --enqueue"


def fill(sandbox, count):
    """`count` connections of real grants, due now."""
    call_command("flush", interactive=False, verbosity=0)
    sandbox.control("reset")
    grants = sandbox.mint(OTTO, SCOPE, count=count, access_token_expires_in=86_400)
    users = get_user_model().objects.bulk_create(get_user_model()(username=f"bench-{n}") for n in range(count))
    now = timezone.now()
    Connection.objects.bulk_create(
        Connection(
            user=user, issuer=sandbox.url, sub=user.username, client_id=sandbox.client_id, scope=SCOPE, signed_in_at=now,
            access_token=grant["access_token"], access_token_expires_at=now + timedelta(days=1),
            refresh_token=grant["refresh_token"], refresh_token_expires_at=now + timedelta(days=180),
        )
        for user, grant in zip(users, grants, strict=True)
    )  # fmt: skip


def make_due():
    """Make every connection due, and each of its answers old."""
    long_ago = timezone.now() - timedelta(days=2)
    with database.cursor() as cursor:
        cursor.execute("UPDATE django_eprospera_resourcestate SET synced_at = %s, attempted_at = %s", [long_ago] * 2)
    Connection.objects.update(next_sync_at=timezone.now())


def wait_until_synced(workers):
    soon = timezone.now() + timedelta(hours=1)
    while Connection.objects.filter(next_sync_at__lt=soon).exists():
        if ended := [worker.command for worker in workers if worker.process.poll() is not None]:
            sys.exit(f"A worker has ended, and nothing can be said: {ended[0]}")
        time.sleep(0.02)


def family(pid):
    """The process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu(workers):
    ticks = 0
    for worker in workers:
        for pid in family(worker.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(worker):
    """Kilobytes that are resident, of the largest process."""
    lines = "".join(Path(f"/proc/{pid}/status").read_text() for pid in family(worker.pid)).splitlines()
    return max(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def work(site, engine, count):
    """Start workers, and wait until each has imported everything."""
    section, _ = ENGINES[engine]
    *prepare, command = commands(section)
    for each in prepare:
        site.run(each)
    # One process that works, so that the engines can be compared.
    command = command.replace("--concurrency 2", "--concurrency 1")
    workers = [site.start(command + (f" -n w{n}@%h" if section == "Celery" else ""), f"w{n}") for n in range(count)]
    make_due()
    site.run(ENQUEUE)
    wait_until_synced(workers)
    return workers


def speed(sandbox, urls, engine, count=300):
    for number in (1, 2, 4):
        fill(sandbox, count * number)
        with TemporaryDirectory() as folder:
            site = Site(folder, sandbox, os.environ["DATABASE_URL"], ENGINES[engine][0])
            site.environment |= urls[engine]
            try:
                workers = work(site, engine, number)
                sandbox.fault("/api/v1/*", delay=LATENCY)
                make_due()
                used = cpu(workers)
                Connection.objects.update(sync_requested_at=None)
                site.run(ENQUEUE)
                wait_until_synced(workers)
                used = cpu(workers) - used
                began = Connection.objects.aggregate(first=Min("sync_requested_at"))["first"]
                took = (timezone.now() - began).total_seconds()
            finally:
                site.stop()
        print(
            f"speed: {engine}, {number} workers: {count * number / took:.1f} connections per second, "
            f"{count * number / used:.0f} per CPU second of the workers",
            flush=True,
        )


def grow(sandbox, urls, engine, count=1_000, rounds=10):
    fill(sandbox, 100)
    with TemporaryDirectory() as folder:
        site = Site(folder, sandbox, os.environ["DATABASE_URL"], ENGINES[engine][0])
        site.environment |= urls[engine]
        try:
            (worker,) = work(site, engine, 1)
            first = memory(worker)
            fill(sandbox, count)
            for _ in range(rounds):
                make_due()
                site.run(ENQUEUE)
                wait_until_synced([worker])
            last = memory(worker)
        finally:
            site.stop()
    print(
        f"memory: {engine}: {first / 1024:.1f} MB after 100 syncs, {last / 1024:.1f} MB after {100 + count * rounds:,}: "
        f"{last / first:.3f} × (goal 1.1)",
        flush=True,
    )


def main():
    if database.vendor != "postgresql":
        sys.exit("Set DATABASE_URL to a PostgreSQL database that may be emptied.")
    call_command("migrate", verbosity=0)
    chosen, machine = sys.argv[1:] or ["speed", "memory"], Machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        redis, rabbitmq = (stack.enter_context(each(folder)) for each in (brokers.redis, brokers.rabbitmq))
        of = {None: "", "redis": redis, "rabbitmq": rabbitmq}
        urls = {name: {"REDIS_URL": of[server], "BROKER_URL": of[server]} for name, (_, server) in ENGINES.items()}
        sandbox = stack.enter_context(SandboxProcess())
        settings.EPROSPERA_BASE_URL = sandbox.url
        settings.SOCIAL_AUTH_EPROSPERA_KEY = sandbox.client_id
        for name in chosen:
            for engine in ENGINES:
                {"speed": speed, "memory": grow}[name](sandbox, urls, engine)
    print(machine.describe())


if __name__ == "__main__":
    main()
