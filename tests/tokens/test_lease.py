"""What a renewal writes to the connection's row, and that it writes it to no other row and over no newer pair."""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import OperationalError, connections, transaction
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_eprospera.errors import GrantGone
from django_eprospera.models import Connection
from django_eprospera.tokens import access_token, keep_alive
from tests.sandbox_process import ALL_SCOPES, LUCIA, SAMUEL
from tests.tokens.conftest import REFRESH, TOKEN, make_due, works

pytestmark = pytest.mark.django_db(transaction=True)

RESIDENCY = "offline_access eprospera:person.residency.read"


@pytest.fixture
def answers_with(provider):
    """Let the next refresh be answered with a genuine access token, no ID token, and what is given; nothing is spent."""

    def prepare(sub=LUCIA, **more):
        grant = provider.mint(sub=sub, scopes=RESIDENCY)[0]
        body = {"access_token": grant["access_token"], "token_type": "Bearer", "expires_in": 3600} | more
        provider.fault(TOKEN, form=REFRESH, times=1, status=200, body=json.dumps(body))
        return grant["access_token"]

    return prepare


def test_an_answer_without_a_refresh_token_leaves_the_old_one_in_use(provider, connect, answers_with):
    connection = connect(LUCIA, refresh_token_expires_at=timezone.now() + timedelta(days=9))
    before = Connection.objects.get()
    expected = answers_with()
    assert access_token(connection) == expected
    row = Connection.objects.get()
    assert row.refresh_token == before.refresh_token
    assert row.refresh_token_expires_at == before.refresh_token_expires_at
    make_due(connection)
    assert works(provider, access_token(connection))
    assert Connection.objects.get().refresh_token != before.refresh_token


def test_a_narrower_scope_replaces_the_granted_one(provider, connect, answers_with):
    connection = connect(LUCIA)
    answers_with(scope=RESIDENCY)
    access_token(connection)
    assert Connection.objects.get().scope == connection.scope == RESIDENCY


def test_an_answer_without_a_scope_changes_none(connect, answers_with):
    connection = connect(LUCIA)
    answers_with()
    access_token(connection)
    assert Connection.objects.get().scope == connection.scope == ALL_SCOPES


def test_a_refresh_takes_four_statements(connect):
    connection = connect()
    with CaptureQueriesContext(database) as captured:
        access_token(connection)
    sent = [query["sql"] for query in captured.captured_queries]
    sent = [sql for sql in sent if not sql.startswith(("BEGIN", "COMMIT"))]
    assert len(sent) <= 4, "\n".join(sent)


def test_the_instance_is_as_the_row(connect):
    connection = connect()
    access_token(connection)
    row = Connection.objects.get()
    for name in (*Connection.TOKEN_FIELDS, "scope", "used_at"):
        assert getattr(connection, name) == getattr(row, name), name


def test_a_renewal_for_a_caller_counts_as_use(connect):
    connection = connect()
    begun = timezone.now()
    access_token(connection)
    assert begun <= Connection.objects.get().used_at == connection.used_at <= timezone.now()


def test_a_refresh_that_ends_one_grant_leaves_every_other_one(provider, connect):
    ended, other = connect(LUCIA), connect(SAMUEL)
    provider.control("revoke", sub=LUCIA)
    with pytest.raises(GrantGone):
        access_token(ended)
    row = Connection.objects.get(pk=other.pk)
    assert (row.state, row.refresh_token) == ("active", other.refresh_token)
    assert works(provider, access_token(other))


def test_a_connection_that_was_deleted_during_its_refresh_is_not_made_again(provider, connect, in_thread):
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, delay=1, after=True, times=1)
    outcome = in_thread(lambda: access_token(Connection.objects.get(pk=connection.pk)))
    wait_for_lease()
    Connection.objects.get().delete()
    with pytest.raises(GrantGone, match="disconnected"):
        outcome()
    assert not Connection.objects.exists()


# The database fails between the answer and its commit


@pytest.fixture
def in_thread():
    """Begin work in a thread with a database connection of its own; returns what waits for its result."""
    with ThreadPoolExecutor(1) as pool:

        def begin(work, *, impatient=False):
            def run():
                try:
                    if impatient and database.vendor == "sqlite":
                        with connections["default"].cursor() as cursor:
                            cursor.execute("PRAGMA busy_timeout = 50")
                    return work()
                finally:
                    connections.close_all()

            return pool.submit(run).result

        yield begin


