"""Two workers of each engine share what is due; one is killed in the middle, and nothing is lost or done twice."""

import json
import threading
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection as database
from django.db import connections, transaction
from django.utils import timezone

from django_eprospera.models import Connection
from tests.engines.conftest import ENGINES, unfinished, wait_until
from tests.engines.mysite import commands

SYNC_BATCH = "django_eprospera.tasks.sync_batch"


def due_of(ids):
    return Connection.objects.filter(pk__in=ids, next_sync_at__lte=timezone.now()).exists()


def in_table(site):
    """What django-tasks-db stored: (queue, task, arguments), and the raw text."""
    with database.cursor() as cursor:
        cursor.execute("SELECT queue_name, task_path, args_kwargs, t::text FROM django_tasks_database_dbtaskresult t")
        rows = cursor.fetchall()
    read = [
        (queue, path, json.loads(given) if isinstance(given, str) else given, raw) for queue, path, given, raw in rows
    ]
    assert all(given["kwargs"] == {} for _, _, given, _ in read)
    return [(queue, path, given["args"]) for queue, path, given, _ in read], "".join(raw for *_, raw in read)


def in_rq(site):
    import redis

    client = redis.Redis.from_url(site.environment["REDIS_URL"])
    jobs, raw = [], ""
    for key in client.keys("rq:job:*"):
        job = client.hgetall(key)
        text = zlib.decompress(job.pop(b"data")).decode()
        raw += text + repr(job)
        path, _, arguments, named = json.loads(text)
        assert named == {}
        jobs.append((job[b"origin"].decode(), path, arguments))
    return jobs, raw


def in_celery(site):
    import kombu

    with kombu.Connection(site.environment["BROKER_URL"]) as broker:
        queue, jobs, raw = broker.SimpleQueue("eprospera"), [], ""
        messages = [queue.get(timeout=5) for _ in range(queue.qsize())]
        for message in messages:
            (path, arguments, named), *_ = message.payload
            assert named == {}
            jobs.append(("eprospera", path, arguments))
            raw += repr((message.body, message.headers, message.properties))
            message.requeue()
        queue.close()
    return jobs, raw


STORED = {"django-tasks-db": in_table, "RQ": in_rq, "Celery": in_celery}


def clear(section, site):
    """Leave nothing of an earlier test behind, in servers that others may have started."""
    import kombu
    import redis

    if section == "RQ":
        client = redis.Redis.from_url(site.environment["REDIS_URL"])
        for key in client.keys("rq:*"):
            client.delete(key)
    elif section == "Celery":
        with kombu.Connection(site.environment["BROKER_URL"]) as broker:
            for name in ("celery", "eprospera"):
                broker.default_channel.queue_declare(name, durable=True, auto_delete=False)
                broker.default_channel.queue_delete(name)


@pytest.fixture(params=ENGINES)
def engine(request, new_site):
    """The section of the page, and a site that is set up as it says."""
    section, server = ENGINES[request.param]
    url = request.getfixturevalue(server) if server else ""
    site = new_site(section, REDIS_URL=url, BROKER_URL=url)
    clear(section, site)
    *prepare, worker = commands(section)
    for command in prepare:
        site.run(command)
    if section == "django-tasks-db":  # the tests' own settings do not know the table, and thus do not empty it
        with database.cursor() as cursor:
            cursor.execute("TRUNCATE django_tasks_database_dbtaskresult")
    yield section, site, worker
    site.stop()
    clear(section, site)


def waiting():
    """Which workers wait for a row that somebody holds. The names are those of `Site.start`."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return {name for (name,) in cursor.fetchall()}


def forget(worker):
    """End the database connections of a killed worker, as PostgreSQL does when it finds out that nobody is there."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [worker])


def test_killed_worker(engine, due, sandbox):
    section, site, worker = engine
    ids = [str(connection.pk) for connection in due]
    secrets = [text for row in due for text in (row.access_token, row.refresh_token, row.sub, row.user.username)]
    sandbox.fault("/api/v1/*", delay=1)

    # Three schedulers at once.
    enqueue = ["python manage.py eprospera_sync --enqueue"] * 3
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(site.run, enqueue)) == ["60 connections enqueued.\n"] * 3

    jobs, raw = STORED[section](site)
    assert sorted(jobs) == sorted([("eprospera", SYNC_BATCH, [ids[:50]]), ("eprospera", SYNC_BATCH, [ids[50:]])] * 3)
    assert not [secret for secret in secrets if secret in raw]

    # The connection that waits longest is one that does not end.
    with Held(ids[:1]):
        with Held(ids[1:]):
            names = ["one", "two"]
            one, two = (site.start(worker + (f" -n {name}@%h" if section == "Celery" else ""), name) for name in names)
            wait_until(lambda: waiting() == set(names), "both workers have begun a batch")
        wait_until(lambda: one.synced() and two.synced(), "both workers sync")
        one.kill()
        assert due_of(ids[1:]), "it was killed in the middle"
        forget("one")
        sandbox.control("faults", "DELETE")
        site.run(enqueue[0])
        wait_until(
            lambda: not due_of(ids[1:50]), "the other worker goes on with the batch of the connection that is held"
        )
    wait_until(lambda: not due_of(ids), "the other worker begins everything else")
    # At most what two jobs of the killed one had begun.
    wait_until(lambda: len(unfinished()) <= 8, "the other worker finishes what it has begun")
    begun = unfinished()

    # As if a few minutes had passed.
    Connection.objects.filter(pk__in=begun).update(next_sync_at=timezone.now())
    site.run(enqueue[0])
    wait_until(lambda: not unfinished(), "the other worker syncs what was left")

    count = Counter(one.synced() + two.synced())
    assert set(count) == set(ids)
    assert {pk for pk, times in count.items() if times > 1} <= begun
    failed = Connection.objects.exclude(resources__error="") | Connection.objects.exclude(sync_error="")
    assert not failed.exists()


class Held:
    """Hold rows of connections, so that a worker waits where it claims one."""

    def __init__(self, pks):
        self.pks, self.release, self.holds = pks, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.hold)

    def hold(self):
        try:
            with transaction.atomic():
                list(Connection.objects.select_for_update().filter(pk__in=self.pks))
                self.holds.set()
                self.release.wait(150)
        finally:
            connections.close_all()

    def __enter__(self):
        self.thread.start()
        assert self.holds.wait(10)

    def __exit__(self, *_):
        self.release.set()
        self.thread.join()
