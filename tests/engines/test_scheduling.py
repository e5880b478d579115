"""Cron, Celery beat and django-crontask as docs/workers.md has them: what is due is synced."""

import shlex

import django
import pytest

from tests.engines.conftest import ENGINES, unfinished, wait_until
from tests.engines.mysite import commands

pytestmark = pytest.mark.usefixtures("due")


def test_cron(new_site):
    site = new_site("django-tasks-db")
    site.run(commands("django-tasks-db")[0])
    here, enqueue, *nightly = commands("cron")
    assert [shlex.split(line)[2] for line in (here, enqueue)] == ["eprospera_sync"] * 2

    site.run(here)
    assert not unfinished()

    for line in nightly:
        site.run(line)
    assert site.run(enqueue) == "0 connections enqueued.\n"


def test_celery_beat(new_site, redis):
    section, _ = ENGINES["Celery on Redis"]
    site = new_site(section, "Celery beat", REDIS_URL=redis, BROKER_URL=redis)
    site.add("settings.py", "CELERY_BEAT_SCHEDULE['eprospera_sync']['schedule'] = 1.0\n")
    (worker,), (beat,) = commands(section), commands("Celery beat")

    site.start(worker, "worker")
    site.start(beat, "beat")

    wait_until(lambda: not unfinished(), "beat enqueues, and the worker syncs")


@pytest.mark.skipif(django.VERSION < (6, 0), reason="django-crontask is made for the Tasks of Django 6")
def test_crontask(new_site):
    heading = "A scheduler of Django's Tasks"
    site = new_site("django-tasks-db", heading)
    site.add("settings.py", "INSTALLED_APPS += ['crontask', 'mysite']\n")
    site.add(
        "tasks.py",
        """
        from apscheduler.triggers.interval import IntervalTrigger
        from crontask import scheduler

        for job in scheduler.get_jobs():
            if job.name == "sync_stale":
                job.reschedule(IntervalTrigger(seconds=1))
        """,
    )
    prepare, worker = commands("django-tasks-db")
    site.run(prepare)
    (crontask,) = commands(heading)

    site.start(worker, "worker")
    site.start(crontask, "crontask")

    wait_until(lambda: not unfinished(), "crontask enqueues, and the worker syncs")