def wait_for_lease():
    while not Connection.objects.filter(lease_holder__isnull=False).exists():
        pass


def fail_once(provider):
    """The thread's database connection is lost (PostgreSQL), or the database is locked (SQLite), when the answer comes."""
    if database.vendor == "postgresql":
        wait_for_lease()
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
    else:
        wait_for_lease()
        with transaction.atomic():
            Connection.objects.update(signed_in_at=timezone.now())
            while provider.control("stats")["refreshes"] == 0:
                pass
            # The answer is on its way; its first writes are refused, after 50 ms each.
            time.sleep(2.5)


def test_a_database_that_fails_when_the_answer_comes_is_tried_again(provider, connect, in_thread):
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, delay=1, after=True, times=1)
    outcome = in_thread(lambda: access_token(Connection.objects.get(pk=connection.pk)), impatient=True)
    fail_once(provider)
    token = outcome()
    assert works(provider, token)
    assert Connection.objects.get().access_token == token
    assert provider.control("stats")["refresh_requests"] == 1


def test_a_database_that_goes_on_failing_is_an_error_when_the_lease_has_ended(
    provider, connect, settings, tmp_path, in_thread
):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    settings.EPROSPERA_REFRESH_LEASE = 0.01
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, delay=1, after=True, times=1)
    outcome = in_thread(lambda: access_token(Connection.objects.get(pk=connection.pk)), impatient=True)
    fail_once(provider)
    with pytest.raises(OperationalError):
        outcome()
    assert Connection.objects.get().generation == 0
    # What came is in the spool, and the next caller commits it instead of sending the spent token.
    assert works(provider, access_token(connection))
    assert provider.control("stats")["refresh_requests"] == 1


# Two callers at once


def test_a_caller_that_waited_takes_the_token_of_the_other(provider, connect, in_thread):
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, delay=1, after=True, times=1)
    outcome = in_thread(lambda: access_token(Connection.objects.get(pk=connection.pk)))
    wait_for_lease()
    waited = access_token(connection)
    assert waited == outcome()
    assert provider.control("stats")["refresh_requests"] == 1


def test_two_that_keep_a_grant_alive_at_once_refresh_it_once(provider, connect, settings, in_thread):
    settings.EPROSPERA_KEEP_ALIVE = timedelta(days=200)
    connect(valid_for=timedelta(minutes=30))
    provider.fault(TOKEN, form=REFRESH, delay=1, after=True, times=1)
    outcome = in_thread(keep_alive)
    wait_for_lease()
    assert keep_alive().renewed == outcome().renewed == 1
    assert provider.control("stats")["refresh_requests"] == 1


def test_a_grant_that_ended_meanwhile_is_gone_for_the_caller_that_waited_too(provider, connect, in_thread):
    connection = connect()
    provider.control("revoke", sub=connection.sub)
    provider.fault(TOKEN, form=REFRESH, delay=1, times=1)
    outcome = in_thread(lambda: access_token(Connection.objects.get(pk=connection.pk)))
    wait_for_lease()
    for wait in (lambda: access_token(connection), outcome):
        with pytest.raises(GrantGone):
            wait()
    assert provider.control("stats")["refresh_requests"] == 1


def test_a_refresh_without_openid_needs_no_signing_keys(provider, connect):
    connection = connect(scope=RESIDENCY)
    provider.fault("/api/oauth/.well-known/jwks.json", status=500)
    assert works(provider, access_token(connection))


def test_a_lease_that_another_holder_took_over_is_not_given_back(provider, connect, settings, in_thread):
    settings.EPROSPERA_REFRESH_BUDGET = 0
    connection, other = connect(), uuid.uuid4()
    provider.fault(TOKEN, form=REFRESH, delay=1, status=503, times=1)
    outcome = in_thread(lambda: access_token(Connection.objects.get(pk=connection.pk)))
    wait_for_lease()
    until = timezone.now() + timedelta(minutes=1)
    Connection.objects.update(lease_holder=other, lease_until=until)
    with pytest.raises(Exception, match="did not renew"):
        outcome()
    row = Connection.objects.get()
    assert (row.lease_holder, row.lease_until) == (other, until)
