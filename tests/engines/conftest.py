"""A site with workers, on PostgreSQL, for each engine."""

import time
from datetime import timedelta

import pytest
from django.db import connection as database
from django.utils import timezone

from django_eprospera.models import Connection
from django_eprospera.testing import factories
from tests.engines import brokers
from tests.engines.mysite import Site
from tests.sandbox_process import LUCIA, OTTO

# The section of docs/workers.md, and the server that carries its messages.
ENGINES = {
    "django-tasks-db": ("django-tasks-db", None),
    "RQ": ("RQ", "redis"),
    "Celery on RabbitMQ": ("Celery", "rabbitmq"),
    "Celery on Redis": ("Celery", "redis"),
}


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s: {what}"
        time.sleep(0.05)


def unfinished():
    """The ids of the connections that are not synced: their next sync is in minutes, and not in hours."""
    soon = timezone.now() + timedelta(hours=1)
    return {str(pk) for pk in Connection.objects.filter(next_sync_at__lt=soon).values_list("pk", flat=True)}


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    with brokers.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    with brokers.rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


@pytest.fixture
def new_site(transactional_db, sandbox, tmp_path):
    """Make a site with the files of some sections of docs/workers.md, and `REDIS_URL` and so on in its environment."""
    assert database.vendor == "postgresql", "Set DATABASE_URL to a PostgreSQL database: make engines"
    parts = database.settings_dict
    url = f"postgres://{parts['USER']}@{parts['HOST']}:{parts['PORT'] or 5432}/{parts['NAME']}"
    made = []

    def new(*headings, **environment):
        site = Site(tmp_path, sandbox, url, *headings)
        site.environment |= environment
        made.append(site)
        return site

    yield new
    for site in made:
        print(site.stop())  # pytest shows it for a failure


@pytest.fixture
def due(transactional_db, sandbox):
    """Sixty connections that are due; the first, which waits longest, with three companies."""
    scopes = "offline_access eprospera:person.details.read eprospera:person.residency.read"
    first = factories.sandbox_connection(sandbox, LUCIA)
    grants = sandbox.mint(OTTO, scopes, count=59)
    return [first] + [
        factories.connection(
            scopes=scopes, issuer=sandbox.url, access_token=grant["access_token"], refresh_token=grant["refresh_token"],
            client_id=sandbox.client_id,
        )
        for grant in grants
    ]  # fmt: skip
