"""How many statements a sign-in sends to the database, its tasks left aside, and that a sync of it is lost at no point."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_eprospera.models import Connection
from tests.sandbox_process import OTTO
from tests.test_tasks import DummyBackend
from tests.visitor import query_of

# Of these, three at the begin and seven at the callback are Django's: its session is made, loaded, renewed and saved.
REPEATED, FIRST = 16, 22


@pytest.fixture
def sign_in(site, sandbox, settings):
    """Sign Otto in with a new browser; returns the statements of begin and callback, without those of transactions."""
    settings.TASKS = {"default": {"BACKEND": f"{DummyBackend.__module__}.{DummyBackend.__name__}"}}

    def statements():
        browser = Client(headers={"host": urlsplit(site).netloc})
        with CaptureQueriesContext(database) as begin:
            begun = browser.post("/login/eprospera/")
        reached = sandbox.walk(query_of(begun["Location"]), OTTO)
        with CaptureQueriesContext(database) as callback:
            answer = browser.get("/complete/eprospera/", reached)
        assert (answer.status_code, answer["Location"]) == (302, "/account/")
        sent = [query["sql"] for captured in (begin, callback) for query in captured.captured_queries]
        return [sql for sql in sent if not re.match("BEGIN|COMMIT", sql)]

    return statements


def test_the_statements_of_a_sign_in(sign_in):
    sign_in()
    Connection.objects.get().user.delete()
    first = [sql for sql in sign_in() if "SAVEPOINT" not in sql]  # python-social-auth's, around its inserts
    assert len(first) <= FIRST, "\n".join(first)
    repeated = sign_in()
    assert len(repeated) <= REPEATED, "\n".join(repeated)
    assert not any("SAVEPOINT" in sql for sql in repeated)


def test_a_sign_in_claims_the_sync_that_it_enqueues(sign_in):
    sign_in()
    connection = Connection.objects.get()
    assert connection.sync_requested_at == connection.signed_in_at
    assert connection.next_sync_at == connection.signed_in_at + timedelta(minutes=1)
    assert connection.sync_attempts == 1


def test_a_sign_in_whose_sync_cannot_be_enqueued_is_due_at_once(sign_in, settings):
    settings.TASKS = {"default": {"BACKEND": "tests.broken_queue.BrokenQueue"}}
    sign_in()
    connection = Connection.objects.get()
    assert connection.sync_requested_at is None
    assert connection.next_sync_at < connection.signed_in_at + timedelta(seconds=30)
