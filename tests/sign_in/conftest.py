"""A provider that misbehaves on demand as the provider of the settings, and somebody with a browser before the site."""

import pytest
from django.apps import apps
from django.core.servers.basehttp import WSGIRequestHandler
from django.db import connection, transaction
from pytest_django.live_server_helper import LiveServer

from tests.hostile_provider import HostileProvider
from tests.sandbox_process import SandboxProcess
from tests.visitor import Visitor

# Written by `migrate`, and the same for all tests.
_KEPT = {"django_content_type", "auth_permission"}


@pytest.fixture(scope="module")
def database(django_db_setup, django_db_blocker):
    """Open for longer than a test: the site tidies up after its answer has arrived."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def db(database):
    """The real database, without a transaction around the test, and empty again afterwards.

    In place of pytest-django's, whose flush after each test on a port takes seconds, for some hundred tests.
    """
    yield
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")  # without the triggers that refuse DELETE
        for table in sorted(tables - _KEPT):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@pytest.fixture(scope="session")
def running_site(django_db_setup):
    with pytest.MonkeyPatch.context() as patch:
        # Head and body are written apart: else each answer waits 40 ms for the other side's acknowledgement.
        patch.setattr(WSGIRequestHandler, "disable_nagle_algorithm", True)
        server = LiveServer("localhost")
        yield server.url
        server.stop()


@pytest.fixture
def site(running_site, db):
    """The address of the site, on a port."""
    return running_site


@pytest.fixture(scope="module")
def running_provider():
    with HostileProvider() as provider:
        yield provider


@pytest.fixture
def provider(running_provider, settings):
    running_provider.behave()
    settings.ROOT_URLCONF = "tests.sign_in.urls"
    settings.EPROSPERA_BASE_URL = running_provider.url
    settings.SOCIAL_AUTH_EPROSPERA_KEY = running_provider.client_id
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = running_provider.client_secret
    return running_provider


@pytest.fixture
def visitor(site, provider, caplog):
    caplog.set_level("DEBUG")
    return Visitor(site)


@pytest.fixture(scope="module")
def running_sandbox(running_site):
    with SandboxProcess(redirect_uris=[f"{running_site}/complete/eprospera/"]) as process:
        yield process


@pytest.fixture
def sandbox(running_sandbox, settings):
    """The sandbox, which knows the site of these tests, as the provider of the settings."""
    running_sandbox.control("reset")
    settings.ROOT_URLCONF = "tests.sign_in.urls"
    settings.EPROSPERA_BASE_URL = running_sandbox.url
    settings.SOCIAL_AUTH_EPROSPERA_KEY = running_sandbox.client_id
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = running_sandbox.client_secret
    return running_sandbox
