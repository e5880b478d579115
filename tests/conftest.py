"""What all tests share: the sandbox as the settings' provider, and nothing remembered of the test before."""

import json
import logging
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import django
import pytest
from django.conf import settings
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.utils import translation
from django.utils.log import AdminEmailHandler
from social_core.backends.open_id_connect import OpenIdConnectAuth

from django_eprospera.provider.discovery import forget_discovered
from django_eprospera.provider.key_sets import forget_keys
from tests import chromium
from tests.sandbox_process import SandboxProcess

# The browser files stand together, so that few of the processes start a demo.
LONGEST_FIRST = (
    "tests/leaks/", "tests/browser/test_accessibility.py", "tests/browser/test_journey.py", "tests/browser/",
    "tests/sandbox/test_command.py", "tests/test_other_users.py", "tests/tokens/test_renewal.py",
    "tests/test_example_site.py", "tests/test_tampering.py", "tests/tokens/test_clock.py", "tests/test_readme.py",
    "tests/test_rotation.py", "tests/test_example_project.py",
)  # fmt: skip


def pytest_itemcollected(item):
    """Mark the tests that drive a browser. `-m` reads the marks before `pytest_collection_modifyitems` gets here."""
    if "tests/browser/" in item.path.as_posix():
        item.add_marker("browser")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leave out the tests that drive a browser where there is none, and put the files that take longest first."""
    browser = [item for item in items if item.get_closest_marker("browser")]
    if browser and chromium.is_left_out():
        items[:] = [item for item in items if item not in browser]
        config.hook.pytest_deselected(items=browser)
    # Started last, one of them would run alone while the other processes have nothing left to do.
    items.sort(key=_rank)


def _rank(item):
    path = item.path.as_posix()
    return next((rank for rank, part in enumerate(LONGEST_FIRST) if part in path), len(LONGEST_FIRST))


def pytest_terminal_summary(terminalreporter, config):
    if config.pluginmanager.hasplugin("randomly"):
        terminalreporter.write_line(f"Random order: repeat it with --randomly-seed={config.option.randomly_seed}")
    if chromium.is_left_out():
        terminalreporter.write_line(chromium.LEFT_OUT)


def pytest_unconfigure(config):
    """Remove the scratch directory: a worker of pytest-xdist ends without running what `atexit` was told."""
    if hasattr(config, "workerinput") and "EPROSPERA_TEST_SCRATCH" not in os.environ:
        shutil.rmtree(settings.SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Drop the triggers on SQLite, where a test's end empties tables with DELETE (PostgreSQL: TRUNCATE)."""
    if connection.vendor == "sqlite":
        with django_db_blocker.unblock():
            call_command("eprospera_audit", "--drop-triggers")


@pytest.fixture(autouse=True)
def nothing_remembered():
    """Providers share ports and keys change between tests, so no process-wide cache outlives one."""
    forget_discovered()
    forget_keys()
    translation.deactivate()  # a page in Spanish leaves its thread speaking Spanish
    OpenIdConnectAuth.get_jwks_keys_for_uri.invalidate()


@pytest.fixture(scope="session")
def sandbox_process():
    """One sandbox for the whole run, in a process of its own."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def sandbox(sandbox_process, settings):
    """The sandbox, without the grants, faults and counters of earlier tests, as the provider of the settings."""
    sandbox_process.control("reset")
    settings.EPROSPERA_BASE_URL = sandbox_process.url
    settings.SOCIAL_AUTH_EPROSPERA_KEY = sandbox_process.client_id
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = sandbox_process.client_secret
    return sandbox_process


@pytest.fixture
def provider(sandbox):
    """What the tests of the sync and of the tokens call it."""
    return sandbox


@pytest.fixture
def media(settings, tmp_path):
    """The folder of this test's sealed files, and of no other's."""
    settings.MEDIA_ROOT = tmp_path
    folder = tmp_path / "eprospera"
    folder.mkdir()
    return folder


@pytest.fixture
def child(sandbox):
    """Start `python -m tests.worker …` on the test's database and provider; it begins at once, and is ended with the test.

    `clock` is by how many seconds its clock is wrong; `dies` at which function call after the arrival of a refresh token it
    kills itself; the other keywords are settings.
    """
    started = []

    def start(*arguments, clock=0, dies=0, begin=True, **changed):
        parts = connection.settings_dict
        if connection.vendor == "sqlite":
            url = f"sqlite:///{parts['NAME']}"
        else:
            url = f"postgres://{parts['USER']}@{parts['HOST']}:{parts['PORT'] or 5432}/{parts['NAME']}"
        worker = {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "WORKER_PROVIDER": sandbox.url,
            "WORKER_CLIENT": sandbox.client_id,
            "WORKER_SECRET": sandbox.client_secret,
            "WORKER_CLOCK": str(clock),
            "WORKER_DIES": str(dies),
            "WORKER_SETTINGS": json.dumps(changed, default=str),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker", *map(str, arguments)],
            env=os.environ | worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        if begin:
            go(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def go(process):
    """Let a worker begin."""
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture
def reports(settings):
    """The mails of Django's handler, with the page that shows the variables of each frame."""
    settings.ADMINS = ["operator@example.test"] if django.VERSION >= (6, 0) else [("Operator", "operator@example.test")]
    handler = AdminEmailHandler(include_html=True)
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    yield lambda: [
        text for each in mail.outbox for text in (each.subject, each.body, *(html[0] for html in each.alternatives))
    ]
    logger.removeHandler(handler)


@pytest.fixture
def broken_table():
    """Take a table away, as a failed migration would."""

    @contextmanager
    def broken(table):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")

    return broken


def assert_not_in(texts, secrets):
    for secret in secrets:
        assert not any(secret in text for text in texts), [
            text[max(text.index(secret) - 200, 0) : text.index(secret) + 60] for text in texts if secret in text
        ]
